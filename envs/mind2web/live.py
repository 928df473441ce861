"""Live sites: every action changes the page, and the site's final state decides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cmat_gym.core.env import Outcome
from cmat_gym.core.errors import InvalidAction
from cmat_gym.core.protocol import Call, Tool
from cmat_gym.core.task import Score, Task
from cmat_gym.envs.mind2web import prompts
from cmat_gym.envs.mind2web.backend import Mind2WebBackend, Move, Visit, document, open_visit
from cmat_gym.envs.mind2web.dom import Element, filled_document, options_of, value_of
from cmat_gym.envs.mind2web.expert import Mind2WebExpert, Step
from cmat_gym.envs.mind2web.generator import LiveTask, live_task
from cmat_gym.envs.mind2web.play import Play
from cmat_gym.envs.mind2web.records import Db, Facts, facts
from cmat_gym.envs.mind2web.scorer import score_mind2web

__all__ = ["ACT_TOOL", "LivePlay", "parse_act", "write_act"]

_ACT = re.compile(r"(CLICK|TYPE|SELECT) +\[([0-9]{1,5})\](?: +(.*))?")
_FINISH = re.compile(r"FINISH(?: +(.*))?")
# What in an instruction may be typed, and what on a page may be an answer.
_TYPABLE = re.compile(r"'([^']+)'|\b(\d[\d.:-]*\d|\d)\b")
_ANSWERS = re.compile(
    r"\$\d+\.\d\d|\b555-\d{3}-\d{4}\b|\b\d{4}-\d\d-\d\d\b|\b\d\d:\d\d\b|\b[A-Z]\d{3}\b|\b\d+(?= minutes)"
    r"|\b[A-Z][a-z]+ [A-Z][a-z]*\b|\bStudio|\bLibrary|\bOnline"
)

ACT_TOOL = Tool(
    "act",
    prompts.ACT_TOOL,
    {"element": prompts.ACT_ELEMENT, "op": prompts.ACT_OP, "value": prompts.ACT_VALUE},
    {"element": "integer"},
)


def parse_act(action: str) -> Call | None:
    """`CLICK [3]`, `TYPE [3] text` or `SELECT [3] option` as a call of `act`; None for anything else."""
    match = _ACT.fullmatch(action)
    if match is None:
        return None
    return Call("act", {"element": int(match[2]), "op": match[1], "value": match[3] or ""})


def write_act(call: Call) -> str:
    """The inverse of `parse_act`."""
    arguments = call.arguments
    return f"{arguments['op']} [{arguments['element']}] {arguments['value']}".rstrip()


class LivePlay(Play):
    """A task on a live site.

    Args:
        backend: The browser.
        observation_mode: `text` or `axtree`.
        budget: Greatest number of characters of a page.
    """

    tools: tuple[Tool, ...] = (
        ACT_TOOL,
        Tool("back", prompts.BACK_TOOL),
        Tool("finish", prompts.FINISH_TOOL, {"answer": prompts.FINISH_ANSWER}),
    )
    text_prompt = prompts.LIVE_TEXT_PROMPT
    tools_prompt = prompts.LIVE_TOOLS_PROMPT

    def __init__(self, backend: Mind2WebBackend, observation_mode: str, budget: int | None) -> None:
        self.backend = backend
        self.observation_mode = observation_mode
        self.budget = budget
        self._answer: str | None = None
        self._instruction = ""
        self._start: Facts = {}
        self._scored: tuple[Db, str | None, Score] | None = None
        self._typable: list[str] = []

    # The dynamics -----------------------------------------------------------------------------------------------------

    def begin(self, task: Task) -> str:
        self.task: LiveTask = live_task(task.payload)
        visit = open_visit(self.task.site)
        self.backend.go_to(self.task.site, visit)
        self._answer, self._scored, self._instruction = None, None, task.instruction
        self._start = facts(visit.db)
        self._typable = list(dict.fromkeys(quoted or bare for quoted, bare in _TYPABLE.findall(task.instruction)))
        self._expert = Mind2WebExpert(*self.task)
        return self._observe()

    def _observe(self) -> str:
        task = prompts.TASK.format(task=self._instruction)
        if self._answer is not None:
            return f"{task}\n{prompts.FINISHED}"
        page, visit = self.backend.page(), self.backend.visit
        write = page.tree if self.observation_mode == "axtree" else page.text
        head = prompts.PAGE.format(title=page.title, path=visit.url.partition("?")[0])
        return f"{task}\n{head}\n{write(visit.fields, self.budget)}"

    def parse(self, action: str) -> Call:
        if (call := parse_act(action)) is not None:
            return call
        if action == "BACK":
            return Call("back")
        if (match := _FINISH.fullmatch(action)) is not None:
            return Call("finish", {"answer": match[1] or ""})
        raise InvalidAction(prompts.WRONG_FORM)

    def write(self, call: Call) -> str:
        if call.name == "act":
            return write_act(call)
        return "BACK" if call.name == "back" else f"FINISH {call.arguments['answer']}".rstrip()

    def apply(self, call: Call) -> Outcome:
        arguments = call.arguments
        if call.name == "finish":
            self._answer = arguments["answer"]
            return Outcome(self._observe(), terminated=True)
        if call.name == "back":
            self.backend.act(Move("BACK"))
        else:
            op, value = arguments["op"], arguments["value"]
            if op not in ("CLICK", "TYPE", "SELECT"):
                raise InvalidAction(prompts.UNKNOWN_OP)
            if op == "CLICK" and value:
                raise InvalidAction(prompts.NO_VALUE)
            self.backend.act(Move(op, arguments["element"], value))
        return Outcome(self._observe())

    def score(self) -> Score:
        db = self.backend.visit.db
        if self._scored is None or self._scored[0] is not db or self._scored[1] != self._answer:
            score = score_mind2web(self._start, facts(db), self.task.goal, self._answer)
            details = {"reached": score.reached, "wanted": score.wanted, "spoilt": score.spoilt}
            self._scored = db, self._answer, Score(score.value, score.success, details)
        return self._scored[2]

    def get_state(self) -> Any:
        return {**self.backend.visit.to_json(), "answer": self._answer}

    def set_state(self, state: Any) -> None:
        self.backend.go_to(self.task.site, Visit.from_json(state))
        self._answer = state["answer"]

    # What can be done -------------------------------------------------------------------------------------------------

    def admissible(self) -> list[Call]:
        """Clicks, options, and for fields what the instruction names; answers are listed where a question is asked."""
        page, visit = self.backend.page(), self.backend.visit
        calls = [call for element in page.elements for call in self._uses(element)]
        if visit.back:
            calls.append(Call("back"))
        answers = list(dict.fromkeys(_ANSWERS.findall(page.text({})))) if self.task.goal.answer else [""]
        return [*calls, *(Call("finish", {"answer": answer}) for answer in answers)]

    def _uses(self, element: Element) -> Iterator[Call]:
        fields = self.backend.visit.fields
        if element.role in ("text", "area"):
            values, op = self._typable, "TYPE"
        elif element.role == "select":
            now = value_of(element, fields)
            values, op = [label for value, label in options_of(element) if value != now], "SELECT"
        else:
            values, op = [""], "CLICK"
        for value in values:
            yield Call("act", {"element": element.ref, "op": op, "value": value})

    # The expert -------------------------------------------------------------------------------------------------------

    def _next(self) -> Step:
        return self._expert.next_step(self.backend.visit)

    def expert(self) -> Call:
        op, ref, value = self._next().move
        return (
            Call("finish", {"answer": value})
            if op == "FINISH"
            else Call("act", {"element": ref, "op": op, "value": value})
        )

    def thought(self) -> str:
        return self._next().thought

    def cost_to_go(self) -> float:
        if self._answer is not None:
            return 0.0 if self.score().success else float("inf")
        return self._expert.cost_to_go(self.backend.visit)

    def summary(self) -> str:
        if self._answer is not None:
            return prompts.SUMMARY_DONE
        visit = self.backend.visit
        return prompts.SUMMARY_FIELD if visit.fields else prompts.SUMMARY_PAGE.format(title=self.backend.page().title)

    def page_html(self) -> str | None:
        visit = self.backend.visit
        return filled_document(document(self.backend.site, visit.db, visit.url), visit.fields)

    def screenshot(self) -> Any:
        return self.backend.screenshot()

    def close(self) -> None:
        self.backend.close()
