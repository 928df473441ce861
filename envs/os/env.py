"""`cmat/OS-v0`: the environment. What it shows and takes is in the class docstring."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cmat_gym.core.env import Outcome, Snapshot, TextEnv
from cmat_gym.core.errors import InvalidAction, choose
from cmat_gym.core.protocol import Call
from cmat_gym.core.task import Score, Task
from cmat_gym.envs.os import prompts, protocols
from cmat_gym.envs.os.backend import Limits, Machines, open_machines
from cmat_gym.envs.os.expert import OSExpert
from cmat_gym.envs.os.session import FAILED, Grading, Session
from cmat_gym.envs.os.tasks import open_tasks

__all__ = ["OSEnv"]

DIALECTS = ("short", "agentbench")
GOLDS = ("fresh", "final")
LISTED_PATHS = 2  # of the instruction, in the list of admissible actions
_PATH = re.compile(r"/[\w./-]*\w")
MALFORMED = Call("malformed")  # how v0.2 ends an episode on a turn that it cannot read


class OSEnv(TextEnv):
    """Working in a Linux shell, on a machine of its own.

    ## Description
    The agent is root in a real bash on a small machine that exists for one episode: a copy-on-write root over the
    host's read-only /usr, without network, behind Linux namespaces, a system call filter and limits on memory,
    processes, disk and time (or in a container, see `backend`). It gets a problem in words: a question about files,
    logs, users, processes, archives or repositories, or a change to make. The builtin tasks come from 57 seeded
    families; `source=` takes AgentBench's task files.

    ## Action Space
    Text. Protocol `text`: `bash[command]` (several lines are fine), `answer[text]` or `finish[]`, after an optional
    `Thought:` line. Protocol `tools`: one JSON call of `bash(script)`, `answer(answer)` or `finish()`. With
    `dialect="agentbench"`, both protocols are AgentBench's: `Think:`/`Act:` texts of v0.2, and the tools
    `bash_action(script)`, `answer_action(answer)`, `finish_action(thought)`.

    ## Observation Space
    Text: the problem, then the output of each command, cut after 780 of more than 800 characters, and a note where a
    command was stopped or the shell has ended.

    ## Rewards
    `outcome`: 1 if the answer is right, or the machine is as it should be, when the agent hands in; else 0.
    `progress` adds the change of γ^(turns the expert still needs).

    ## Starting State
    A fresh machine with the files, users and processes of the task; the shell is in `/`. The task is drawn from the
    split with the environment's own generator, or chosen by `options={"task": …}`.

    ## Episode End
    Termination: the agent answers or finishes.
    Truncation: the turn limit is reached (8 unless `max_turns` says otherwise); the score is then 0.

    ## Arguments
    | name | default | meaning |
    |---|---|---|
    | `source` | `"builtin"` | or AgentBench: a checkout, a folder with `dev.json` and `training.json`, or one file |
    | `split` | `"train"` | `train`, `dev` or `test`; no request is in two of them |
    | `protocol` | `"text"` | or `"tools"` |
    | `memory` | `"dual"` | a `MemoryConfig`, or None for the bare output |
    | `reward` | `"outcome"` | or `"progress"`, with `discount` as its γ |
    | `max_turns` | None | turns per episode |
    | `backend` | None | `namespace`, `docker` or `podman`; None takes the first of the first two that works |
    | `dialect` | `"short"` | or `"agentbench"`, for comparison with published agents |
    | `limits` | `Limits()` | memory, processes, disk, time … of a machine |
    | `root` | None | folder of a root file system for `namespace`, in place of the host's /usr |
    | `image` | None | image for the containers |
    | `task_seed` | 0 | which builtin tasks |
    | `gold` | `"fresh"` | reference solutions run on an untouched machine; `"final"`: where the agent worked |
    | `strict_v02` | False | a turn that v0.2 cannot read ends the episode, as in the original |
    | `strict_sizes` | False | the original's size checker, which does not know `5KB` |

    ## Example Episode
    ```
    How many .log files are below /srv/depot, subfolders included?
    > bash[find /srv/depot -type f -name '*.log' | wc -l]
    The output of the OS:

    4
    > answer[4]
    ```

    ## Source
    The domain "operating system" of AgentBench (Liu et al., ICLR 2024), github.com/THUDM/AgentBench.

    ## Differences from the Source
    - Grading happens outside of the agent's reach: files are compared by the machine's supervisor, scripts run on a
      copy of the final state with pristine programs and the agent's processes stopped.
    - `finish` never carries an answer; answers of the reference solution come from an untouched machine (`gold`).
    - A script that fails to set a task up is an error, not a silently different task.
    - A malformed turn costs a turn (`strict_v02=True` gives the original's end of the episode).
    - Snapshots play the commands of the episode again. One that prints something else then (the clock, chance) raises
      a `ReplayError`.
    """

    domain = "os"
    tools = protocols.TOOLS

    def __init__(
        self,
        *,
        source: str | Path = "builtin",
        split: str = "train",
        protocol: str = "text",
        reward: str = "outcome",
        max_turns: int | None = None,
        discount: float = 0.95,
        backend: str | None = None,
        render_mode: str | None = None,
        dialect: str = "short",
        limits: Limits | None = None,
        root: str | None = None,
        image: str | None = None,
        task_seed: int = 0,
        gold: str = "fresh",
        strict_v02: bool = False,
        strict_sizes: bool = False,
    ) -> None:
        super().__init__(
            open_tasks(source, task_seed),
            split=split,
            protocol=protocol,
            reward=reward,
            max_turns=max_turns,
            discount=discount,
            render_mode=render_mode,
        )
        self.dialect = choose("dialect", dialect, DIALECTS)
        self.grading = Grading(choose("gold", gold, GOLDS), strict_sizes)
        self.strict_v02 = strict_v02
        self.limits = limits or Limits()
        self._backend = (backend, root, image)
        self._machines: Machines | None = open_machines(*self._backend)
        if self.dialect == "agentbench":
            self.tools = protocols.OFFICIAL_TOOLS
        self._session: Session | None = None
        self._expert_cache: OSExpert | None = None
        self._ended: Score | None = None

    @property
    def backend(self) -> str:
        """The name of the sandbox in use."""
        return self.machines.name

    @property
    def machines(self) -> Machines:
        """What gives out the machines; opened again after the environment went to another process."""
        if self._machines is None:
            self._machines = open_machines(*self._backend)
        return self._machines

    @property
    def session(self) -> Session:
        """The episode's commands and machine."""
        assert self._session is not None, "reset() starts the session"
        return self._session

    @property
    def system_prompt(self) -> str:
        """The rules, in the chosen protocol and dialect."""
        if self.dialect == "agentbench":
            return prompts.FC_SYSTEM_PROMPT if self.protocol == "tools" else prompts.V02_SYSTEM_PROMPT
        return prompts.TOOLS_SYSTEM_PROMPT if self.protocol == "tools" else prompts.TEXT_SYSTEM_PROMPT

    # The life of an episode -------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Open an episode on a fresh machine; see `TextEnv.reset`.

        Raises:
            BackendError: There is no machine.
        """
        observation, info = super().reset(seed=seed, options=options)
        self.session.ensure()
        return observation, info

    def restore(self, snapshot: Snapshot) -> tuple[str, dict[str, Any]]:
        """Go back to a snapshot by playing its commands again; see `TextEnv.restore`.

        Raises:
            ReplayError: A command printed something else than the first time.
        """
        before = self._session
        self._session = None
        observation, info = super().restore(snapshot)
        if before is not None and before.continues_as(self.session):
            self._session, before = before, None  # the machine is already where it should be
        if before is not None:
            before.close()
        if self._ended is None and not self._finished and not self.session.dead:
            self.session.ensure()
        return observation, info

    def close(self) -> None:
        """End the machine; a closed environment cannot be used again."""
        if self._session is not None:
            self._session.close()
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: the commands, no machine."""
        state = self.__dict__ | {"_machines": None, "_session": None}
        return state | {"_saved": None if self._session is None else self._get_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the commands over; the machine is made when it is needed."""
        saved = state.pop("_saved")
        self.__dict__.update(state)
        if saved is not None:
            self._session = self._new_session(self.task)
            self._set_state(saved)

    # The dynamics -----------------------------------------------------------------------------------------------------

    def _begin(self, task: Task) -> str:
        if self._session is not None:
            self._session.close()
        self._session = self._new_session(task)
        self._expert_cache = None
        self._ended = None
        if self.dialect == "agentbench":
            return prompts.OFFICIAL_PROBLEM.format(description=task.instruction)
        return task.instruction

    def _new_session(self, task: Task) -> Session:
        return Session(self.machines, self.limits, task.payload, task.id)

    def _read(self, action: str) -> Call:
        if self.dialect == "short":
            return super()._read(action)
        if self.protocol == "tools":
            return protocols.parse_function_call(action)
        call = protocols.parse_v02(action)
        if call is not None:
            return call
        if self.strict_v02:
            return MALFORMED
        raise InvalidAction(prompts.V02_INVALID)

    def _parse(self, action: str) -> Call:
        return protocols.parse_short(action)

    def _apply(self, call: Call) -> Outcome:
        if call.name == "bash":
            script = call.arguments["script"]
            if self.dialect == "short" and not script.strip():
                raise InvalidAction(prompts.EMPTY_COMMAND)
            output = self.session.run(script)
            return Outcome(prompts.show_output(protocols.clean_output(output.text), output.event))
        if call is MALFORMED:
            self._ended = FAILED
            return Outcome(prompts.V02_INVALID, terminated=True)
        self._ended = self.session.grade(call.arguments.get("answer"), self.grading)
        self.session.close()
        return Outcome(prompts.DONE, terminated=True)

    def _score(self) -> Score:
        return FAILED if self._ended is None else self._ended

    def _get_state(self) -> Any:
        session = self.session
        ended = None if self._ended is None else [self._ended.value, dict(self._ended.details)]
        return {"commands": [list(pair) for pair in session.commands], "dead": session.dead, "ended": ended}

    def _set_state(self, state: Any) -> None:
        self.session.commands = [(command, output) for command, output in state["commands"]]
        self.session.dead = state["dead"]
        ended = state["ended"]
        self._ended = None if ended is None else Score(ended[0], ended[0] == 1.0, ended[1])

    # What the agent is told -------------------------------------------------------------------------------------------

    def _refused(self, reason: str, observation: str) -> str:
        return super()._refused(reason, observation) if self.dialect == "short" else reason

    def _render(self, call: Call) -> str:
        return protocols.write_v02(call) if self.dialect == "agentbench" else protocols.write_short(call)

    def format_call(self, call: Call) -> str:
        """Write a call as the agent would; see `TextEnv.format_call`."""
        if self.dialect == "agentbench" and self.protocol == "tools":
            return protocols.write_function_call(call)
        return super().format_call(call)

    def summary(self) -> str:
        """The first line of the last output."""
        text = self._observation.removeprefix(prompts.OUTPUT.format(output=""))
        if text == prompts.NO_OUTPUT:
            return prompts.SUMMARY_NOTHING
        return text.strip().partition("\n")[0][: prompts.SUMMARY_LENGTH]

    def _admissible(self) -> list[Call]:
        """A few harmless looks around, and giving up: any other command may be run too."""
        paths = list(dict.fromkeys(_PATH.findall(self.task.instruction if self._task else "")))[:LISTED_PATHS]
        commands = ["ls", *(f"{program} {path}" for path in paths for program in ("ls -a", "cat"))]
        return [*(Call("bash", {"script": command}) for command in commands), Call("finish")]

    # The expert -------------------------------------------------------------------------------------------------------

    @property
    def _oracle(self) -> OSExpert:
        if self._expert_cache is None:
            self._expert_cache = OSExpert(self.session.payload, self.grading)
        return self._expert_cache

    def _expert(self) -> Call:
        return self._oracle.plan(self.session).call

    def _cost_to_go(self) -> float:
        if self._ended is not None:
            return 0.0 if self._ended.success else float("inf")
        return self._oracle.plan(self.session).cost

    def expert_thought(self) -> str:
        """One short sentence on why the expert does what it does next."""
        return self._oracle.plan(self.session).thought
