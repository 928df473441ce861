"""The critic's head: what a state and an action are worth, read off the language model's hidden states."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ValueHead", "scale_gradient"]


class ValueHead(nn.Module):
    """Two small networks: V(s) on the last token of the prompt, Q(s, a) on the last token of the action.

    Both start at 0, so an untrained critic says nothing instead of noise. A logistic curve over V(s) gives the
    probability of success.

    Args:
        hidden_size: Size of the language model's hidden states.
        width: Size of the hidden layer.
    """

    calibration: Tensor  # slope and offset of `success`

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.state = _network(hidden_size, width)
        self.action = _network(hidden_size, width)
        # Not learned with the rest but fitted afterwards, see `success`. Saved with the head.
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))

    def forward(self, hidden: Tensor) -> Tensor:
        """V(s) from hidden states. [..., hidden] -> [...]"""
        values: Tensor = self.state(hidden.float())
        return values.squeeze(-1)

    def success(self, values: Tensor) -> Tensor:
        """Probability that the task will be solved, from V(s): σ(a V + b) (Platt, 1999). Same shape."""
        slope, offset = self.calibration
        return torch.sigmoid(slope * values + offset)

    def judge(self, hidden: Tensor) -> Tensor:
        """Q(s, a) from the hidden states of the action's last token. [..., hidden] -> [...]"""
        values: Tensor = self.action(hidden.float())
        return values.squeeze(-1)


def _network(hidden_size: int, width: int) -> nn.Sequential:
    last = nn.Linear(width, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.LayerNorm(hidden_size), nn.Linear(hidden_size, width), nn.SiLU(), last)


def scale_gradient(hidden: Tensor, scale: float) -> Tensor:
    """The same values, with the gradient that flows back into them multiplied by `scale`."""
    if scale == 1.0:
        return hidden
    if scale == 0.0:
        return hidden.detach()
    return hidden.detach() + scale * (hidden - hidden.detach())
