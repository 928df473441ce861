"""The one table of worlds, and how an id becomes an environment."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple, cast

import gymnasium as gym

from cmat_gym.core.env import TextEnv
from cmat_gym.core.errors import UnknownNameError, UsageError
from cmat_gym.core.memory import DualMemory, LessonStore, MemoryConfig

__all__ = ["WORLDS", "World", "make_vector_world", "make_world", "register_worlds", "world_class", "world_id"]


class World(NamedTuple):
    """A registered world: its id, the class behind it, and one line about it."""

    id: str
    entry_point: str
    summary: str


WORLDS = (  # in the order of the paper's tables
    World("cmat/OS-v0", "cmat_gym.envs.os.env:OSEnv", "working in a Linux shell"),
    World("cmat/DB-v0", "cmat_gym.envs.db.env:DBEnv", "questions about tables, answered with SQL"),
    World("cmat/KG-v0", "cmat_gym.envs.kg.env:KGEnv", "answering questions with a knowledge graph"),
    World("cmat/ALFWorld-v0", "cmat_gym.envs.alfworld.env:ALFWorldEnv", "chores in a household"),
    World("cmat/WebShop-v0", "cmat_gym.envs.webshop.env:WebShopEnv", "shopping on a simulated site"),
    World("cmat/Mind2Web-v0", "cmat_gym.envs.mind2web.env:Mind2WebEnv", "tasks in a web browser, live and recorded"),
    World(
        "cmat/CodeCorrection-v0",
        "cmat_gym.envs.code_correction.env:CodeCorrectionEnv",
        "correcting broken functions of Python's library",
    ),
)


def register_worlds() -> None:
    """Register every world with Gymnasium, by name only: no world is imported."""
    for world in WORLDS:
        gym.register(
            id=world.id,
            entry_point="cmat_gym.core.registry:make_world",
            vector_entry_point="cmat_gym.core.registry:make_vector_world",
            kwargs={"world": world.entry_point},
        )


def world_id(env_id: str) -> str:
    """Check an id against the table; `WebShop`, `WebShop-v0` and `cmat/WebShop-v0` all name the same world.

    Raises:
        UnknownNameError: No such world; the message lists them.
    """
    for world in WORLDS:
        if env_id in (world.id, world.id.removeprefix("cmat/"), world.id.removeprefix("cmat/").rpartition("-v")[0]):
            return world.id
    raise UnknownNameError("world", env_id, (world.id for world in WORLDS))


def world_class(entry_point: str) -> type[TextEnv]:
    """Import the class named by `module:Class`."""
    module, _, name = entry_point.partition(":")
    return cast("type[TextEnv]", getattr(importlib.import_module(module), name))


def make_world(
    world: str,
    memory: str | MemoryConfig | None = "dual",
    lessons: LessonStore | str | None = None,
    **kwargs: Any,
) -> gym.Env[str, str]:
    """Build one environment; `gym.make` calls this with the keywords it was given.

    Args:
        world: `module:Class` of the world.
        memory: `dual` or a `MemoryConfig` puts the two memories around the world; None gives the bare text.
        lessons: Long-term memory to share with other environments, or the file of a saved one.
        kwargs: The world's own keywords.

    Raises:
        UnknownNameError: There is no such memory.
        UsageError: Lessons for an environment without memory.
    """
    if memory is None and lessons is not None:
        raise UsageError("lessons= needs a memory to be shown in; leave memory=None out")
    env: gym.Env[str, str] = world_class(world)(**kwargs)
    if memory is None:
        return env
    if isinstance(memory, str):
        if memory != "dual":
            raise UnknownNameError("memory", memory, ["dual", "None"])
        memory = MemoryConfig()
    return DualMemory(env, memory, lessons)


def make_vector_world(num_envs: int, **kwargs: Any) -> Any:
    """Build `num_envs` environments in one `TextVectorEnv`; `gym.make_vec` calls this.

    `mode` and `autoreset_mode` go to the vector environment, everything else to each world.
    """
    from cmat_gym.core.vector import TextVectorEnv

    vector = {key: kwargs.pop(key) for key in ("mode", "autoreset_mode", "workers") if key in kwargs}
    return TextVectorEnv.of(num_envs, make_world, kwargs, **vector)
