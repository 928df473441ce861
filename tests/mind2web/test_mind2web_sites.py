"""Every kind of site and every errand on it: solvable, strict, reproducible, never shared between splits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmat_gym.core.dice import Dice
from cmat_gym.core.errors import InvalidAction, TaskError, UnknownNameError
from cmat_gym.core.task import Task
from cmat_gym.envs.mind2web.backend import Move, Visit, act, look, open_visit
from cmat_gym.envs.mind2web.dom import options_of
from cmat_gym.envs.mind2web.expert import Mind2WebExpert
from cmat_gym.envs.mind2web.generator import SIZES, BuiltinWebTasks, LiveTask, live_task, request_split
from cmat_gym.envs.mind2web.records import facts
from cmat_gym.envs.mind2web.scorer import score_mind2web
from cmat_gym.envs.mind2web.sites.table import SITES, open_site

ERRANDS = [(kind, name) for kind, site in SITES.items() for name in site.errands]
every_errand = pytest.mark.parametrize(("kind", "name"), ERRANDS)


@cache
def drawn(kind: str, name: str, count: int = 6) -> tuple[LiveTask, ...]:
    tasks = []
    for seed in range(count):
        site = open_site(kind, 1000 + seed)
        errand = site.errands[name]
        params = errand.draw(site, Dice(seed, 5))
        tasks.append(LiveTask(site, errand, params, errand.goal(site, params)))
    return tuple(tasks)


def solve(task: LiveTask, visit: Visit | None = None) -> tuple[list[Move], list[Visit]]:
    """The expert's moves and the visits they lead through; the last move is FINISH."""
    expert = Mind2WebExpert(*task)
    visits = [visit or open_visit(task.site)]
    moves: list[Move] = []
    while not moves or moves[-1].op != "FINISH":
        moves.append(expert.next_step(visits[-1]).move)
        if moves[-1].op != "FINISH":
            visits.append(act(task.site, visits[-1], moves[-1]))
        assert len(moves) < 40
    return moves, visits


def grade(task: LiveTask, visit: Visit, answer: str | None = "") -> float:
    start = facts(open_visit(task.site).db)
    return score_mind2web(start, facts(visit.db), task.goal, answer).value


def test_there_are_thirteen_kinds_with_errands_of_all_levels() -> None:
    assert len(SITES) == 13
    assert {errand.level for site in SITES.values() for errand in site.errands.values()} == {1, 2, 3}
    with pytest.raises(UnknownNameError, match=r"shopp.*Did you mean 'shop'"):
        open_site("shopp", 0)


@every_errand
def test_the_gold_walk_scores_one_and_the_empty_one_zero(kind: str, name: str) -> None:
    for task in drawn(kind, name):
        moves, visits = solve(task)
        assert grade(task, visits[-1], moves[-1].value) == 1.0
        start = facts(visits[0].db)
        assert task.goal.answer or any(start.get(fact) != value for fact, value in task.goal.changes.items())
        for answer in (None, "", "yes", "done"):
            assert grade(task, visits[0], answer) == 0.0
        assert Mind2WebExpert(*task).cost_to_go(visits[0]) == len(moves)


@every_errand
def test_near_misses_fail(kind: str, name: str) -> None:
    """One wrong fact, one missing, one too many, or one move left out: no success."""
    for task in drawn(kind, name):
        moves, visits = solve(task)
        end = facts(visits[-1].db)
        start = facts(visits[0].db)
        answer = moves[-1].value
        for fact, value in task.goal.changes.items():
            wrong = "something else" if value is None or isinstance(value, str) else value + 1
            for change in ({fact: wrong}, {fact: None}) if value is not None else ({fact: wrong},):
                bad = {k: v for k, v in {**end, **change}.items() if v is not None}
                score = score_mind2web(start, bad, task.goal, answer)
                assert not score.success
                assert score.value < 1
        assert not score_mind2web(start, {**end, "extra/1": "x"}, task.goal, answer).success
        if task.goal.answer:
            assert not score_mind2web(start, end, task.goal, answer + "0").success
            return
        for skipped in range(len(moves) - 1):
            visit = visits[0]
            for move in [*moves[:skipped], *moves[skipped + 1 : -1]]:
                try:
                    visit = act(task.site, visit, move)
                except InvalidAction:
                    continue
            if facts(visit.db) != end:
                assert grade(task, visit) < 1.0


@every_errand
def test_the_outcome_of_another_request_fails(kind: str, name: str) -> None:
    """Requests in other words have other outcomes: no question has two right answers on one site."""
    site = open_site(kind, 1001)
    errand = site.errands[name]
    outcomes: dict[str, set[str]] = defaultdict(set)
    for seed in range(30):
        params = errand.draw(site, Dice(seed, 6))
        goal = errand.goal(site, params)
        outcomes[errand.wordings[0].format(**params)].add(json.dumps([dict(goal.changes), goal.answer], sort_keys=True))
    assert all(len(goals) == 1 for goals in outcomes.values()), "equal words, different outcomes"
    one, other = drawn(kind, name, 2)[1], None
    for seed in range(30):
        params = errand.draw(one.site, Dice(seed, 8))
        goal = errand.goal(one.site, params)
        if goal != one.goal:
            other = LiveTask(one.site, errand, params, goal)
            break
    assert other is not None
    moves, visits = solve(other)
    assert grade(one, visits[-1], moves[-1].value) < 1.0


@every_errand
def test_wordings_say_everything_that_is_graded(kind: str, name: str) -> None:
    """Every value that a text field must hold stands in every wording of the request, or already on the form."""
    for task in drawn(kind, name):
        moves, visits = solve(task)
        for wording in task.errand.wordings:
            request = wording.format(**task.params).casefold()
            for move, visit in zip(moves, visits, strict=True):
                if move.op == "TYPE":
                    words = re.findall(r"\w+", move.value.casefold())
                    page = look(task.site, visit).text(visit.fields).casefold()
                    assert all(word in request or word in page for word in words), (request, move.value)


@pytest.mark.parametrize("kind", SITES)
def test_pages_are_small_and_hold_no_foreign_markup(kind: str) -> None:
    """A walk over a whole site: no page is over the budget, and none runs a script or leaves the site."""
    site = open_site(kind, 77)
    seen, todo = set(), [Visit({**site.open(), "_popup": ""})]
    while todo and len(seen) < 150:
        visit = todo.pop(0)
        if visit.url in seen:
            continue
        seen.add(visit.url)
        page = look(site, visit)
        text = page.text(visit.fields)
        assert "Not found" not in page.title, visit.url
        assert len(text) < 2300, f"{visit.url} has {len(text)} characters"
        assert len(text.split()) < 300
        assert not page.root.xpath("//script | //iframe | //img")
        for link in page.links():
            assert link.node.get("href").startswith("/")
            todo.append(act(site, visit, Move("CLICK", link.ref)))
        for button in page.elements:
            if button.role == "button" and page.form_of[button.ref].get("method") == "get":
                todo.append(act(site, visit, Move("CLICK", button.ref)))
    assert len(seen) > 7


@pytest.mark.parametrize("kind", SITES)
def test_random_play_never_breaks_a_site(kind: str) -> None:
    """Buttons, options and texts at random, in any order: always a page, and nothing typed becomes markup."""
    texts = ["<b>x</b>", "'; --", "", "Ida Olsen", "-1", "99999999999", "\u0660\u0661", "a@b", "[1] button", "100.001"]
    for seed in range(6):
        site, dice = open_site(kind, 500 + seed), Dice(seed, 9)
        visit = open_visit(site)
        for _ in range(60):
            page = look(site, visit)
            element = dice.pick(page.elements)
            if element.role == "select":
                move = Move("SELECT", element.ref, dice.pick(options_of(element))[1])
            elif element.role in ("text", "area"):
                move = Move("TYPE", element.ref, dice.pick(texts))
            else:
                move = Move("BACK") if dice.chance(0.1) and visit.back else Move("CLICK", element.ref)
            visit = act(site, visit, move)
            assert json.loads(json.dumps(visit.to_json())) == visit.to_json()
            assert Visit.from_json(json.loads(json.dumps(visit.to_json()))) == visit
            assert not look(site, visit).root.xpath("//b")


def test_acting_leaves_the_visit_before_unchanged() -> None:
    for kind, name in ERRANDS:
        task = drawn(kind, name)[0]
        moves, visits = solve(task)
        kept = [json.dumps(visit.to_json()) for visit in visits]
        for move, visit in zip(moves[:-1], visits, strict=False):
            act(task.site, visit, move)
        assert [json.dumps(visit.to_json()) for visit in visits] == kept


@given(st.text(max_size=30).filter(str.isprintable))
@settings(max_examples=60, deadline=None)
def test_typed_text_comes_back_as_text(text: str) -> None:
    site = open_site("forum", 4)
    visit = Visit({**site.open(), "_popup": ""}, "/topic/1")
    page = look(site, visit)
    area = next(element for element in page.elements if element.role == "area")
    button = next(element for element in page.elements if element.name == "Send reply")
    visit = act(site, act(site, visit, Move("TYPE", area.ref, text)), Move("CLICK", button.ref))
    posts = list(visit.db["posts"].values())
    assert [post["text"] for post in posts] == ([text.strip()] if text.strip() else [])


# Tasks ----------------------------------------------------------------------------------------------------------------

TASKS = BuiltinWebTasks()


@pytest.fixture(scope="module")
def tasks() -> dict[str, list[Task]]:
    return {split: TASKS.split(split)[: 260 if split != "train" else 600] for split in SIZES}


def test_no_site_and_no_request_is_in_two_splits(tasks: dict[str, list[Task]]) -> None:
    sites: dict[Any, str] = {}
    requests: dict[Any, str] = {}
    for split, listed in tasks.items():
        for task in listed:
            payload = task.payload
            words = live_task(payload).errand.wordings[0].format(**payload["params"])
            assert sites.setdefault((payload["site"], payload["seed"]), split) == split
            assert requests.setdefault((payload["site"], payload["errand"], words), split) == split
            assert request_split(payload["site"], payload["errand"], words) == split


def test_sites_of_different_seeds_have_different_content() -> None:
    for kind in SITES:
        pages = {look(site, Visit({**site.open(), "_popup": ""})).text({}) + repr(vars(site)) for site in
                 (open_site(kind, seed) for seed in range(30))}  # fmt: skip
        assert len(pages) == 30


def test_panels_go_round_all_errands_and_training_leans_to_the_easy_ones(tasks: dict[str, list[Task]]) -> None:
    for split in ("dev", "test"):
        assert {(task.payload["site"], task.payload["errand"]) for task in tasks[split]} == set(ERRANDS)
        assert len({task.content_hash() for task in tasks[split]}) == len(tasks[split])
    levels = [live_task(task.payload).errand.level for task in tasks["train"]]
    assert levels.count(1) > levels.count(2) > levels.count(3) > 60
    assert len({task.instruction for task in tasks["train"]}) > 550


def test_the_manifest_is_the_committed_one() -> None:
    text = files("cmat_gym.envs.mind2web").joinpath("data/manifest.json").read_text(encoding="utf-8")
    for split, (size, sha256) in ((name, row.values()) for name, row in json.loads(text).items()):
        assert TASKS.split(split).manifest(size) == (size, sha256)


def test_equal_ids_are_equal_tasks_in_another_process() -> None:
    program = (
        "from cmat_gym.envs.mind2web.generator import BuiltinWebTasks as T\n"
        "t = T(3); print([t.split(s).manifest(40).sha256 for s in ('train', 'dev', 'test')])"
    )
    here = BuiltinWebTasks(3)
    expected = str([here.split(split).manifest(40).sha256 for split in ("train", "dev", "test")])
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == expected


def test_a_foreign_payload_is_refused() -> None:
    with pytest.raises(TaskError, match="errand"):
        live_task({"site": "shop", "seed": 1})
