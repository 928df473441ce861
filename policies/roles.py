"""`RolePolicy`: one more role on a policy's backbone, with an adapter of its own and all weights shared."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cmat_gym.core.errors import UsageError
from cmat_gym.core.roles import Info
from cmat_gym.policies.backbone import ACTOR, CHECKER, REFERENCE
from cmat_gym.policies.generation import Completion, Sampling
from cmat_gym.policies.lora import LoRAPolicy

__all__ = ["RolePolicy"]


class RolePolicy(LoRAPolicy):
    """A policy for another role than the actor's: the User, the Checker's words, or the one who reflects.

    It adds an adapter to the backbone of `policy`, where it is saved and loaded with the others, and shares everything
    else; `SFTStage` trains it like any policy, without touching the actor. The fresh adapter changes nothing, so the
    role begins as the base model.

    Args:
        policy: Whose backbone it sits on.
        role: Name of the adapter, such as `user`, `feedback` or `reflection`.
        instructions: Its system prompt; empty for none.
        sampling: How it draws its text; as `policy` does by default.
        seed: Seed of the fresh adapter and of the sampling.
        copy_of: Begin as a copy of this adapter, such as `actor`.

    Raises:
        UsageError: A name that is taken by the method's own adapters, or that is part of the model's names.
    """

    def __init__(
        self,
        policy: LoRAPolicy,
        role: str,
        *,
        instructions: str = "",
        sampling: Sampling | None = None,
        seed: int = 0,
        copy_of: str | None = None,
    ) -> None:
        # Not super().__init__, which would build a backbone: everything is shared but what is set below.
        vars(self).update(vars(policy))
        _check_name(policy, role)
        if role not in self.backbone.adapters:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                self.backbone.add_adapter(role, copy_of)
        self.adapter = role
        self.instructions = instructions
        self.sampling = sampling or policy.sampling
        self.generator = torch.Generator(self.backbone.device).manual_seed(seed)
        self.cut_prompts = 0
        self.last_hidden = None

    def system_prompt(self, info: Info) -> str:
        """The role's instructions, whatever the world."""
        return self.instructions

    def _values(self, asked: Sequence[Sequence[int]], completions: Sequence[Completion]) -> Sequence[float | None]:
        return [None] * len(completions)  # the value head reads the actor's states, not this role's


def _check_name(policy: LoRAPolicy, role: str) -> None:
    if role in (ACTOR, CHECKER, REFERENCE):
        raise UsageError(f"The adapter {role!r} has its own meaning; give the role another name")
    # Adapters are told apart by their name within the parameters' names.
    parts = {part for name, _ in policy.backbone.named_parameters() for part in name.split(".")}
    if not role.isidentifier() or (role in parts and role not in policy.backbone.adapters):
        raise UsageError(f"{role!r} cannot name an adapter of this model: use one plain word the model does not")
