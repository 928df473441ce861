"""The real browser against the embedded one: equal observations, listed actions, states and scores, step by step."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.env import TextEnv, base_env
from cmat_gym.core.errors import BackendError
from cmat_gym.envs.mind2web.generator import BuiltinWebTasks
from cmat_gym.envs.mind2web.sites.table import SITES

MIND2WEB = "cmat/Mind2Web-v0"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("browser")]


@pytest.fixture(scope="module")
def pair(browser: str) -> Any:
    envs = [base_env(gym.make(MIND2WEB, memory=None, max_turns=100, backend=name)) for name in ("embedded", "chromium")]
    yield envs
    for env in envs:
        env.close()


def tasks_of(kind: str) -> list[Any]:
    """One task of the hardest errand of a kind, and one question."""
    panel = BuiltinWebTasks().split("dev")[:260]
    mine = [task for task in panel if task.payload["site"] == kind]
    hardest = max(mine, key=lambda task: SITES[kind].errands[task.payload["errand"]].level)
    return [hardest, next(task for task in mine if task.payload["goal"]["answer"])]


def wander(env: TextEnv, rng: np.random.Generator, info: dict[str, Any]) -> str:
    """The expert's action most of the time, else any listed one that does not end the task."""
    others = [action for action in info["admissible_actions"] if not action.startswith("FINISH")]
    return env.expert_action() if rng.random() < 0.75 else others[int(rng.integers(len(others)))]


@pytest.mark.parametrize("kind", SITES)
def test_recorded_walks_are_the_same_in_both(pair: list[TextEnv], kind: str) -> None:
    """Detours, refused actions and the way back included."""
    embedded, chromium = pair
    rng = np.random.default_rng(len(kind))
    for number, task in enumerate(tasks_of(kind)):
        steps = [env.reset(seed=0, options={"task": task}) for env in pair]
        assert steps[0] == steps[1]
        plan = ["CLICK [99]"] if number else []
        for _ in range(7 if number else 40):
            action = plan.pop() if plan else wander(embedded, rng, steps[0][-1]) if number else embedded.expert_action()
            assert chromium.expert_action() == embedded.expert_action()
            steps = [env.step(action) for env in pair]
            assert steps[0] == steps[1], action
            if steps[0][2]:
                break
        if not number:
            assert steps[1][1] == 1.0


def test_typed_markup_and_odd_characters_are_the_same_in_both(pair: list[TextEnv]) -> None:
    task = next(t for t in BuiltinWebTasks().split("dev") if t.payload["errand"] == "send-mail")
    for env in pair:
        env.reset(options={"task": task})
        while not env.expert_action().startswith("TYPE"):
            env.step(env.expert_action())
    for text in (
        "<script>document.title='x'</script>",
        "a+b&c=d%20~*'\"",
        "ß 汉字 🙂 \u00a0 é",
        "[9] button",
        " two  blanks ",
    ):
        field = pair[0].expert_action().partition("] ")[0]
        steps = [env.step(f"{field}] {text}") for env in pair]
        assert steps[0] == steps[1], text
        button = next(a for a in steps[0][-1]["admissible_actions"] if a.startswith("CLICK [10]"))
        steps = [env.step(button) for env in pair]  # refused by the form, which shows what was typed once more
        assert steps[0] == steps[1], text


def test_a_snapshot_can_be_taken_up_by_another_browser(pair: list[TextEnv]) -> None:
    embedded, chromium = pair
    task = next(t for t in BuiltinWebTasks().split("dev") if t.payload["errand"] == "apply")
    for env in pair:
        env.reset(options={"task": task})
        for _ in range(6):  # in the middle of a form
            env.step(env.expert_action())
    state = pickle.loads(pickle.dumps(chromium.snapshot()))
    expected = [embedded.step(embedded.expert_action()) for _ in range(2)]
    chromium.step("BACK")
    chromium.restore(state)
    assert [chromium.step(chromium.expert_action()) for _ in range(2)] == expected
    copy = pickle.loads(pickle.dumps(chromium))
    assert copy.step(copy.expert_action())[:4] == chromium.step(chromium.expert_action())[:4]
    copy.close()


def test_the_page_is_painted(browser: str) -> None:
    env = gym.make(MIND2WEB, memory=None, backend="chromium", render_mode="rgb_array")
    env.reset(seed=1)
    picture: Any = env.render()
    assert picture.shape == (720, 960, 3)
    assert picture.dtype == np.uint8
    assert len(np.unique(picture)) > 10
    env.close()


def test_a_missing_browser_says_how_to_get_one(browser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from cmat_gym.envs.mind2web import chromium

    monkeypatch.delenv("CMAT_GYM_CHROMIUM", raising=False)
    monkeypatch.setattr(chromium.shutil, "which", lambda _: None)
    with pytest.raises(BackendError, match="apt-get install chromium"):
        chromium._executable()
