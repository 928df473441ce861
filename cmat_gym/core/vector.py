"""`TextVectorEnv`: many text worlds behind Gymnasium's vector interface; `gym.make_vec` builds it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv

from cmat_gym.core.errors import UnknownNameError, UsageError, choose
from cmat_gym.core.workers import Blueprint, Crew, Description, LocalCrew, Opening, ProcessCrew

__all__ = ["MODES", "Mode", "TextVectorEnv", "batch_infos"]

Mode: TypeAlias = Literal["sync", "threads", "processes"]
MODES = ("sync", "threads", "processes")
Observations: TypeAlias = tuple[str, ...]
Flags: TypeAlias = npt.NDArray[np.bool_]
_OBJECT = np.dtype(object)


class TextVectorEnv(VectorEnv[Observations, Sequence[str], npt.NDArray[Any]]):
    """Several environments stepped together: a tuple of actions in, a tuple of observations out.

    An environment whose reset or step raises ends its own episode (truncated, reward 0, the exception in
    `infos["error"]` and in the log) and is built anew before its next reset; so do the environments of a worker process
    that dies. The others go on. After a `reset` that failed for one environment, its next step tries once more.

    Autoreset modes are Gymnasium's: `NEXT_STEP` (the step after the last one resets, and ignores the action),
    `SAME_STEP` (the last step already shows the next episode; `infos["final_obs"]` and `infos["final_info"]` show the
    end of the old one), and `DISABLED` (the caller resets, all or those in `options["reset_mask"]`).

    `infos` are Gymnasium's: one array per key, and a mask `_key` that says which environments have it. Where all of
    them have it the mask is one shared, read-only array.

    Args:
        crews: Who runs the environments.
        autoreset_mode: One of Gymnasium's three, or its name.
    """

    @classmethod
    def of(
        cls,
        num_envs: int,
        make: Callable[..., gym.Env[str, str]],
        kwargs: Mapping[str, Any],
        mode: Mode = "sync",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        workers: int | None = None,
    ) -> TextVectorEnv:
        """Build the environments and the workers that run them.

        Args:
            num_envs: How many environments.
            make: Builds one; in the mode `processes` it has to be importable by name.
            kwargs: Its keywords; in the mode `processes` they have to pickle.
            mode: `sync` steps them one after the other, the fastest way for worlds that take microseconds. `threads`
                suits worlds that wait on a service. `processes` suits worlds that compute; each worker process holds
                several environments.
            autoreset_mode: What happens after an episode.
            workers: How many threads (default: one per environment) or processes (default: one per core).

        Raises:
            UnknownNameError: An unknown mode.
            UsageError: A number below 1, or something that cannot be sent to a worker process.
        """
        choose("mode", mode, MODES)
        if num_envs < 1 or (workers is not None and workers < 1):
            raise UsageError(f"num_envs and workers must be at least 1, got {num_envs} and {workers}")
        blueprint = Blueprint(make, dict(kwargs), _autoreset(autoreset_mode))
        if mode == "processes":
            count = min(num_envs, workers or os.cpu_count() or 1)
            sizes = [len(part) for part in np.array_split(range(num_envs), count)]
            return cls([ProcessCrew(blueprint, size) for size in sizes], blueprint.autoreset)
        threads = min(num_envs, workers or num_envs) if mode == "threads" else 0
        return cls([LocalCrew(blueprint, num_envs, threads=threads)], blueprint.autoreset)

    def __init__(self, crews: Sequence[Crew], autoreset_mode: AutoresetMode) -> None:
        self._crews = crews
        self.num_envs = sum(crew.size for crew in crews)
        try:
            first: Description = self._ask("describe", [()] * len(crews))[0]
        except BaseException:
            self.close()
            raise
        self.autoreset_mode = autoreset_mode
        self.metadata = {**first.metadata, "autoreset_mode": autoreset_mode}
        self.render_mode = first.render_mode
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = gym.spaces.Tuple([first.observation_space] * self.num_envs)
        self.action_space = gym.spaces.Tuple([first.action_space] * self.num_envs)
        self._opened = False
        self._observations: Observations = ("",) * self.num_envs
        self._waits = autoreset_mode is AutoresetMode.DISABLED  # for the caller to reset what has finished
        self._finished: Flags = np.zeros(self.num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Open an episode in every environment, or in those of a mask.

        Args:
            seed: A number n seeds the environments with n, n + 1, …; a list gives each its own.
            options: `task`: an id, index or `Task` for all, or a list with one (or None) for each environment.
                `reset_mask`: which environments to reset, as a boolean array; the others stay as they are.

        Raises:
            UsageError: An unknown option, or a list or mask of the wrong length or kind.
            TaskError, IndexError: There is no such task.
        """
        self._check_open()
        options = dict(options or {})
        mask = self._mask(options.pop("reset_mask", None))
        tasks = self._per_env("options['task']", options.pop("task", None))
        if options:
            raise UsageError(f"Unknown reset option {sorted(options)[0]!r}; the options are 'task' and 'reset_mask'")
        if seed is None or isinstance(seed, int | np.integer):
            super().reset(seed=None if seed is None else int(seed))
            seeds: Sequence[int | None] = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = self._per_env("seed", list(seed))
        orders = [pair if chosen else None for pair, chosen in zip(zip(seeds, tasks, strict=True), mask, strict=True)]
        openings: list[Opening | None] = list(chain(*self._ask("reset", [(part,) for part in self._split(orders)])))
        self._observations = tuple(
            old if opening is None else opening[0] for old, opening in zip(self._observations, openings, strict=True)
        )
        self._finished = self._finished & ~mask
        self._opened = self._opened or bool(mask.all())
        return self._observations, batch_infos([None if opening is None else opening[1] for opening in openings])

    def step(
        self, actions: Sequence[str]
    ) -> tuple[Observations, npt.NDArray[np.float64], Flags, Flags, dict[str, Any]]:
        """Take one turn in every environment.

        Raises:
            UsageError: Before the first reset, another number of actions than environments, an action that is no
                string, or, in the mode DISABLED, an environment that has finished and was not reset.
        """
        self._check_actions(actions)
        transitions = chain(*self._ask("step", [(part,) for part in self._split(actions)]))
        observations, rewards, terminations, truncations, infos = zip(*transitions, strict=True)
        self._observations = observations
        terminated, truncated = np.array(terminations, dtype=np.bool_), np.array(truncations, dtype=np.bool_)
        if self._waits:
            self._finished = terminated | truncated
        return observations, np.array(rewards, dtype=np.float64), terminated, truncated, batch_infos(infos)

    def render(self) -> tuple[Any, ...] | None:
        """What each environment renders."""
        return self.call("render")

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of every environment with the same arguments; an attribute that is no method is read."""
        return self._call_each(name, [args] * self.num_envs, kwargs)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Read an attribute of every environment or of its wrappers."""
        return self._call_each("get_wrapper_attr", [(name,)] * self.num_envs, {})

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of every environment: a list or tuple with a value for each, or one value for all."""
        self._call_each("set_wrapper_attr", [(name, value) for value in self._per_env(name, values)], {})

    def close_extras(self, **kwargs: Any) -> None:
        """Close all environments and end all workers."""
        for crew in self._crews:
            crew.close()

    def __del__(self) -> None:
        """Worker processes end with their vector environment."""
        if not self.closed and hasattr(self, "_crews"):
            self.close()

    def _call_each(self, name: str, args: Sequence[Sequence[Any]], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        self._check_open()
        return tuple(chain(*self._ask("call", [(name, part, kwargs) for part in self._split(args)])))

    def _ask(self, command: str, args: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Let all crews work at the same time; one result per crew, and the first error after all have answered."""
        if len(self._crews) == 1:
            self._crews[0].begin(command, *args[0])
            return [self._crews[0].finish()]
        for crew, own in zip(self._crews, args, strict=True):
            crew.begin(command, *own)
        results: list[Any] = []
        errors: list[Exception] = []
        for crew in self._crews:
            try:
                results.append(crew.finish())
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return results

    def _split(self, values: Sequence[Any]) -> list[Sequence[Any]]:
        """Cut a list with one entry per environment into one list per crew."""
        if len(self._crews) == 1:
            return [values]
        ends = list(accumulate(crew.size for crew in self._crews))
        return [values[end - crew.size : end] for crew, end in zip(self._crews, ends, strict=True)]

    def _per_env(self, what: str, value: Any) -> Sequence[Any]:
        """One value for each environment: a list or tuple has them already, anything else is for all."""
        if not isinstance(value, list | tuple):
            return [value] * self.num_envs
        if len(value) != self.num_envs:
            raise UsageError(f"{what} has {len(value)} entries for {self.num_envs} environments")
        return value

    def _mask(self, mask: Any) -> Flags:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise UsageError(f"options['reset_mask'] must be a boolean array of shape ({self.num_envs},), got {mask!r}")
        return mask

    def _check_open(self) -> None:
        if self.closed:
            raise UsageError("This TextVectorEnv is closed; make a new one")

    def _check_actions(self, actions: Sequence[str]) -> None:
        self._check_open()
        if not self._opened:
            raise UsageError("There are no running episodes: call reset() before step()")
        if len(actions) != self.num_envs:
            raise UsageError(f"Got {len(actions)} actions for {self.num_envs} environments")
        for action in actions:
            if not isinstance(action, str):
                raise UsageError(f"An action is a string, got {type(action).__name__}: {action!r}")
        if self._waits and self._finished.any():
            raise UsageError(
                f"Environments {np.flatnonzero(self._finished).tolist()} have finished: "
                "call reset(options={'reset_mask': …}) before step() (autoreset is disabled)"
            )


def batch_infos(infos: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    """Turn one info per environment (None where there is none) into Gymnasium's dict of arrays and masks."""
    count = len(infos)
    if None not in infos:
        rows = cast("Sequence[dict[str, Any]]", infos)
        names = tuple(rows[0])
        if len(names) > 1 and list(map(len, rows)).count(len(names)) == count:
            try:
                return _batch_alike(names, rows, count)
            except KeyError:  # as many keys, but not the same ones
                pass
    batched: dict[str, Any] = {}
    for name in dict.fromkeys(name for info in infos for name in info or ()):
        mask = np.array([info is not None and name in info for info in infos])
        batched[name] = _spread(tuple(info[name] for info in infos if info is not None and name in info), mask)
        batched["_" + name] = mask
    return batched


def _batch_alike(names: tuple[str, ...], rows: Sequence[dict[str, Any]], count: int) -> dict[str, Any]:
    """The usual case, made to be fast: every environment has the same keys, of which there are several."""
    layout = _layout(names, count)
    batched = layout.blank.copy()
    for name, values in zip(names, zip(*map(layout.pick, rows)), strict=True):  # noqa: B905 - all are equally long
        kind = type(values[0])
        batched[name] = np.fromiter(values, _OBJECT, count) if kind is str or kind is list else _column(values)
    return batched


def _column(values: Sequence[Any]) -> Any:
    """The values of one key: numbers and arrays become an array, dicts a dict of arrays, the rest objects."""
    kind = type(values[0])
    if kind is bool or kind is float or kind is int or issubclass(kind, np.ndarray | np.number):
        try:
            array = np.array(values)
        except ValueError:  # arrays of different shapes
            return np.fromiter(values, _OBJECT, len(values))
        if array.dtype.kind in "biuf":
            return array
    elif all(isinstance(value, dict) for value in values):
        return batch_infos(values)
    return np.fromiter(values, _OBJECT, len(values))


def _spread(values: Sequence[Any], mask: Flags) -> Any:
    """A column in which some environments have no entry: 0 or None there."""
    if all(isinstance(value, dict) for value in values):
        remaining = iter(values)
        return batch_infos([next(remaining) if present else None for present in mask])
    dense = _column(values)
    column = np.zeros((len(mask), *dense.shape[1:]), dense.dtype) if dense.dtype != object else np.full(len(mask), None)
    column[mask] = dense
    return column


class _Layout(NamedTuple):
    """What batches with the same keys have in common."""

    pick: Callable[[dict[str, Any]], tuple[Any, ...]]  # the values of one info, in the order of the keys
    blank: dict[str, Any]  # every key and its mask, which is one for all and read-only; to be copied and filled in


@lru_cache(maxsize=64)
def _layout(names: tuple[str, ...], count: int) -> _Layout:
    mask = np.ones(count, dtype=np.bool_)
    mask.flags.writeable = False
    blank = {key: value for name in names for key, value in ((name, None), ("_" + name, mask))}
    return _Layout(itemgetter(*names), blank)


def _autoreset(mode: AutoresetMode | str) -> AutoresetMode:
    """A mode by its Gymnasium value (`NextStep`) or its name (`NEXT_STEP`, in any case)."""
    if isinstance(mode, AutoresetMode):
        return mode
    table = {known.value: known for known in AutoresetMode} | {known.name: known for known in AutoresetMode}
    found = table.get(mode) or table.get(mode.upper())
    if found is None:
        raise UnknownNameError("autoreset mode", mode, (known.name for known in AutoresetMode))
    return found
