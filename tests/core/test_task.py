"""Tasks, sources, splits and manifests."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmat_gym.core.errors import TaskError, UnknownNameError
from cmat_gym.core.task import Task, content_hash
from cmat_gym.core.testing import CounterTasks

SOURCE = CounterTasks()
TRAIN = SOURCE.split("train")


def test_content_hash_is_canonical() -> None:
    assert content_hash({"b": 1, "a": [True, None]}) == content_hash({"a": [True, None], "b": 1})
    assert content_hash({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()
    assert content_hash("é") == hashlib.sha256(b'"\\u00e9"').hexdigest()


def test_the_hash_is_about_what_has_to_be_solved() -> None:
    task = TRAIN[3]
    data = task.to_json()
    for name, value in {"instruction": "x", "payload": {}, "max_turns": 3, "domain": "other"}.items():
        assert Task(**{**data, name: value}).content_hash() != task.content_hash()
    for name in ("id", "split", "source"):
        assert Task(**{**data, name: "other"}).content_hash() == task.content_hash()


def test_a_task_is_a_frozen_value() -> None:
    task = TRAIN[0]
    assert Task(**json.loads(json.dumps(task.to_json()))) == task
    assert {task: 1}[SOURCE.find(task.id)] == 1
    with pytest.raises(AttributeError):
        task.instruction = "another"  # type: ignore[misc]


def test_a_split_is_a_sequence() -> None:
    assert len(TRAIN) == 1_000_000
    assert TRAIN[-1] == TRAIN[999_999]
    assert TRAIN[5:8] == [TRAIN[5], TRAIN[6], TRAIN[7]]
    assert [task.id for task, _ in zip(TRAIN, range(3), strict=False)] == [SOURCE.task_id("train", i) for i in range(3)]
    assert len(list(SOURCE.split("dev"))) == 50
    assert repr(TRAIN) == "TaskSequence(counter/builtin-v0/train, 1000000 tasks)"
    for index in (1_000_000, -1_000_001):
        with pytest.raises(IndexError, match="which has 1000000 tasks"):
            TRAIN[index]


@given(st.sampled_from(["train", "dev", "test"]), st.integers(0, 49))
def test_ids_lead_back_to_their_tasks(split: str, index: int) -> None:
    task = SOURCE.split(split)[index]
    assert task.id == f"counter/builtin-v0/{split}/{index:06d}"
    assert SOURCE.find(task.id) == task


@pytest.mark.parametrize(
    "task_id",
    [
        "",
        "7",
        "counter/builtin-v0/dev/50",
        "counter/builtin-v0/dev/-1",
        "counter/builtin-v0/dev/١",
        "counter/builtin-v0/dev/x",
        "counter/builtin-v0/moon/1",
        "counter/builtin-v1/dev/1",
        "shop/builtin-v0/dev/1",
        "counter/builtin-v0/dev/1/2",
    ],
)
def test_unknown_ids_say_what_ids_look_like(task_id: str) -> None:
    with pytest.raises(TaskError, match=r"counter/builtin-v0/train/000000.*dev \(50 tasks\)"):
        SOURCE.find(task_id)


def test_unknown_splits_list_the_choices() -> None:
    with pytest.raises(UnknownNameError, match=r"dev, test, train\. Did you mean 'train'"):
        SOURCE.split("trian")


def test_a_manifest_is_the_hash_of_the_contents_in_order() -> None:
    by_hand = hashlib.sha256(b"".join(bytes.fromhex(TRAIN[i].content_hash()) for i in range(3))).hexdigest()
    assert TRAIN.manifest(3) == (3, by_hand)
    assert SOURCE.split("dev").manifest().size == SOURCE.split("dev").manifest(99).size == 50
    # Frozen: the same on every machine and in every release of this source.
    assert SOURCE.split("test").manifest().sha256 == "c2614c7fc1f851fa430504a0dfc68270df6ad7258bd0ec7e21cc87d68f8214ac"
