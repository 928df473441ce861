"""Every name of TRL and transformers that is not public, in one place; tests/trainers/test_bridge.py guards them.

`LoopTrainer` keeps what TRL's trainers share (configuration, callbacks, reporting, checkpoints of optimizer, scheduler
and random state) and leaves the training loop itself to the subclass.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerState
from transformers.trainer_utils import get_last_checkpoint, rotate_checkpoints
from trl.trainer.base_config import _BaseConfig
from trl.trainer.base_trainer import _BaseTrainer
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.sft_trainer import SFTTrainer

from cmat_gym.core.errors import BackendError, UsageError, describe_error
from cmat_gym.policies.lora import LoRAPolicy

__all__ = ["LoopTrainer", "QuietRewardTrainer", "QuietSFTTrainer", "TRLConfig"]

_STAGING = ".checkpoint-being-written"

TRLConfig: Any = _BaseConfig
"""The dataclass TRL's own configurations derive from."""


class _NoTelemetry:
    """TRL reports every construction to its makers unless told otherwise; ours never does."""

    def _send_telemetry(self) -> None:
        return None


class QuietSFTTrainer(_NoTelemetry, SFTTrainer):  # type: ignore[misc]
    """TRL's SFTTrainer without telemetry and model card."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no card: the adapters are saved by the policy, with their own record."""


class QuietRewardTrainer(_NoTelemetry, RewardTrainer):  # type: ignore[misc]
    """TRL's RewardTrainer without telemetry and model card."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no card: the adapters are saved by the policy, with their own record."""


class LoopTrainer(_NoTelemetry, _BaseTrainer):  # type: ignore[misc]
    """A TRL trainer whose `train` is written by the subclass; one step of its state is one iteration of that loop."""

    policy: LoRAPolicy  # set by the subclass; what is trained
    args: Any
    control: Any
    state: Any
    optimizer: Any
    _staging: Path | None = None  # while a checkpoint is written

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As for any Trainer; what is logged goes to the reporting integrations, not to the standard output."""
        super().__init__(*args, **kwargs)
        self.remove_callback(PrinterCallback)

    def begin(self, iterations: int, resume_from_checkpoint: str | Path | bool | None) -> Path | None:
        """Set up state, optimizer and scheduler, and load a checkpoint; returns its folder.

        Raises:
            UsageError: There is no such checkpoint.
        """
        self.is_in_train = True
        self.state = TrainerState(
            is_local_process_zero=self.is_local_process_zero(), is_world_process_zero=self.is_world_process_zero()
        )
        self.state.max_steps = iterations
        self.state.num_train_epochs = 1
        self.state.compute_steps(self.args, iterations)
        self.state.stateful_callbacks = {"TrainerControl": self.control.state()}
        self.create_optimizer()
        self.create_scheduler(num_training_steps=iterations, optimizer=self.optimizer)
        folder = self._find_checkpoint(resume_from_checkpoint)
        if folder is not None:
            saved = TrainerState.load_from_json(str(folder / "trainer_state.json"))
            self.state.global_step, self.state.log_history = saved.global_step, saved.log_history
            self.load_weights(folder)
            self._load_optimizer_and_scheduler(str(folder))
            self._load_rng_state(str(folder))
        self.control = self.callback_handler.on_train_begin(self.args, self.state, self.control)
        return folder

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write adapters and value head as `LoRAPolicy.save` does."""
        if self.args.should_save:
            self.policy.save(output_dir or self.args.output_dir)

    def load_weights(self, folder: Path) -> None:
        """Read what `save_model` wrote."""
        self.policy.restore(folder)

    def begin_step(self) -> None:
        """Tell the callbacks that an iteration begins."""
        self.control = self.callback_handler.on_step_begin(self.args, self.state, self.control)

    def end_step(self) -> None:
        """Count the iteration and let the callbacks decide what follows: logging, evaluation, saving, stopping."""
        self.state.global_step += 1
        self.state.epoch = self.state.global_step / self.state.max_steps
        self.control = self.callback_handler.on_step_end(self.args, self.state, self.control)

    def save_checkpoint(self) -> Path:
        """Write `checkpoint-<iteration>`: weights, optimizer, scheduler, random state, trainer state, and `save_more`.

        It is written beside its place and moved there whole. A process that is killed on the way, or a disk that is
        full, leaves the checkpoints before it as they are.

        Raises:
            BackendError: It cannot be written.
        """
        name = f"checkpoint-{self.state.global_step}"
        output, staging = Path(self.args.output_dir), Path(self.args.output_dir) / _STAGING
        try:
            if self.args.should_save:
                shutil.rmtree(staging, ignore_errors=True)  # what a killed process left
            self.accelerator.wait_for_everyone()
            self._staging = staging
            self._save_checkpoint(self.model, trial=None)
            self.save_more(staging / name)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                shutil.rmtree(output / name, ignore_errors=True)
                (staging / name).replace(output / name)
                rotate_checkpoints(
                    str(output), self.args.save_total_limit, self.state.best_model_checkpoint, use_mtime=True
                )
        except Exception as error:  # torch, safetensors and Python each have their own for a full disk
            last = get_last_checkpoint(output) if output.is_dir() else None
            raise BackendError(
                f"{output / name} cannot be written ({describe_error(error)}). The last checkpoint is {last}: make "
                "room, then go on from it with resume_from_checkpoint=True"
            ) from error
        finally:
            self._staging = None
            if self.args.should_save:
                shutil.rmtree(staging, ignore_errors=True)
        self.control = self.callback_handler.on_save(self.args, self.state, self.control)
        return output / name

    def save_more(self, folder: Path) -> None:
        """Write what else the subclass needs to go on exactly."""

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging or super()._get_output_dir(trial))

    def end(self) -> None:
        """Tell the callbacks that training has ended."""
        self.control = self.callback_handler.on_train_end(self.args, self.state, self.control)
        self.is_in_train = False

    def evaluated(self, metrics: dict[str, float]) -> None:
        """Tell the callbacks what an evaluation gave."""
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)

    def average_gradients(self, parameters: list[torch.nn.Parameter]) -> None:
        """Average gradients over the processes of `accelerate launch`: only adapters and head, a few megabytes."""
        if self.accelerator.num_processes > 1:
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad = self.accelerator.reduce(parameter.grad, reduction="mean")

    def _find_checkpoint(self, wanted: str | Path | bool | None) -> Path | None:
        if wanted is None or wanted is False:
            return None
        if wanted is True:
            found = get_last_checkpoint(self.args.output_dir) if os.path.isdir(self.args.output_dir) else None
            if found is None:
                raise UsageError(f"There is no checkpoint to resume from in {self.args.output_dir}")
            return Path(found)
        if not (Path(wanted) / "trainer_state.json").is_file():
            raise UsageError(f"{wanted} is not a checkpoint: it has no trainer_state.json")
        return Path(wanted)
