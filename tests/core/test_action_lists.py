"""A world may write its list of admissible actions itself."""

from __future__ import annotations

from cmat_gym.core.testing import CounterEnv


class ShortList(CounterEnv):
    """A world that lists one action only."""

    def _list_actions(self) -> list[str] | None:
        return ["up"]


class NoList(CounterEnv):
    """A world that cannot list its actions."""

    def _list_actions(self) -> list[str] | None:
        return None


def test_the_worlds_own_list_is_shown_until_the_end() -> None:
    env = ShortList()
    assert env.reset(seed=0)[1]["admissible_actions"] == ["up"]
    assert env.step("up")[4]["admissible_actions"] == ["up"]
    assert env.step("stop")[4]["admissible_actions"] == []


def test_a_world_without_a_list_shows_none() -> None:
    assert "admissible_actions" not in NoList().reset(seed=0)[1]
