"""The `cmat` recipe: base model, supervised warm start, actor-critic with the Checker, on one panel of held-out tasks.

Each stage ends on the dev panel, which choices are made on: the actor-critic keeps the adapters of its best look at it,
those it started from included. When all stages are done, each plays the test panel once, and those are the figures.
Every finished stage is on disk, so a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import torch
from transformers import PrinterCallback, TrainerCallback

from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.evaluate import Evaluation, OnProgress, evaluate
from cmat_gym.evaluation.panel import Panel
from cmat_gym.policies.generation import Sampling
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.trainers.actor_critic_config import ActorCriticConfig
from cmat_gym.trainers.actor_critic_trainer import ActorCriticTrainer
from cmat_gym.trainers.demonstrations import Demonstration, collect_corrections, collect_expert
from cmat_gym.trainers.recipe_results import write_results
from cmat_gym.trainers.run_folder import ACTOR_CRITIC, BASE, SFT, RunFolder, StageResult
from cmat_gym.trainers.sft_config import SFTStageConfig
from cmat_gym.trainers.sft_trainer import SFTStage

__all__ = ["CmatRecipe", "Display", "run_recipe"]


class Display(Protocol):
    """Where the recipe tells what it is doing."""

    def begin(self, name: str, total: int | None = None) -> None:
        """A part of the work begins."""

    def update(self, done: int, total: int, figures: Mapping[str, float]) -> None:
        """It is at `done` of `total`, with these figures."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""


def run_recipe(folder: RunFolder, display: Display) -> list[StageResult]:
    """Run the recipe of a folder's settings, or what is left of it; returns the finished stages in order.

    Raises:
        KeyboardInterrupt: It was interrupted; what is finished is saved, and another call goes on.
    """
    return CmatRecipe(folder, display).run()


class CmatRecipe:
    """One run of the recipe.

    Args:
        folder: Where the run lives, with its settings.
        display: Told what happens.
    """

    def __init__(self, folder: RunFolder, display: Display) -> None:
        self.folder = folder
        self.config = folder.config
        self.display = display
        self.world = self.config.world()
        self.dev = Panel.of(self.config.env_id, "dev", self.config.dev_tasks, **self.world)
        self.test = Panel.of(self.config.env_id, "test", self.config.test_tasks, **self.world)

    def run(self) -> list[StageResult]:
        """All stages, then the test panel, then the results."""
        stages = [self._stage(BASE, self._base, None)]
        if self.config.sft_episodes:
            stages.append(self._stage(SFT, self._warm_start, stages[-1]))
        if self.config.iterations:
            stages.append(self._stage(ACTOR_CRITIC, self._actor_critic, stages[-1]))
        finished = [self._play_test(stage) for stage in stages]
        write_results(self.folder, finished)
        return finished

    def _stage(
        self,
        name: str,
        train: Callable[[LoRAPolicy, StageResult | None], Evaluation],
        before: StageResult | None,
    ) -> StageResult:
        """A stage, trained from the adapters of the one before it unless it is finished already."""
        done = self.folder.load_stage(name)
        if done is None:
            start = time.perf_counter()
            torch.manual_seed(self.config.seed)  # what libraries draw
            dev = train(self._policy(None if before is None else before.name), before)
            done = StageResult(name, time.perf_counter() - start, dev)
            self.folder.save_stage(done)
        self.display.note(f"{name}: dev score {done.dev.score.estimate:.3f}, success {done.dev.success.estimate:.1%}")
        return done

    def _play_test(self, stage: StageResult) -> StageResult:
        """The stage with its figures on the test panel."""
        if stage.test is None:
            stage = replace(stage, test=self._evaluate(self._policy(stage.name), stage.name, self.test))
            self.folder.save_stage(stage)
        return stage

    # The stages: each leaves its adapters in the folder and returns its evaluation on the dev panel ------------------

    def _base(self, policy: LoRAPolicy, before: StageResult | None) -> Evaluation:
        """The base model as it is: fresh adapters change nothing."""
        policy.save(self.folder.adapter(BASE))
        return self._evaluate(policy, BASE, self.dev)

    def _warm_start(self, policy: LoRAPolicy, before: StageResult | None) -> Evaluation:
        """Imitation of the expert on training tasks; short enough to begin anew after an interruption."""
        rounds = min(self.config.sft_rounds, self.config.sft_episodes)
        steps = 0
        # Of all rounds so far: trained on the last one alone, the policy would forget the others.
        demonstrations: list[Demonstration] = []
        for number in range(rounds):
            self.display.begin(f"{SFT}, round {number + 1} of {rounds}")
            demonstrations += self._demonstrations(policy, number, self.config.sft_episodes // rounds)
            settings = {
                "seed": self.config.seed + number,
                "logging_steps": 5,
                "dataloader_pin_memory": torch.cuda.is_available(),
                **self.config.sft,
            }
            args = _make_settings(SFTStageConfig, "warm start", self.folder.path / "checkpoint-sft", settings)
            watch = _Watch(self.folder, self.display, SFT, steps_before=steps)
            trainer = SFTStage(policy, demonstrations, args, callbacks=[watch])
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            steps += trainer.state.global_step
        policy.save(self.folder.adapter(SFT))
        return self._evaluate(policy, SFT, self.dev)

    def _demonstrations(self, policy: LoRAPolicy, number: int, episodes: int) -> list[Demonstration]:
        """What a round of the warm start adds: first the expert's own episodes, then its corrections."""
        wanted = 1 if number == 0 else min(self.config.num_envs, episodes)
        envs = [gym.make(self.config.env_id, **{**self.world, "split": "train"}) for _ in range(wanted)]
        policy.read_system_prompt(envs[0])
        try:
            if number > 0:
                seed = self.config.seed + number
                return collect_corrections(envs, policy, episodes, thoughts=self.config.thoughts, seed=seed)
            return collect_expert(
                envs[0],
                episodes,
                mistakes=self.config.sft_mistakes,
                slips=self.config.sft_slips,
                thoughts=self.config.thoughts,
                seed=self.config.seed,
            )
        finally:
            for env in envs:
                env.close()

    def _actor_critic(self, policy: LoRAPolicy, before: StageResult | None) -> Evaluation:
        """The actor-critic; what remains are its best adapters on the dev panel."""
        assert before is not None, "the base stage comes first"
        best = self.folder.load_best(ACTOR_CRITIC)
        if best is None:
            best = replace(before.dev, name=ACTOR_CRITIC)
            self.folder.log(ACTOR_CRITIC, 0, _figures(best, "dev/"))
            self._keep(policy, best)

        def look() -> dict[str, float]:
            evaluation = self._evaluate(policy, ACTOR_CRITIC, self.dev, shown=False)
            kept = self.folder.load_best(ACTOR_CRITIC)
            if kept is None or _goodness(evaluation) > _goodness(kept):
                self._keep(policy, evaluation)
            return _figures(evaluation, "dev/")

        settings = {
            "iterations": self.config.iterations,
            "max_new_tokens": self.config.max_new_tokens,
            "seed": self.config.seed,
            "save_strategy": "steps",
            "save_steps": self.config.eval_every,
            "save_total_limit": 1,
            **self.config.actor_critic,
        }
        trainer = ActorCriticTrainer(
            policy,
            self.config.env_id,
            _make_settings(ActorCriticConfig, ACTOR_CRITIC, self.folder.checkpoint, settings),
            env_kwargs={**self.world, "split": "train"},
            callbacks=[_Watch(self.folder, self.display, ACTOR_CRITIC, look, self.config.eval_every)],
        )
        self.display.begin(ACTOR_CRITIC, self.config.iterations)
        trainer.train(resume_from_checkpoint=any(self.folder.checkpoint.glob("checkpoint-*")))
        if trainer.state.global_step < self.config.iterations:
            raise KeyboardInterrupt
        return self.folder.load_best(ACTOR_CRITIC) or best

    def _keep(self, policy: LoRAPolicy, dev: Evaluation) -> None:
        """Keep the running stage's adapters as the best so far."""
        policy.save(self.folder.adapter(ACTOR_CRITIC))
        self.folder.save_best(ACTOR_CRITIC, dev)

    # What the stages share -------------------------------------------------------------------------------------------

    def _policy(self, stage: str | None) -> LoRAPolicy:
        """The policy that a stage left, or the untrained one."""
        model, seed = self.config.model, self.config.seed
        sampling = Sampling(max_new_tokens=self.config.max_new_tokens)
        if stage is None:
            return LoRAPolicy(model, sampling=sampling, seed=seed)
        return LoRAPolicy.load(self.folder.adapter(stage), model, sampling=sampling, seed=seed)

    def _evaluate(self, policy: LoRAPolicy, name: str, panel: Panel, *, shown: bool = True) -> Evaluation:
        on_progress: OnProgress | None = None
        if shown:
            self.display.begin(f"{name} on {panel.split}", len(panel))
            on_progress = self._show_episode
        with _evaluation_sampling(policy, self.config.eval_temperature, self.config.seed):
            return evaluate(
                lambda envs: _introduced(policy, envs[0]),
                self.config.env_id,
                panel,
                name=name,
                num_envs=self.config.num_envs,
                on_progress=on_progress,
                **self.world,
            )

    def _show_episode(self, done: int, total: int, score: float) -> None:
        self.display.update(done, total, {"score": score})


def _make_settings(kind: Callable[..., Any], stage: str, folder: Path, settings: Mapping[str, Any]) -> Any:
    """A trainer's configuration: the recipe's values, and over them those the user named.

    Raises:
        UsageError: The trainer has no such setting.
    """
    try:
        return kind(output_dir=str(folder), **settings)
    except TypeError as error:
        raise UsageError(f"The {stage} has no such setting: {error}") from error


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Writes a trainer's metrics into the run's folder, shows the important ones, and looks at the dev panel.

    Args:
        folder: The run's.
        display: The run's.
        stage: What is being trained.
        look: Evaluates on the dev panel; None for a stage that is looked at when it is done.
        every: Steps between two looks; the last step is always looked at.
        steps_before: Steps of the stage that were taken before this trainer's first.
    """

    shown: Mapping[str, str] = {
        "loss": "loss",
        "rollout/score": "score",
        "rollout/success": "success",
        "rollout/valid_action": "valid",
        "dev/score": "dev score",
    }

    def __init__(
        self,
        folder: RunFolder,
        display: Display,
        stage: str,
        look: Callable[[], Mapping[str, float]] | None = None,
        every: int = 1,
        steps_before: int = 0,
    ) -> None:
        self.folder = folder
        self.display = display
        self.stage = stage
        self.look = look
        self.every = every
        self.steps_before = steps_before
        self.figures: dict[str, float] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step is done: look, where it is due, before a checkpoint is written."""
        if self.look is not None and (state.global_step % self.every == 0 or state.global_step == state.max_steps):
            self._note(state, self.look())

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Metrics of a step have come in."""
        self._note(
            state, {name: float(value) for name, value in (logs or {}).items() if isinstance(value, int | float)}
        )

    def _note(self, state: Any, metrics: Mapping[str, float]) -> None:
        self.folder.log(self.stage, self.steps_before + state.global_step, metrics)
        self.figures |= {label: metrics[name] for name, label in self.shown.items() if name in metrics}
        self.display.update(state.global_step, state.max_steps, self.figures)


def _goodness(evaluation: Evaluation) -> tuple[float, float]:
    """What the best adapters are best in: success, and at equal success the score."""
    return evaluation.success.estimate, evaluation.score.estimate


def _figures(evaluation: Evaluation, prefix: str = "") -> dict[str, float]:
    score = evaluation.score
    figures = {"score": score.estimate, "score_low": score.low, "score_high": score.high}
    figures |= {"success": evaluation.success.estimate, "invalid_action": evaluation.invalid_rate.estimate}
    return {f"{prefix}{name}": value for name, value in figures.items()}


def _introduced(policy: LoRAPolicy, env: Any) -> LoRAPolicy:
    policy.read_system_prompt(env)
    return policy


@contextmanager
def _evaluation_sampling(policy: LoRAPolicy, temperature: float, seed: int) -> Iterator[None]:
    """Act at the evaluation's temperature with a generator of its own, so that looking changes no training."""
    sampling, generator = policy.sampling, policy.generator
    policy.sampling = Sampling(max_new_tokens=sampling.max_new_tokens, temperature=temperature)
    policy.generator = torch.Generator(policy.backbone.device).manual_seed(seed)
    try:
        yield
    finally:
        policy.sampling, policy.generator = sampling, generator
