"""Critics, sampled actions, and the error tree."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence

import pytest

import cmat_gym
from cmat_gym.core import errors
from cmat_gym.core.errors import CmatError, MissingExtraError, UnknownNameError, UsageError, choose, require
from cmat_gym.core.roles import Critic, FunctionCritic, Info, Policy, Review, SampledAction, TokenSample, as_critic


def test_a_function_is_a_critic() -> None:
    critic = as_critic(lambda observation, action, info: len(action) - 3)
    assert critic.review(["o", "o"], ["up", "down"], [{}, {}]) == [Review(False, -1.0), Review(True, 1.0)]
    assert FunctionCritic(lambda o, a, i: 0.5, threshold=0.6).review(["o"], ["a"], [{}])[0].accept is False
    assert as_critic(critic) is critic
    assert isinstance(critic, Critic)
    for wrong in (3, "critic", None):
        with pytest.raises(UsageError, match="A critic is a function"):
            as_critic(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="zip"):
        critic.review(["o"], ["a", "b"], [{}])


def test_a_policy_is_what_acts() -> None:
    class Acts:
        def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
            return ["up"] * len(observations)

    assert isinstance(Acts(), Policy)
    assert not isinstance(object(), Policy)


def test_a_sampled_action_is_a_string_that_remembers() -> None:
    sample = TokenSample((1, 2), (3,), (-0.5,), 0.25)
    action = SampledAction("up", sample)
    assert action == "up"
    assert hash(action) == hash("up")
    for twin in (pickle.loads(pickle.dumps(action)), copy.deepcopy(action)):
        assert (twin, twin.sample) == ("up", sample)


@pytest.mark.parametrize(
    "error",
    [
        UnknownNameError("split", "trian", ["train", "test"]),
        MissingExtraError("torch", "train"),
        *[getattr(errors, name)("a message") for name in ("TaskError", "UsageError", "ReplayError", "BackendError")],
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel_between_processes(error: CmatError) -> None:
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert isinstance(error, CmatError)


def test_messages_name_value_choices_and_way_out() -> None:
    assert str(UnknownNameError("split", "trian", ["train", "test"])) == (
        "Unknown split 'trian'; choose one of: test, train. Did you mean 'train'?"
    )
    assert str(UnknownNameError("world", "x", [])) == "Unknown world 'x'; choose one of: (none)."
    assert choose("colour", "red", ["red", "blue"]) == "red"
    with pytest.raises(ValueError, match="blue, red"):
        choose("colour", "green", ["red", "blue"])
    with pytest.raises(ImportError, match=r"pip install 'cmat-gym\[train\]'"):
        require("no_such_module_anywhere", "train")
    assert require("json", "train").__name__ == "json"


def test_public_names_load_when_they_are_used() -> None:
    for name in cmat_gym.__all__:
        assert getattr(cmat_gym, name) is not None
    assert set(cmat_gym.__all__) <= set(dir(cmat_gym))
    with pytest.raises(AttributeError, match="no_such_name"):
        cmat_gym.no_such_name  # noqa: B018
