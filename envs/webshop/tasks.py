"""Opens a shop: where its tasks come from, and the site they are played on.

`generator.py` makes the builtin tasks, `official.py` reads the files of the real shop; both end here, as one pair of
task source and backend that all environments of a process share.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from cmat_gym.core.cache import cache_folder
from cmat_gym.core.task import TaskSource
from cmat_gym.envs.webshop.backend import WebShopBackend
from cmat_gym.envs.webshop.generator import BuiltinShopTasks, goal_from_payload
from cmat_gym.envs.webshop.official import OfficialShopTasks
from cmat_gym.envs.webshop.records import Product
from cmat_gym.envs.webshop.search import SearchIndex

__all__ = ["Shop", "goal_from_payload", "open_shop"]

IN_MEMORY = 5000
"""A search index over more products than this is built once, kept in the cache folder and memory-mapped."""


class Shop(NamedTuple):
    """A source of shopping tasks and the site they are about."""

    tasks: TaskSource
    backend: WebShopBackend


def open_shop(source: str | Path = "builtin", seed: int = 0, size: int = 1000) -> Shop:
    """The shop that `source` names; equal arguments give the same object within a process.

    Args:
        source: `builtin`, or a folder with the real shop's files.
        seed: Seed of the builtin catalogue.
        size: Products in the builtin catalogue.

    Raises:
        TaskError: The folder holds no shop, or a file in it is damaged.
        UsageError: Seed or size out of range.
    """
    if source == "builtin":
        return _open_builtin(seed, size)
    return _open_folder(Path(source).expanduser().resolve())


@lru_cache(maxsize=8)
def _open_builtin(seed: int, size: int) -> Shop:
    tasks = BuiltinShopTasks(seed, size)
    products = tasks.catalogue
    return Shop(tasks, WebShopBackend(products, _index(products, f"builtin-v0-seed{seed}-size{size}")))


@lru_cache(maxsize=4)
def _open_folder(folder: Path) -> Shop:
    tasks = OfficialShopTasks(folder)
    ids = [product.asin for product in tasks.products]
    return Shop(tasks, WebShopBackend(tasks.products, _index(tasks.products, tasks.digest[:32], ids)))


def _index(products: Sequence[Product], name: str, ids: list[str] | None = None) -> SearchIndex:
    """The search index over products; a big one is built once under its name and then memory-mapped."""

    def build() -> SearchIndex:
        return SearchIndex.build((product.search_text for product in products), ids=ids)

    if len(products) <= IN_MEMORY:
        return build()
    folder = cache_folder() / f"webshop-index{SearchIndex.FORMAT}-{name}"
    if not (folder / "index.json").exists():
        # Built beside its place and moved there whole, so that a second process never reads half an index.
        draft = folder.with_name(f"{folder.name}.{os.getpid()}")
        build().save(draft)
        try:
            draft.rename(folder)
        except OSError:  # another process was quicker
            shutil.rmtree(draft)
    return SearchIndex.load(folder)
