"""Recorded steps: the page does not change by what is answered. Three interfaces, two ways to go on.

`elements`: the page with the candidates, one direct action. `single`: all candidates as choices. `tournament`:
AgentBench's rounds of five. Teacher-forced, every step is asked with the recorded actions before it; free-running, the
agent reads its own, and its first wrong step ends the task, since the page it would lead to was never recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cmat_gym.core.dice import Dice
from cmat_gym.core.env import Outcome
from cmat_gym.core.errors import InvalidAction
from cmat_gym.core.protocol import Call, Tool
from cmat_gym.core.task import Score, Task
from cmat_gym.envs.mind2web import prompts
from cmat_gym.envs.mind2web.live import ACT_TOOL, parse_act, write_act
from cmat_gym.envs.mind2web.play import Play
from cmat_gym.envs.mind2web.pruning import PrunedPage, prune
from cmat_gym.envs.mind2web.recorded import Record, RecordedStep, action_text
from cmat_gym.envs.mind2web.scorer import StepResult, score_step, score_steps

__all__ = ["INTERFACES", "RecordPlay", "parse_answer", "rounds_needed"]

INTERFACES = ("elements", "single", "tournament")
ROUND = 5
HISTORY = 5  # previous actions that are shown

_ANSWER = re.compile(r"Answer: (A|B|C|D|E|F)")
_ANY_ANSWER = re.compile(r"Answer: ([A-Z])")
_OPERATION = re.compile(r"Action: (CLICK|SELECT|TYPE)")
_VALUE = re.compile(r"Value: (.*)$", re.MULTILINE)


def parse_answer(text: str, letters: re.Pattern[str] = _ANSWER) -> tuple[str, str, str]:
    """Letter, operation and value of an answer, by the benchmark's rules: no letter is A, no operation is empty."""
    letter, operation, value = letters.search(text), _OPERATION.search(text), _VALUE.search(text)
    return (letter[1] if letter else "A", operation[1] if operation else "", value[1].strip() if value else "")


def rounds_needed(candidates: int) -> int:
    """The most questions a tournament over so many candidates asks: a choice takes four out of the pool, A five."""
    return max(0, -(-(candidates - 1) // (ROUND - 1)))


class _State(NamedTuple):
    """Where a recorded task stands. `pool` and `prediction` belong to the tournament of the current step."""

    number: int = 0
    pool: tuple[str, ...] = ()
    prediction: tuple[str, str] = ("", "")
    results: tuple[StepResult, ...] = ()
    said: tuple[str, ...] = ()
    over: bool = False


class RecordPlay(Play):
    """A recorded task.

    Args:
        find: Gives the record that a task's payload names.
        interface: `elements`, `single` or `tournament`.
        teacher_forced: Whether previous actions are the recorded ones.
    """

    def __init__(self, find: Callable[[Mapping[str, Any]], Record], interface: str, teacher_forced: bool) -> None:
        self.find = find
        self.interface = interface
        self.teacher_forced = teacher_forced
        direct = interface == "elements"
        self.reads_whole_text = not direct
        act = (
            ACT_TOOL
            if direct
            else Tool("act", prompts.ACT_TOOL, {**ACT_TOOL.parameters, "element": prompts.ACT_LETTER})
        )
        self.tools = (act, Tool("none_of_above", prompts.NONE_TOOL))
        self.text_prompt = prompts.ELEMENTS_TEXT_PROMPT if direct else prompts.CHOICE_TEXT_PROMPT
        self.tools_prompt = prompts.ELEMENTS_TOOLS_PROMPT if direct else prompts.CHOICE_TOOLS_PROMPT

    # The dynamics -----------------------------------------------------------------------------------------------------

    def begin(self, task: Task) -> str:
        record = self.find(task.payload)
        only = task.payload.get("step")
        self.record = record
        self.offset = 0 if only is None else int(only)
        self.steps = record.steps if only is None else record.steps[self.offset : self.offset + 1]
        self.seed = [*task.id.encode()]
        self._state = self._enter(_State())
        return self._observe()

    @property
    def _step(self) -> RecordedStep:
        return self.steps[self._state.number]

    def _enter(self, state: _State) -> _State:
        """Go to the question of a step; tournaments of less than two candidates are never asked."""
        while state.number < len(self.steps):
            pool = self._shuffled(state.number) if self.interface == "tournament" else self.steps[state.number].pool
            if self.interface != "tournament" or len(pool) > 1:
                return state._replace(pool=pool, prediction=("", ""))
            state = self._close(state._replace(prediction=("", "")))
            if state.over:
                return state
        return state._replace(over=True, pool=())

    def _shuffled(self, number: int) -> tuple[str, ...]:
        """The pool in an order that depends on the task and the step alone."""
        pool = self.steps[number].pool
        return tuple(Dice(*self.seed, number).sample(pool, len(pool)))

    def _close(self, state: _State) -> _State:
        """Score the prediction of the current step and go on to the next."""
        step = self.steps[state.number]
        result = score_step(*state.prediction, step.positives, step.gold)
        said = self._in_words(state.prediction, step)
        over = not self.teacher_forced and not result.success
        return state._replace(
            number=state.number + 1, results=(*state.results, result), said=(*state.said, said), over=over
        )

    def _in_words(self, prediction: tuple[str, str], step: RecordedStep) -> str:
        """A prediction as later steps read it."""
        node, action = prediction
        if node in step.positives and action == step.gold:
            return step.text
        choice = next((c.text for c in prune(step.html, step.pool).choices if c.node == node), "")
        operation, _, value = action.partition(" ")
        return f"{choice} -> {operation}{': ' + value if value else ''}"

    def _page(self) -> PrunedPage:
        pool = self._state.pool[:ROUND] if self.interface == "tournament" else self._state.pool
        return prune(self._step.html, pool)

    def _observe(self) -> str:
        state = self._state
        if state.over:
            return f"{prompts.TASK.format(task=self.record.task)}\n{prompts.STEPS_OVER}"
        page = self._page()
        at = self.offset + state.number
        before = [step.text for step in self.record.steps[:at]] if self.teacher_forced else list(state.said)
        previous = "\n".join(before[-HISTORY:]) or prompts.NO_ACTIONS
        if self.interface == "elements":
            return prompts.DIRECT_QUESTION.format(task=self.record.task, previous=previous, page=page.text)
        lines = [f"{letter}. {choice.text}" for letter, choice in self._choices(page).items()]
        choices = "\n".join([prompts.NONE_OF_THE_ABOVE, *lines])
        return prompts.QUESTION.format(page=page.text, task=self.record.task, previous=previous, choices=choices)

    def _choices(self, page: PrunedPage) -> dict[str, Any]:
        return {chr(ord("B") + n): choice for n, choice in enumerate(page.choices)}

    # Actions ----------------------------------------------------------------------------------------------------------

    def parse(self, action: str) -> Call:
        if self.interface == "elements":
            if action == "NONE":
                return Call("none_of_above")
            if (call := parse_act(action)) is None:
                raise InvalidAction(prompts.WRONG_FORM_ELEMENTS)
            return call
        letter, operation, value = parse_answer(action, _ANSWER if self.interface == "tournament" else _ANY_ANSWER)
        if letter == "A":
            return Call("none_of_above")
        return Call("act", {"element": letter, "op": operation, "value": value})

    def write(self, call: Call) -> str:
        if call.name == "none_of_above":
            return "NONE" if self.interface == "elements" else "Answer: A."
        if self.interface == "elements":
            return write_act(call)
        arguments = call.arguments
        text = f"Answer: {arguments['element']}.\nAction: {arguments['op']}"
        return f"{text}\nValue: {arguments['value']}" if arguments["value"] else text

    def apply(self, call: Call) -> Outcome:
        if self._state.over:  # nothing was there to ask
            return Outcome(self._observe(), terminated=True)
        chosen = ("", "") if call.name == "none_of_above" else self._chosen(call)
        state = self._state
        if self.interface == "tournament":
            rest = state.pool[ROUND:]
            if chosen[0]:
                state = state._replace(pool=(*rest, chosen[0]), prediction=chosen)
            else:
                state = state._replace(pool=rest)
            if len(state.pool) > 1:
                self._state = state
                return Outcome(self._observe())
        else:
            state = state._replace(prediction=chosen)
        state = self._close(state)
        self._state = state._replace(pool=()) if state.over else self._enter(state)
        return Outcome(self._observe(), terminated=self._state.over)

    def _chosen(self, call: Call) -> tuple[str, str]:
        """The element and the action of an answer; an unknown letter chooses nothing, as in the benchmark."""
        element, operation, value = (call.arguments[key] for key in ("element", "op", "value"))
        choices = self._page().choices
        # The benchmark keeps whatever value stands beside a click; a click of ours never needs one.
        action = f"{operation} {value}".strip() if operation == "CLICK" else action_text(operation, value)
        if self.interface == "elements":
            if not 0 <= element < len(choices):
                last = len(choices) - 1
                raise InvalidAction(prompts.NOT_A_CANDIDATE.format(element=str(element)[:12], last=last))
            return choices[element].node, action
        choice = self._choices(self._page()).get(element)
        return ("", "") if choice is None else (choice.node, action)

    # Score, state and expert ------------------------------------------------------------------------------------------

    def score(self) -> Score:
        return score_steps(self._state.results, len(self.steps))

    def get_state(self) -> Any:
        state = self._state
        return {
            **state._asdict(),
            "pool": list(state.pool),
            "prediction": list(state.prediction),
            "results": [[r.element, r.f1] for r in state.results],
            "said": list(state.said),
        }

    def set_state(self, state: Any) -> None:
        results = tuple(StepResult(*result) for result in state["results"])
        parts = {key: tuple(state[key]) for key in ("pool", "prediction", "said")}
        self._state = _State(state["number"], **parts, results=results, over=state["over"])

    def admissible(self) -> list[Call] | None:
        """Values are free text, so the actions cannot be listed."""
        return None

    def _answer(self) -> str:
        """The name of a right choice among those of this question; empty where there is none."""
        page = self._page()
        right = [n for n, choice in enumerate(page.choices) if choice.node in self._step.positives]
        if not right:
            return ""
        return str(right[0]) if self.interface == "elements" else chr(ord("B") + right[0])

    def expert(self) -> Call:
        name = "" if self._state.over else self._answer()
        if not name:
            return Call("none_of_above")
        step = self._step
        value = "" if step.op == "CLICK" else step.value
        element: str | int = int(name) if self.interface == "elements" else name
        return Call("act", {"element": element, "op": step.op, "value": value})

    def thought(self) -> str:
        return prompts.THINK_NONE if self._state.over or not self._answer() else prompts.THINK_STEP

    def cost_to_go(self) -> float:
        state = self._state
        if state.over:
            return 0.0 if self.score().success else float("inf")
        if not all(result.success for result in state.results):
            return float("inf")
        left = range(state.number, len(self.steps))
        if not all(self.steps[n].positives for n in left):
            return float("inf")
        if self.interface != "tournament":
            return float(len(left))
        return float(sum(self._questions(n, state if n == state.number else None) for n in left))

    def _questions(self, number: int, state: _State | None) -> float:
        """How often a step's tournament asks when it is answered rightly; infinity where it cannot be won any more."""
        positives = self.steps[number].positives
        pool = self._shuffled(number) if state is None else state.pool
        chosen = state is not None and state.prediction[0] in positives
        chosen = chosen and state is not None and state.prediction[1] == self.steps[number].gold
        asked = 0
        while len(pool) > 1:
            asked += 1
            shown = [choice.node for choice in prune(self.steps[number].html, pool[:ROUND]).choices]
            right = next((node for node in shown if node in positives), None)
            pool = pool[ROUND:] if right is None else (*pool[ROUND:], right)
            chosen = chosen or right is not None
        return asked if chosen else float("inf")

    def summary(self) -> str:
        return prompts.SUMMARY_STEP.format(number=min(self._state.number + 1, len(self.steps)), count=len(self.steps))
