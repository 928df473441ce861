"""What `ReflectionStage` learns from: second thoughts that turned out better than the first.

An episode that failed is gone through again. At turns that the Checker rejects, or that the world refused, or that
ended it, the policy thinks again with the feedback f_t and the lessons of a reflection before its eyes, and the
simulator says whether that was better: the rest of the episode is played again from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import gymnasium as gym

from cmat_gym.core import prompts
from cmat_gym.core.critics import checked_reviews
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import UsageError
from cmat_gym.core.memory import memories
from cmat_gym.core.reflection import Reflector
from cmat_gym.core.roles import Critic, CriticFunction, Info, Policy, as_critic
from cmat_gym.core.task import Task
from cmat_gym.trainers.branches import Played, Start, play_branches, play_episodes

__all__ = ["Reflection", "Reflections", "StateValues", "collect_reflections"]

StateValues: TypeAlias = Callable[[Sequence[str], Sequence[Info]], Sequence[float]]


class Reflection(NamedTuple):
    """One turn to learn from.

    Attributes:
        observation: What the agent sees: without feedback, without the new lessons.
        answer: What it should have said.
        task_id: The task; its domain decides on the system prompt.
        advantage: None for a turn to distil (the L of the method); for a turn on the way to a success that reflection
            brought about (its G) how much better than expected it was, greater than 0.
    """

    observation: str
    answer: str
    task_id: str
    advantage: float | None = None


@dataclass
class Reflections:
    """What a round of reflecting gave.

    Attributes:
        rows: The turns to learn from.
        lessons: The lessons of all failed episodes, in order; they are in the environments' memories.
        episodes: Episodes played, and `failed` how many of them failed.
        branches: Second thoughts that were played out, and `improved` how many of them were better than the first.
        turned: How many of them turned a failure into a success.
    """

    rows: list[Reflection] = field(default_factory=list)
    lessons: list[str] = field(default_factory=list)
    episodes: int = 0
    failed: int = 0
    branches: int = 0
    improved: int = 0
    turned: int = 0

    def metrics(self) -> dict[str, float]:
        """The counts as shares, by their names in the log."""
        return {
            "reflection/failed": self.failed / max(1, self.episodes),
            "reflection/improved": self.improved / max(1, self.branches),
            "reflection/turned": self.turned / max(1, self.branches),
            "reflection/rows": float(len(self.rows)),
            "reflection/lessons": float(len(self.lessons)),
        }


class _SecondThought(NamedTuple):
    """A turn that is to be taken again."""

    start: Start
    action: str
    feedback: str
    lessons: tuple[str, ...]
    first_return: float


def collect_reflections(
    envs: Sequence[gym.Env[str, str]],
    policy: Policy,
    tasks: Sequence[Task | str | int],
    reflector: Reflector,
    *,
    checker: Critic | CriticFunction | None = None,
    state_values: StateValues | None = None,
    gamma: float = 0.95,
    turns: int = 2,
) -> Reflections:
    """Play, reflect on what failed, think again, and keep what was better.

    Args:
        envs: Environments of one world, on the split to learn from.
        policy: Who acts, and thinks again.
        tasks: What is played.
        reflector: Draws the lessons; they also go into the environments' long-term memories.
        checker: Says which turns to think about again, and why; without one these are refused and last turns.
        state_values: V(s), the baseline of the advantages, such as a `Checker`'s; without it the return of the first
            attempt from the same turn on.
        gamma: Discount of a turn.
        turns: Turns of one episode that are thought about again, at most.

    Raises:
        UsageError: A number out of range, no environments, or values that are no numbers.
    """
    if turns < 1 or not 0 <= gamma <= 1:
        raise UsageError(f"turns >= 1 and gamma in [0, 1] are expected, got {turns} and {gamma}")
    judge = None if checker is None else as_critic(checker)
    result = Reflections()
    played = [episode for episode in play_episodes(envs, policy, tasks) if episode.ended]
    failed = [episode for episode in played if not episode.success]
    result.episodes, result.failed = len(played), len(failed)
    learned = [tuple(lessons) for lessons in reflector.reflect([episode.trajectory for episode in failed])]
    again = [
        thought
        for episode, lessons in zip(failed, learned, strict=True)
        for thought in _second_thoughts(episode, lessons, judge, gamma, turns)
    ]
    for thought, branch in zip(again, _play_again(envs, policy, again), strict=True):
        _keep_better(thought, branch, state_values, gamma, result)
    known = {task.id: task for task in map(base_env(envs[0]).find_task, tasks)}
    for episode, lessons in zip(failed, learned, strict=True):
        result.lessons += lessons
        for memory in memories(envs):
            for lesson in lessons:
                memory.remember(lesson, known[episode.trajectory.task_id])
    return result


def _second_thoughts(
    episode: Played, lessons: tuple[str, ...], checker: Critic | None, gamma: float, turns: int
) -> list[_SecondThought]:
    """The turns of a failed episode that deserve one: rejected ones, then refused ones, then the last."""
    steps, returns = episode.steps, episode.returns(gamma)
    feedback, rejected = [""] * len(steps), list[int]()
    if checker is not None:
        reviews = checked_reviews(checker, *zip(*((s.observation, s.action, s.info) for s in steps), strict=True))
        feedback = [review.feedback for review in reviews]
        rejected = [i for i, review in enumerate(reviews) if not review.accept]
    refused = [i for i, turn in enumerate(episode.trajectory.turns) if not turn.valid_action]
    chosen = list(dict.fromkeys([*rejected, *refused, len(steps) - 1]))[:turns]
    return [
        _SecondThought(start, steps[i].action, feedback[i], lessons, returns[i])
        for i in chosen
        if (start := steps[i].start) is not None
    ]


def _play_again(envs: Sequence[gym.Env[str, str]], policy: Policy, thoughts: Sequence[_SecondThought]) -> list[Played]:
    """The rest of the episodes, with hindsight before the policy's eyes: feedback at the first turn, lessons at all."""
    begun: set[int] = set()

    def hint(index: int, observation: str) -> str:
        thought = thoughts[index]
        if index in begun:
            lines = [prompts.MEMORY_LESSONS, *(f"- {lesson}" for lesson in thought.lessons), observation]
            return "\n".join(lines) if thought.lessons else observation
        begun.add(index)
        return prompts.reflected(thought.action, thought.feedback, thought.lessons, observation)

    return play_branches(envs, policy, [thought.start for thought in thoughts], hint=hint)


def _keep_better(
    thought: _SecondThought, branch: Played, state_values: StateValues | None, gamma: float, result: Reflections
) -> None:
    """Add the rows of a second thought, if it was a better one."""
    result.branches += 1
    returns = branch.returns(gamma)
    if not branch.ended or str(branch.steps[0].action) == str(thought.action) or returns[0] <= thought.first_return:
        return
    result.improved += 1
    first, task_id = branch.steps[0], branch.trajectory.task_id
    result.rows.append(Reflection(first.observation, str(first.action), task_id))
    if not branch.success:
        return
    result.turned += 1
    values = [thought.first_return] * len(branch.steps)
    if state_values is not None:
        values = list(state_values([s.observation for s in branch.steps], [s.info for s in branch.steps]))
    for step, total, value in zip(branch.steps, returns, values, strict=True):
        advantage = total - value
        if not math.isfinite(advantage):
            raise UsageError(f"state_values gave {value} for a state; a finite number is expected")
        if advantage > 0:  # what was no better than expected is no example
            result.rows.append(Reflection(step.observation, str(step.action), task_id, advantage))
