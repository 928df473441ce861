"""The oracle: it knows the original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmat_gym.core.protocol import Call
from cmat_gym.envs.code_correction import prompts

__all__ = ["CodeCorrectionExpert"]


class CodeCorrectionExpert:
    """Hands in the original, whatever came before."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self.payload = payload

    def next_call(self) -> Call:
        """The original function."""
        return Call("submit_fix", {"code": self.payload["reference"].rstrip("\n")})

    def thought(self) -> str:
        """Where the first mistake was made."""
        first, *more = self.payload["mutations"]
        if more:
            return prompts.THINK_MANY.format(line=first["line"], more=len(more))
        return prompts.THINK.format(line=first["line"], before=first["before"] or "pass")
