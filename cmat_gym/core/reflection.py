"""Reflection: from an episode to lessons in words, by rules or by any policy."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from cmat_gym.core import prompts
from cmat_gym.core.errors import InvalidAction, UsageError
from cmat_gym.core.protocol import split_thought
from cmat_gym.core.roles import Policy
from cmat_gym.core.trajectory import Trajectory, Turn

__all__ = ["PolicyReflector", "Reflector", "RuleReflector", "transcript"]

_LESSON = re.compile(r"^[ \t]*Lesson[ \t]*\d*[ \t]*:[ \t]*(\S.*)$", re.MULTILINE | re.IGNORECASE)
_LINE_LENGTH = 160  # characters of an action or an outcome in a transcript


@runtime_checkable
class Reflector(Protocol):
    """Anything that draws lessons from episodes."""

    def reflect(self, trajectories: Sequence[Trajectory]) -> Sequence[Sequence[str]]:
        """The lessons of each episode, the most important first; none where there is nothing to learn."""
        ...


class RuleReflector:
    """Lessons without a model, the baseline: what was refused, what was repeated in vain, and how the episode ended.

    Args:
        lessons: Lessons of one episode at most.
        successes: Whether a success is worth a lesson, too: the actions that led to it.
    """

    def __init__(self, lessons: int = 2, *, successes: bool = False) -> None:
        if lessons < 1:
            raise UsageError(f"lessons must be at least 1, got {lessons}")
        self.lessons = lessons
        self.successes = successes

    def reflect(self, trajectories: Sequence[Trajectory]) -> list[list[str]]:
        """The lessons of each episode."""
        return [self._lessons(trajectory)[: self.lessons] for trajectory in trajectories]

    def _lessons(self, trajectory: Trajectory) -> list[str]:
        turns = trajectory.turns
        if not turns or trajectory.error is not None:
            return []
        if trajectory.success:
            actions = ", ".join(repr(_bare(turn.action)) for turn in turns if turn.valid_action)
            return [prompts.LESSON_WORKED.format(actions=actions)] if self.successes else []
        last = turns[-1]
        found: list[str] = []
        if last.terminated:
            found.append(prompts.LESSON_TOO_EARLY.format(action=_clip(_bare(last.action))))
        found += self._refused(trajectory) + self._repeated(turns)
        if last.truncated:
            found.append(prompts.LESSON_TOO_SLOW.format(turns=len(turns)))
        return list(dict.fromkeys(found))

    def _refused(self, trajectory: Trajectory) -> list[str]:
        marker = prompts.invalid("")
        found: list[str] = []
        for turn, after in zip(trajectory.turns, _outcomes(trajectory), strict=True):
            reason = after.partition(marker)[2].partition("\n")[0]
            if not turn.valid_action and reason:
                found.append(prompts.LESSON_REFUSED.format(action=_clip(_bare(turn.action)), reason=_clip(reason)))
        return found

    def _repeated(self, turns: Sequence[Turn]) -> list[str]:
        return [
            prompts.LESSON_REPEATED.format(action=_clip(_bare(turn.action)))
            for before, turn in itertools.pairwise(turns)
            if turn.valid_action and _bare(turn.action) == _bare(before.action)
        ]


class PolicyReflector:
    """Any policy as the one who reflects: a language model reads the episode and writes `Lesson:` lines.

    Args:
        policy: Writes the lessons; it sees the transcript and the request for them as its observation.
        lessons: Lessons of one episode at most.
        most_turns: Turns of the transcript; the middle of longer episodes is left out.
        successes: Whether it also reflects on successes.
        fallback: Reflects where the policy wrote no lesson; None: nothing is learned then.
    """

    def __init__(
        self,
        policy: Policy,
        lessons: int = 2,
        *,
        most_turns: int = 20,
        successes: bool = False,
        fallback: Reflector | None = None,
    ) -> None:
        if lessons < 1 or most_turns < 2:
            raise UsageError(f"lessons >= 1 and most_turns >= 2 are expected, got {lessons} and {most_turns}")
        self.policy = policy
        self.lessons = lessons
        self.most_turns = most_turns
        self.successes = successes
        self.fallback = fallback

    def reflect(self, trajectories: Sequence[Trajectory]) -> list[list[str]]:
        """The lessons of each episode; all are asked for in one batch."""
        worth = [
            index
            for index, trajectory in enumerate(trajectories)
            if trajectory.turns and trajectory.error is None and (self.successes or not trajectory.success)
        ]
        found: list[list[str]] = [[] for _ in trajectories]
        if not worth:
            return found
        requests = [self._request(trajectories[index]) for index in worth]
        infos = [{"task_id": trajectories[index].task_id, "turn": 0, "role": "reflection"} for index in worth]
        for index, text in zip(worth, self.policy.act(requests, infos), strict=True):
            lessons = [" ".join(lesson.split()) for lesson in _LESSON.findall(text)][: self.lessons]
            if not lessons and self.fallback is not None:
                [lessons] = [list(given) for given in self.fallback.reflect([trajectories[index]])]
            found[index] = lessons
        return found

    def _request(self, trajectory: Trajectory) -> str:
        outcome = prompts.OUTCOME_SUCCESS
        if not trajectory.success:
            outcome = prompts.OUTCOME_FAILURE.format(score=trajectory.score)
        return prompts.REFLECT.format(
            transcript=transcript(trajectory, self.most_turns), outcome=outcome, count=self.lessons
        )


def transcript(trajectory: Trajectory, most_turns: int = 20) -> str:
    """An episode in a few lines: the task, then each action with the first line of what came of it."""
    lines = [
        prompts.REFLECT_TURN.format(number=number, action=_clip(_bare(turn.action)), outcome=_clip(_first_line(after)))
        for number, (turn, after) in enumerate(zip(trajectory.turns, _outcomes(trajectory), strict=True), start=1)
    ]
    if len(lines) > most_turns:
        half = most_turns // 2
        left_out = len(lines) - 2 * half
        lines = [*lines[:half], prompts.REFLECT_CUT.format(count=left_out), *lines[-half:]]
    return "\n".join([prompts.REFLECT_TASK.format(instruction=trajectory.instruction), *lines])


def _outcomes(trajectory: Trajectory) -> list[str]:
    """The observation that followed each turn."""
    return [*(turn.observation for turn in trajectory.turns[1:]), trajectory.final_observation]


def _first_line(observation: str) -> str:
    """What an observation says first, without the parts that memory puts above it."""
    label = prompts.MEMORY_OBSERVATION.format(observation="")
    place = observation.rfind(f"\n{label}")
    if place >= 0 or observation.startswith(label):
        observation = observation[place + 1 + len(label) :]
    return observation.partition("\n")[0]


def _bare(action: str) -> str:
    with contextlib.suppress(InvalidAction):
        action = split_thought(action)[1]
    return " ".join(action.split())


def _clip(text: str) -> str:
    return text if len(text) <= _LINE_LENGTH else f"{text[: _LINE_LENGTH - 1]}…"
