"""The reflection stage: branches from snapshots, second thoughts that are kept only when better, and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import small_model
from toy_worlds import WORDS, PickEnv

from cmat_gym.core.errors import UsageError
from cmat_gym.core.lessons import LessonStore
from cmat_gym.core.memory import DualMemory, MemoryConfig
from cmat_gym.core.roles import Info, Review
from cmat_gym.core.rollout import rollout
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.policies.backbone import AdapterSettings
from cmat_gym.policies.generation import Sampling, pad_left
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.policies.scripted import FunctionPolicy
from cmat_gym.trainers.branches import hold_memories, play_branches, play_episodes
from cmat_gym.trainers.reflection_config import ReflectionConfig
from cmat_gym.trainers.reflection_trainer import ReflectionStage
from cmat_gym.trainers.reflections import Reflection, collect_reflections

GREEDY = Sampling(max_new_tokens=4, temperature=0)
TASK = 5  # "three", then "two"


class Advice:
    """Draws the same lesson from every failure."""

    def reflect(self, trajectories: Sequence[Trajectory]) -> list[list[str]]:
        return [["Say the word."] for _ in trajectories]


def stubborn(observation: str, info: Info) -> str:
    """Says `one` until it is told that this was wrong; knows what to do once it was taught a lesson."""
    return observation.split()[-1] if "Say the word." in observation else "one"


class NotOne:
    """Rejects `one` where it is wrong, and says so."""

    def review(self, observations: Sequence[str], actions: Sequence[str], infos: Sequence[Info]) -> list[Review]:
        return [
            Review(o.endswith(a), float(o.endswith(a)), feedback=f"{a} is wrong")
            for o, a in zip(observations, actions, strict=True)
        ]


# Branches ------------------------------------------------------------------------------------------------------------


def test_a_branch_goes_on_from_its_snapshot() -> None:
    """Fails when a branch starts elsewhere, ignores its first action, or pays other rewards than the episode would."""
    [episode] = play_episodes([PickEnv(reward="progress", discount=0.5)], FunctionPolicy(stubborn), [TASK])
    assert [step.observation for step in episode.steps] == ["Pick three"] * 6
    starts = [step.start for step in episode.steps if step.start is not None]
    right = FunctionPolicy(lambda observation, info: observation.split()[-1])
    envs = [PickEnv(reward="progress", discount=0.5) for _ in range(2)]
    branches = play_branches(
        envs, right, [starts[0], starts[3], starts[3], starts[5]], first=["one", None, "one", None]
    )
    assert [len(branch.steps) for branch in branches] == [3, 2, 3, 1]
    assert [branch.success for branch in branches] == [True, True, True, False]
    assert [branch.truncated for branch in branches] == [False, False, False, True]
    assert [branch.steps[0].action for branch in branches] == ["one", "three", "one", "three"]
    assert [branch.score for branch in branches] == [1.0, 1.0, 1.0, 0.5]


def test_returns_are_discounted_sums() -> None:
    """Fails when the discount is left out or runs the wrong way."""
    [episode] = play_episodes([PickEnv()], FunctionPolicy(lambda o, i: o.split()[-1]), [TASK], keep_states=False)
    assert episode.returns(0.5) == [0.5, 1.0]
    assert episode.steps[0].start is None


def test_branches_leave_the_memories_as_they_were() -> None:
    """Fails when going back to a snapshot takes away lessons that were learned since."""
    store = LessonStore()
    envs = [DualMemory(PickEnv(), store=store) for _ in range(2)]
    [episode] = play_episodes(envs, FunctionPolicy(stubborn), [TASK])
    store.add("learned since")
    start = episode.steps[0].start
    assert start is not None
    play_branches(envs, FunctionPolicy(stubborn), [start])
    assert [lesson.text for lesson in store.lessons] == ["learned since"]
    with hold_memories(envs):
        store.lessons.clear()
    assert len(store.lessons) == 1


def test_a_failing_world_ends_its_branch_only() -> None:
    """Fails when one broken environment ends the round, or when its episode counts as played."""
    broken = PickEnv()
    broken.fail_on_turn = 2
    played = play_episodes([broken, PickEnv()], FunctionPolicy(stubborn), [TASK, TASK])
    assert sorted(episode.ended for episode in played) == [False, True]
    assert [e.trajectory.error for e in played if not e.ended] == ["RuntimeError: the world broke"]
    with pytest.raises(UsageError, match="at least one environment"):
        play_episodes([], FunctionPolicy(stubborn), [])


# Second thoughts -----------------------------------------------------------------------------------------------------


def test_better_second_thoughts_are_distilled_without_what_led_to_them() -> None:
    """Fails when feedback or lessons stay in the rows, when thoughts that were no better are kept, or A is wrong."""
    envs = [PickEnv() for _ in range(2)]
    found = collect_reflections(
        envs, FunctionPolicy(stubborn), [TASK, 0], Advice(), checker=NotOne(), gamma=0.5, turns=1
    )
    # Task 0 is "one", "one": solved at first sight. Task 5 fails with score 0; its first turn is taken again.
    assert (found.episodes, found.failed, found.branches, found.improved, found.turned) == (2, 1, 1, 1, 1)
    distilled, *weighted = found.rows
    assert (distilled.observation, distilled.answer, distilled.advantage) == ("Pick three", "three", None)
    # The branch is worth 1 in its second turn; the first attempt was worth 0.
    assert [(row.observation, row.answer, row.advantage) for row in weighted] == [
        ("Pick three", "three", 0.5),
        ("Pick two", "two", 1.0),
    ]
    assert found.lessons == ["Say the word."]
    assert found.metrics()["reflection/turned"] == 1.0
    with_values = collect_reflections(
        envs,
        FunctionPolicy(stubborn),
        [TASK],
        Advice(),
        checker=NotOne(),
        state_values=lambda observations, infos: [0.75 if "three" in o else 0.25 for o in observations],
        gamma=0.5,
        turns=1,
    )
    # 0.5 - 0.75 is below 0: no example. 1 - 0.25 is one.
    assert [row.advantage for row in with_values.rows] == [None, 0.75]


def test_thoughts_that_are_no_better_are_dropped() -> None:
    """Fails when a changed action counts as an improvement without the simulator's word for it."""
    never = FunctionPolicy(lambda observation, info: "two" if "held back" in observation else "one")
    found = collect_reflections([PickEnv()], never, [8], Advice(), turns=3)  # "three", "three"
    assert (found.branches, found.improved, found.rows) == (1, 0, [])
    same = FunctionPolicy(lambda observation, info: "one")
    assert collect_reflections([PickEnv()], same, [8], Advice(), checker=NotOne(), turns=3).improved == 0


def test_which_turns_are_thought_about_again() -> None:
    """Fails when the rejected, the refused or the last turn is passed over, or the limit is not kept."""
    answers = iter(["three", "fly", "one", "one", "one", "one"])
    first = FunctionPolicy(lambda o, i: next(answers, "one"))
    shown: list[str] = []

    class Watch:
        def act(self, observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
            shown.extend(o for o in observations if "held back" in o)
            return first.act(observations, infos)

    collect_reflections([PickEnv()], Watch(), [TASK], Advice(), turns=9)
    assert [text.splitlines()[2][:40] for text in shown] == [
        "Your action 'fly' was held back by the c",  # refused
        "Your action 'one' was held back by the c",  # the last
    ]
    assert shown[0].startswith("Lessons:\n- Say the word.\n")
    assert shown[0].endswith("Give another action.\nPick two")


def test_lessons_reach_the_memories_of_all_environments() -> None:
    """Fails when reflection teaches nobody, or without the task."""
    envs = [DualMemory(PickEnv(), MemoryConfig(window=0)) for _ in range(2)]
    collect_reflections(envs, FunctionPolicy(lambda o, i: "one"), [TASK], Advice())
    for env in envs:
        assert [(lesson.text, lesson.context) for lesson in env.store.lessons] == [("Say the word.", "Pick.")]


# The loss ------------------------------------------------------------------------------------------------------------


def make_policy() -> LoRAPolicy:
    return LoRAPolicy(small_model(), PickEnv(), adapter=AdapterSettings(rank=8), sampling=GREEDY)


def make_stage(policy: LoRAPolicy, rows: Sequence[Reflection], folder: Path, **settings: Any) -> ReflectionStage:
    args = ReflectionConfig(**{"output_dir": str(folder), "use_cpu": True, "learning_rate": 1e-2, **settings})
    return ReflectionStage(policy, rows, args)


def test_the_loss_is_the_formula(tmp_path: Path) -> None:
    """Fails when a weight, an advantage or its sign is dropped, when likelihoods are means, or G is added to L."""
    policy = make_policy()
    rows = [
        Reflection("Pick one", "one", "pick/x"),
        Reflection("Pick two", "two one two", "pick/x", advantage=0.5),
        Reflection("Pick three", "three", "pick/x", advantage=2.0),
    ]
    stage = make_stage(policy, rows, tmp_path, distil_weight=3.0, success_weight=0.25)
    batch = stage._collate([stage.train_dataset[i] for i in range(3)])
    expected = torch.zeros(())
    for row, weight in zip(rows, (3.0, 0.25 * 0.5, 0.25 * 2.0), strict=True):
        prompt, answer = policy.prompt_ids(row.observation, {"task_id": row.task_id}), policy.answer_ids(row.answer)
        ids, mask = pad_left([prompt + answer], policy.pad_id, policy.backbone.device)
        log_p = torch.log_softmax(policy.backbone(ids, mask, keep=len(answer) + 1).logits[0, :-1], -1)
        expected = expected - weight * log_p.gather(1, torch.tensor(answer)[:, None]).sum() / 3
    loss = stage.compute_loss(policy.backbone, batch)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    parameters = policy.backbone.adapter_parameters("actor")
    ours, theirs = torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(stage.compute_loss(policy.backbone, batch, num_items_in_batch=torch.tensor(7)), loss)


def test_hindsight_becomes_first_sight(tmp_path: Path) -> None:
    """Fails when the stage trains on nothing, on the wrong prompts, or away from the better actions."""
    policy = make_policy()
    tasks = list(range(9))
    assert not any(t.success for t in rollout([PickEnv()], policy, tasks))
    found = collect_reflections(
        [PickEnv() for _ in range(4)], FunctionPolicy(stubborn), tasks, Advice(), checker=NotOne()
    )
    assert found.turned > 0
    stage = make_stage(policy, found.rows, tmp_path, num_train_epochs=24, per_device_train_batch_size=8)
    stage.train()
    assert stage.state.global_step > 0
    solved = [t.success for t in rollout([PickEnv()], policy, tasks)]
    said = {row.observation.split()[-1] for row in found.rows}
    words = PickEnv().split
    assert [all(word in said for word in words[i].payload["words"]) for i in tasks] == solved
    assert sum(solved) >= 4 == len(WORDS) + 1


def test_nothing_to_learn_and_bad_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to learn from"):
        make_stage(make_policy(), [], tmp_path)
    with pytest.raises(UsageError, match="nothing to learn from"):
        make_stage(make_policy(), [Reflection("o", "a", "pick/x")], tmp_path, distil_weight=0.0)
    with pytest.raises(UsageError, match="must not be negative"):
        make_stage(make_policy(), [], tmp_path, success_weight=-1.0)
    with pytest.raises(UsageError, match="turns >= 1"):
        collect_reflections([PickEnv()], make_policy(), [0], Advice(), turns=0)
    with pytest.raises(UsageError, match="a finite number is expected"):
        collect_reflections(
            [PickEnv()],
            FunctionPolicy(stubborn),
            [TASK],
            Advice(),
            checker=NotOne(),
            state_values=lambda o, i: [float("nan")] * len(o),
        )
