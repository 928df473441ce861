"""The original engine of the household, for comparisons. Needs, in an environment of its own or a throw-away one:

    pip install textworld fast-downward-textworld && pip install --no-deps alfworld

(`fast-downward-textworld` compiles for some minutes; the rest of alfworld's requirements is for images.)
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent


def installed() -> bool:
    """Whether the original engine is there."""
    return all(importlib.util.find_spec(name) is not None for name in ("textworld", "fast_downward"))


class Shown(NamedTuple):
    """What the original says after a command."""

    observation: str
    commands: list[str]
    won: bool


class Reference:
    """One game in the original engine, with names in the order in which AgentBench and the recordings have them."""

    def __init__(self) -> None:
        import textworld
        from textworld.envs.pddl.pddl import PddlEnv

        infos = textworld.EnvInfos(won=True, admissible_commands=True)
        self._env: Any = _name_wrapper()(PddlEnv(infos), shuffle=False)

    def load(self, path: str | Path) -> None:
        """Read a game file."""
        self._env.load(str(path))

    def reset(self) -> Shown:
        """Start the game."""
        return self._shown(self._env.reset())

    def step(self, command: str) -> Shown:
        """Carry out a command."""
        state, _, _ = self._env.step(command)
        return self._shown(state)

    def close(self) -> None:
        """Release what can be released."""
        self._env.close()

    @staticmethod
    def _shown(state: Any) -> Shown:
        return Shown(state.feedback, state["admissible_commands"], bool(state["won"]))


def _name_wrapper() -> Any:
    """The original's wrapper that gives things their names; this folder has a module of the package's name."""
    path = sys.path[:]
    sys.path[:] = [entry for entry in path if Path(entry).resolve() != HERE]
    try:
        return importlib.import_module("alfworld.agents.environment.alfred_tw_env").AlfredDemangler
    finally:
        sys.path[:] = path
