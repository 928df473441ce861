"""Episodes as records: JSON Lines that keep every token as sampled and replay to the bit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import ReplayError, TaskError, UsageError
from cmat_gym.core.protocol import PROTOCOLS
from cmat_gym.core.roles import CountedAction, Info, NotedAction, Review, SampledAction, TokenSample
from cmat_gym.core.task import Task

__all__ = [
    "NOTED_INFO",
    "RECORDED_INFO",
    "Trajectory",
    "Turn",
    "make_turn",
    "new_trajectory",
    "read_trajectories",
    "replay",
    "write_trajectories",
]

FORMAT = 1
RECORDED_INFO = ("score", "success", "valid_action", "state_key")
NOTED_INFO = (
    "env_reward",
    "critic_reward",
    "review",
    "executed",
    "question",
)  # written by wrappers; kept as notes where they are present


@dataclass(frozen=True)
class Turn:
    """One transition: what the agent saw, what it did, what came of it.

    `score`, `success` and `state_key` describe the state after the action; `notes` holds what wrappers added, such as
    a critic's reward or a review.
    """

    observation: str
    action: str
    reward: float
    terminated: bool
    truncated: bool
    score: float
    success: bool
    valid_action: bool
    state_key: str
    sample: TokenSample | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Trajectory:
    """One episode, with all it takes to play it again.

    Attributes:
        env_id: Registered id, or the class name of an unregistered world.
        env_kwargs: Keywords the environment was made with, as far as they are JSON.
        task_id: The task.
        protocol: Protocol with its version.
        turns: The transitions in order.
        final_observation: What the agent saw after its last action.
        policy: Name of who acted.
        error: What ended the episode from outside, if anything did.
    """

    env_id: str
    env_kwargs: Mapping[str, Any]
    task_id: str
    protocol: str
    instruction: str
    turns: list[Turn] = field(default_factory=list)
    final_observation: str = ""
    policy: str = ""
    error: str | None = None

    @property
    def score(self) -> float:
        """Official score at the end; 0 for an episode without a turn or ended by an error."""
        return self.turns[-1].score if self.turns and self.error is None else 0.0

    @property
    def success(self) -> bool:
        """Whether the episode ended in success."""
        return bool(self.turns) and self.error is None and self.turns[-1].success

    @property
    def finished(self) -> bool:
        """Whether the episode came to its end."""
        return bool(self.turns) and (self.turns[-1].terminated or self.turns[-1].truncated)

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of rewards."""
        return sum(turn.reward for turn in self.turns)

    def to_json(self) -> dict[str, Any]:
        """The episode as a JSON-able dict."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trajectory:
        """Inverse of `to_json`.

        Raises:
            TaskError: Another format version, or fields are missing.
        """
        if data.get("format") != FORMAT:
            raise TaskError(f"Trajectory format {data.get('format')!r} cannot be read; this version reads {FORMAT}")
        try:
            fields = {key: value for key, value in data.items() if key != "format"}
            fields["turns"] = [_turn_from_json(turn) for turn in data["turns"]]
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise TaskError(f"A trajectory record is incomplete or has unknown fields: {error}") from error


def _turn_from_json(data: Mapping[str, Any]) -> Turn:
    sample = data["sample"]
    if sample is not None:
        sample = TokenSample(
            tuple(sample["prompt_ids"]), tuple(sample["token_ids"]), tuple(sample["logprobs"]), sample["value"]
        )
    return Turn(**{**data, "sample": sample})


def new_trajectory(env: gym.Env[Any, Any], policy: str = "", task: Task | None = None) -> Trajectory:
    """An empty record of the episode that `env` has just opened, or of `task`, which it is about to open."""
    base = base_env(env)
    task = task or base.task
    spec = env.spec
    kwargs = dict(spec.kwargs) if spec is not None else {}
    kwargs.pop("world", None)
    return Trajectory(
        env_id=spec.id if spec is not None else type(base).__name__,
        env_kwargs={key: value for key, value in kwargs.items() if _is_json(value)},
        task_id=task.id,
        protocol=PROTOCOLS[base.protocol],
        instruction=task.instruction,
        policy=policy,
    )


def make_turn(
    observation: str, action: str, reward: float, terminated: bool, truncated: bool, info: Info, **notes: Any
) -> Turn:
    """Build the record of one step.

    A `SampledAction` brings its tokens along; the notes of a `NotedAction`, the counts of a `CountedAction` and
    wrappers' entries become notes.
    """
    noted = {
        key: info[key]._asdict() if isinstance(info[key], Review) else info[key] for key in NOTED_INFO if key in info
    }
    if isinstance(action, NotedAction):
        noted = {**action.notes, **noted}
    if isinstance(action, CountedAction):
        noted["usage"] = action.usage._asdict()
    return Turn(
        observation=observation,
        action=str(action),
        reward=float(reward),
        terminated=terminated,
        truncated=truncated,
        sample=action.sample if isinstance(action, SampledAction) else None,
        notes={**noted, **notes},
        **{key: info[key] for key in RECORDED_INFO},
    )


def write_trajectories(path: str | Path, trajectories: Iterable[Trajectory], *, append: bool = False) -> int:
    """Write episodes as JSON Lines; returns how many were written."""
    count = 0
    with Path(path).open("a" if append else "w", encoding="utf-8") as file:
        for trajectory in trajectories:
            file.write(json.dumps(trajectory.to_json(), ensure_ascii=True) + "\n")
            count += 1
    return count


def read_trajectories(path: str | Path) -> Iterator[Trajectory]:
    """Read what `write_trajectories` wrote.

    Raises:
        TaskError: A line is no trajectory; the message names file and line.
    """
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield Trajectory.from_json(json.loads(line))
            except (ValueError, AttributeError) as error:
                raise TaskError(f"{path}, line {number}: {error}") from error


def replay(trajectory: Trajectory, env: gym.Env[str, str]) -> None:
    """Play a recorded episode again in `env` and compare every observation, reward, flag and state key exactly.

    Raises:
        ReplayError: Something differs; the message names the turn and the two values.
        UsageError: The record belongs to another protocol.
    """
    if trajectory.protocol != PROTOCOLS[base_env(env).protocol]:
        raise UsageError(f"The record was made with {trajectory.protocol!r}, the environment speaks another protocol")
    observation, _ = env.reset(seed=0, options={"task": trajectory.task_id})
    for number, turn in enumerate(trajectory.turns, start=1):
        if observation != turn.observation:
            raise ReplayError(f"Turn {number}: recorded observation {turn.observation!r}, replayed {observation!r}")
        observation, reward, terminated, truncated, info = env.step(turn.action)
        again = make_turn(turn.observation, turn.action, float(reward), terminated, truncated, info)
        for name in ("reward", "terminated", "truncated", *RECORDED_INFO):
            recorded, replayed = getattr(turn, name), getattr(again, name)
            if recorded != replayed:
                raise ReplayError(f"Turn {number}: recorded {name} {recorded!r}, replayed {replayed!r}")
    if trajectory.finished and observation != trajectory.final_observation:
        raise ReplayError(f"End: recorded observation {trajectory.final_observation!r}, replayed {observation!r}")


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
