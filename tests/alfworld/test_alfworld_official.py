"""Published games: every layout they come in, and what is said when something is missing or damaged."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.conformance import play_expert
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import TaskError, UnknownNameError
from cmat_gym.envs.alfworld.gamefile import save_game
from cmat_gym.envs.alfworld.generator import BuiltinHouseTasks
from cmat_gym.envs.alfworld.official import OfficialHouseTasks
from cmat_gym.envs.alfworld.records import DIALECTS

GAMES = {
    "valid_seen": (
        "pick_and_place_simple-Mug-None-Desk-308/trial_1",
        "pick_two_obj_and_place-CD-None-Safe-301/trial_2",
    ),
    "valid_unseen": ("look_at_obj_in_light-Book-None-DeskLamp-310/trial_3",),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder in ALFWorld's layout, with builtin tasks in its files."""
    tasks = BuiltinHouseTasks().split("train")
    index = 0
    for split, names in GAMES.items():
        for name in names:
            save_game(tasks[index], tmp_path / "json_2.1.1" / split / name / "game.tw-pddl")
            index += 1
    return tmp_path


def test_folders_and_files_of_the_published_layout(data: Path) -> None:
    for folder in (data, data / "json_2.1.1"):
        assert OfficialHouseTasks(folder).sizes() == {"valid_seen": 2, "valid_unseen": 1}
    assert OfficialHouseTasks(data / "json_2.1.1" / "valid_seen").sizes() == {"valid_seen": 2}
    game = data / "json_2.1.1" / "valid_seen" / GAMES["valid_seen"][0] / "game.tw-pddl"
    assert OfficialHouseTasks(game).sizes() == OfficialHouseTasks(game.parent).sizes() == {"train": 1}
    task = OfficialHouseTasks(game).make("train", 0)
    assert task.instruction == BuiltinHouseTasks().make("train", 0).instruction
    assert (task.source.startswith("official-"), task.max_turns) == (True, 50)
    assert OfficialHouseTasks(data).find(OfficialHouseTasks(data).task_id("valid_unseen", 0)).split == "valid_unseen"


def test_played_through_the_environment(data: Path) -> None:
    env = gym.make("cmat/ALFWorld-v0", source=data, split="valid_seen", memory=None)
    for index in range(2):
        env.reset(options={"task": index})
        assert play_expert(env)[-1].reward == 1.0
    with pytest.raises(UnknownNameError, match="valid_seen, valid_unseen"):
        gym.make("cmat/ALFWorld-v0", source=data, split="test")


def test_other_selections_have_other_ids(data: Path) -> None:
    assert OfficialHouseTasks(data).name != OfficialHouseTasks(data / "json_2.1.1" / "valid_seen").name
    assert OfficialHouseTasks(data).name == OfficialHouseTasks(data / "json_2.1.1").name


def test_games_the_original_leaves_out_are_left_out(data: Path) -> None:
    split = data / "json_2.1.1" / "valid_seen"
    task = BuiltinHouseTasks().make("train", 9)
    save_game(task, split / "pick_and_place_with_movable_recep-Fork-Bowl-Desk-1" / "trial_9" / "game.tw-pddl")
    save_game(task, split / "pick_and_place_simple-AppleSliced-None-Fridge-1" / "trial_9" / "game.tw-pddl")
    unsolvable = split / "pick_and_place_simple-Mug-None-Desk-9" / "trial_9" / "game.tw-pddl"
    save_game(task, unsolvable)
    assert OfficialHouseTasks(data).sizes()["valid_seen"] == 3
    unsolvable.write_text(json.dumps({**json.loads(unsolvable.read_text()), "solvable": False}))
    assert OfficialHouseTasks(data).sizes()["valid_seen"] == 2


def write_list(folder: Path, names: list[str]) -> Path:
    path = folder / "standard.json"
    kinds = {"pick_two": names[1:], "pick_and_place": names[:1]}
    path.write_text(json.dumps(kinds))
    return path


def test_lists_keep_their_order_and_find_their_games(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"json_2.1.1/valid_seen/{name}/game.tw-pddl" for name in GAMES["valid_seen"]]
    beside = write_list(data, names)
    elsewhere = write_list(data.parent, names)
    monkeypatch.setenv("ALFWORLD_DATA", str(data))
    for path in (beside, elsewhere):
        source = OfficialHouseTasks(path)
        assert source.sizes() == {"standard": 2}
        assert [str(game).split("/")[-3][:8] for game in source.games["standard"]] == ["pick_two", "pick_and"]
    monkeypatch.delenv("ALFWORLD_DATA")
    assert OfficialHouseTasks(beside).sizes() == {"standard": 2}
    with pytest.raises(TaskError, match=r"2 of the 2 games .*set ALFWORLD_DATA"):
        OfficialHouseTasks(elsewhere)


def test_official_is_the_folder_the_user_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(data))
    assert OfficialHouseTasks("official").sizes() == {"valid_seen": 2, "valid_unseen": 1}
    monkeypatch.delenv("ALFWORLD_DATA")
    monkeypatch.delenv("CMAT_GYM_DATA", raising=False)
    with pytest.raises(TaskError, match="ALFWORLD_DATA"):
        OfficialHouseTasks("official")


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="neither a game file nor a folder"):
        OfficialHouseTasks(tmp_path / "nowhere")
    with pytest.raises(TaskError, match=r"no game\.tw-pddl in"):
        OfficialHouseTasks(tmp_path)
    bad = tmp_path / "game.tw-pddl"
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(TaskError, match="cannot be read"):
        OfficialHouseTasks(bad).make("train", 0)
    bad.write_text("{}")
    with pytest.raises(TaskError, match="no game file"):
        OfficialHouseTasks(bad).make("train", 0)
    lists = tmp_path / "dev.json"
    for text in ("[]", "{", '{"a": 1}', "{}"):
        lists.write_text(text)
        with pytest.raises(TaskError, match=r"dev\.json"):
            OfficialHouseTasks(lists)
    archive = tmp_path / "games_seen_train.tar.xz"
    archive.write_bytes(b"no archive")
    with pytest.raises(TaskError, match="damaged"):
        OfficialHouseTasks(archive)


def test_the_grammar_can_be_chosen(data: Path) -> None:
    """A game is played in its own version unless the caller wants another one, and neither takes the other's words."""
    for source, grammar, verb in ((data, None, "move"), (data, "put", "put"), ("builtin", "put", "put")):
        split = "train" if source == "builtin" else "valid_seen"
        env = gym.make("cmat/ALFWorld-v0", source=source, split=split, grammar=grammar, memory=None)
        env.reset(options={"task": 0})
        last = play_expert(env)[-1]
        assert last.reward == 1.0
        assert base_env(env).score().details["grammar"] == verb
        assert f"{verb} (thing)" in base_env(env).system_prompt
    with pytest.raises(UnknownNameError, match="move, put"):
        gym.make("cmat/ALFWorld-v0", grammar="place")
    assert set(DIALECTS) == {"move", "put"}


def test_the_archive_of_published_games(published: OfficialHouseTasks) -> None:
    assert published.sizes() == {"valid_seen": 140, "valid_train": 200}
    assert published.official
    assert published.split("valid_seen").manifest(20).size == 20
    hashes = {split: {task.content_hash() for task in published.split(split)[:60]} for split in published.sizes()}
    assert not hashes["valid_seen"] & hashes["valid_train"]
