"""`Collaboration`: User, Assistant and Checker at work together, with a memory that learns from it.

One turn: the Assistant proposes, the Checker reviews before anything is carried out, and on a rejection the Assistant
revises on the feedback, a bounded number of times. One episode: the User opens it and answers questions, the turns go
by, and at its end a reflection puts lessons into the long-term memory of everyone who shares it.

`act` is the turn, so a Collaboration is itself a policy: `evaluate`, `rollout` and every other tool take it. `play` is
the whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym

from cmat_gym.core import prompts
from cmat_gym.core.critics import checked_reviews
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import UsageError, describe_error
from cmat_gym.core.memory import memories
from cmat_gym.core.reflection import Reflector
from cmat_gym.core.roles import (
    CountedAction,
    Critic,
    CriticFunction,
    Info,
    Policy,
    Review,
    add_usage,
    as_critic,
    with_notes,
)
from cmat_gym.core.rollout import OnTurn, rollout
from cmat_gym.core.task import Task
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.core.user import User, UserInstruction

__all__ = ["Assistant", "Attempts", "Collaboration"]

logger = logging.getLogger(__name__)
Solved: TypeAlias = Callable[[Trajectory], bool]


class Assistant:
    """Who acts: any policy, and how it is asked to think again."""

    def __init__(self, policy: Policy) -> None:
        if not isinstance(policy, Policy):
            raise UsageError(f"An assistant needs a policy with act(observations, infos), got {policy!r}")
        self.policy = policy

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """One action for each observation.

        Raises:
            UsageError: The policy gave another number of actions.
        """
        actions = list(self.policy.act(observations, infos)) if observations else []
        if len(actions) != len(observations):
            name = type(self.policy).__name__
            raise UsageError(f"{name}.act gave {len(actions)} actions for {len(observations)} observations")
        return actions

    def revise(
        self, observations: Sequence[str], infos: Sequence[Info], rejected: Sequence[str], reviews: Sequence[Review]
    ) -> list[str]:
        """Another action for each observation, now that an action was rejected, and why."""
        asked = [
            prompts.REVISE.format(
                action=str(action), feedback=review.feedback or prompts.NO_FEEDBACK, observation=observation
            )
            for observation, action, review in zip(observations, rejected, reviews, strict=True)
        ]
        return self.act(asked, infos)


@dataclass
class _Drafts:
    """What has been proposed for one turn, with its reviews; the last draft stands unless another is chosen."""

    actions: list[str] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)

    def best(self) -> int:
        """The accepted draft, or the one that was judged best; the latest of equals, which knows the most feedback."""
        return max(range(len(self.actions)), key=lambda i: (self.reviews[i].accept, self.reviews[i].reward, i))

    def chosen(self) -> str:
        """The draft to carry out, with all of them in its notes."""
        best = self.best()
        rejected = [
            {"action": str(action), "reward": review.reward, "feedback": review.feedback}
            for i, (action, review) in enumerate(zip(self.actions, self.reviews, strict=True))
            if i != best
        ]
        action = with_notes(self.actions[best], review=self.reviews[best]._asdict(), drafts=rejected)
        if isinstance(action, CountedAction):  # a turn costs all of its drafts
            usages = [draft.usage for draft in self.actions if isinstance(draft, CountedAction)]
            return CountedAction(action, add_usage(usages), action.notes)
        return action


class Attempts(NamedTuple):
    """One task, played again until it was solved or the attempts were used up.

    Attributes:
        trajectories: The attempts in order.
        lessons: What was learned after each of them that did not solve it.
    """

    trajectories: list[Trajectory]
    lessons: list[list[str]]

    @property
    def final(self) -> Trajectory:
        """The last attempt."""
        return self.trajectories[-1]


class Collaboration:
    """The three roles over any environment.

    Any policy can be in any role: a language model with an adapter of its own on a shared backbone (`RolePolicy`),
    another model, a model behind an API, or a plain function.

    Args:
        assistant: Who acts.
        user: Who opens episodes and answers questions; None leaves the world's own words.
        checker: Judges each action before it is carried out, a critic or a plain function; None accepts everything.
        reflector: Draws lessons from episodes; None learns none.
        max_revisions: How often the assistant may be sent back in one turn. After that the draft that was judged best
            is carried out, so a checker that is never content cannot block an episode.
        max_questions: Questions to the user per episode.

    Raises:
        UsageError: A bound below 0, or a role filled with something that cannot play it.
    """

    def __init__(
        self,
        assistant: Policy,
        *,
        user: User | None = None,
        checker: Critic | CriticFunction | None = None,
        reflector: Reflector | None = None,
        max_revisions: int = 1,
        max_questions: int = 0,
    ) -> None:
        if max_revisions < 0:
            raise UsageError(f"max_revisions must be >= 0, got {max_revisions}")
        if max_questions > 0 and user is None:
            raise UsageError(f"max_questions={max_questions} needs a user to answer them: user=TemplateUser(), say")
        if reflector is not None and not isinstance(reflector, Reflector):
            raise UsageError(f"A reflector has a method reflect(trajectories), got {reflector!r}")
        self.assistant = assistant if isinstance(assistant, Assistant) else Assistant(assistant)
        self.user = user
        self.checker = None if checker is None else as_critic(checker)
        self.reflector = reflector
        self.max_revisions = max_revisions
        self.max_questions = max_questions
        self.checker_failures = 0

    # One turn -------------------------------------------------------------------------------------------------------

    def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """Propose, review, revise; returns what is to be carried out.

        The actions remember their reviews and rejected drafts, which become the notes of their turns.
        """
        actions = self.assistant.act(observations, infos)
        if self.checker is None:
            return actions
        drafts = [_Drafts() for _ in actions]
        open_turns = list(range(len(actions)))
        for revision in range(self.max_revisions + 1):
            seen = [observations[i] for i in open_turns], [infos[i] for i in open_turns]
            if revision:
                rejected = [drafts[i].actions[-1] for i in open_turns]
                reasons = [drafts[i].reviews[-1] for i in open_turns]
                actions = self.assistant.revise(*seen, rejected, reasons)
            reviews = self._review(self.checker, seen[0], actions, seen[1])
            for i, action, review in zip(open_turns, actions, reviews, strict=True):
                drafts[i].actions.append(action)
                drafts[i].reviews.append(review)
            open_turns = [i for i in open_turns if not drafts[i].reviews[-1].accept]
            if not open_turns:
                break
        return [draft.chosen() for draft in drafts]

    def _review(
        self, checker: Critic, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]
    ) -> list[Review]:
        """The checker's reviews; where it fails, everything passes: a broken judge must not end episodes."""
        try:
            return checked_reviews(checker, observations, actions, infos)
        except Exception as error:
            self.checker_failures += 1
            logger.warning("The checker failed, its actions pass unjudged: %s", describe_error(error))
            return [Review() for _ in actions]

    # Whole episodes -------------------------------------------------------------------------------------------------

    def play(
        self,
        envs: Sequence[gym.Env[str, str]],
        tasks: Sequence[Task | str | int],
        *,
        on_turn: OnTurn | None = None,
        policy_name: str = "",
    ) -> list[Trajectory]:
        """Play every task once and learn from each episode as it ends; arguments and result as for `rollout`.

        Lessons go into the memory of every environment given, so that the next episode in any of them can use them.
        """
        world = base_env(envs[0]) if envs else None
        wanted = [] if world is None else [world.find_task(task) for task in tasks]

        def follow(index: int, trajectory: Trajectory) -> None:
            if trajectory.finished:
                self.learn(envs, wanted[index], trajectory)
            if on_turn is not None:
                on_turn(index, trajectory)

        return rollout(self.wrap(envs), self, wanted, on_turn=follow, policy_name=policy_name)

    def wrap(self, envs: Sequence[gym.Env[str, str]]) -> list[gym.Env[str, str]]:
        """The environments with the user in front of them."""
        if self.user is None:
            return list(envs)
        return [UserInstruction(env, self.user, self.max_questions) for env in envs]

    def learn(self, envs: Sequence[gym.Env[Any, Any]], task: Task, trajectory: Trajectory) -> list[str]:
        """Reflect on an episode and put what it teaches into the environments' memories; returns the lessons."""
        if self.reflector is None:
            return []
        [found] = self.reflector.reflect([trajectory])
        lessons = list(found)
        for memory in memories(envs):
            for lesson in lessons:
                memory.remember(lesson, task)
        return lessons

    def retry(
        self,
        envs: Sequence[gym.Env[str, str]],
        tasks: Sequence[Task | str | int],
        *,
        attempts: int = 3,
        solved: Solved | None = None,
        policy_name: str = "",
    ) -> list[Attempts]:
        """Test-time reflection: play what failed again, with the lessons of the failures in memory; no weight changes.

        This is Reflexion (Shinn et al., 2023) on the long-term memory. By default the world's own success decides who
        tries again, which an agent in the wild does not know: report such figures as "after k attempts, with the
        outcome known", never beside single attempts. `solved` decides by something else, such as a checker's verdict.

        Args:
            envs: Environments with memory, which share one store or get the lessons each.
            tasks: Tasks, task ids, or indices into the environments' split.
            attempts: Attempts per task at most, the first included.
            solved: Whether an episode needs no further attempt.
            policy_name: Written into the records.

        Raises:
            UsageError: No reflector, no attempts, no environments, or environments without a memory for lessons.
        """
        if self.reflector is None:
            raise UsageError("retry learns between the attempts: give the Collaboration a reflector")
        if attempts < 1:
            raise UsageError(f"attempts must be at least 1, got {attempts}")
        if not envs:
            raise UsageError("retry needs at least one environment")
        if not any(memory.config.lessons for memory in memories(envs)):
            raise UsageError("retry needs environments with a long-term memory: gym.make(id, memory='dual')")
        done: Solved = solved or (lambda trajectory: trajectory.success)
        world = base_env(envs[0])
        wanted = [world.find_task(task) for task in tasks]
        record = [Attempts([], []) for _ in wanted]
        waiting = list(range(len(wanted)))
        for _ in range(attempts):
            played = rollout(self.wrap(envs), self, [wanted[i] for i in waiting], policy_name=policy_name)
            for i, trajectory in zip(waiting, played, strict=True):
                record[i].trajectories.append(trajectory)
            waiting = [i for i in waiting if not done(record[i].final)]
            # After the round, not within it: all attempts of a round know the same lessons, in whatever order they end.
            for i in waiting:
                record[i].lessons.append(self.learn(envs, wanted[i], record[i].final))
        return record
