"""The learned Checker: TD and Monte Carlo targets, branches, preferences, its figures, and all of its uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import small_model
from toy_worlds import WORDS, PickEnv

from cmat_gym.core.critics import state_values
from cmat_gym.core.errors import UsageError
from cmat_gym.core.roles import Info
from cmat_gym.core.rollout import rollout
from cmat_gym.core.wrappers import CheckerPotential, CheckerReview, CheckerReward
from cmat_gym.policies.backbone import ACTOR, CHECKER, AdapterSettings
from cmat_gym.policies.checker import Checker, CheckerSettings
from cmat_gym.policies.feedback import PolicyFeedback, RuleFeedback, feedback_request
from cmat_gym.policies.generation import Sampling
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.policies.roles import RolePolicy
from cmat_gym.policies.scripted import FunctionPolicy, RandomPolicy
from cmat_gym.trainers.branches import play_episodes
from cmat_gym.trainers.checker_config import CheckerConfig, PreferenceConfig
from cmat_gym.trainers.checker_trainer import CheckerTrainer, td_returns
from cmat_gym.trainers.demonstrations import Demonstration
from cmat_gym.trainers.judged import (
    JudgedEpisode,
    Preference,
    branch_out,
    judged_branches,
    judged_episodes,
    preferences_of,
)
from cmat_gym.trainers.preference_trainer import PreferenceTrainer
from cmat_gym.trainers.sft_config import SFTStageConfig
from cmat_gym.trainers.sft_trainer import SFTStage

MODES = ("shared", "separate")
INFO: Info = {"task_id": "pick/x", "turn": 1}


def make_checker(mode: str = "shared", **settings: Any) -> Checker:
    policy = LoRAPolicy(small_model(), PickEnv(), adapter=AdapterSettings(rank=8), sampling=Sampling(4, 0))
    torch.manual_seed(0)
    return Checker(policy, CheckerSettings(mode, width=32, **settings))


def train(checker: Checker, episodes: Sequence[JudgedEpisode], folder: Path, **settings: Any) -> CheckerTrainer:
    args = CheckerConfig(**{"output_dir": str(folder), "use_cpu": True, "learning_rate": 1e-2, **settings})
    trainer = CheckerTrainer(checker, episodes, args)
    trainer.train()
    return trainer


def random_episodes(count: int, **kwargs: Any) -> list[JudgedEpisode]:
    envs = [PickEnv(**kwargs) for _ in range(9)]
    return judged_episodes(rollout(envs, RandomPolicy(np.random.default_rng(0)), [i % 9 for i in range(count)]))


# Targets -------------------------------------------------------------------------------------------------------------


def test_returns_by_hand() -> None:
    """Fails when a terminated end is bootstrapped, a truncated one is not, or λ mixes the wrong way round."""
    rewards, values = np.array([0.0, 1.0]), np.array([0.4, 0.6, 2.0])
    half = CheckerConfig(gamma=0.5, td_lambda=0.5, use_cpu=True)
    # Terminated: G_1 = 1; G_0 = 0 + 0.5 (0.5·0.6 + 0.5·1) = 0.4.
    assert td_returns(rewards, values[:2], True, half) == pytest.approx([0.4, 1.0])
    # Truncated into a state worth 2: G_1 = 1 + 0.5·2 = 2; G_0 = 0.5 (0.5·0.6 + 0.5·2) = 0.65.
    assert td_returns(rewards, values, False, half) == pytest.approx([0.65, 2.0])
    # One turn ahead, and Monte Carlo.
    assert td_returns(rewards, values[:2], True, half, 0.0) == pytest.approx([0.3, 1.0])
    assert td_returns(rewards, values[:2], True, half, 1.0) == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize(("mode", "td_lambda"), [("shared", 1.0), ("shared", 0.0), ("separate", 0.5)])
def test_values_of_a_known_process(mode: str, td_lambda: float, tmp_path: Path) -> None:
    """Fails when V or Q regresses on something else than the return, from returns or from its own next values.

    Uniform play of two words, without a limit that matters: p = 1/3 a turn. From a state one word before the end
    V1 = (1/3 + 2/3 γ V1) = 1/3 / (1 - 2/3 γ), one word earlier V2 = 1/3 γ V1 / (1 - 2/3 γ); Q of a right word is 1,
    or γ V1, and of a wrong one γ V1 or γ V2.
    """
    gamma = 0.5
    one = (1 / 3) / (1 - 2 / 3 * gamma)
    two = (1 / 3) * gamma * one / (1 - 2 / 3 * gamma)
    checker = make_checker(mode)
    envs = [Marked(max_turns=40) for _ in range(9)]
    episodes = judged_episodes(rollout(envs, RandomPolicy(np.random.default_rng(1)), [i % 9 for i in range(135)]))
    settings = {"gamma": gamma, "td_lambda": td_lambda, "rounds": 5, "passes": 2 if mode == "separate" else 12}
    trainer = train(checker, episodes, tmp_path, holdout=0.0, learning_rate=5e-3, **settings)
    assert trainer.report is not None
    assert abs(trainer.report.gap) < 0.15  # all of these episodes end with the right word, and the Checker knows
    pages = [f"{left} Pick {word}" for left in (2, 1) for word in WORDS]
    values = np.array(checker.state_values(pages, [INFO] * 6))
    assert values[:3].mean() == pytest.approx(two, abs=0.06)
    assert values[3:].mean() == pytest.approx(one, abs=0.12)
    asked = [(f"{left} Pick {word}", said, word) for left in (2, 1) for word in WORDS for said in WORDS]
    judged = checker.judge([page for page, _, _ in asked], [said for _, said, _ in asked], [INFO] * 18)[1]
    for left, right, wrong in ((2, gamma * one, gamma * two), (1, 1.0, gamma * one)):
        here = [(q, said == word) for q, (page, said, word) in zip(judged, asked, strict=True) if page[0] == str(left)]
        hits, misses = [q for q, hit in here if hit], [q for q, hit in here if not hit]
        assert np.mean(hits) == pytest.approx(right, abs=0.12)
        assert np.mean(misses) == pytest.approx(wrong, abs=0.12)


class Marked(PickEnv):
    """Shows how many words are left, so that a page says all there is to know."""

    def _page(self) -> str:
        return f"{2 - self.done} {super()._page()}"

    def _score(self) -> Any:
        score = super()._score()
        return score._replace(value=float(score.success))  # nothing for half of it: the process of the docstring


def test_an_imposed_action_teaches_nothing_about_the_state(tmp_path: Path) -> None:
    """Fails when V(s) learns from a branch's first action, which nobody would have taken there."""
    right = FunctionPolicy(lambda observation, info: observation.split()[-1])
    [episode] = play_episodes([Marked()], right, [0])
    envs = [Marked(max_turns=1) for _ in range(3)]
    branches = branch_out(envs, right, [episode] * 40, np.random.default_rng(0), actions=3)
    assert {branch.steps[0].action for branch in branches} == set(WORDS)
    own = [JudgedEpisode(branch.trajectory) for branch in branches]
    one_turn = {"gamma": 0.0, "rounds": 3, "holdout": 0.0}
    taught = make_checker()
    train(taught, own, tmp_path, **one_turn)
    # Uniformly imposed: in the second state a third of the actions are right. Taken for its own, that is what V says.
    assert taught.state_values(["1 Pick one"], [INFO])[0] == pytest.approx(1 / 3, abs=0.1)
    untouched = make_checker()
    train(untouched, judged_branches(branches), tmp_path, **one_turn)
    assert untouched.state_values(["1 Pick one"], [INFO]) == [0.0]
    judged = untouched.judge(["1 Pick one"] * 3, list(WORDS), [INFO] * 3)[1]
    assert judged == pytest.approx([1.0, 0.0, 0.0], abs=0.15)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_but_the_checker_learns(mode: str, tmp_path: Path) -> None:
    """Fails when the actor's adapter or the base model moves, or the Checker's own adapter does not."""
    checker = make_checker(mode)
    backbone = checker.policy.backbone
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    train(checker, random_episodes(18), tmp_path, rounds=1, passes=2)
    moved = {key for key, value in backbone.state_dict().items() if not torch.equal(value, before[key])}
    assert any(key.startswith("value_head.state") for key in moved)
    assert any(key.startswith("value_head.action") for key in moved)
    assert any(f".{CHECKER}." in key for key in moved) == (mode == "separate")
    assert all(key.startswith("value_head") or f".{CHECKER}." in key for key in moved)
    assert backbone.active == ACTOR


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    """Fails when a checkpoint lacks weights or optimizer, or when minibatches depend on the rounds before."""
    episodes = random_episodes(18)
    whole = make_checker()
    train(whole, episodes, tmp_path / "whole", rounds=4, passes=2)
    saved = {"save_strategy": "steps", "save_steps": 2}
    train(make_checker(), episodes, tmp_path / "part", rounds=4, passes=2, **saved)
    resumed = make_checker()
    args = CheckerConfig(output_dir=str(tmp_path / "part"), use_cpu=True, learning_rate=1e-2, rounds=4, passes=2)
    trainer = CheckerTrainer(resumed, episodes, args)
    trainer.train(resume_from_checkpoint=tmp_path / "part" / "checkpoint-2")
    assert trainer.state.global_step == 4
    for key, value in resumed.policy.backbone.state_dict().items():
        assert torch.equal(value, whole.policy.backbone.state_dict()[key]), key


# The report ----------------------------------------------------------------------------------------------------------


def test_the_report_is_about_tasks_that_were_held_out(tmp_path: Path) -> None:
    """Fails when the report is computed on what was learned from, or success is not calibrated."""
    checker = make_checker()
    trainer = train(checker, random_episodes(180), tmp_path, rounds=4, holdout=0.34)
    report = trainer.report
    assert report is not None
    assert report.episodes == 60  # three of nine tasks, twenty times each
    logged = trainer.state.log_history[-1]
    assert logged["checker/auroc"] == report.auroc
    assert 0.0 <= report.ece <= 1.0
    # Random play solves about two thirds; calibrated probabilities say so on average.
    episodes = random_episodes(180)
    solved = np.mean([episode.trajectory.success for episode in episodes])
    pages = [turn.observation for episode in episodes for turn in episode.trajectory.turns]
    assert np.mean(checker.success_probabilities(pages, [INFO] * len(pages))) == pytest.approx(solved, abs=0.25)
    slope = float(checker.head.calibration[0])
    checker.policy.save(tmp_path / "saved")
    loaded = LoRAPolicy.load(tmp_path / "saved", small_model())
    assert float(Checker(loaded).head.calibration[0]) == slope


def test_a_trained_checker_predicts_success_better_than_chance(tmp_path: Path) -> None:
    """Fails when values carry no information about the outcome on unseen tasks."""
    checker = make_checker()
    envs = [Marked(max_turns=3) for _ in range(9)]
    episodes = judged_episodes(rollout(envs, RandomPolicy(np.random.default_rng(0)), [i % 9 for i in range(360)]))
    report = train(checker, episodes, tmp_path, rounds=4, holdout=0.34, gamma=1.0).report
    assert report is not None
    # The pages do not show how many turns are left, so a perfect judge is not far above this.
    assert report.auroc > 0.6
    assert report.explained_variance > 0.1
    assert report.ece < 0.1


# Preferences ---------------------------------------------------------------------------------------------------------


def test_preferences_come_from_equal_states_and_different_returns() -> None:
    """Fails when states are mixed up, when equal returns make a pair, or when the worse action is chosen."""
    right = FunctionPolicy(lambda observation, info: observation.split()[-1])
    envs = [PickEnv(max_turns=2) for _ in range(3)]
    episodes = play_episodes(envs, right, [0, 4])
    branches = branch_out(envs, right, episodes, np.random.default_rng(0), states=2, actions=3, repeats=2)
    assert len(branches) == 2 * 2 * 3 * 2
    pairs = preferences_of(branches)
    assert {(pair.observation, pair.chosen) for pair in pairs} == {("Pick one", "one"), ("Pick two", "two")}
    # In both states of both tasks the right word beats two wrong ones, which are equally bad.
    assert len(pairs) == 8
    assert preferences_of(branches, margin=2.0) == []


@pytest.mark.parametrize("mode", MODES)
def test_preferences_order_the_actions(mode: str, tmp_path: Path) -> None:
    """Fails when the sign of the pairs is lost, when V or the actor moves, or when nothing is learned."""
    checker = make_checker(mode)
    before = {key: value.clone() for key, value in checker.policy.backbone.state_dict().items()}
    pairs = [Preference(f"Pick {w}", w, other, "pick/x") for w in WORDS for other in WORDS if other != w] * 8
    args = PreferenceConfig(output_dir=str(tmp_path), use_cpu=True, learning_rate=1e-2, num_train_epochs=12)
    trainer = PreferenceTrainer(checker, pairs, args)
    trainer.train()
    assert trainer.state.global_step > 0
    for word in WORDS:
        judged = checker.judge([f"Pick {word}"] * 3, list(WORDS), [INFO] * 3)[1]
        assert WORDS[int(np.argmax(judged))] == word
    moved = {k for k, v in checker.policy.backbone.state_dict().items() if not torch.equal(v, before[k])}
    assert all(key.startswith("value_head.action") or f".{CHECKER}." in key for key in moved)
    assert any(f".{CHECKER}." in key for key in moved) == (mode == "separate")
    assert all(p.requires_grad for p in checker.head.parameters())


def test_the_loss_of_a_pair_is_bradley_and_terrys(tmp_path: Path) -> None:
    """Fails when chosen and rejected are swapped, or when rows are read at another token than `review` reads."""
    checker = make_checker("separate")
    torch.nn.init.normal_(list(checker.head.action.parameters())[-2])
    args = PreferenceConfig(output_dir=str(tmp_path), use_cpu=True, center_rewards_coefficient=None)
    pairs = [Preference("Pick one", "one", "two two three", "pick/x"), Preference("Pick two", "two", "one", "pick/x")]
    trainer = PreferenceTrainer(checker, pairs, args)
    batch = trainer._collate([trainer.train_dataset[i] for i in range(2)])
    expected = 0.0
    for pair in pairs:
        better, worse = checker.judge([pair.observation] * 2, [pair.chosen, pair.rejected], [INFO] * 2)[1]
        assert better != worse
        expected -= float(torch.nn.functional.logsigmoid(torch.tensor(better - worse))) / 2
    assert float(trainer.compute_loss(trainer.model, batch)) == pytest.approx(expected, abs=1e-4)


# Uses ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def taught(tmp_path: Path) -> Checker:
    """Knows the second word of task 0: Q is 1 for `one` and 0 for the others, V a third."""
    right = FunctionPolicy(lambda observation, info: observation.split()[-1])
    [episode] = play_episodes([Marked()], right, [0])
    envs = [Marked(max_turns=2) for _ in range(3)]
    branches = branch_out(envs, right, [episode] * 30, np.random.default_rng(0), states=2, actions=3)
    checker = make_checker(margin=0.05)
    train(checker, [JudgedEpisode(b.trajectory) for b in branches], tmp_path, gamma=0.0, rounds=3, holdout=0.0)
    return checker


def at_second_word(env: Any) -> Any:
    env.reset(seed=0, options={"task": 0})
    assert env.step("one")[0] == "1 Pick one"
    return env


def test_one_object_for_every_use(taught: Checker) -> None:
    """Fails when any of the four uses gets another of the Checker's numbers."""
    [review] = taught.review(["1 Pick one"], ["two"], [INFO])
    [value] = taught.state_values(["1 Pick one"], [INFO])
    assert value == pytest.approx(review.value, abs=1e-5)
    assert state_values(taught, ["1 Pick one"], [INFO]) == [value]
    assert abs(value - review.reward) > 0.1
    reward = at_second_word(CheckerReward(Marked(), taught))
    assert reward.step("two")[1] == pytest.approx(review.reward, abs=1e-5)
    potential = at_second_word(CheckerPotential(Marked(), taught, discount=0.5))
    assert potential.step("two")[1] == pytest.approx(0.5 * value - value, abs=1e-5)
    held = at_second_word(CheckerReview(Marked(), taught, max_revisions=1))
    assert held.step("two")[4]["executed"] is False
    assert review.accept is False
    held = at_second_word(CheckerReview(Marked(), taught))
    assert held.step("one")[4]["executed"] is True


def test_feedback_in_words_is_written_for_what_is_refused(taught: Checker) -> None:
    """Fails when accepted actions are commented on, when texts go to the wrong action, or silence loses the numbers."""
    asked: list[tuple[str, str]] = []

    class Writer:
        def write(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[str]:
            asked.extend(zip(observations, actions, strict=True))
            return ["" if action == "three" else f"not {action}" for action in actions]

    taught.feedback = Writer()
    reviews = taught.review(["1 Pick one"] * 3, ["two", "one", "three"], [INFO] * 3)
    assert [review.accept for review in reviews] == [False, True, False]
    assert asked == [("1 Pick one", "two"), ("1 Pick one", "three")]
    assert reviews[0].feedback == "not two"
    assert reviews[1].feedback == ""
    assert reviews[2].feedback.startswith("This action is expected to end at")


def test_feedback_is_learned_by_an_adapter_of_its_own(tmp_path: Path) -> None:
    """Fails when the writer is asked something else than it was trained on, or speaks through another adapter."""
    policy = make_checker().policy
    role = RolePolicy(policy, "feedback")
    shown = [
        Demonstration(feedback_request(f"Pick {word}", other), f"say {word}", "pick/x")
        for word in WORDS
        for other in WORDS
        if other != word
    ]
    args = SFTStageConfig(output_dir=str(tmp_path), use_cpu=True, learning_rate=1e-2, num_train_epochs=8)
    SFTStage(role, shown * 10, args).train()
    writer = PolicyFeedback(role)
    assert writer.write(["Pick one", "Pick two"], ["two", "three"], [INFO] * 2) == ["say one", "say two"]
    assert writer.write([], [], []) == []
    assert not isinstance(RuleFeedback(), type(writer))


# Bad calls -----------------------------------------------------------------------------------------------------------


def test_bad_calls_name_the_way_out(tmp_path: Path) -> None:
    checker = make_checker()
    with pytest.raises(UsageError, match="None of the 0 episodes"):
        CheckerTrainer(checker, [], CheckerConfig(output_dir=str(tmp_path), use_cpu=True))
    with pytest.raises(UsageError, match="no preferences"):
        PreferenceTrainer(checker, [], PreferenceConfig(output_dir=str(tmp_path), use_cpu=True))
    for wrong in ({"rounds": 0}, {"gamma": 1.5}, {"td_lambda": -0.1}, {"holdout": 1.0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            CheckerConfig(use_cpu=True, **wrong)  # type: ignore[arg-type]
    bare = play_episodes([PickEnv()], RandomPolicy(np.random.default_rng(0)), [0], keep_states=False)
    with pytest.raises(UsageError, match="keep_states=True"):
        branch_out([PickEnv()], RandomPolicy(np.random.default_rng(0)), bare, np.random.default_rng(0))
    with pytest.raises(UsageError, match="at least 1"):
        branch_out([PickEnv()], RandomPolicy(np.random.default_rng(0)), bare, np.random.default_rng(0), states=0)
