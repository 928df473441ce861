"""`Learner`: what an iteration's turns change in the critic and in the actor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cmat_gym.core.errors import UsageError
from cmat_gym.policies.backbone import ACTOR, CHECKER, REFERENCE, Forward, Page
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.policies.value_head import ValueHead, scale_gradient
from cmat_gym.trainers.actor_critic_config import ActorCriticConfig
from cmat_gym.trainers.batches import Batch, Row, collate, count_drift, micro_batches, minibatches
from cmat_gym.trainers.gae import explained_variance
from cmat_gym.trainers.losses import entropy_of, kl_to_reference, log_probabilities, policy_terms, value_loss
from cmat_gym.trainers.meters import Meters

__all__ = ["ActorLoss", "Learner", "critic_metrics", "make_optimizer"]

Synchronise = Callable[[list[nn.Parameter]], None]


class ActorLoss(NamedTuple):
    """The loss of some turns, and sums over their tokens for the log."""

    loss: Tensor
    tokens: float
    sums: dict[str, float]
    logprob_error: float


class Part(NamedTuple):
    """A micro-batch, with what lies before its tails where that is read already."""

    rows: list[Row]
    batch: Batch
    page: Page | None


class Learner:
    """Updates the adapters and the value head of a policy's backbone.

    Args:
        policy: The actor, with its checker's head on the same backbone.
        args: The settings.
        optimizer: See `make_optimizer`.
        np_random: Draws the minibatches.
        synchronise: Averages gradients over processes.
    """

    def __init__(
        self,
        policy: LoRAPolicy,
        args: ActorCriticConfig,
        optimizer: torch.optim.Optimizer,
        np_random: np.random.Generator,
        synchronise: Synchronise | None = None,
    ) -> None:
        self.policy = policy
        self.args = args
        self.optimizer = optimizer
        self.np_random = np_random
        self.synchronise = synchronise
        # Every process must take equally many steps, so the number follows from the settings, not from the turns.
        self.batches = max(1, args.num_envs * args.turns_per_env // args.minibatch_turns)

    # Critic ---------------------------------------------------------------------------------------------------------

    def update_critic(self, rows: Sequence[Row], *, warmup: bool) -> dict[str, float]:
        """Move V(s) towards the returns.

        A shared head without gradient into the trunk learns from the hidden states of the rollout's own passes, which
        costs next to nothing. A shared head with such a gradient learns in the actor's update, except while warming up.
        With its own adapter the critic reads prompts and actions again.
        """
        metrics = critic_metrics(rows)
        if self.args.checker == "separate":
            return metrics | self._fit_checker(rows)
        if self.args.trunk_gradient == 0 or warmup:
            return metrics | self._fit_head(rows)
        return metrics

    def _fit_head(self, rows: Sequence[Row]) -> dict[str, float]:
        meters, device = Meters(), self.policy.backbone.device
        hidden = torch.cat([row.hidden for row in rows if row.hidden is not None])  # [state, hidden]
        old = torch.tensor(np.concatenate([row.values for row in rows]), dtype=torch.float32, device=device)
        returns = torch.tensor(np.concatenate([row.returns for row in rows]), dtype=torch.float32, device=device)
        for _ in range(self.args.critic_epochs):
            for part in minibatches(len(hidden), self.batches, self.np_random):
                terms = value_loss(self._head(hidden[part]), old[part], returns[part], self.args.value_clip)
                torch.autograd.backward(terms.mean())
                meters.add("loss/value", float(terms.detach().sum()), len(part))
                self._step(meters)
        return meters.means()

    def _fit_checker(self, rows: Sequence[Row]) -> dict[str, float]:
        meters = Meters()
        for _ in range(self.args.critic_epochs):
            for part in minibatches(len(rows), self.batches, self.np_random):
                for _, batch in self._micro_batches([rows[i] for i in part]):
                    with self.policy.backbone.use(CHECKER):
                        hidden = self._forward(batch).hidden
                    values = self._value_terms(hidden, batch)
                    torch.autograd.backward((values + self._judge_terms(hidden, batch)).sum() / len(part))
                    meters.add("loss/value", float(values.detach().sum()), len(values))
                self._step(meters)
        return meters.means()

    def _value_terms(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Loss of V(s), read on the last prompt token. [batch]"""
        return value_loss(self._head(hidden[:, 0]), batch.values[:, 0], batch.returns[:, 0], self.args.value_clip)

    def _judge_terms(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Loss of Q(s, a), read on the last action token; the turn's return is its target, too. [batch]"""
        ends = batch.action_mask.sum(dim=1).long()  # position 0 is the last prompt token
        judged = self._head.judge(hidden[torch.arange(len(hidden), device=hidden.device), ends])
        return value_loss(judged, judged.detach(), batch.returns[:, 0], None)

    # Actor ----------------------------------------------------------------------------------------------------------

    def update_actor(self, rows: Sequence[Row]) -> dict[str, float]:
        """PPO on the rollout's turns: several epochs of minibatches of random turns."""
        meters, steps, drift = Meters(), 0, 0
        parts = self._read_pages(rows)
        if self.args.kl_coef > 0:
            parts = self._read_reference(rows, parts)
        for _ in range(self.args.epochs):
            moved = Meters()
            for minibatch in self._minibatches(rows, parts):
                turns = sum(len(part.rows) for part in minibatch)
                for micro, batch, page in minibatch:
                    actor = self.actor_loss(batch, turns, page)
                    torch.autograd.backward(actor.loss)
                    drift += count_drift(batch, micro)
                    if steps == 0:  # nothing has moved yet: sampling and training must agree up to rounding
                        meters.peak("policy/logprob_error", actor.logprob_error)
                    for name, total in actor.sums.items():
                        meters.add(name, total, actor.tokens)
                    moved.add("kl", actor.sums["policy/step_kl"], actor.tokens)
                self._step(meters)
                steps += 1
            if self.args.target_kl is not None and moved.means()["kl"] > self.args.target_kl:
                break
        return meters.means() | {"policy/updates": float(steps), "rollout/drift": float(drift)}

    def actor_loss(self, batch: Batch, turns: int, page: Page | None = None) -> ActorLoss:
        """The loss of a batch that is part of a minibatch of `turns` turns."""
        args, mask = self.args, batch.action_mask
        passed = self._forward(batch, page)
        logits = passed.logits[:, :-1]  # [batch, action, vocabulary]: position i predicts token i of the action
        logprobs = log_probabilities(logits, batch.actions)
        policy = policy_terms(logprobs, batch.old_logprobs, batch.advantages, args.clip_range)
        with torch.set_grad_enabled(args.entropy_coef > 0):
            entropy = entropy_of(logits)
        kl = kl_to_reference(logprobs, batch.reference) if args.kl_coef > 0 else torch.zeros_like(logprobs)
        objective = policy.surrogate + args.entropy_coef * entropy - args.kl_coef * kl
        loss = -(objective * mask).sum() / turns

        if args.checker == "shared" and self.policy.backbone.value_head is not None:
            loss = loss + self._judge_terms(passed.hidden.detach(), batch).sum() / turns
            if args.trunk_gradient > 0:
                hidden = scale_gradient(passed.hidden, args.trunk_gradient)
                loss = loss + self._value_terms(hidden, batch).sum() / turns

        with torch.no_grad():
            change = (logprobs - batch.old_logprobs) * mask
            sums = {
                "loss/policy": -policy.surrogate,
                "policy/kl": kl,
                "policy/step_kl": change.exp() - 1 - change,
                "policy/entropy": entropy,
                "policy/clip_fraction": policy.clipped.float(),
            }
            numbers = torch.stack([(term * mask).sum() for term in sums.values()] + [mask.sum(), change.abs().max()])
            *totals, tokens, error = numbers.tolist()
        return ActorLoss(loss, tokens, dict(zip(sums, totals, strict=True)), error)

    def _read_pages(self, rows: Sequence[Row]) -> list[Part]:
        """With a tail: micro-batches that stay together for the iteration, as their pages need reading only once."""
        backbone, args = self.policy.backbone, self.args
        if backbone.settings.tail is None:
            return []
        most = max(1, args.minibatch_turns // 4)  # so that a minibatch still mixes parts of several lengths
        parts: list[Part] = []
        for micro in micro_batches(rows, args.micro_batch_tokens, most):
            batch = collate(micro, self.policy.pad_id, backbone.device)
            parts.append(Part(micro, batch, backbone.read_page(batch.ids, batch.mask, keep=batch.actions.shape[1] + 1)))
        return parts

    def _minibatches(self, rows: Sequence[Row], parts: Sequence[Part]) -> Iterator[list[Part]]:
        """All turns once: in random order, or, where there are parts, those in random order."""
        for chosen in minibatches(len(parts or rows), self.batches, self.np_random):
            if parts:
                yield [parts[i] for i in chosen]
            else:
                yield [Part(micro, batch, None) for micro, batch in self._micro_batches([rows[i] for i in chosen])]

    @torch.no_grad()
    def _read_reference(self, rows: Sequence[Row], parts: Sequence[Part]) -> list[Part]:
        """Log-probabilities of the sampled tokens under the reference, once per iteration; the parts know them, too."""
        reference = REFERENCE if self.args.reference == "sft" else None
        with self.policy.backbone.use(reference):
            for micro, batch, page in parts or [Part(micro, batch, None) for micro, batch in self._micro_batches(rows)]:
                logits = self._forward(batch, page).logits[:, :-1]
                logprobs = log_probabilities(logits, batch.actions).double().cpu().numpy()
                for row, values in zip(micro, logprobs, strict=True):
                    row.reference = values[: len(row.sample.token_ids)]
        pad, device = self.policy.pad_id, self.policy.backbone.device
        return [part._replace(batch=collate(part.rows, pad, device)) for part in parts]

    @torch.no_grad()
    def read_token_states(self, rows: Sequence[Row]) -> None:
        """Hidden state and value before every token of the actions, for advantages inside the turn."""
        with self.policy.backbone.merged(ACTOR):
            for micro, batch in self._micro_batches(rows):
                for row, hidden in zip(micro, self._forward(batch).hidden, strict=True):
                    row.hidden = hidden[: len(row.sample.token_ids)]
                    row.values = self._head(row.hidden).double().cpu().numpy()

    # Shared steps ---------------------------------------------------------------------------------------------------

    @property
    def _head(self) -> ValueHead:
        head = self.policy.backbone.value_head
        if head is None:
            raise UsageError("The policy has no value head: make a Checker for it first")
        return head

    def _micro_batches(self, rows: Sequence[Row]) -> Iterator[tuple[list[Row], Batch]]:
        for micro in micro_batches(rows, self.args.micro_batch_tokens):
            yield micro, collate(micro, self.policy.pad_id, self.policy.backbone.device)

    def _forward(self, batch: Batch, page: Page | None = None) -> Forward:
        """The active adapter on prompts and actions; keeps the last prompt token and all action tokens."""
        passed: Forward = self.policy.backbone(batch.ids, batch.mask, keep=batch.actions.shape[1] + 1, page=page)
        return passed

    def _step(self, meters: Meters) -> None:
        """Clip actor and critic apart, so that neither sets the other's step, and move both.

        A gradient that is not finite moves nothing: one such step would leave nothing but NaN behind.
        """
        limits = {"policy": self.args.max_grad_norm, "critic": self.args.critic_max_grad_norm}
        for group in self.optimizer.param_groups:
            learning = [p for p in group["params"] if p.grad is not None]
            if learning:
                if self.synchronise is not None:
                    self.synchronise(learning)
                norm = float(nn.utils.clip_grad_norm_(learning, limits[group["name"]]))
                finite = math.isfinite(norm)
                meters.add(f"{group['name']}/skipped_updates", float(not finite))
                if finite:
                    meters.add(f"{group['name']}/gradient_norm", norm)
                else:
                    for parameter in learning:
                        parameter.grad = None
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def critic_metrics(rows: Sequence[Row]) -> dict[str, float]:
    """How well the values of a rollout foresaw its returns."""
    values, returns = np.concatenate([r.values for r in rows]), np.concatenate([r.returns for r in rows])
    return {
        "critic/explained_variance": explained_variance(values, returns),
        "critic/gap": float((values - returns).mean()),
        "critic/value": float(values.mean()),
    }


def make_optimizer(policy: LoRAPolicy, args: ActorCriticConfig) -> torch.optim.Optimizer:
    """AdamW with a group for the actor and one for the critic, each with its own learning rate."""
    backbone = policy.backbone
    critic = [] if backbone.value_head is None else list(backbone.value_head.parameters())
    if CHECKER in backbone.adapters:
        critic += backbone.adapter_parameters(CHECKER)
    groups = [
        {"name": "policy", "params": backbone.adapter_parameters(ACTOR), "lr": args.learning_rate},
        {"name": "critic", "params": critic, "lr": args.critic_learning_rate},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.0, eps=1e-6)
