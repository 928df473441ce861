"""The contract of every world, over every registered id and the test world; registering an id is enough to test it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmat_gym.core.conformance import BAD_ACTIONS, CHECKS
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import BackendError, UnknownNameError
from cmat_gym.core.protocol import PROTOCOLS
from cmat_gym.core.registry import WORLDS, world_id

IDS = [world.id for world in WORLDS] + ["cmat-test/Counter-v0"]
every_world = pytest.mark.parametrize("env_id", IDS)

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)  # lone surrogates included
TOOL_CALL = st.fixed_dictionaries({}, optional={"name": ANY_TEXT, "arguments": st.dictionaries(ANY_TEXT, ANY_TEXT)})


@pytest.fixture(autouse=True)
def _skip_what_this_machine_forbids(request: pytest.FixtureRequest) -> None:
    """No sandbox, no shell: such a world is skipped with the reason, unless CI has promised its backends."""
    env_id = getattr(request.node, "callspec", None) and request.node.callspec.params.get("env_id")
    if env_id and not os.environ.get("CMAT_GYM_TEST_BACKENDS"):
        try:
            gym.make(env_id).close()
        except BackendError as error:
            pytest.skip(str(error))


@every_world
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_contract(env_id: str, check: Callable[[str], None]) -> None:
    check(env_id)


@every_world
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_text_raises(env_id: str, protocol: str) -> None:
    """Hypothesis looks for an action, or a series of them, that raises."""
    env = gym.make(env_id, protocol=protocol)
    env.reset(seed=0)
    tools = [tool.name for tool in base_env(env).tools]
    parameters = [name for tool in base_env(env).tools for name in tool.parameters] or ["nothing"]
    arguments = st.dictionaries(st.sampled_from(parameters), ANY_TEXT)
    call = st.builds("{}[{}]".format, st.sampled_from(tools), ANY_TEXT)
    json_call = st.fixed_dictionaries({"name": st.sampled_from(tools), "arguments": arguments})
    action = ANY_TEXT | st.sampled_from(BAD_ACTIONS) | call | (json_call | TOOL_CALL).map(json.dumps)

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(action, min_size=1, max_size=6))
    def attack(actions: list[str]) -> None:
        env.reset(seed=0)
        for text in actions:
            observation, _, terminated, truncated, info = env.step(text)
            assert observation in env.observation_space
            assert isinstance(info["valid_action"], bool)
            if terminated or truncated:
                break

    attack()


def test_every_world_has_its_own_id_and_unknown_ones_list_the_choices() -> None:
    assert len({world.id for world in WORLDS}) == len(WORLDS)
    for world in WORLDS:
        assert world_id(world.id) == world_id(world.id.removeprefix("cmat/")) == world.id
    with pytest.raises(UnknownNameError, match=r"cmat/WebShop-v0.*Did you mean 'cmat/WebShop-v0'"):
        world_id("cmat/WebShap-v0")
