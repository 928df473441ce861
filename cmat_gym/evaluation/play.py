"""Playing the tasks of a panel, in this process or in several; every finished episode is handed on at once.

In this process a batch of actions answers all running episodes, as a language model wants it. Worker processes play one
episode at a time each, with a policy of their own, as the worlds' experts and random play can: their choices depend on
the episode alone, so the records are equal for any number of workers.
"""

from __future__ import annotations

import atexit
import multiprocessing
import pickle
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from cmat_gym.core.errors import BackendError, UsageError
from cmat_gym.core.roles import Policy
from cmat_gym.core.rollout import rollout
from cmat_gym.core.task import Task
from cmat_gym.core.trajectory import Trajectory

__all__ = ["OnFinished", "PolicyFactory", "WorkerPool", "make_policy", "play_here"]

PolicyFactory: TypeAlias = Callable[[Sequence[gym.Env[str, str]]], Policy]
OnFinished: TypeAlias = Callable[[Trajectory, float], None]
"""Called with each episode as it ends, and the seconds it took."""


def make_policy(policy: Policy | PolicyFactory, envs: Sequence[gym.Env[str, str]]) -> Policy:
    """The policy itself, or what its factory makes of the environments that are going to be played."""
    return policy if isinstance(policy, Policy) and not isinstance(policy, type) else policy(envs)


def play_here(
    envs: Sequence[gym.Env[str, str]], policy: Policy, tasks: Sequence[Task | str], name: str, on_finished: OnFinished
) -> None:
    """Play every task in this process, as many side by side as there are environments."""
    opened: dict[int, float] = {}

    def on_start(index: int) -> None:
        opened[index] = time.perf_counter()

    def on_turn(index: int, trajectory: Trajectory) -> None:
        if trajectory.finished or trajectory.error is not None:
            on_finished(trajectory, time.perf_counter() - opened[index])

    rollout(envs, policy, tasks, on_start=on_start, on_turn=on_turn, policy_name=name)


class _Job(NamedTuple):
    """What a worker needs to know to play tasks of a run."""

    spec: EnvSpec
    env_kwargs: Mapping[str, Any]
    policy: PolicyFactory
    name: str


class WorkerPool:
    """Worker processes for one run after another; each keeps the environment of the run it is at.

    Processes are started afresh ("spawn"), so a script that uses them needs the usual `if __name__ == "__main__":`.

    Args:
        workers: Number of processes.

    Raises:
        UsageError: Fewer than one.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise UsageError(f"workers must be at least 1, got {workers}")
        self.workers = workers
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)

    def __enter__(self) -> WorkerPool:
        """Start when there is something to do."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Wait for the episodes that are running, and stop."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def play(
        self,
        env_id: str,
        env_kwargs: Mapping[str, Any],
        policy: PolicyFactory,
        task_ids: Sequence[str],
        name: str,
        on_finished: OnFinished,
    ) -> None:
        """Play every task in one of the processes.

        Raises:
            UsageError: The policy cannot be sent to a process.
            BackendError: A process died.
        """
        job = _Job(gym.spec(env_id), env_kwargs, policy, name)
        try:
            pickle.dumps(job)
        except Exception as error:  # whatever __reduce__ of the policy or of a keyword raises
            raise UsageError(
                f"{name or policy!r} cannot be sent to worker processes ({error}). Give a class or a function that "
                "makes it and can be imported by its name, or play in one process"
            ) from error
        futures = [self._pool.submit(_play, job, task_id) for task_id in task_ids]
        try:
            for future in as_completed(futures):
                on_finished(*future.result())
        except BrokenProcessPool as error:
            raise BackendError(
                "A worker process died (out of memory?); fewer workers may do. Tasks that were recorded are kept"
            ) from error
        finally:
            _cancel(futures)


def _cancel(futures: Sequence[Future[Any]]) -> None:
    for future in futures:
        future.cancel()


# In a worker --------------------------------------------------------------------------------------------------------

_opened: tuple[bytes, gym.Env[str, str], Policy] | None = None


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us in good order
    atexit.register(_close)


def _close() -> None:
    global _opened
    if _opened is not None:
        _opened[1].close()
        _opened = None


def _play(job: _Job, task_id: str) -> tuple[Trajectory, float]:
    """Play one task in this process's environment."""
    global _opened
    key = pickle.dumps(job)
    if _opened is None or _opened[0] != key:
        _close()
        env = gym.make(job.spec, **job.env_kwargs)
        _opened = key, env, make_policy(job.policy, [env])
    start = time.perf_counter()
    [trajectory] = rollout([_opened[1]], _opened[2], [task_id], policy_name=job.name)
    return trajectory, time.perf_counter() - start
