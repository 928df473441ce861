"""`CheckerTrainer`: the Checker learns from recorded episodes what states and actions are worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers.trainer_utils import TrainOutput

from cmat_gym.core.errors import UsageError
from cmat_gym.evaluation.judging import JudgeReport, fit_logistic, judge_report
from cmat_gym.policies.backbone import CHECKER
from cmat_gym.policies.checker import Checker
from cmat_gym.policies.generation import pad_turns
from cmat_gym.trainers.checker_config import CheckerConfig
from cmat_gym.trainers.gae import Floats, turn_gae
from cmat_gym.trainers.judged import JudgedEpisode
from cmat_gym.trainers.meters import Meters
from cmat_gym.trainers.trl_bridge import LoopTrainer

__all__ = ["CheckerTrainer", "td_returns"]


class _Turn(NamedTuple):
    """A turn as tokens; an episode that was cut off has one more, without an answer, for the state it led to."""

    prompt: list[int]
    answer: list[int]


class _Episode(NamedTuple):
    """The places of an episode's turns in the list of all, and what it was worth."""

    turns: range
    rewards: Floats
    terminated: bool
    own_start: bool
    score: float
    success: bool


class CheckerTrainer(LoopTrainer):
    """Regression of V(s) and Q(s, a) on TD(λ) returns of recorded episodes; the actor stays as it is.

        G_t = r_t + γ ((1 - λ) V(s_{t+1}) + λ G_{t+1}), without a following value where the task ended;
        loss = ½ (V(s_t) - G_t)² + ½ (Q(s_t, a_t) - G_t)²

    The targets are computed anew from V in every round; with λ = 1 they are Monte Carlo returns and stay the same.
    Episodes can be anybody's, but V becomes the value of playing as they were played. Branches from snapshots
    (`branch_out`) teach what the actions lead to that nobody takes.

    In the end a logistic curve over V is fitted to the outcomes, and the judge's figures are computed on the tasks that
    were held out: `report`, also logged under `checker/`.

    Args:
        checker: Who learns, in place: the value head, and the Checker's own adapter where it has one.
        episodes: What it learns from.
        args: The settings.
        callbacks: Callbacks of transformers.

    Raises:
        UsageError: No episodes that came to an end.
    """

    _tag_names = ("trl", "cmat")
    _name = "Checker"
    report: JudgeReport | None = None

    def __init__(
        self,
        checker: Checker,
        episodes: Sequence[JudgedEpisode],
        args: CheckerConfig | None = None,
        *,
        callbacks: list[Any] | None = None,
    ) -> None:
        args = args or CheckerConfig()
        if not any(episode.trajectory.finished for episode in episodes):
            raise UsageError(f"None of the {len(episodes)} episodes came to its end; there is nothing to learn from")
        self.checker = checker
        self.policy = checker.policy
        super().__init__(
            model=checker.policy.backbone,
            args=args,
            processing_class=checker.policy.tokenizer,
            eval_dataset={},
            callbacks=list(callbacks or []),
        )
        self.policy.to(args.device)
        self._turns: list[_Turn] = []
        finished = [episode for episode in episodes if episode.trajectory.finished]
        apart = _held_out(finished, args)
        self._train = [self._tokenise(e) for e in finished if e.trajectory.task_id not in apart]
        self._test = [self._tokenise(e) for e in finished if e.trajectory.task_id in apart]
        # The actor's states do not change, so a shared Checker reads each turn once.
        self._frozen = self._read(range(len(self._turns))) if checker.settings.mode == "shared" else None

    def train(self, resume_from_checkpoint: str | Path | bool | None = None) -> TrainOutput:
        """Train for `args.rounds` rounds.

        Args:
            resume_from_checkpoint: A checkpoint folder, or True for the last one.
        """
        args = self.args
        self.begin(args.rounds, resume_from_checkpoint)
        metrics: dict[str, float] = {}
        while self.state.global_step < args.rounds and not self.control.should_training_stop:
            self.begin_step()
            # A generator for each round: a resumed run draws the same minibatches.
            metrics = self._round(np.random.default_rng([args.seed, self.state.global_step]))
            self.lr_scheduler.step()
            self.end_step()
            if self.state.global_step == args.rounds:
                metrics |= self._finish()
            if self.control.should_log:
                self.log(dict(metrics))
            if self.control.should_save:
                self.save_checkpoint()
        self.end()
        return TrainOutput(self.state.global_step, metrics.get("loss/value", 0.0), metrics)

    def _round(self, np_random: np.random.Generator) -> dict[str, float]:
        args, meters = self.args, Meters()
        places = np.array([place for episode in self._train for place in _places(episode)])
        values = self._values()
        targets = torch.zeros(len(self._turns), device=self.policy.backbone.device)
        own = torch.ones_like(targets)  # whether V learns from the turn
        for episode in self._train:
            returns = td_returns(episode.rewards, values[list(episode.turns)], episode.terminated, args)
            targets[list(_places(episode))] = torch.from_numpy(returns).to(targets)
            own[episode.turns[0]] = float(episode.own_start)
        steps = max(1, len(places) // args.minibatch_turns)
        for _ in range(args.passes):
            for part in np.array_split(np_random.permutation(places), steps):
                for micro in self._micro_batches(part.tolist()):
                    states, actions = self._hidden(micro)
                    loss_v = 0.5 * (self.checker.head(states) - targets[micro]).square() * own[micro]
                    loss_q = 0.5 * (self.checker.head.judge(actions) - targets[micro]).square()
                    torch.autograd.backward((loss_v + loss_q).sum() / len(part))
                    meters.add("loss/value", float(loss_v.detach().sum()), float(own[micro].sum()) or 1.0)
                    meters.add("loss/action_value", float(loss_q.detach().sum()), len(micro))
                self._step(meters)
        return meters.means()

    def _step(self, meters: Meters) -> None:
        learning = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.average_gradients(learning)
        meters.add("critic/gradient_norm", float(nn.utils.clip_grad_norm_(learning, self.args.max_grad_norm)))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    # Report ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _finish(self) -> dict[str, float]:
        """Calibrate on what was learned from, report on what was held out (on the same where nothing was)."""
        values = self._values()
        learned = [(values[place], e.success) for e in self._train if e.own_start for place in _places(e)]
        if learned:
            slope, offset = fit_logistic([v for v, _ in learned], [s for _, s in learned])
            self.checker.head.calibration.copy_(torch.tensor([slope, offset]))
        self.report = self._judge([e for e in self._test or self._train if e.own_start], values)
        return self.report.metrics()

    def _judge(self, episodes: Sequence[_Episode], values: Floats) -> JudgeReport:
        places = [place for episode in episodes for place in _places(episode)]
        returns = [td_returns(e.rewards, values[list(e.turns)], e.terminated, self.args, 1.0) for e in episodes]
        probabilities = self.checker.head.success(torch.tensor(values[places])).tolist()
        rewards: list[float] = []
        for micro in self._micro_batches([_places(episode)[-1] for episode in episodes]):
            rewards += self.checker.head.judge(self._hidden(micro)[1]).tolist()
        return judge_report(
            values[places],
            np.concatenate(returns) if returns else np.zeros(0),
            probabilities,
            [e.success for e in episodes for _ in _places(e)],
            rewards,
            [e.score for e in episodes],
        )

    # The model ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _values(self) -> Floats:
        """V of every state, in the order of `_turns`."""
        parts = [self.checker.head(self._hidden(micro)[0]) for micro in self._micro_batches(range(len(self._turns)))]
        values: Floats = torch.cat(parts).double().cpu().numpy()
        return values

    def _hidden(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What the head reads of states and of actions, with gradient where an own adapter learns. [turn, hidden]"""
        if self._frozen is not None:
            states, actions = self._frozen
            return states[list(places)], actions[list(places)]
        return self._forward(places)

    @torch.no_grad()
    def _read(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        parts = [self._forward(micro) for micro in self._micro_batches(places)]
        return torch.cat([states for states, _ in parts]), torch.cat([actions for _, actions in parts])

    def _forward(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        backbone = self.policy.backbone
        turns = [self._turns[place] for place in places]
        ids, mask, answers = pad_turns(
            [t.prompt for t in turns], [t.answer for t in turns], self.policy.pad_id, backbone.device
        )
        with backbone.use(self.checker.adapter):
            hidden = backbone(ids, mask, keep=answers.shape[1] + 1).hidden  # [turn, 1 + answer, hidden]
        ends = answers.sum(dim=1)  # position 0 is the last prompt token
        return hidden[:, 0], hidden[torch.arange(len(turns), device=ids.device), ends]

    def _micro_batches(self, places: Sequence[int]) -> Iterator[list[int]]:
        """The places in their order, so many at once as fit into `micro_batch_tokens`."""
        batch: list[int] = []
        longest = 0
        for place in places:
            turn = self._turns[place]
            longest = max(longest, len(turn.prompt) + len(turn.answer))
            if batch and longest * (len(batch) + 1) > self.args.micro_batch_tokens:
                yield batch
                batch, longest = [], len(turn.prompt) + len(turn.answer)
            batch.append(place)
        if batch:
            yield batch

    def _tokenise(self, episode: JudgedEpisode) -> _Episode:
        trajectory, policy = episode.trajectory, self.policy
        info = {"task_id": trajectory.task_id}
        first = len(self._turns)
        for turn in trajectory.turns:
            sampled = turn.sample  # the tokens themselves, where they are this policy's kind
            answer = policy.answer_ids(turn.action) if sampled is None else list(sampled.token_ids)
            self._turns.append(_Turn(policy.prompt_ids(turn.observation, info), answer))
        terminated = trajectory.turns[-1].terminated
        if not terminated:
            self._turns.append(_Turn(policy.prompt_ids(trajectory.final_observation, info), policy.answer_ids("")))
        return _Episode(
            range(first, len(self._turns)),
            np.array([turn.reward for turn in trajectory.turns], dtype=np.float64),
            terminated,
            episode.own_start,
            trajectory.score,
            trajectory.success,
        )

    # What TRL's machinery asks for ----------------------------------------------------------------------------------

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW over the value head, and the Checker's own adapter where it has one."""
        if self.optimizer is None:
            parameters = list(self.checker.head.parameters())
            if self.checker.adapter == CHECKER:
                parameters += self.policy.backbone.adapter_parameters(CHECKER)
            self.optimizer = torch.optim.AdamW(parameters, lr=self.args.learning_rate, weight_decay=0.0)
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer


def td_returns(
    rewards: Floats, values: Floats, terminated: bool, args: CheckerConfig, td_lambda: float | None = None
) -> Floats:
    """TD(λ) returns of one episode. [turn]

    Args:
        rewards: r_t. [turn]
        values: V(s_t); an episode that was cut off has one more, of the state it led to. [turn] or [turn + 1]
        terminated: The task ended, so nothing follows.
        args: γ and λ.
        td_lambda: Another λ.
    """
    following = np.append(values[1 : len(rewards)], 0.0 if terminated else values[-1])
    ended = np.zeros((len(rewards), 1), dtype=np.bool_)
    ended[-1] = True
    lam = args.td_lambda if td_lambda is None else td_lambda
    now = values[: len(rewards), None]
    estimate = turn_gae(rewards[:, None], now, following[:, None], ended & terminated, ended, gamma=args.gamma, lam=lam)
    return estimate.returns[:, 0]


def _places(episode: _Episode) -> range:
    """The places of the turns that were taken, without the state an episode was cut off in."""
    return episode.turns[: len(episode.rewards)]


def _held_out(episodes: Sequence[JudgedEpisode], args: CheckerConfig) -> set[str]:
    """Tasks kept apart: whole tasks, so that no branch of a held-out episode is learned from."""
    tasks = sorted({episode.trajectory.task_id for episode in episodes})
    count = min(int(len(tasks) * args.holdout), len(tasks) - 1)
    return set(np.random.default_rng(args.seed).permutation(tasks)[:count].tolist())
