"""`cmat-gym data get`: official data from its public home, a mirror or a local copy."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from cmat_gym.cli.console import make_console, plain, print_json
from cmat_gym.cli.datasets import DATASETS, DataFile, Dataset, find_dataset
from cmat_gym.cli.download import Hashes, OnBytes, fetch, sha256_of, unpack
from cmat_gym.core.cache import cache_folder
from cmat_gym.core.errors import UsageError

HELP = "fetch official data from its public home"
DESCRIPTION = (
    "Fetch the official data of a world, show its licence, and check every file against its SHA-256. An interrupted "
    "download goes on where it stopped. Where no hash is published, the first one is recorded in checksums.json of "
    "the data folder, and later copies must have the same."
)
EXAMPLES = """examples:
  cmat-gym data list
  cmat-gym data get os/agentbench
  cmat-gym data get webshop/small --folder ~/data --from https://mirror.example.org/cmat-gym
  cmat-gym data get alfworld/games --from ~/Downloads
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="data sets, as `data list` names them")
    add_folder(parser)
    parser.add_argument(
        "--from",
        dest="base",
        metavar="PATH|URL",
        help="take the files from a folder with copies, or from a mirror that has the data folder's layout",
    )
    parser.add_argument("--json", action="store_true", help="print what was fetched as JSON")


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Declare where data is kept."""
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="the data folder (default: CMAT_GYM_DATA, else one in the cache)"
    )


def data_folder(given: Path | None) -> Path:
    """The folder that was asked for, or the usual one."""
    named = os.environ.get("CMAT_GYM_DATA")
    return (given or (Path(named) if named else cache_folder() / "data")).expanduser()


def run(args: argparse.Namespace) -> int:
    """Fetch."""
    datasets = [find_dataset(name) for name in args.names]
    if args.base is not None and Path(args.base).is_file() and sum(len(dataset.files) for dataset in datasets) > 1:
        raise UsageError(f"--from {args.base} is one file, but more than one was asked for; name a folder")
    folder = data_folder(args.folder)
    hashes = Hashes(folder)
    console = make_console(stderr=True)
    fetched: list[dict[str, Any]] = []
    for dataset in datasets:
        console.print(plain(f"{dataset.name}: {dataset.about}", "bold"), soft_wrap=True)
        console.print(plain(f"Licence: {dataset.licence}"), soft_wrap=True)
        for file in dataset.files:
            fetched.append(_get(dataset, file, folder, hashes, args.base))
            entry = fetched[-1]
            console.print(plain(f"  {file.path}: {entry['how']}, SHA-256 {entry['sha256']}"), soft_wrap=True)
    uses = [dataset.use.format(folder=folder) for dataset in datasets]
    if args.json:
        print_json({"folder": str(folder), "files": fetched, "use": uses})
    else:
        for use in uses:
            make_console().print(plain(use), soft_wrap=True)
    return 0


def _get(dataset: Dataset, file: DataFile, folder: Path, hashes: Hashes, base: str | None) -> dict[str, Any]:
    target = folder / file.path
    expected = hashes.expected(file)
    there = sha256_of(target) if target.is_file() else None
    if there is not None and there == expected:
        digest, how = there, "already there"
    else:
        with _progress(file) as on_bytes:
            digest = fetch(dataset, file, target, expected, base, on_bytes)
        first = hashes.record(file, digest)
        how = "no hash is published, recorded on first use" if first else "checked"
    if file.unpack is not None and (how != "already there" or not (folder / file.unpack).is_dir()):
        unpack(target, folder / file.unpack)
    return {"dataset": dataset.name, "path": file.path, "sha256": digest, "how": how, "licence": dataset.licence}


@contextmanager
def _progress(file: DataFile) -> Iterator[OnBytes]:
    columns = (TextColumn("  {task.fields[name]}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = make_console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=file.bytes, name=file.path)

        def on_bytes(done: int, total: int | None) -> None:
            progress.update(bar, completed=done, total=total or file.bytes)

        yield on_bytes


def all_here(dataset: Dataset, folder: Path) -> bool:
    """Whether every file of a data set lies in the data folder."""
    return all((folder / file.path).is_file() for file in dataset.files)


def describe(folder: Path) -> list[dict[str, Any]]:
    """All data sets, with whether they are there."""
    return [
        {
            "name": dataset.name,
            "about": dataset.about,
            "licence": dataset.licence,
            "bytes": dataset.bytes,
            "here": all_here(dataset, folder),
            "hashed": all(file.sha256 for file in dataset.files),
            "files": [file.path for file in dataset.files],
        }
        for dataset in DATASETS
    ]
