"""Settings of `ActorCriticTrainer`; every field is a flag of `cmat-gym train`."""

# ruff: noqa: RUF009 - `_setting` is `dataclasses.field` with a line of help

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cmat_gym.core.errors import UsageError, choose
from cmat_gym.policies.checker import CHECKER_MODES
from cmat_gym.trainers.trl_bridge import TRLConfig

__all__ = ["ADVANTAGES", "CRITIC_USES", "GROUPED", "REFERENCES", "ActorCriticConfig"]

ADVANTAGES = ("turn", "token", "group_relative", "same_state_group")
GROUPED = ("group_relative", "same_state_group")
CRITIC_USES = ("reward", "potential", "value", "filter")
REFERENCES = ("base", "sft")


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class ActorCriticConfig(TRLConfig):  # type: ignore[misc]
    """Settings of the actor-critic stage, beside those of `transformers.TrainingArguments`.

    A step of the trainer is an iteration: one rollout, and all the updates it is used for. So `logging_steps`,
    `save_steps` and `eval_steps` count iterations, and `lr_scheduler_type` decays both learning rates over them.
    """

    # The run
    iterations: int = _setting(30, "Rollouts, and rounds of updates.")
    num_envs: int = _setting(16, "Environments played in lock-step.")
    turns_per_env: int = _setting(16, "Turns each environment plays per iteration.")
    max_new_tokens: int = _setting(48, "Tokens of one action at most.")

    # What is learned from
    reward: str = _setting(
        "progress", "'outcome' pays the official score at the end, 'progress' also each step nearer."
    )
    critic_weight: float = _setting(1.0, "Share of a custom critic's reward; the rest is the environment's.")
    gamma: float = _setting(0.95, "Discount of a turn.")
    gae_lambda: float = _setting(0.95, "Lambda of GAE: 0 trusts the critic, 1 trusts the rewards.")
    token_lambda: float = _setting(1.0, "Lambda between the tokens of one turn, for advantage='token'.")
    critic_use: str = _setting(
        "reward", "A custom critic's use: 'reward', 'potential', 'value' baseline, or 'filter' before execution."
    )
    max_revisions: int = _setting(1, "How often a filter sends the actor back in one turn.")
    advantage: str = _setting(
        "turn",
        "'turn': GAE over turns; 'token': also inside them; 'group_relative' (GRPO): against episodes of the "
        "same task; 'same_state_group' (GiGPO): also against turns in the same state.",
    )
    group_size: int = _setting(
        8, "Episodes of the same task, for the grouped advantages; num_envs is a multiple of it."
    )
    step_weight: float = _setting(1.0, "Weight of the comparison in the same state, for advantage='same_state_group'.")
    normalize_advantages: bool = _setting(True, "Zero mean and unit deviation of the advantages, per domain.")

    # The actor's update
    learning_rate: float = _setting(1e-3, "Actor's learning rate (alpha).")
    epochs: int = _setting(2, "Passes over a rollout.")
    minibatch_turns: int = _setting(64, "Turns of one optimizer step.")
    clip_range: float = _setting(0.2, "PPO's clip of the token ratio.")
    entropy_coef: float = _setting(0.003, "Weight of the entropy bonus.")
    kl_coef: float = _setting(0.02, "Weight of the KL to the reference.")
    reference: str = _setting("base", "'base': the model without adapters; 'sft': the actor as training starts.")
    target_kl: float | None = _setting(
        None, "End an iteration's epochs once the actor has moved this far from its start."
    )
    max_grad_norm: float = _setting(1.0, "Clip of the actor's gradient.")

    # The critic's update
    checker: str = _setting("shared", "'shared': head on the actor's hidden state; 'separate': with its own adapter.")
    checker_width: int = _setting(128, "Hidden layer of the value head.")
    trunk_gradient: float = _setting(0.0, "How much of a shared checker's gradient goes on into the actor's adapter.")
    critic_learning_rate: float = _setting(1e-3, "Critic's learning rate (beta).")
    critic_epochs: int = _setting(8, "Critic's passes over a rollout, where it learns apart from the actor.")
    critic_warmup: int = _setting(2, "Iterations in which only the critic learns.")
    value_clip: float | None = _setting(None, "Clip of the value's move from its old value.")
    critic_max_grad_norm: float = _setting(1.0, "Clip of the critic's gradient.")

    # Machine
    micro_batch_tokens: int = _setting(4096, "Tokens of one forward pass, padding included; lower it to save memory.")

    # Defaults that differ from TrainingArguments
    logging_steps: float = _setting(1, "Iterations between two log entries.")
    save_strategy: str = _setting("no", "'no', or 'steps' to write a checkpoint every save_steps iterations.")
    gradient_checkpointing: bool = _setting(False, "Not used by this trainer.")
    bf16: bool | None = _setting(False, "Not used: the base model's own type decides.")
    disable_tqdm: bool | None = _setting(True, "Hide the progress bar of iterations.")
    report_to: str | list[str] = _setting("none", "Where metrics go: 'none', 'tensorboard', 'wandb', ...")

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UnknownNameError: A choice that does not exist.
            UsageError: A number out of range.
        """
        choose("advantage", self.advantage, ADVANTAGES)
        choose("use of a critic", self.critic_use, CRITIC_USES)
        choose("reference", self.reference, REFERENCES)
        choose("checker mode", self.checker, CHECKER_MODES)
        positive = (
            "iterations",
            "num_envs",
            "turns_per_env",
            "epochs",
            "minibatch_turns",
            "group_size",
            "critic_epochs",
        )
        for name in positive:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("gamma", "gae_lambda", "token_lambda", "critic_weight", "trunk_gradient"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if self.max_revisions < 0 or self.step_weight < 0:
            raise UsageError(
                f"max_revisions and step_weight must be >= 0, got {self.max_revisions} and {self.step_weight}"
            )
        if self.advantage in GROUPED and self.num_envs % self.group_size:
            raise UsageError(f"num_envs={self.num_envs} must be a multiple of group_size={self.group_size}")
        if self.advantage == "token" and (self.checker != "shared" or self.trunk_gradient):
            raise UsageError("advantage='token' needs checker='shared' and trunk_gradient=0")
        self.max_steps = self.iterations
        super().__post_init__()
