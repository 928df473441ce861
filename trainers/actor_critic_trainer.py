"""`ActorCriticTrainer`: rollout, advantages, update; read `train` first, then its steps in order."""

from __future__ import annotations

import functools
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from transformers import TrainerCallback
from transformers.trainer_utils import TrainOutput

from cmat_gym.core.errors import BackendError, UsageError
from cmat_gym.core.roles import Critic, CriticFunction, as_critic
from cmat_gym.core.wrappers import CheckerPotential, CheckerReview
from cmat_gym.policies.backbone import ACTOR, REFERENCE
from cmat_gym.policies.checker import Checker, CheckerSettings
from cmat_gym.policies.generation import Sampling
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.trainers.actor_critic_config import GROUPED, ActorCriticConfig
from cmat_gym.trainers.advantages import group_rows, normalise_rows, refine_by_token, rollout_rows
from cmat_gym.trainers.batches import Row
from cmat_gym.trainers.health import Health
from cmat_gym.trainers.learner import Learner, critic_metrics, make_optimizer
from cmat_gym.trainers.meters import rollout_metrics
from cmat_gym.trainers.rollouts import Collector, Episode, MakeEnv
from cmat_gym.trainers.trl_bridge import LoopTrainer

__all__ = ["ActorCriticTrainer", "Evaluator"]

logger = logging.getLogger(__name__)

Evaluator = Callable[[LoRAPolicy], Mapping[str, float]]


class ActorCriticTrainer(LoopTrainer):
    """Turn-level actor-critic with PPO's clip, on LoRA adapters of one backbone.

    The CMAT rule θ_actor += α ∇log π(a_t|s_t) δ_t, θ_critic += β δ_t ∇V(s_t) is what this does with `gae_lambda=0`,
    `epochs=1`, one minibatch, and neither normalisation, nor KL, nor entropy bonus.

    Equal seeds give equal curves, whatever ran before and across a resume: on CPU to the bit, with the same number of
    threads (`torch.get_num_threads()`), as sums that are split otherwise round otherwise.

    Args:
        policy: The actor; it is trained in place.
        env: A registered id, or a function that builds one environment.
        args: The settings.
        critic: Your own judge, a function `(observation, action, info) -> float` or a `Critic`. `args.critic_use` says
            what for: its reward is blended into the environment's with the weight `args.critic_weight`; its value of
            states becomes a potential (scaled by that weight) or the baseline instead of the learned Checker's; or it
            refuses actions before they are carried out.
        env_kwargs: Keywords for `gym.make`, when `env` is an id. `reward` and `discount` come from `args`.
        evaluator: Called every `args.eval_steps` iterations when `args.eval_strategy` is "steps"; its numbers are
            logged under `eval/`.
        callbacks: Callbacks of transformers.
    """

    _tag_names = ("trl", "cmat")
    _name = "ActorCritic"

    def __init__(
        self,
        policy: LoRAPolicy,
        env: str | MakeEnv,
        args: ActorCriticConfig | None = None,
        *,
        critic: Critic | CriticFunction | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        evaluator: Evaluator | None = None,
        callbacks: list[Any] | None = None,
    ) -> None:
        args = args or ActorCriticConfig()
        if evaluator is None and args.eval_strategy != "no":
            raise UsageError(f"eval_strategy={args.eval_strategy!s} needs evaluator=, a function of the policy")
        self.policy = policy
        self.evaluator = evaluator
        self.checker: Checker | None = None
        judge = None if critic is None else as_critic(critic)
        if judge is not None and args.critic_use == "value" and args.advantage != "turn":
            raise UsageError(f"A critic as value baseline needs advantage='turn', got {args.advantage!r}")
        if args.advantage not in GROUPED and (judge is None or args.critic_use != "value"):
            with torch.random.fork_rng():  # equal seeds give equal heads, whatever was drawn before
                torch.manual_seed(args.seed)
                self.checker = Checker(policy, CheckerSettings(args.checker, args.checker_width))
        if args.reference == "sft" and REFERENCE not in policy.backbone.adapters:
            policy.backbone.add_adapter(REFERENCE, copy_of=ACTOR)
        super().__init__(
            model=policy.backbone,
            args=args,
            processing_class=policy.tokenizer,
            eval_dataset={},  # the evaluator has its own tasks
            callbacks=list(callbacks or []),
        )
        policy.to(args.device)

        seed = args.seed + 1000 * args.process_index
        if args.world_size > 1:
            if args.target_kl is not None:
                raise UsageError("target_kl would end the epochs of some processes before others; leave it out")
            policy.generator.manual_seed(seed)  # or all processes would draw the same numbers
        self.np_random = np.random.default_rng(seed)
        self.learner = Learner(policy, args, self.create_optimizer(), self.np_random, self.average_gradients)
        self.collector = Collector(
            _judged(env if callable(env) else _make_by_id(env, args, env_kwargs or {}), judge, args),
            args.num_envs,
            policy,
            critic=judge if args.critic_use == "reward" else None,
            critic_weight=args.critic_weight,
            baseline=judge if args.critic_use == "value" else None,
            seed=seed,
        )
        self.health = Health()

    # The loop -------------------------------------------------------------------------------------------------------

    def train(self, resume_from_checkpoint: str | Path | bool | None = None) -> TrainOutput:
        """Train for `args.iterations` iterations; Ctrl-C finishes the running one, saves, and ends.

        Args:
            resume_from_checkpoint: A checkpoint folder, or True for the last one; goes on exactly where it stopped.
        """
        args = self.args
        checkpoint = self.begin(args.iterations, resume_from_checkpoint)
        if checkpoint is not None:
            self._load_rollouts(checkpoint)
        metrics: dict[str, float] = {}
        with self._finish_on_interrupt():
            while self.state.global_step < args.iterations and not self.control.should_training_stop:
                self.begin_step()
                start = time.perf_counter()
                rows, metrics = self.play()
                played = time.perf_counter()
                warmup = self.checker is not None and self.state.global_step < args.critic_warmup
                if self.checker is not None:
                    metrics |= self.learner.update_critic(rows, warmup=warmup)
                if not warmup:
                    metrics |= self.learner.update_actor(rows)
                metrics["policy/learning_rate"] = self.optimizer.param_groups[0]["lr"]
                self.lr_scheduler.step()
                metrics["time/rollout"], metrics["time/update"] = played - start, time.perf_counter() - played
                self.end_step()
                self._report(metrics)
        self.end()
        return TrainOutput(self.state.global_step, metrics.get("loss/policy", 0.0), metrics)

    def play(self) -> tuple[list[Row], dict[str, float]]:
        """Play one rollout, and say of each of its turns how much better than expected it was."""
        args, failures, unjudged = self.args, self.collector.failures, self.collector.unjudged
        with self._training_sampling():
            if args.advantage in GROUPED:
                turns = args.num_envs * args.turns_per_env
                plays = [
                    p for p in self.collector.collect_groups(turns, args.group_size, self.np_random) if not p.failed
                ]
                step_weight = args.step_weight if args.advantage == "same_state_group" else 0.0
                rows = group_rows(plays, args.gamma, step_weight)
                valid = [valid for play in plays for valid in play.valid_actions]
                metrics = rollout_metrics([Episode.of(play) for play in plays], valid, rows)
            else:
                rollout = self.collector.collect(args.turns_per_env)
                rows = rollout_rows(rollout, args)
                metrics = rollout_metrics(rollout.episodes, rollout.valid_actions[rollout.valid].tolist(), rows)
                if self.collector.baseline is not None:
                    metrics |= critic_metrics(rows)
                metrics |= {f"time/{name}": seconds for name, seconds in rollout.seconds.items()}
        if not rows:
            raise BackendError(
                "No turn of this iteration can be learned from: every environment failed, or the critic on each "
                "action; the log has the reasons"
            )
        if args.advantage == "token":
            self.learner.read_token_states(rows)
            refine_by_token(rows, args.token_lambda)
        if args.normalize_advantages and args.advantage not in GROUPED:  # groups have their own scale
            normalise_rows(rows)
        metrics["rollout/failures"] = float(self.collector.failures - failures)
        metrics["rollout/unjudged"] = float(self.collector.unjudged - unjudged)
        return rows, metrics

    def _report(self, metrics: dict[str, float]) -> None:
        """Log, warn, evaluate and save, as the callbacks decided."""
        for warning in self.health.check(metrics):
            logger.warning("Iteration %d: %s.", self.state.global_step, warning)
        if self.control.should_log:
            self.log(dict(metrics))
        if self.control.should_evaluate and self.evaluator is not None:
            scores = {f"eval/{name}": float(value) for name, value in self.evaluator(self.policy).items()}
            self.log(dict(scores))
            self.evaluated(scores)
        if self.control.should_save:
            self.save_checkpoint()

    @contextmanager
    def _training_sampling(self) -> Iterator[None]:
        """Sample from the policy itself: PPO's ratio and the policy gradient are about no other distribution."""
        before, self.policy.sampling = self.policy.sampling, Sampling(max_new_tokens=self.args.max_new_tokens)
        try:
            yield
        finally:
            self.policy.sampling = before

    @contextmanager
    def _finish_on_interrupt(self) -> Iterator[None]:
        """Turn the first Ctrl-C into a wish to stop after this iteration and save; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            logger.warning(
                "Finishing iteration %d, then saving. Ctrl-C again to stop at once.", self.state.global_step + 1
            )
            self.add_callback(_StopAndSave())
            signal.signal(signal.SIGINT, before)

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    # What TRL's machinery asks for ----------------------------------------------------------------------------------

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW with separate learning rates for actor and critic."""
        if self.optimizer is None:
            self.optimizer = make_optimizer(self.policy, self.args)
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer

    def save_more(self, folder: Path) -> None:
        """What training needs to go on exactly: episodes, memories and generators."""
        state = {
            "episodes": self.collector.state(),
            "failures": self.collector.failures,
            "sampling": self.policy.generator.get_state(),
            "minibatches": self.np_random.bit_generator.state,
            "threads": torch.get_num_threads(),
        }
        torch.save(state, folder / self._rollouts_file)

    def _load_rollouts(self, folder: Path) -> None:
        # Snapshots are Python objects of the worlds, so this file is a pickle: resume your own checkpoints only.
        state = torch.load(folder / self._rollouts_file, weights_only=False)
        self.collector.restore(state["episodes"])
        self.collector.failures = state["failures"]
        self.policy.generator.set_state(state["sampling"])
        self.np_random.bit_generator.state = state["minibatches"]
        if state.get("threads", torch.get_num_threads()) != torch.get_num_threads():
            logger.warning(
                "%s was written with %d threads of torch, now there are %d: the curve goes on, but rounds differently "
                "(OMP_NUM_THREADS sets them)",
                folder, state["threads"], torch.get_num_threads(),
            )  # fmt: skip

    @property
    def _rollouts_file(self) -> str:
        return f"rollouts_{self.args.process_index}.pt"


class _StopAndSave(TrainerCallback):  # type: ignore[misc]
    """Ends training after the running iteration, with a checkpoint."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Ask for both."""
        control.should_save = control.should_training_stop = True
        return control


def _judged(make: MakeEnv, critic: Critic | None, args: ActorCriticConfig) -> MakeEnv:
    """Environments with a custom critic as potential or as filter around them."""
    if critic is None or args.critic_use not in ("potential", "filter"):
        return make
    if args.critic_use == "potential":
        return lambda: CheckerPotential(make(), critic, args.gamma, args.critic_weight)
    return lambda: CheckerReview(make(), critic, args.max_revisions)


def _make_by_id(env_id: str, args: ActorCriticConfig, env_kwargs: Mapping[str, Any]) -> MakeEnv:
    kwargs = {"reward": args.reward, "discount": args.gamma, **env_kwargs}
    return functools.partial(gym.make, env_id, **kwargs)
