"""`cmat/ALFWorld-v0`: the environment. What it shows and takes is in the class docstring."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from cmat_gym.core.env import Outcome, TextEnv
from cmat_gym.core.errors import InvalidAction, choose
from cmat_gym.core.protocol import Call, Tool, parse_tool_call
from cmat_gym.core.task import Score, Task
from cmat_gym.envs.alfworld import agentbench, prompts
from cmat_gym.envs.alfworld.backend import ALFWorldBackend, State, Step, open_game
from cmat_gym.envs.alfworld.expert import ALFWorldExpert
from cmat_gym.envs.alfworld.records import DIALECTS, Dialect
from cmat_gym.envs.alfworld.refusals import explain
from cmat_gym.envs.alfworld.scorer import Wish, score_alfworld
from cmat_gym.envs.alfworld.tasks import open_tasks

__all__ = ["ALFWorldEnv"]

EVALUATIONS = ("alfworld", "agentbench")
CACHED_LISTS = 512  # lists of calls that are kept; a game has about as many situations
_SETS = State._fields.index("contents")  # the numbers of a state come before its sets
_NO_CALL = Call("")


class ALFWorldEnv(TextEnv):
    """Chores in a household.

    ## Description
    The agent is in a room and has one chore of six types: bring a thing to a place, bring it there clean, hot or cool,
    bring two of a kind, or look at a thing under a lamp. Things are in numbered places (`drawer 2`), some of which must
    be opened, and are seen only on arrival. The engine is native; its text is the original's to the byte. The builtin
    houses are of our own making: kitchens, bedrooms, living rooms and bathrooms in three levels, from small rooms in
    which the task says where the thing is to full ones in which it must be searched.

    ## Action Space
    Text. Protocol `text`: one command, such as `go to shelf 1`, `open drawer 2`, `take mug 1 from shelf 1`,
    `move mug 1 to desk 1` (in games of the older grammar `put mug 1 in/on desk 1`), `clean|heat|cool mug 1 with
    sinkbasin 1`, `use desklamp 1`, `slice apple 1 with knife 1`, `examine mug 1`, `look`, `inventory`, `help`, after an
    optional `Thought:` line. Protocol `tools`: one JSON call of `take_action(action)`. Spelling counts.

    ## Observation Space
    Text: what the game says. With `list_actions=True` the commands that are possible now follow, which
    `info["admissible_actions"]` lists in any case, in the original's order.

    ## Rewards
    `outcome`: 1 when the goal is reached, else 0; there is no partial credit. `progress` adds the change of
    γ^(turns the expert still needs).

    ## Starting State
    The middle of the room, with empty hands and a list of all places. The task is drawn from the split with the
    environment's own generator, or chosen by `options={"task": …}`.

    ## Episode End
    Termination: the goal holds. With `evaluation="agentbench"` also: three equal answers in a row from the fourth turn
    on (score 0), or, in protocol `text`, an answer without `ACTION:` (score 0).
    Truncation: the turn limit is reached: 30 in builtin houses, 50 in published games, with `evaluation="agentbench"`
    35 (text) or 20 (tools), unless `max_turns` says otherwise; the score is then 0.

    ## Arguments
    | name | default | meaning |
    |---|---|---|
    | `source` | `"builtin"` | a game file, a folder of games in ALFWorld's layout, one of AgentBench's lists, or \
`"official"`: the folder that `ALFWORLD_DATA` names |
    | `split` | `"train"` | `train`, `dev` or `test`; of published games the folder's name, such as `valid_seen` |
    | `protocol` | `"text"` | or `"tools"` |
    | `memory` | `"dual"` | a `MemoryConfig`, or None for the bare text |
    | `reward` | `"outcome"` | or `"progress"`, with `discount` as its γ |
    | `max_turns` | None | turns per episode |
    | `grammar` | None | `"move"` or `"put"` plays every game in that version; None in its own (builtin: `move`) |
    | `list_actions` | True | write the possible commands under each observation; False gives the original's text |
    | `feedback` | True | say why a command is refused; False says `Nothing happens.`, as the original does |
    | `evaluation` | `"alfworld"` | or `"agentbench"`: its reading of answers, rounds, failure rules and wording |
    | `house_seed` | 0 | which builtin houses |

    ## Example Episode
    ```
    You are in the middle of a room. … you see a cabinet 1, a countertop 1, a fridge 1, and a sinkbasin 1.
    Your task is to: put a clean pot in cabinet. The pot is in fridge 1.
    > go to fridge 1
    You arrive at fridge 1. The fridge 1 is closed.
    > open fridge 1
    > take pot 1 from fridge 1
    > go to sinkbasin 1
    > clean pot 1 with sinkbasin 1
    > go to cabinet 1
    > move pot 1 to cabinet 1
    ```

    ## Source
    Shridhar, Yuan, Côté, Bisk, Trischler, Hausknecht: ALFWorld (ICLR 2021), github.com/alfworld/alfworld; the domain
    "house holding" of AgentBench (Liu et al., ICLR 2024).

    ## Differences from the Source
    - No planner, no C library: facts are bit masks, and the text is the same (tests/alfworld, benchmarks/alfworld.py).
    - Possible commands are listed and a refused one is explained, unless `list_actions` and `feedback` are False.
    - `valid_action` is False where the original says `Nothing happens.`
    - The expert is an optimal planner that knows where everything is, not the original's rules or its planner.
    - AgentBench's instruction is worded anew, and its worked examples are not shipped; its reading of answers, its
      rounds and its rules of failure are the same.
    """

    domain = "alfworld"
    tools = (Tool("take_action", prompts.TAKE_ACTION_TOOL, {"action": prompts.TAKE_ACTION_ACTION}),)

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
        grammar: str | None = None,
        list_actions: bool = True,
        feedback: bool = True,
        evaluation: str = "alfworld",
        house_seed: int = 0,
    ) -> None:
        choose("backend", backend or "embedded", ["embedded"])
        self.evaluation = choose("evaluation", evaluation, EVALUATIONS)
        self._bench = evaluation == "agentbench"
        if max_turns is None and self._bench:
            max_turns = agentbench.ROUNDS.get(protocol)
        super().__init__(
            open_tasks(source, house_seed),
            split=split,
            protocol=protocol,
            reward=reward,
            max_turns=max_turns,
            discount=discount,
            render_mode=render_mode,
        )
        self.grammar = None if grammar is None else choose("grammar", grammar, DIALECTS)
        self.list_actions = list_actions
        self.feedback = feedback
        self._builtin = source == "builtin"
        self._begun: Task | None = None
        self._calls: dict[tuple[str, ...], tuple[Call, ...]] = {}
        self._sets: tuple[tuple[int, ...], ...] = ()  # the sets of the last state that was asked for …
        self._changes: list[list[list[int]]] = []  # … and what is not as at the start in them
        self._answers: tuple[str, ...] = ()  # digests of AgentBench's last answers
        self._failed = False

    @property
    def system_prompt(self) -> str:
        """The rules of the house, in the chosen protocol."""
        if self._bench:
            return prompts.AGENTBENCH_TOOLS_PROMPT if self.protocol == "tools" else prompts.AGENTBENCH_TEXT_PROMPT
        own = self.game.dialect.place if self._begun else "move" if self._builtin else None
        return prompts.system_prompt(self.protocol, self.grammar or own)

    # The dynamics ---------------------------------------------------------------------------------------------------

    def _begin(self, task: Task) -> str:
        if task is not self._begun:
            own = Dialect.from_json(task.payload["grammar"])
            dialect = DIALECTS[self.grammar] if self.grammar else own
            self.game: ALFWorldBackend = open_game(task.payload["problem"], dialect)
            self.wish = Wish.of(self.game)
            self._oracle = ALFWorldExpert(self.game, self.wish)
            self._opening = self.game.opening(task.payload["sentence"])
            self._calls.clear()
            self._sets = ()
            self._begun = task
        self.state: State = self.game.initial
        self._answers, self._failed = (), False
        if self._bench:
            text = "\n".join(self._opening.split("\n\n")[1:])  # AgentBench leaves the welcome out
            return self._show(prompts.AGENTBENCH_OPENING.format(observation=text))
        return self._show(self._opening)

    def _show(self, text: str) -> str:
        """What the agent reads, for what the game says."""
        if self._bench:
            if text.startswith("You arrive at loc "):
                text = text.partition(". ")[2]
            commands = "\n".join(self.game.situation(self.state).commands)
            return prompts.AGENTBENCH_ACTIONS.format(observation=text, commands=commands)
        return prompts.with_commands(text, self.game.situation(self.state).commands) if self.list_actions else text

    def _parse(self, action: str) -> Call:
        return Call("take_action", {"action": action})

    def _read(self, action: str) -> Call:
        if not self._bench:
            return super()._read(action)
        digest = hashlib.blake2b(action.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        self._answers = (*self._answers[1 - agentbench.REPEATS :], digest)
        if self.protocol == "tools":
            try:
                return parse_tool_call(action, self._tool_table)
            except InvalidAction:
                return _NO_CALL
        answer = agentbench.read_answer(action)
        return Call("take_action", {"action": answer}) if answer else _NO_CALL

    def _apply(self, call: Call) -> Outcome:
        if self._bench:
            return self._apply_agentbench(call)
        command = call.arguments["action"].strip()
        step = self.game.act(self.state, command)
        if step is None:
            raise InvalidAction(explain(self.game, self.state, command))
        self.state, text = step
        won = self._score().success
        return Outcome(text if won else self._show(text), terminated=won)

    def _apply_agentbench(self, call: Call) -> Outcome:
        """One round as AgentBench plays it: the nearest command is carried out, and repetition fails."""
        if call is _NO_CALL and self.protocol == "text":
            self._failed = True
            return Outcome(prompts.AGENTBENCH_NO_ACTION, terminated=True, valid=False)
        step: Step | None = None
        if call is not _NO_CALL:
            action = call.arguments["action"].strip().lower().split("\n")[0]
            command = agentbench.match_command(action, self.game.situation(self.state).commands)
            step = self.game.act(self.state, command)
            if step is not None:
                self.state = step.state
        valid = step is not None
        if self._turn > agentbench.FREE_STEPS and self._answers == self._answers[:1] * agentbench.REPEATS:
            self._failed = True  # also where this very round reached the goal: repetition is looked for first
            return Outcome(prompts.AGENTBENCH_REPEATED, terminated=True, valid=valid)
        if call is _NO_CALL:
            return Outcome(prompts.AGENTBENCH_NO_CALL, valid=False)
        text = step.observation if step is not None else prompts.NOTHING_HAPPENS
        return Outcome(self._show(text), terminated=self._score().success, valid=valid)

    def _score(self) -> Score:
        score = score_alfworld(self.wish, self.game, self.state)
        return Score(0.0, False, score.details) if self._failed else score

    # What the agent is told -----------------------------------------------------------------------------------------

    def _refused(self, reason: str, observation: str) -> str:
        return super()._refused(reason, observation) if self.feedback else self._show(prompts.NOTHING_HAPPENS)

    def _render(self, call: Call) -> str:
        action: str = call.arguments["action"]
        return f"ACTION: {action}" if self._bench else action

    def _admissible(self) -> list[Call]:
        commands = self.game.situation(self.state).commands
        calls = self._calls.get(commands)
        if calls is None:
            if len(self._calls) >= CACHED_LISTS:
                self._calls.clear()
            calls = self._calls[commands] = tuple(Call("take_action", {"action": command}) for command in commands)
        return list(calls)

    def summary(self) -> str:
        """What was seen or done, without the arrival that the action says already."""
        text = self._observation.partition(prompts.AVAILABLE)[0].rstrip()
        first, _, rest = text.partition(". ")
        return rest if rest and first.startswith(("You arrive at", "You open")) else text

    def walkthrough(self) -> list[str]:
        """The published solution of the current game, with the names that the game shows; empty where there is none."""
        return [self.game.translate(command) for command in self.task.payload.get("walkthrough", ())]

    # State and expert -----------------------------------------------------------------------------------------------

    def _get_state(self) -> Any:
        """Eight numbers, and of the three kinds of sets those that differ from the start."""
        numbers, sets = self.state[:_SETS], self.state.sets
        if sets != self._sets:  # most actions move nothing
            pairs = zip(sets, self.game.initial.sets, strict=True)
            self._sets, self._changes = sets, [_difference(now, then) for now, then in pairs]
        changes = [[place.copy() for place in places] for places in self._changes]
        return [*numbers, *changes, *([self._failed, list(self._answers)] if self._bench else ())]

    def _set_state(self, state: Any) -> None:
        numbers, changes, rest = state[:_SETS], state[_SETS : _SETS + 3], state[_SETS + 3 :]
        sets = [_changed(then, change) for then, change in zip(self.game.initial.sets, changes, strict=True)]
        self.state = State(*numbers, *sets)
        self._failed, self._answers = (rest[0], tuple(rest[1])) if rest else (False, ())

    def _expert(self) -> Call:
        return Call("take_action", {"action": self._oracle.next_command(self.state)})

    def expert_thought(self) -> str:
        """Why the expert does what it does next."""
        return self._oracle.thought(self.state)

    def _cost_to_go(self) -> float:
        return self._oracle.cost_to_go(self.state)


def _difference(now: tuple[int, ...], then: tuple[int, ...]) -> list[list[int]]:
    """The places of `now` that are not as they were, with what is there."""
    if now is then:
        return []
    return [[index, mask] for index, (mask, old) in enumerate(zip(now, then, strict=True)) if mask != old]


def _changed(then: tuple[int, ...], changes: list[list[int]]) -> tuple[int, ...]:
    """The inverse of `_difference`."""
    masks = list(then)
    for index, mask in changes:
        masks[index] = mask
    return tuple(masks) if changes else then
