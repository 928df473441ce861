"""The loss terms against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import backward

from cmat_gym.trainers.losses import entropy_of, kl_to_reference, log_probabilities, policy_terms, value_loss


def surrogate_gradient(ratio: float, advantage: float) -> float:
    logprob = torch.tensor(math.log(ratio), requires_grad=True)
    backward(policy_terms(logprob, torch.tensor(0.0), torch.tensor(advantage), 0.2).surrogate)
    assert logprob.grad is not None
    return float(logprob.grad)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.0, 2.0, 2.0),  # fresh samples: A ∇log π
        (1.0, -2.0, -2.0),
        (1.19, 2.0, 2.38),  # inside: ρ A
        (1.21, 2.0, 0.0),  # far enough in the good direction: held
        (0.79, 2.0, 1.58),  # moved the wrong way: free to come back
        (0.79, -2.0, 0.0),
        (1.21, -2.0, -2.42),
        (0.81, -2.0, -1.62),
    ],
)
def test_clipped_gradient_at_the_boundary(ratio: float, advantage: float, expected: float) -> None:
    assert surrogate_gradient(ratio, advantage) == pytest.approx(expected, rel=1e-5)


def test_clip_fraction_counts_what_is_held() -> None:
    ratios = torch.tensor([1.0, 1.3, 1.3, 0.7, 0.7]).log()
    advantages = torch.tensor([1.0, 1.0, -1.0, 1.0, -1.0])
    clipped = policy_terms(ratios, torch.zeros(5), advantages, 0.2).clipped
    assert clipped.tolist() == [False, True, False, False, True]


def test_kl_estimate_is_right_on_average_and_never_negative() -> None:
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    estimates = kl_to_reference(p.log(), q.log())
    exact = (p * (p / q).log()).sum()
    assert (p * estimates).sum() == pytest.approx(float(exact), rel=1e-5)
    assert (estimates >= 0).all()


def test_one_token_far_from_the_reference_does_not_outweigh_all_others() -> None:
    logprobs = torch.tensor([-1.0, -4.0, -20.0], requires_grad=True)
    kl = kl_to_reference(logprobs, torch.tensor([-1.0, -1.0, -0.1]))
    kl.sum().backward()
    gradient = logprobs.grad
    assert gradient is not None
    torch.testing.assert_close(gradient, 1 - torch.tensor([0.0, 3.0, 3.0]).exp())
    torch.testing.assert_close(kl[2].detach(), torch.tensor(math.exp(3) * (1 + 19.9 - 3) - 19.9 - 1))


def test_probabilities_and_entropy() -> None:
    logits = torch.tensor([[[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]]).log() + 3.0
    tokens = torch.tensor([[0, 2]])
    torch.testing.assert_close(log_probabilities(logits, tokens), torch.tensor([[0.7, 0.5]]).log())
    expected = torch.tensor([[0.8018186, 1.0397208]])
    torch.testing.assert_close(entropy_of(logits), expected)


def test_value_loss_and_its_clip() -> None:
    values, old, returns = torch.tensor([0.5, 0.5]), torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.6])
    torch.testing.assert_close(value_loss(values, old, returns, None), torch.tensor([0.125, 0.005]))
    # Limited to 0.2: the errors are 0.8 and 0.4, greater than the plain ones.
    torch.testing.assert_close(value_loss(values, old, returns, 0.2), torch.tensor([0.32, 0.08]))
