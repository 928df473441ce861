"""`Checker`: the learned critic, on the actor's own backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cmat_gym.core.errors import choose
from cmat_gym.core.roles import Info, Review, SampledAction
from cmat_gym.policies import prompts
from cmat_gym.policies.backbone import ACTOR, CHECKER
from cmat_gym.policies.generation import pad_turns
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.policies.value_head import ValueHead

__all__ = ["CHECKER_MODES", "Checker", "CheckerSettings"]

CHECKER_MODES = ("shared", "separate")


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
    below V(s). Both are trained by `ActorCriticTrainer`. Making a Checker adds the value head (and the adapter) to the
    policy's backbone, where they are saved with it.

    Args:
        policy: Whose backbone it sits on.
        settings: How it sits there.
    """

    def __init__(self, policy: LoRAPolicy, settings: CheckerSettings | None = None) -> None:
        self.policy = policy
        self.settings = settings or CheckerSettings()
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

    @torch.no_grad()
    def review(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[Review]:
        """One review for each action; sampled actions are judged on the tokens they were sampled as."""
        if not observations:
            return []
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
        values = self.head(hidden[:, 0]).tolist()
        judged = self.head.judge(hidden[torch.arange(len(ids), device=ids.device), ends]).tolist()
        return [self._verdict(value, action) for value, action in zip(values, judged, strict=True)]

    def _verdict(self, value: float, action: float) -> Review:
        accept = action >= value - self.settings.margin
        feedback = "" if accept else prompts.EXPECTED_WORSE.format(action=action, value=value)
        return Review(accept=accept, reward=action, value=value, feedback=feedback)
