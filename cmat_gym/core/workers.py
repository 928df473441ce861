"""Underneath `TextVectorEnv`: slots that hold one environment each, and crews that step many slots.

A slot runs one environment: it resets it when its episode has ended, and turns an exception into the end of that
episode. A crew steps its slots in this thread, in several threads, or in a worker process (replaced when it dies).
"""

from __future__ import annotations

import abc
import contextlib
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, NamedTuple, TypeAlias, cast

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from cmat_gym.core.env import base_env
from cmat_gym.core.errors import BackendError, UsageError, describe_error

__all__ = [
    "Blueprint",
    "Crew",
    "Description",
    "LocalCrew",
    "Opening",
    "ProcessCrew",
    "Slot",
    "Transition",
    "worker_main",
]

logger = logging.getLogger(__name__)

Opening: TypeAlias = tuple[str, dict[str, Any]]
Transition: TypeAlias = tuple[str, float, bool, bool, dict[str, Any]]

NO_EPISODE = "There is no running episode in this environment: reset it first"


class Blueprint(NamedTuple):
    """How to build an environment, as often as needed and in any process, and how it starts again after an episode."""

    make: Callable[..., gym.Env[str, str]]
    kwargs: Mapping[str, Any]
    autoreset: AutoresetMode

    def build(self) -> gym.Env[str, str]:
        """A new environment."""
        return self.make(**self.kwargs)


class Slot:
    """One environment of a vector environment.

    An exception in its reset or step ends its episode: truncated, reward 0, and `info["error"]` names the exception.
    The environment is built anew before its next reset.
    """

    def __init__(self, blueprint: Blueprint, seed: int | None = None) -> None:
        self.blueprint = blueprint
        self.env = blueprint.build()
        self.seed = seed  # the last one given
        self._pending_seed = seed  # for the next reset, where the caller gives none
        self.running = False
        self.broken = False
        self.observation = ""

    def reset(self, seed: int | None, task: Any) -> Opening:
        """Open an episode; one that cannot be opened gives an empty observation and `info["error"]`."""
        if seed is None:
            seed = self._pending_seed
        else:
            self.seed = seed
        self._pending_seed = None
        try:
            if self.broken:
                self._rebuild()
            self.observation, info = self.env.reset(seed=seed, options=None if task is None else {"task": task})
        except Exception as error:
            return self._fail(error)
        self.running = True
        return self.observation, info

    def step(self, action: str) -> Transition:
        """Take one turn, with what the autoreset mode says about the end of an episode."""
        if not self.running:
            return self._step_idle()
        try:
            transition: Transition = self.env.step(action)  # type: ignore[assignment]  # rewards are floats here
        except Exception as error:
            self.running = False
            return self._end((self.observation, 0.0, False, True, self._fail(error)[1]))
        if transition[2] or transition[3]:
            self.running = False
            return self._end(transition)
        self.observation = transition[0]
        return transition

    def call(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Value of an attribute of the environment or its wrappers; a method is called."""
        attribute = self.env.get_wrapper_attr(name)
        return attribute(*args, **kwargs) if callable(attribute) else attribute

    def _step_idle(self) -> Transition:
        """A step without a running episode: the autoreset, or another attempt after a failed one."""
        if self.blueprint.autoreset is AutoresetMode.DISABLED:
            return self.observation, 0.0, False, True, {"error": NO_EPISODE}
        observation, info = self.reset(None, None)
        failed = not self.running
        if failed and self.blueprint.autoreset is AutoresetMode.SAME_STEP:
            info = {**info, "final_obs": observation, "final_info": info}
        return observation, 0.0, False, failed, info

    def _end(self, transition: Transition) -> Transition:
        """The last transition of an episode; in the mode SAME_STEP it already shows the next episode."""
        if self.blueprint.autoreset is not AutoresetMode.SAME_STEP:
            return transition
        final_observation, reward, terminated, truncated, final_info = transition
        observation, info = self.reset(None, None)
        final = {"final_obs": final_observation, "final_info": final_info}
        return observation, reward, terminated, truncated, {**info, **final}

    def _fail(self, error: Exception) -> Opening:
        logger.warning("An environment failed and will be rebuilt: %s", describe_error(error), exc_info=error)
        self.running, self.broken, self.observation = False, True, ""
        self.seed = self._pending_seed = next_seed(self.seed)
        return "", {"error": describe_error(error)}

    def _rebuild(self) -> None:
        try:
            self.env.close()
        except Exception as error:
            logger.warning("A failed environment could not be closed either: %s", describe_error(error))
        self.env = self.blueprint.build()
        self.broken = False


def next_seed(seed: int | None) -> int | None:
    """The seed a rebuilt environment goes on with: reproducible, and not the one that led to the failure."""
    return None if seed is None else (seed + 1_000_003) % 2**31


class Description(NamedTuple):
    """What a crew says about its environments."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    metadata: Mapping[str, Any]
    render_mode: str | None


class Crew(abc.ABC):
    """Some environments of a vector environment. `begin` starts a command on all of them, `finish` returns the results.

    Commands are the public methods of `LocalCrew` below. Several crews work at the same time: begin all, finish all.
    """

    size: int

    @abc.abstractmethod
    def begin(self, command: str, *args: Any) -> None:
        """Start a command."""

    @abc.abstractmethod
    def finish(self) -> Any:
        """Wait for the command's result; raises what the command raised."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the environments; a second call does nothing."""


class LocalCrew(Crew):
    """Environments of this process, stepped one after the other or by a pool of threads."""

    def __init__(
        self, blueprint: Blueprint, size: int, seeds: Sequence[int | None] | None = None, threads: int = 0
    ) -> None:
        self.size = size
        self.slots = [Slot(blueprint, seed) for seed in seeds or [None] * size]
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="cmat-gym") if threads else None
        self._command: tuple[str, tuple[Any, ...]] = ("describe", ())

    def begin(self, command: str, *args: Any) -> None:
        """Note the command; `finish` carries it out."""
        self._command = command, args

    def finish(self) -> Any:
        """Carry the command out."""
        command, args = self._command
        return getattr(self, command)(*args)

    def describe(self) -> Description:
        """Spaces and metadata of the environments."""
        env = self.slots[0].env
        return Description(env.observation_space, env.action_space, dict(env.metadata), env.render_mode)

    def reset(self, orders: Sequence[tuple[int | None, Any] | None]) -> list[Opening | None]:
        """Reset every slot that has an order (seed, task); a task that does not exist raises before any reset."""
        tasks = [
            None if order is None or order[1] is None else base_env(slot.env).find_task(order[1])
            for slot, order in zip(self.slots, orders, strict=True)
        ]
        seeds = [None if order is None else order[0] for order in orders]
        ordered = [order is not None for order in orders]
        return self._map(_reset_slot, self.slots, ordered, seeds, tasks)

    def step(self, actions: Sequence[str]) -> list[Transition]:
        """One step of every slot."""
        if self._pool is None:
            return [slot.step(action) for slot, action in zip(self.slots, actions, strict=True)]
        return self._map(Slot.step, self.slots, actions)

    def call(self, name: str, args: Sequence[Sequence[Any]], kwargs: Mapping[str, Any]) -> list[Any]:
        """Call a method, or read an attribute, of every environment; `args[i]` are the arguments of slot i."""
        return self._map(lambda slot, own: slot.call(name, own, kwargs), self.slots, args)

    def close(self) -> None:
        """Close the environments and end the threads."""
        slots, self.slots = self.slots, []
        if self._pool is not None:
            self._pool.shutdown()
        for slot in slots:
            slot.env.close()

    def _map(self, function: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
        return list(map(function, *columns) if self._pool is None else self._pool.map(function, *columns))


def _reset_slot(slot: Slot, ordered: bool, seed: int | None, task: Any) -> Opening | None:
    return slot.reset(seed, task) if ordered else None


# Worker processes ----------------------------------------------------------------------------------------------------

# A fresh interpreter reads the parent's import path, then serves. Unlike multiprocessing's start methods this runs
# nothing of the caller's main module, so scripts need no guard and notebooks work; nor does it fork a process whose
# threads (torch's, say) hold locks.
_BOOTSTRAP = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from cmat_gym.core.workers import worker_main; worker_main()"
)
_LOST = (EOFError, OSError, pickle.UnpicklingError)


class ProcessCrew(Crew):
    """Environments in one worker process, spoken to over its standard input and output.

    When the process dies its episodes end (truncated, reward 0, `info["error"]`); the next command starts a new one.

    Raises:
        UsageError: What builds the environments cannot be sent to another process.
        BackendError: The worker does not come up.
    """

    def __init__(self, blueprint: Blueprint, size: int) -> None:
        self.blueprint = blueprint
        self.size = size
        self.seeds: list[int | None] = [None] * size
        self._command: tuple[str, tuple[Any, ...]] = ("describe", ())
        self._serial = 0
        self._lost = ""
        self._process = self._start()

    def begin(self, command: str, *args: Any) -> None:
        """Send the command, to a new worker if the old one has died."""
        self._command = command, args
        if command == "reset":
            for index, order in enumerate(args[0]):
                if order is not None and order[0] is not None:
                    self.seeds[index] = order[0]
        try:
            if self._lost:
                self.seeds = [next_seed(seed) for seed in self.seeds]
                self._process = self._start()
                self._lost = ""
            self._send(command, *args)
        except _LOST as error:
            self._give_up(error)

    def finish(self) -> Any:
        """The worker's answer, or the end of all its episodes if it has died."""
        command, args = self._command
        if not self._lost:
            try:
                outcome, value = self._receive()
            except _LOST as error:
                self._give_up(error)
            else:
                if outcome == "done":
                    return value
                if outcome == "raised" or command == "describe":
                    raise value
                self._give_up(value)  # a new worker that could not build the environments again
        if command == "reset":
            return [None if order is None else ("", {"error": self._lost}) for order in args[0]]
        if command == "step":
            return [self._lost_transition() for _ in range(self.size)]
        raise BackendError(f"{self._lost}; its environments start anew at their next reset")

    def close(self) -> None:
        """Ask the worker to end, and make it end if it does not."""
        with contextlib.suppress(OSError):
            cast("IO[bytes]", self._process.stdin).close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        cast("IO[bytes]", self._process.stdout).close()

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            order = pickle.dumps((self.blueprint, self.size, self.seeds))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(
                f"Worker processes build their environments from importable names and plain values: {error}"
            ) from error
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        with contextlib.suppress(OSError):  # a worker that dies at once is found dead at the first command
            pipe = cast("IO[bytes]", process.stdin)
            pickle.dump(sys.path, pipe)
            pickle.dump(order, pipe)
            pipe.flush()
        return process

    def _send(self, command: str, *args: Any) -> None:
        self._serial += 1
        pipe = cast("IO[bytes]", self._process.stdin)
        pipe.write(pickle.dumps((self._serial, command, args)))
        pipe.flush()

    def _receive(self) -> tuple[str, Any]:
        serial, outcome, value = 0, "", None
        while serial < self._serial:  # answers to commands that Ctrl-C broke off are passed over
            serial, outcome, value = pickle.load(cast("IO[bytes]", self._process.stdout))
        return outcome, value

    def _give_up(self, error: Exception) -> None:
        self.close()
        process = self._process
        reason = "" if isinstance(error, _LOST) else f": {describe_error(error)}"
        self._lost = f"Worker process {process.pid} died (exit code {process.returncode}){reason}"
        logger.warning("%s. The episodes of its %d environments end", self._lost, self.size)

    def _lost_transition(self) -> Transition:
        info: dict[str, Any] = {"error": self._lost}
        if self.blueprint.autoreset is AutoresetMode.SAME_STEP:
            info = {**info, "final_obs": "", "final_info": info}
        return "", 0.0, False, True, info


def worker_main() -> None:
    """What a worker process runs: build the environments, then answer commands until the input ends."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a world prints must not end up among the answers
    crew: LocalCrew | None = None
    failure: Exception | None = None
    try:
        blueprint, size, seeds = pickle.loads(pickle.load(requests))
        crew = LocalCrew(blueprint, size, seeds)
    except Exception as error:
        failure = error
    while True:
        try:
            serial, command, args = pickle.load(requests)
        except EOFError:
            break
        answers.write(_answer(serial, "unbuilt", failure) if crew is None else _obey(crew, serial, command, args))
        answers.flush()
    if crew is not None:
        crew.close()


def _obey(crew: LocalCrew, serial: int, command: str, args: tuple[Any, ...]) -> bytes:
    """Carry out a command; what came of it, as bytes."""
    try:
        return pickle.dumps((serial, "done", getattr(crew, command)(*args)))
    except Exception as error:
        return _answer(serial, "raised", error)


def _answer(serial: int, outcome: str, error: Exception | None) -> bytes:
    """An exception as bytes; one that cannot travel is told in words."""
    try:
        data = pickle.dumps((serial, outcome, error))
        pickle.loads(data)
    except Exception:
        return pickle.dumps((serial, outcome, BackendError(describe_error(cast(Exception, error)))))
    return data
