"""The published games: single files, folders in ALFWorld's layout, AgentBench's lists, and the packed archive.

Games are found when the source is opened and read when they are asked for. Of a folder, the games that the original
leaves out (movable receptacles, sliced things, unsolvable ones) are left out as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmat_gym.core.cache import cache_folder
from cmat_gym.core.errors import TaskError
from cmat_gym.core.task import Task, TaskSource, content_hash
from cmat_gym.envs.alfworld import prompts
from cmat_gym.envs.alfworld.gamefile import game_payload

__all__ = ["OfficialHouseTasks", "find_games"]

MAX_TURNS = 50  # the original's own limit
GAME = "game.tw-pddl"
ARCHIVE = "games_seen_train.tar.xz"
CHECKSUMS = {ARCHIVE: "c265171a4b1d009c2e38e13d8c338a62e6dba1d84f007be7a3ac5caf6a5d23db"}
DATA = "ALFWORLD_DATA"
_LEFT_OUT = ("movable", "Sliced")


class OfficialHouseTasks(TaskSource):
    """Games from the published files, one task each.

    Args:
        source: A game file, a folder of games, one of AgentBench's lists, an archive, or `official`: the folder that
            `ALFWORLD_DATA` names.

    Raises:
        TaskError: There are no games there, or some are missing.
    """

    domain = "alfworld"
    official = True

    def __init__(self, source: str | Path) -> None:
        self.games = find_games(source)
        listed = {split: [_short(path) for path in paths] for split, paths in self.games.items()}
        # Part of every task id, so that ids of another selection of games are other ids.
        self.name = f"official-{content_hash(listed)[:8]}"

    def sizes(self) -> Mapping[str, int]:
        """Number of games by split."""
        return {split: len(paths) for split, paths in self.games.items()}

    def make(self, split: str, index: int) -> Task:
        """The game at `index` of `split`.

        Raises:
            TaskError: Its file cannot be read.
        """
        path = self.games[split][index]
        payload = game_payload(_read(path), str(path))
        return Task(
            id=self.task_id(split, index),
            domain=self.domain,
            split=split,
            source=self.name,
            instruction=payload["sentence"].removeprefix(prompts.TASK),
            payload=payload,
            max_turns=MAX_TURNS,
        )


def find_games(source: str | Path) -> dict[str, tuple[Path, ...]]:
    """The game files of a source, by split.

    Raises:
        TaskError: There are none, or some are missing.
    """
    path = _named_folder() if str(source) == "official" else Path(source).expanduser()
    if path.is_file():
        if path.suffix == ".json":
            return {path.stem: _listed_games(path)}
        if path.name.endswith(".tar.xz"):
            return _games_below(_unpack(path))
        return {"train": (path.resolve(),)}
    if not path.is_dir():
        raise TaskError(f"{path} is neither a game file nor a folder of games; a game file is called {GAME}")
    for archive in (path / ARCHIVE, path / "alfworld" / ARCHIVE):
        if archive.is_file():
            return _games_below(_unpack(archive))
    return _games_below(path)


def _named_folder() -> Path:
    folder = os.environ.get(DATA) or os.environ.get("CMAT_GYM_DATA")
    if not folder:
        raise TaskError(f"source='official' needs the environment variable {DATA}: the folder that holds json_2.1.1")
    return Path(folder).expanduser()


def _games_below(folder: Path) -> dict[str, tuple[Path, ...]]:
    """All games below a folder, by split."""
    folder = folder.resolve()
    games: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob(GAME)):
        relative = path.relative_to(folder)
        if any(word in str(relative) for word in _LEFT_OUT) or b'"solvable": false' in path.read_bytes():
            continue
        games.setdefault(_split_of(relative, folder), []).append(path)
    if not games:
        raise TaskError(f"There is no {GAME} in {folder} or below it")
    return {split: tuple(paths) for split, paths in games.items()}


def _split_of(game: Path, folder: Path) -> str:
    """`valid_seen` for `…/valid_seen/type/trial/game.tw-pddl`, also where that folder itself was asked for."""
    if len(game.parts) >= 4:
        return game.parts[-4]
    return folder.name if len(game.parts) == 3 else "train"


def _listed_games(path: Path) -> tuple[Path, ...]:
    """The games of one of AgentBench's lists, in its order: type by type, and as each type lists them."""
    try:
        lists: Any = json.loads(_read(path))
        names = [str(name) for paths in lists.values() for name in paths]
    except (ValueError, AttributeError, TypeError) as error:
        raise TaskError(f"{path} is no list of games by type of task: {error}") from None
    root = _root_of(path, names)
    found = tuple(root / name for name in names)
    missing = [str(game) for game in found if not game.is_file()]
    if missing or not found:
        raise TaskError(
            f"{len(missing)} of the {len(found)} games of {path} are missing, for example {missing[:1]}: "
            f"set {DATA} to the folder that holds json_2.1.1"
        )
    return found


def _root_of(path: Path, names: list[str]) -> Path:
    """Where the paths of a list start: the user's data folder, or the first folder above the list that has a game."""
    if os.environ.get(DATA):
        return Path(os.environ[DATA]).expanduser().resolve()
    above = path.resolve().parents
    return next((folder for folder in above if any((folder / name).is_file() for name in names[:50])), above[0])


def _unpack(archive: Path) -> Path:
    """The games of an archive, unpacked once into the cache folder."""
    data = archive.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if CHECKSUMS.get(archive.name, digest) != digest:
        raise TaskError(f"{archive} is damaged: its SHA-256 is {digest}, not {CHECKSUMS[archive.name]}; fetch it again")
    folder = cache_folder() / f"alfworld-{digest[:16]}"
    if not folder.is_dir():
        # Unpacked beside its place and moved there whole, so that a second process never sees half of it.
        draft = folder.with_name(f"{folder.name}.{os.getpid()}")
        with tarfile.open(archive) as files:
            files.extractall(draft, filter="data")
        try:
            draft.rename(folder)
        except OSError:  # another process was quicker
            if not folder.is_dir():
                raise
    return folder


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path} cannot be read: {error}") from None


def _short(path: Path) -> str:
    """What names a game wherever it lies: split, type and trial."""
    return "/".join(path.parts[-4:])
