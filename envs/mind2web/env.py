"""`cmat/Mind2Web-v0`: the environment. What it shows and takes is in the class docstring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cmat_gym.core.env import Outcome, TextEnv
from cmat_gym.core.errors import choose
from cmat_gym.core.protocol import Call
from cmat_gym.core.task import Score, Task
from cmat_gym.envs.mind2web.backend import Mind2WebBackend
from cmat_gym.envs.mind2web.live import LivePlay
from cmat_gym.envs.mind2web.play import Play
from cmat_gym.envs.mind2web.tasks import open_live

__all__ = ["Mind2WebEnv"]


class Mind2WebEnv(TextEnv):
    """Web browsing."""

    domain = "mind2web"
    tools = LivePlay.tools

    def __init__(
        self,
        *,
        source: str | Path = "builtin",
        split: str = "train",
        protocol: str = "text",
        reward: str = "outcome",
        max_turns: int | None = None,
        discount: float = 0.95,
        backend: str | None = None,
        render_mode: str | None = None,
        observation_mode: str = "text",
        budget: int | None = 2500,
        site_seed: int = 0,
    ) -> None:
        self._play: Play = LivePlay(Mind2WebBackend(), observation_mode, budget)
        super().__init__(open_live(site_seed), split=split, protocol=protocol, reward=reward, max_turns=max_turns,
                         discount=discount, render_mode=render_mode)  # fmt: skip

    @property
    def system_prompt(self) -> str:
        """The rules of the mode, in the chosen protocol."""
        return self._play.tools_prompt if self.protocol == "tools" else self._play.text_prompt

    def _begin(self, task: Task) -> str:
        return self._play.begin(task)

    def _parse(self, action: str) -> Call:
        return self._play.parse(action)

    def _render(self, call: Call) -> str:
        return self._play.write(call)

    def _apply(self, call: Call) -> Outcome:
        return self._play.apply(call)

    def _score(self) -> Score:
        return self._play.score()

    def _get_state(self) -> Any:
        return self._play.get_state()

    def _set_state(self, state: Any) -> None:
        self._play.set_state(state)

    def _admissible(self) -> list[Call] | None:
        return self._play.admissible()

    def _expert(self) -> Call:
        return self._play.expert()

    def expert_thought(self) -> str:
        """Why the expert does what it does next."""
        return self._play.thought()

    def _cost_to_go(self) -> float:
        return self._play.cost_to_go()

    def summary(self) -> str:
        """What the last action led to."""
        return self._play.summary()

    def close(self) -> None:
        """Close the browser, where there is one."""
        self._play.close()
        super().close()
