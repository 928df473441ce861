"""`Checker`: the learned critic, on the actor's own backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cmat_gym.core.errors import choose
from cmat_gym.core.roles import Info, Review, SampledAction
from cmat_gym.policies import prompts
from cmat_gym.policies.backbone import ACTOR, CHECKER
from cmat_gym.policies.feedback import FeedbackWriter
from cmat_gym.policies.generation import pad_turns
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.policies.value_head import ValueHead

__all__ = ["CHECKER_MODES", "Checker", "CheckerSettings"]

CHECKER_MODES = ("shared", "separate")
_BATCH = 64  # states read at once


@dataclass(frozen=True)
class CheckerSettings:
    """How the Checker sits on the backbone.

    Attributes:
        mode: `shared` reads the actor's hidden state, for free; `separate` has its own adapter, and costs its own pass.
        width: Size of the value head's hidden layer.
        margin: How much worse than V(s) an action may be before it is refused.
    """

    mode: str = "shared"
    width: int = 128
    margin: float = 0.1


class Checker:
    """Judges states and actions before they are carried out.

    `review` gives V(s) as value, Q(s, a) as reward, and accepts an action unless Q(s, a) lies more than the margin
    below V(s). Both are trained online by `ActorCriticTrainer`, from recorded episodes by `CheckerTrainer`, and from
    preferences by `PreferenceTrainer`. Making a Checker adds the value head (and the adapter) to the policy's backbone,
    where they are saved with it.

    It is a critic for every use: as reward (`CheckerReward`), as potential (`CheckerPotential`), as value baseline
    (`state_values`), and as filter before execution (`CheckerReview`, `Collaboration`).

    Args:
        policy: Whose backbone it sits on.
        settings: How it sits there.
        feedback: Says in words what is wrong with an action that is refused: `RuleFeedback`, or a `PolicyFeedback` with
            an adapter of its own. Without it the feedback only names the two numbers.
    """

    def __init__(
        self, policy: LoRAPolicy, settings: CheckerSettings | None = None, *, feedback: FeedbackWriter | None = None
    ) -> None:
        self.policy = policy
        self.settings = settings or CheckerSettings()
        self.feedback = feedback
        choose("checker mode", self.settings.mode, CHECKER_MODES)
        backbone = policy.backbone
        if self.settings.mode == "separate" and CHECKER not in backbone.adapters:
            backbone.add_adapter(CHECKER)
        if backbone.value_head is None:
            backbone.add_value_head(self.settings.width)

    @property
    def head(self) -> ValueHead:
        """The value head."""
        head = self.policy.backbone.value_head
        assert head is not None
        return head

    @property
    def adapter(self) -> str:
        """The adapter whose hidden states the head reads."""
        return CHECKER if self.settings.mode == "separate" else ACTOR

    def review(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[Review]:
        """One review for each action; sampled actions are judged on the tokens they were sampled as."""
        values, judged = self.judge(observations, actions, infos)
        reviews = [self._verdict(value, action) for value, action in zip(values, judged, strict=True)]
        refused = [i for i, review in enumerate(reviews) if not review.accept]
        if self.feedback is not None and refused:
            texts = self.feedback.write(
                [observations[i] for i in refused], [actions[i] for i in refused], [infos[i] for i in refused]
            )
            for i, text in zip(refused, texts, strict=True):
                reviews[i] = reviews[i]._replace(feedback=text or reviews[i].feedback)
        return reviews

    @torch.no_grad()
    def judge(
        self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]
    ) -> tuple[list[float], list[float]]:
        """V(s) and Q(s, a) of each action."""
        values: list[float] = []
        judged: list[float] = []
        for start in range(0, len(observations), _BATCH):
            part = slice(start, start + _BATCH)
            v, q = self._read(observations[part], actions[part], infos[part])
            values, judged = values + v, judged + q
        return values, judged

    def state_values(self, observations: Sequence[str], infos: Sequence[Info]) -> list[float]:
        """V(s) of each observation."""
        values: list[float] = []
        for start in range(0, len(observations), _BATCH):
            values += self.policy.state_values(observations[start : start + _BATCH], infos[start : start + _BATCH])
        return values

    def success_probabilities(self, observations: Sequence[str], infos: Sequence[Info]) -> list[float]:
        """Probability that the task will be solved from each observation, as `CheckerTrainer` has calibrated it."""
        values = torch.tensor(self.state_values(observations, infos), device=self.head.calibration.device)
        probabilities: list[float] = self.head.success(values).tolist()
        return probabilities

    def _read(
        self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]
    ) -> tuple[list[float], list[float]]:
        asked, answers = [], []
        for observation, action, info in zip(observations, actions, infos, strict=True):
            asked.append(self.policy.prompt_ids(observation, info))
            if isinstance(action, SampledAction):
                answers.append(list(action.sample.token_ids))
            else:
                answers.append(self.policy.answer_ids(action))
        backbone = self.policy.backbone
        ids, mask, answer_mask = pad_turns(asked, answers, self.policy.pad_id, backbone.device)
        with backbone.merged(self.adapter):
            hidden = backbone(ids, mask, keep=answer_mask.shape[1] + 1).hidden  # [batch, 1 + answer, hidden]
        ends = answer_mask.sum(dim=1)  # position 0 is the last prompt token
        values: list[float] = self.head(hidden[:, 0]).tolist()
        judged: list[float] = self.head.judge(hidden[torch.arange(len(ids), device=ids.device), ends]).tolist()
        return values, judged

    def _verdict(self, value: float, action: float) -> Review:
        accept = action >= value - self.settings.margin
        feedback = "" if accept else prompts.EXPECTED_WORSE.format(action=action, value=value)
        return Review(accept=accept, reward=action, value=value, feedback=feedback)
