"""The contract of every world once more, over the modes that are not the default."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gymnasium as gym
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.conformance import CHECKS, check_listed_actions_are_valid, check_tasks

MODES = {
    "Mind2WebElements": {"pages": "static", "interface": "elements"},
    "Mind2WebTournament": {"pages": "static", "interface": "tournament"},
    "Mind2WebTree": {"observation_mode": "axtree", "site_seed": 1},
}


@pytest.fixture(scope="module", autouse=True)
def ids() -> Iterator[None]:
    for name, keywords in MODES.items():
        gym.register(
            id=f"cmat-test/{name}-v0",
            entry_point="cmat_gym.core.registry:make_world",
            vector_entry_point="cmat_gym.core.registry:make_vector_world",
            kwargs={"world": "cmat_gym.envs.mind2web.env:Mind2WebEnv", **keywords},
        )
    yield
    for name in MODES:
        gym.registry.pop(f"cmat-test/{name}-v0")


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_contract(name: str, check: Callable[[str], None]) -> None:
    if name == "Mind2WebTournament" and check is check_listed_actions_are_valid:
        pytest.skip("in a tournament no text is refused: what holds no letter counts as 'none of the above'")
    if name == "Mind2WebTournament" and check is check_tasks:
        pytest.skip("the tasks are those of the other interface")
    check(f"cmat-test/{name}-v0")
