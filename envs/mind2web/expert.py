"""The oracle of live sites: follows the marks of an errand's plan on the page at hand.

A plan lists marks from the first to the last; on any page the last one that can be acted on is next, and from a page
without any the way leads over the home page. What a wrong turn left in a form is put back before the form is sent. The
cost to go is found by walking the plan to its end on a copy of the visit; walks are remembered, so that the way of one
episode is walked once.
"""

from __future__ import annotations

import json
import math
from typing import NamedTuple
from urllib.parse import urlsplit

from cmat_gym.core.errors import InvalidAction
from cmat_gym.envs.mind2web import prompts
from cmat_gym.envs.mind2web.backend import Move, Visit, act, look, open_visit
from cmat_gym.envs.mind2web.dom import Element, Page, default_value, options_of, value_of
from cmat_gym.envs.mind2web.records import Follow, Goal, Params, Read, Stage, Submit, Turn
from cmat_gym.envs.mind2web.scorer import goal_reached
from cmat_gym.envs.mind2web.sites.base import POPUP, Errand, Site

__all__ = ["Mind2WebExpert", "Step"]

LONGEST_WALK = 60  # moves; a plan that takes more leads nowhere


class Step(NamedTuple):
    """What to do next and why; `op` FINISH ends the task."""

    move: Move
    thought: str


class Mind2WebExpert:
    """Solves one errand on one site. Every answer is a function of the visit.

    Args:
        site: The site; only read.
        errand: The kind of errand.
        params: What it is about.
        goal: When it is done.
    """

    def __init__(self, site: Site, errand: Errand[Site], params: Params, goal: Goal) -> None:
        self.site = site
        self.errand = errand
        self.params = params
        self.goal = goal
        self._start = open_visit(site).db
        self._costs: dict[str, float] = {}

    def next_step(self, visit: Visit) -> Step:
        """The next move from a visit, whatever came before."""
        page = look(self.site, visit)
        if visit.db["_popup"]:
            return _submit(page, visit, Submit(POPUP, button=prompts.POPUP_ANSWERS[visit.db["_popup"]])) or _home(page)
        if self.goal.changes and goal_reached(self._start, visit.db, self.goal):
            return Step(Move("FINISH"), prompts.THINK_DONE)
        stages = self.errand.plan(self.site, visit.db, self.params)
        for stage in reversed(stages):
            step = self._on(page, visit, stage)
            if step is not None:
                return step
        return _home(page)

    def cost_to_go(self, visit: Visit) -> float:
        """Number of moves to the end of the task with full score; infinity where the plan does not lead there."""
        walked: list[str] = []
        for _ in range(LONGEST_WALK):
            key = json.dumps(visit.to_json(), sort_keys=True)
            if key in self._costs:
                rest = self._costs[key]
                break
            walked.append(key)
            step = self.next_step(visit)
            if step.move.op == "FINISH":
                rest = 0.0 if goal_reached(self._start, visit.db, self.goal) else math.inf
                rest += 1
                self._costs[walked.pop()] = rest
                break
            try:
                visit = act(self.site, visit, step.move)
            except InvalidAction:
                rest = math.inf
                break
        else:
            rest = math.inf
        for key in reversed(walked):
            rest += 1
            self._costs[key] = rest
        return rest

    def _on(self, page: Page, visit: Visit, stage: Stage) -> Step | None:
        match stage:
            case Follow(href):
                return _follow(page, href)
            case Turn(path, target):
                return _turn(page, target) if urlsplit(visit.url).path == path else None
            case Submit():
                return _submit(page, visit, stage)
            case Read(href):
                if visit.url == href:
                    return Step(Move("FINISH", value=self.goal.answer), prompts.THINK_ANSWER)
                return None


def _click(element: Element, thought: str) -> Step:
    return Step(Move("CLICK", element.ref), thought)


def _home(page: Page) -> Step:
    return next(_click(link, prompts.THINK_HOME) for link in page.links() if link.node.get("href") == "/")


def _follow(page: Page, href: str) -> Step | None:
    for link in page.links():
        if link.node.get("href") == href:
            return _click(link, prompts.THINK_FOLLOW.format(name=prompts.few_words(link.name)))
    return None


def _turn(page: Page, target: str) -> Step | None:
    """Towards `target` in a sorted sequence of pages; without one, forward."""
    marks = page.root.xpath("//*[@data-at]")
    if not marks:
        return None
    rel = "prev" if target and marks[0].get("data-at") > target else "next"
    return next((_click(link, prompts.THINK_TURN) for link in page.links() if link.node.get("rel") == rel), None)


def _submit(page: Page, visit: Visit, stage: Submit) -> Step | None:
    """Set the form's fields one by one, then press its button."""
    form = next((form for form in page.root.iter("form") if form.get("action") == stage.action), None)
    if form is None:
        return None
    button: Element | None = None
    for element in page.controls(form):
        if element.role == "button":
            if button is None and stage.button in ("", element.name):
                button = element
        elif (step := _fill(element, visit, stage)) is not None:
            return step
    return None if button is None else _click(button, prompts.THINK_SUBMIT.format(name=prompts.few_words(button.name)))


def _fill(element: Element, visit: Visit, stage: Submit) -> Step | None:
    """The move that brings a control to what the stage wants of it; None if it is so already."""
    wanted = stage.fields.get(element.node.get("name") or "", None)
    default, now = default_value(element.node), value_of(element, visit.fields)
    if element.role == "radio":
        value = element.node.get("value")
        on = default if wanted is None else ("on" if value == wanted else "")
        return (
            _click(element, prompts.THINK_PICK.format(name=prompts.few_words(element.name))) if on and not now else None
        )
    target = default if wanted is None else wanted
    if now == target:
        return None
    if element.role == "checkbox":
        return _click(element, prompts.THINK_TICK.format(name=prompts.few_words(element.name)))
    thought = prompts.THINK_FILL.format(name=prompts.few_words(element.name), value=prompts.few_words(target))
    if element.role == "select":
        label = next(label for value, label in options_of(element) if value == target)
        return Step(Move("SELECT", element.ref, label), thought)
    return Step(Move("TYPE", element.ref, target), thought)
