"""`cmat/CodeCorrection-v0`: the environment. What it shows and takes is in the class docstring."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path
from typing import Any

from cmat_gym.core.env import Outcome, TextEnv
from cmat_gym.core.errors import InvalidAction, UsageError, choose
from cmat_gym.core.protocol import Call, Tool, parse_tool_call, split_thought
from cmat_gym.core.task import Score, Task
from cmat_gym.envs.code_correction import prompts
from cmat_gym.envs.code_correction.backend import judge, open_sandbox
from cmat_gym.envs.code_correction.expert import CodeCorrectionExpert
from cmat_gym.envs.code_correction.generator import find_function
from cmat_gym.envs.code_correction.scorer import Submission, first_failure, score_code, similarity_gain
from cmat_gym.envs.code_correction.tasks import open_tasks

__all__ = ["CodeCorrectionEnv", "extract_code", "submitted_code"]

LONGEST_CODE = 20_000  # characters
_FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)


class CodeCorrectionEnv(TextEnv):
    """Correcting a broken Python function.

    ## Description
    The agent gets a function of Python's standard library with one to three seeded mistakes in it: a wrong operator,
    bound or variable, a lost statement, a bracket too few … It writes the function as it should be. What it wrote is
    put in the original's place in its module, and run on about a dozen calls in a sandbox without files, programs or
    network; results and exceptions must be the original's. Functions that are hard to call get errors of syntax only,
    and must come out as they were. Nothing of the library is shipped: functions are read from the Python in use.

    ## Action Space
    Text. Protocol `text`: a message with the function in a block between ```` ```python ```` and ```` ``` ````; the
    last block counts, and without one the whole message. Protocol `tools`: one JSON call of `submit_fix(code)`.

    ## Observation Space
    Text: the broken function with its module and name. After a wrong fix, the first call that goes wrong with its
    expected and its actual result, or the error, cut after 800 characters.

    ## Rewards
    `outcome`: 1 if every call gives what the original gives (for functions without calls: if the syntax tree is the
    original's), else 0. `shaping=w` adds to an episode that ends without success w x how far the text has come from
    the broken function to the original by edit similarity (0 for a copy of the broken one). `progress` adds the change
    of γ^(turns the expert still needs).

    ## Starting State
    The task is drawn from the split with the environment's own generator, or chosen by `options={"task": …}`.

    ## Episode End
    Termination: a fix is accepted.
    Truncation: the turn limit is reached (1 unless `max_turns` says otherwise: more turns are turns with feedback).

    ## Arguments
    | name | default | meaning |
    |---|---|---|
    | `source` | `"builtin"` | the only one: the data behind the paper's table were never published |
    | `split` | `"train"` | `train`, `dev` or `test`; they share no module of the library |
    | `protocol` | `"text"` | or `"tools"` |
    | `memory` | `"dual"` | a `MemoryConfig`, or None for the bare text |
    | `reward` | `"outcome"` | or `"progress"`, with `discount` as its γ |
    | `max_turns` | None | turns per episode |
    | `hint` | False | show at once what goes wrong with the broken function |
    | `names` | `"original"` | or `"renamed"`: other names of variables, for models that know the library by heart |
    | `shaping` | 0.0 | weight of the gained edit similarity, 0 to 1 |
    | `task_seed` | 0 | which builtin tasks |

    ## Example Episode
    ```
    The function leapdays of the module calendar is broken. Correct it.
    … y1 -= 1 … return (y2//4 - y1//4) - (y2//100 + y1//100) + (y2//400 - y1//400)
    > ```python
      def leapdays(y1, y2): …
      ```
    The function is right.
    ```

    ## Source
    Table 1 of CMAT (Liang et al., 2024) reports "code correction" by BLEU-4 and ROUGE, without data or prompts.

    ## Differences from the Source
    - Everything: the domain is ours by definition, and its figures must never share a column with the published ones.
    - What counts is whether the function works. `cmat_gym.evaluation.code_table` prints BLEU-4 and ROUGE beside it,
      with the score of the unchanged broken function, which is high.
    - Results are compared outside of the sandbox: what the calls should give is not known where the code runs.
    - Task texts depend on the version of Python; functions whose text is unknown are in no evaluation split.
    """

    domain = "code_correction"
    tools = (Tool("submit_fix", prompts.SUBMIT_TOOL, {"code": prompts.SUBMIT_CODE}),)

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
        hint: bool = False,
        names: str = "original",
        shaping: float = 0.0,
        task_seed: int = 0,
    ) -> None:
        choose("backend", backend or "namespace", ["namespace"])
        if not 0.0 <= shaping <= 1.0:
            raise UsageError(f"shaping must lie in [0, 1], got {shaping}")
        super().__init__(
            open_tasks(source, task_seed, names),
            split=split,
            protocol=protocol,
            reward=reward,
            max_turns=max_turns,
            discount=discount,
            render_mode=render_mode,
        )
        open_sandbox()
        self.hint = hint
        self.shaping = shaping
        self._payload: dict[str, Any] = {}
        self._submission: Submission | None = None
        self._verdict: Score | None = None

    @property
    def system_prompt(self) -> str:
        """What the agent must know, in the chosen protocol."""
        return prompts.TOOLS_SYSTEM_PROMPT if self.protocol == "tools" else prompts.TEXT_SYSTEM_PROMPT

    # The dynamics -----------------------------------------------------------------------------------------------------

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take one turn; see `TextEnv.step`. `shaping` pays at the end for a text that has only come nearer."""
        observation, reward, terminated, truncated, info = super().step(action)
        if self.shaping and truncated and self._submission is not None and not info["success"]:
            reward += self.shaping * similarity_gain(self._payload, self._submission.code)
        return observation, reward, terminated, truncated, info

    def _begin(self, task: Task) -> str:
        self._payload = dict(task.payload)
        self._submission = self._verdict = None
        if not self.hint:
            return task.instruction
        return task.instruction + prompts.HINT.format(failure=prompts.cut(self._first_hint()))

    def _read(self, action: str) -> Call:
        if self.protocol == "tools":
            return super()._read(action)
        return self._parse(action)

    def _parse(self, action: str) -> Call:
        return Call("submit_fix", {"code": extract_code(action)})

    def _apply(self, call: Call) -> Outcome:
        code = str(call.arguments["code"])
        if not code.strip():
            raise InvalidAction(prompts.EMPTY)
        if len(code) > LONGEST_CODE:
            raise InvalidAction(prompts.TOO_LONG.format(length=len(code), limit=LONGEST_CODE))
        self._verdict = None
        self._submission = self._run(code)
        if self._score().success:
            return Outcome(prompts.ACCEPTED, terminated=True)
        failure = prompts.cut(self._failure(self._submission))
        return Outcome(prompts.WRONG.format(failure=failure), valid=not self._submission.problem)

    def _run(self, code: str) -> Submission:
        problem = read_problem(code, self._payload["qualname"].rpartition(".")[2])
        if problem or not self._payload["tests"]:
            return Submission(code, problem)
        function = find_function(f"{self._payload['module']}.{self._payload['qualname']}")
        report = judge(function, code, tuple(test[0] for test in self._payload["tests"]))
        return Submission(code, "", report.error, tuple((kind, text) for kind, text in report.outcomes))

    def _score(self) -> Score:
        if self._verdict is None:
            self._verdict = score_code(self._payload, self._submission)
        return self._verdict

    # What the agent is told -------------------------------------------------------------------------------------------

    def _failure(self, submission: Submission) -> str:
        if submission.problem:
            return submission.problem
        if submission.error:
            return prompts.NOT_IMPORTED.get(submission.error, prompts.IMPORT_ERROR.format(name=submission.error))
        found = first_failure(self._payload, submission)
        return prompts.NOT_THE_SAME if found is None else failed_test(*found)

    def _first_hint(self) -> str:
        """What goes wrong with the broken function."""
        broken, failing = self._payload["broken"], self._payload["failing"]
        problem = read_problem(broken, self._payload["qualname"].rpartition(".")[2])
        if problem or failing is None:
            return problem or prompts.NOT_THE_SAME
        source, kind, text = failing
        expected = next(test for test in self._payload["tests"] if test[0] == source)
        return failed_test(expected, (kind, text))

    def _render(self, call: Call) -> str:
        return prompts.BLOCK.format(code=call.arguments["code"])

    def _admissible(self) -> list[Call]:
        """Two texts that are functions, to start from: the broken one, where it parses, and one that does nothing."""
        name = self._payload["qualname"].rpartition(".")[2]
        broken = self._payload["broken"].rstrip("\n")
        codes = [prompts.STUB.format(name=name), *([] if read_problem(broken, name) else [broken])]
        return [Call("submit_fix", {"code": code}) for code in codes]

    def summary(self) -> str:
        """Whether the last fix was accepted."""
        return prompts.SUMMARY_RIGHT if self._score().success else prompts.SUMMARY_WRONG

    # State and expert -------------------------------------------------------------------------------------------------

    def _get_state(self) -> Any:
        submission = self._submission
        if submission is None:
            return None
        return [submission.code, submission.problem, submission.error, [list(pair) for pair in submission.outcomes]]

    def _set_state(self, state: Any) -> None:
        self._verdict = None
        self._submission = None
        if state is not None:
            code, problem, error, outcomes = state
            self._submission = Submission(code, problem, error, tuple((kind, text) for kind, text in outcomes))

    def _expert(self) -> Call:
        return CodeCorrectionExpert(self._payload).next_call()

    def expert_thought(self) -> str:
        """Where the first mistake is."""
        return CodeCorrectionExpert(self._payload).thought()

    def _cost_to_go(self) -> float:
        return 0.0 if self._score().success else 1.0


def extract_code(message: str) -> str:
    """The last fenced block of a message; without one, the action of a `Thought:`/`Action:` text, or all of it.

    Raises:
        InvalidAction: A thought without an action, or several actions.
    """
    blocks = _FENCE.findall(message)
    return blocks[-1].rstrip("\n") if blocks else split_thought(message)[1]


def read_problem(code: str, name: str) -> str:
    """Why a text cannot stand for the function, before anything of it is run; empty where it can."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
    except SyntaxError as error:
        return prompts.SYNTAX_ERROR.format(line=error.lineno, message=error.msg)
    except (ValueError, RecursionError, MemoryError):
        return prompts.NOT_PYTHON
    if not any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body):
        return prompts.NO_FUNCTION.format(name=name)
    return ""


def failed_test(test: list[str], outcome: tuple[str, str]) -> str:
    """A test that fails, in words."""
    source, *wanted = test
    shown = [prompts.RAISES.format(name=text) if kind == "error" else text for kind, text in (wanted, outcome)]
    return prompts.FAILED_TEST.format(source=source, expected=shown[0], got=shown[1])


def submitted_code(action: str, protocol: str) -> str:
    """The code in an action, as it was read in the episode; empty where there was none."""
    try:
        if protocol == "tools":
            return str(parse_tool_call(action, {tool.name: tool for tool in CodeCorrectionEnv.tools}).arguments["code"])
        return extract_code(action)
    except InvalidAction:
        return ""
