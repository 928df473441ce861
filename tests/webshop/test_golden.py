"""The shop against recordings of the original: every page, rank, goal, price and reward, without one difference.

A residual difference would be listed here, with its count and its reason. There is none; the counts of what was
compared are part of the assertions, so that an empty comparison fails too.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cmat_gym.core.errors import TaskError
from cmat_gym.core.task import Manifest
from cmat_gym.envs.webshop.analyser import analyse
from cmat_gym.envs.webshop.backend import Session, Shelf, WebShopBackend, parse_action
from cmat_gym.envs.webshop.official import (
    SEED,
    OfficialShopTasks,
    ShopFiles,
    find_files,
    load_goals,
    load_products,
)
from cmat_gym.envs.webshop.records import Goal
from cmat_gym.envs.webshop.scorer import score_webshop
from cmat_gym.envs.webshop.search import SearchIndex, quantise_length
from cmat_gym.envs.webshop.tasks import open_shop

Read = Callable[[str], Any]

# File, episodes, pages
RECORDINGS = [
    ("golden/webshop_text_synthetic.jsonl.xz", 106, 967),
    ("golden/webshop_text_rich_synthetic.jsonl.xz", 60, 557),
    ("golden/webshop_text_human.jsonl.xz", 6, 51),
]
TRAJECTORIES = [
    ("webshop/trajectories_val.jsonl", 20, 103),
    ("webshop/trajectories_test_100.jsonl.xz", 100, 499),
]
NO_ACTIONS: dict[str, Any] = {"has_search_bar": False, "clickables": []}  # a finished episode is recorded as null
CAP = re.compile(r", and price lower than [\d.]+ dollars$")

MANIFESTS = {
    "train": Manifest(5117, "b8ee1bf187094ecf3dfa6d32f237f098a8bf91dde885262e7f666d5ae2315185"),
    "dev": Manifest(402, "af09f37fa5ccada3cb578c0fd1329a792afb966a8a7890003468cbf1465aa415"),
    "test": Manifest(900, "08858a0393ce6399f999cca1fdc789a2ac835302b55b0c5dc1403d8e3b87f58d"),
    "human": Manifest(13, "f21a25736f2650104319e77ce40c62aebe2354fdf6fcbb61116f7aad7ee82543"),
}


class RealShop(NamedTuple):
    """WebShop-1k, with all its goals in the original's order."""

    files: ShopFiles
    products: Shelf
    backend: WebShopBackend
    synthetic: tuple[Goal, ...]
    human: tuple[Goal, ...]


@pytest.fixture(scope="module")
def shop(data_file: Callable[[str], Path]) -> RealShop:
    folder = data_file("webshop/products_1000.jsonl.xz").parent
    files = find_files(folder)
    generator = random.Random(SEED)
    products = load_products(files, generator)
    after_prices = generator.getstate()
    synthetic = load_goals(files, products, generator)
    generator.setstate(after_prices)
    human = load_goals(files, products, generator, human=True)
    return RealShop(files, products, open_shop(folder).backend, synthetic, human)


def recorded_goal(data: dict[str, Any]) -> Goal:
    options = data["goal_options"]
    return Goal(
        asin=data["asin"],
        instruction=data["instruction_text"],
        attributes=tuple(data["attributes"]),
        options=options if isinstance(options, dict) else tuple(options),
        price_upper=data["price_upper"],
        query=data["query"],
        name=data["name"],
        product_category=data["product_category"],
        category=data["category"],
    )


def replay(backend: WebShopBackend, actions: list[str]) -> Iterator[Session]:
    """The session after each action."""
    session = Session()
    for action in actions:
        parts = parse_action(action)
        if parts is not None:
            session = backend.step(session, *parts).session
        yield session


@pytest.mark.parametrize(("name", "episodes", "pages"), RECORDINGS)
def test_every_recorded_page_and_reward(shop: RealShop, read_data: Read, name: str, episodes: int, pages: int) -> None:
    """Text, action list and reward of every step, from our own search and our own noun list."""
    compared: Counter[str] = Counter()
    differences = []
    for episode in read_data(name):
        goal = recorded_goal(episode["goal"])
        opening = {"action": "", "reward": 0.0, "done": False, **episode["initial"]}
        steps = [opening, *episode["steps"]]
        sessions = replay(shop.backend, [step["action"] for step in steps])
        for number, (session, step) in enumerate(zip(sessions, steps, strict=True)):
            reward = 0.0
            if session.purchased:
                reward = score_webshop(goal, *shop.backend.purchase(session)).value
                compared["purchases"] += 1
            available = step["available"] or NO_ACTIONS
            pairs = {
                "page": (shop.backend.render(session, goal.instruction, episode["mode"], reward), step["observation"]),
                "clickables": (list(shop.backend.clickables(session)), available["clickables"]),
                "search box": (session.page == "search", available["has_search_bar"]),
                "reward": (reward, pytest.approx(step["reward"], abs=1e-9)),
                "done": (session.purchased, step["done"]),
            }
            differences += [(episode["goal_index"], number, what) for what, (ours, its) in pairs.items() if ours != its]
            compared["pages"] += 1
    assert differences == []
    assert compared == {"purchases": episodes, "pages": pages}


@pytest.mark.parametrize("lengths", ["our own", "the index's own"])
def test_recorded_rankings(shop: RealShop, read_data: Read, lengths: str) -> None:
    """The top 50 of 150 queries in order (equal scores by id), and their scores (recorded with four digits)."""
    ids = [product.asin for product in shop.products]
    stored = read_data("webshop/lucene_doclen.json")
    index = SearchIndex.build(
        [product.search_text for product in shop.products],
        lengths=[stored[asin] for asin in ids] if lengths == "the index's own" else None,
        ids=ids,
    )
    recordings = read_data("golden/lucene_top50_150queries.json.xz")
    assert len(recordings) == 150
    for recording in recordings:
        positions, scores = index.rank(recording["query"])
        assert [ids[position] for position in positions] == [asin for asin, _ in recording["hits"]]
        assert scores.tolist() == pytest.approx([score for _, score in recording["hits"]], abs=1e-4)


def test_document_lengths(shop: RealShop, read_data: Read) -> None:
    """All 1,000 lengths of the original's index: the tokeniser splits as Lucene's does."""
    stored = read_data("webshop/lucene_doclen.json")
    ours = {product.asin: quantise_length(len(analyse(product.search_text))) for product in shop.products}
    assert ours == stored
    assert len(ours) == 1000


def test_indexed_texts(shop: RealShop, read_data: Read) -> None:
    documents = read_data("webshop/search_docs_1000.jsonl.xz")
    assert [(product.asin, product.search_text) for product in shop.products] == [
        (document["id"], document["contents"]) for document in documents
    ]


@pytest.mark.parametrize(("kind", "recorded"), [("synthetic", 106), ("human", 6)])
def test_goals_and_prices_are_drawn_as_recorded(shop: RealShop, read_data: Read, kind: str, recorded: int) -> None:
    recording = read_data(f"golden/webshop_goals_{kind}.json.xz")
    goals = shop.synthetic if kind == "synthetic" else shop.human
    assert len(goals) == recording["n_goals_total"]
    assert {product.asin: product.price for product in shop.products} == recording["product_prices"]
    assert len(recording["goals"]) == recorded
    for index, data in recording["goals"].items():
        goal = goals[int(index)]
        assert goal == recorded_goal(data)
        assert goal.weight == data["weight"]


@pytest.mark.parametrize(("name", "episodes", "pages"), TRAJECTORIES)
def test_trajectories_of_another_run(shop: RealShop, read_data: Read, name: str, episodes: int, pages: int) -> None:
    """Whole pages again (titles, price tags, ranks), recorded by others; the caps were drawn in another run."""
    wordings = {CAP.sub("", goal.instruction) for goal in shop.synthetic}
    compared: Counter[str] = Counter()
    for trajectory in read_data(name):
        _, _, first, *turns = [message["value"] for message in trajectory["conversations"]]
        replies, observations = turns[0::2], [first, *turns[1::2]]  # the page after the purchase is not recorded
        actions = [re.search(r"Action:\s*((?:search|click)\[.+?])", reply) for reply in replies]
        texts = [match[1] for match in actions if match]
        assert len(texts) == len(replies)
        instruction = first.split(" [SEP] ")[2]
        assert CAP.sub("", instruction) in wordings
        for session, observation in zip(replay(shop.backend, ["", *texts]), observations, strict=False):
            assert shop.backend.render(session, instruction) == observation
            compared["pages"] += 1
        compared["episodes"] += 1
    assert compared == {"episodes": episodes, "pages": pages}


def test_splits_of_the_real_shop(data_file: Callable[[str], Path]) -> None:
    """The frozen manifest of WebShop-1k; no product, title or request of an evaluation occurs in training."""
    tasks = OfficialShopTasks(data_file("webshop/products_1000.jsonl.xz").parent)
    assert tasks.name == "webshop-1k"
    assert {split: tasks.split(split).manifest() for split in tasks.sizes()} == MANIFESTS
    goals = {split: [tasks.goal(split, i) for i in range(size)] for split, size in tasks.sizes().items()}
    for key in (
        lambda goal: goal.asin,
        lambda goal: goal.name,
        lambda goal: CAP.sub("", goal.instruction),
    ):
        seen = {split: {key(goal) for goal in split_goals} for split, split_goals in goals.items()}
        assert sum(map(len, seen.values())) == len(set().union(*seen.values()))


def test_a_damaged_file_is_named(data_file: Callable[[str], Path], tmp_path: Path) -> None:
    source = data_file("webshop/products_1000.jsonl.xz")
    for name in (source.name, "items_ins_v2_1000.json"):
        (tmp_path / name).write_bytes((source.parent / name).read_bytes())
    whole = (tmp_path / source.name).read_bytes()
    (tmp_path / source.name).write_bytes(whole[:-100])
    with pytest.raises(TaskError, match=r"products_1000\.jsonl\.xz is damaged.*fetch the file again"):
        OfficialShopTasks(tmp_path)
