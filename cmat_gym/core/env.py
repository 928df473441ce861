"""`TextEnv`: the template every world fills in.

A world says how a task opens, what a call does, when it is over and how it is scored. The template owns everything the
worlds share: choosing the task, parsing, the turn limit, the reward, `info`, snapshots and the state key.
"""

from __future__ import annotations

import abc
import hashlib
import json
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, NoReturn, SupportsIndex, cast

import gymnasium as gym

from cmat_gym.core import prompts
from cmat_gym.core.errors import InvalidAction, UsageError, choose
from cmat_gym.core.protocol import PROTOCOLS, Call, Tool, format_tool_call, parse_tool_call, split_thought
from cmat_gym.core.spaces import FreeText
from cmat_gym.core.task import Score, Task, TaskSequence, TaskSource

__all__ = ["REWARDS", "Outcome", "Snapshot", "TextEnv", "base_env", "restore", "snapshot"]

REWARDS = ("outcome", "progress")
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode
MAX_ACTION_LENGTH = 1 << 16  # characters of an action that are read; longer ones are refused as an observation


class Outcome(NamedTuple):
    """What a call led to: the text the agent reads next, and whether the task is over.

    `valid=False` is for mistakes that do more than cost a turn, such as one that ends the task; every other one is an
    `InvalidAction`.
    """

    observation: str
    terminated: bool = False
    valid: bool = True


@dataclass(frozen=True)
class Snapshot:
    """Everything a world needs to go on from here, in this process or in another one."""

    task: Task
    turn: int
    observation: str
    finished: bool
    state: Any
    random_state: Mapping[str, Any]


class TextEnv(gym.Env[str, str], abc.ABC):
    """A Gymnasium environment in which observation and action are text.

    `info` always has `task_id`, `turn`, `score`, `success`, `valid_action`, `state_key`, and `admissible_actions` where
    the world can list them.

    Rewards: `outcome` pays the official score when the episode ends. `progress` adds potential-based shaping
    F = γ Φ(s') - Φ(s) with Φ(s) = γ^d(s), where d(s) is the number of turns the expert still needs (Φ = 0 where it
    cannot succeed any more, and after the end). Shaping of this form leaves the optimal policy unchanged
    (Ng, Harada and Russell, 1999), and with this Φ an expert's step pays 0 and a detour pays less than 0.

    Args:
        tasks: The source tasks come from.
        split: Which of its splits `reset` draws from.
        protocol: `text` (Thought/Action lines) or `tools` (JSON function calls).
        reward: `outcome` or `progress`.
        max_turns: Turns per episode; None takes the task's own limit.
        discount: γ of the `progress` reward; use the trainer's own discount.
        render_mode: `ansi` or None.

    Raises:
        UnknownNameError: An unknown split, protocol or reward.
        UsageError: A turn limit or discount out of range.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - Gymnasium's own shape
    domain: ClassVar[str]
    tools: tuple[Tool, ...]  # of the class, or of an instance where they depend on its arguments

    def __init__(
        self,
        tasks: TaskSource,
        *,
        split: str = "train",
        protocol: str = "text",
        reward: str = "outcome",
        max_turns: int | None = None,
        discount: float = 0.95,
        render_mode: str | None = None,
    ) -> None:
        if max_turns is not None and max_turns < 1:
            raise UsageError(f"max_turns must be at least 1, got {max_turns}")
        if not 0.0 < discount <= 1.0:
            raise UsageError(f"discount must lie in (0, 1], got {discount}")
        self.tasks = tasks
        self.split: TaskSequence = tasks.split(split)
        self.protocol = choose("protocol", protocol, PROTOCOLS)
        self.reward = choose("reward", reward, REWARDS)
        self.discount = discount
        self.render_mode = render_mode
        self.observation_space: gym.Space[str] = FreeText()
        self.action_space: gym.Space[str] = FreeText()
        self._max_turns = max_turns
        self._tool_table = {tool.name: tool for tool in self.tools}
        self._task: Task | None = None
        self._turn = 0
        self._turn_limit = 0
        self._finished = True
        self._closed = False
        self._observation = ""
        self._potential = 0.0
        self._key_prefix = b""

    # What a world fills in -------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _begin(self, task: Task) -> str:
        """Set the world up for `task` and return the first observation."""

    @abc.abstractmethod
    def _parse(self, action: str) -> Call:
        """Read an action of the text protocol; raise `InvalidAction` with what is wrong with it."""

    @abc.abstractmethod
    def _apply(self, call: Call) -> Outcome:
        """Carry out a call; raise `InvalidAction`, with the state unchanged, where that is not possible."""

    @abc.abstractmethod
    def _score(self) -> Score:
        """The official score of the state as it is; computed outside of the agent's reach."""

    @abc.abstractmethod
    def _get_state(self) -> Any:
        """The world's true state as a fresh JSON-able value."""

    @abc.abstractmethod
    def _set_state(self, state: Any) -> None:
        """Go to a state that `_get_state` gave for the same task."""

    @abc.abstractmethod
    def _render(self, call: Call) -> str:
        """Write a call as an action of the text protocol: the inverse of `_parse`."""

    @abc.abstractmethod
    def _expert(self) -> Call:
        """The expert's next call from the current state, whatever came before."""

    @abc.abstractmethod
    def _cost_to_go(self) -> float:
        """Turns the expert needs from here to full success; infinity where it cannot succeed any more."""

    def expert_thought(self) -> str:
        """One short sentence on why the expert does what it does next."""
        return ""

    def summary(self) -> str:
        """What the last action led to, in a few words, for the short-term memory."""
        return self._observation.partition("\n")[0]

    def _admissible(self) -> list[Call] | None:
        """Calls that are valid now; None where they cannot be listed."""
        return None

    def _list_actions(self) -> list[str] | None:
        """The calls of `_admissible` as the agent would write them; a world with long lists may keep them written."""
        admissible = self._admissible()
        if admissible is None:
            return None
        write = format_tool_call if self.protocol == "tools" else self._render
        return [write(call) for call in admissible]

    def _refused(self, reason: str, observation: str) -> str:
        """What the agent reads after an action that was refused."""
        return f"{prompts.invalid(reason)}\n{observation}"

    @property
    @abc.abstractmethod
    def system_prompt(self) -> str:
        """What an agent must know about this world before its first turn, in the chosen protocol."""

    # The Gymnasium interface ----------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Open an episode.

        Args:
            seed: Seeds `np_random`, which draws the task.
            options: `{"task": …}` chooses the task: an id, an index into the split, or a `Task`.

        Raises:
            TaskError, IndexError: There is no such task.
            UsageError: The environment is closed, or an option is unknown.
        """
        self._check_open()
        super().reset(seed=seed)
        task = self._choose_task(options or {})
        self._observation = self._begin(task)
        self._task, self._turn, self._finished = task, 0, False
        self._turn_limit = self._max_turns or task.max_turns
        self._key_prefix = task.content_hash().encode()
        self._potential = self._compute_potential()
        return self._observation, self._info(self._score(), valid=True)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take one turn. A bad action is an observation that says so and costs the turn.

        Raises:
            UsageError: `action` is no string, or there is no episode to go on with.
        """
        if self._finished or self._closed or not isinstance(action, str):
            self._refuse_step(action)
        self._turn += 1
        terminated, valid = False, True
        try:
            if len(action) > MAX_ACTION_LENGTH:
                raise InvalidAction(prompts.TOO_LONG.format(length=len(action), limit=MAX_ACTION_LENGTH))
            self._observation, terminated, valid = self._apply(self._read(action))
            shown = self._observation
        except InvalidAction as refusal:
            valid, shown = False, self._refused(str(refusal), self._observation)
        truncated = not terminated and self._turn >= self._turn_limit
        self._finished = terminated or truncated

        score = self._score()
        reward = score.value if self._finished else 0.0
        if self.reward == "progress":
            before, self._potential = self._potential, 0.0 if terminated else self._compute_potential()
            reward += self.discount * self._potential - before
        return shown, reward, terminated, truncated, self._info(score, valid=valid)

    def render(self) -> str | None:
        """The current observation in mode `ansi`."""
        return self._observation if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Release what the world holds; a closed environment cannot be used again."""
        self._closed = True

    # Beyond Gymnasium -----------------------------------------------------------------------------------------------

    @property
    def task(self) -> Task:
        """The current task.

        Raises:
            UsageError: Before the first reset.
        """
        if self._task is None:
            raise UsageError("There is no task yet: call reset() first")
        return self._task

    def find_task(self, wanted: object) -> Task:
        """The task a caller means: a `Task` itself, a task id, or an index into the split.

        Raises:
            TaskError, IndexError: There is no such task.
            UsageError: It is none of the three.
        """
        if isinstance(wanted, Task):
            return wanted
        if isinstance(wanted, str):
            return self.tasks.find(wanted)
        if isinstance(wanted, bool) or not isinstance(wanted, SupportsIndex):
            raise UsageError(f"options['task'] must be a task id, an index or a Task, got {wanted!r}")
        return self.split[operator.index(wanted)]

    @property
    def turn_limit(self) -> int:
        """Turns the current episode may take."""
        return self._turn_limit

    def page_html(self) -> str | None:
        """What a browser would show now, as HTML; None in a world, or a mode of it, without such pages."""
        return None

    def score(self) -> Score:
        """The official score of the state as it is, with its parts."""
        return self._score()

    def admissible_calls(self) -> list[Call] | None:
        """Calls that are valid now, none after the end; None where the world cannot list them."""
        return [] if self._finished else self._admissible()

    def cost_to_go(self) -> float:
        """Turns the expert needs from here to full success; infinity where it cannot succeed any more."""
        return self._cost_to_go()

    def expert_action(self) -> str:
        """The expert's next action from the current state, whatever came before, in the environment's protocol."""
        return self.format_call(self._expert())

    def format_call(self, call: Call) -> str:
        """Write a call as the agent would in the environment's protocol."""
        return format_tool_call(call) if self.protocol == "tools" else self._render(call)

    def snapshot(self) -> Snapshot:
        """The whole episode as a value: pickle it, send it, `restore` it."""
        task = self.task
        random_state = self.np_random.bit_generator.state
        return Snapshot(task, self._turn, self._observation, self._finished, self._get_state(), random_state)

    def restore(self, snapshot: Snapshot) -> tuple[str, dict[str, Any]]:
        """Go back to a snapshot of this or of an equal environment; returns observation and info as `reset` does."""
        self._check_open()
        self._begin(snapshot.task)
        self._set_state(snapshot.state)
        if snapshot.task is not self._task:  # hashing a task costs more than all the rest
            self._key_prefix = snapshot.task.content_hash().encode()
        self._task, self._turn, self._finished = snapshot.task, snapshot.turn, snapshot.finished
        self._turn_limit = self._max_turns or snapshot.task.max_turns
        self._observation = snapshot.observation
        self.np_random.bit_generator.state = dict(snapshot.random_state)
        self._potential = self._compute_potential()
        return self._observation, self._info(self._score(), valid=True)

    def state_key(self) -> str:
        """Hash of the task, the turn and the world's true state: equal keys mean the same future."""
        digest = hashlib.blake2b(self._key_prefix, digest_size=16)
        digest.update(f"{self._turn}/{self._turn_limit}/{_canonical(self._get_state())}".encode())
        return digest.hexdigest()

    # The template's own steps ---------------------------------------------------------------------------------------

    def _choose_task(self, options: Mapping[str, Any]) -> Task:
        unknown = set(options) - {"task"}
        if unknown:
            raise UsageError(f"Unknown reset option {sorted(unknown)[0]!r}; the only option is 'task'")
        wanted = options.get("task")
        if wanted is None:
            return self.split[int(self.np_random.integers(len(self.split)))]
        return self.find_task(wanted)

    def _read(self, action: str) -> Call:
        if self.protocol == "tools":
            return parse_tool_call(action, self._tool_table)
        return self._parse(split_thought(action)[1])

    def _compute_potential(self) -> float:
        if self.reward != "progress":
            return 0.0
        cost = self._cost_to_go()
        return 0.0 if math.isinf(cost) else self.discount**cost

    def _info(self, score: Score, *, valid: bool) -> dict[str, Any]:
        info: dict[str, Any] = {
            "task_id": self.task.id,
            "turn": self._turn,
            "score": score.value,
            "success": score.success,
            "valid_action": valid,
            "state_key": self.state_key(),
        }
        listed = [] if self._finished else self._list_actions()
        if listed is not None:
            info["admissible_actions"] = listed
        return info

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"This {type(self).__name__} is closed; make a new one")

    def _refuse_step(self, action: object) -> NoReturn:
        self._check_open()
        if not isinstance(action, str):
            raise UsageError(f"An action is a string, got {type(action).__name__}: {action!r}")
        raise UsageError("There is no running episode: call reset() before step()")


def base_env(env: gym.Env[Any, Any]) -> TextEnv:
    """The world underneath all wrappers.

    Raises:
        UsageError: It is not one of ours.
    """
    base = env.unwrapped
    if not isinstance(base, TextEnv):
        raise UsageError(f"{type(base).__name__} is not a TextEnv; cmat-gym's tools need one of its worlds")
    return base


def snapshot(env: gym.Env[Any, Any]) -> Any:
    """Snapshot of an environment with all its wrappers (the memory included), outermost first."""
    return env.get_wrapper_attr("snapshot")()


def restore(env: gym.Env[Any, Any], state: Any) -> tuple[str, dict[str, Any]]:
    """Put an environment and all its wrappers back to what `snapshot` gave."""
    if env.has_wrapper_attr("has_reset") and not env.get_wrapper_attr("has_reset"):
        env.reset()  # `gym.make` wraps a guard that refuses to step an environment that was never reset
    return cast("tuple[str, dict[str, Any]]", env.get_wrapper_attr("restore")(state))
