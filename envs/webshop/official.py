"""The real shop from its published files: products, synthetic goals and human goals.

Two layouts of a folder are read:
    prepared   `products_1000.jsonl[.xz]`, `items_ins_v2_1000.json`, `human_instructions_13.json`: the products as the
               original site's loader leaves them
    checkout   `items_shuffle*.json`, `items_ins_v2*.json`, `items_human_ins.json` in a WebShop checkout or its `data/`

Prices and goals are drawn from a generator of our own in the original's order, so with the same seed they equal the
original's. With 1,000 products this is "WebShop-1k": not the catalogue that published results are about.

Source: github.com/princeton-nlp/WebShop.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import lzma
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from cmat_gym.core.errors import TaskError
from cmat_gym.core.task import Task, TaskSource, content_hash
from cmat_gym.envs.webshop.backend import Shelf
from cmat_gym.envs.webshop.generator import MAX_TURNS, goal_payload
from cmat_gym.envs.webshop.records import Goal, Product

__all__ = ["OfficialShopTasks", "ShopFiles", "find_files", "load_goals", "load_products", "split_of"]

SEED = 233  # the original shuffles with it; the published goals were also drawn with it
NO_CAP = 1_000_000.0
PRICE_STEPS = range(10, 1000, 10)
PRICE_OF_THE_UNPRICED = 100.0

CHECKSUMS = {  # of the prepared layout
    "products_1000.jsonl.xz": "1e68299e65a5cd0ed77d0b529ee661b19d0bb3c496df97e17b461f7ca898de5b",
    "items_ins_v2_1000.json": "f88a36314a397b53b3d9c3fa5878e5f7b26d35019a51ec83fbedeca61a948f6f",
    "human_instructions_13.json": "c46f884c26bf9ad98a88b0d15bb614862e1ca053a79b5de9f63a6ca124cc9435",
}

T = TypeVar("T")


# The files -----------------------------------------------------------------------------------------------------------


class ShopFiles(NamedTuple):
    """Where the parts of a shop are. Without human instructions there are no human goals."""

    products: Path
    instructions: Path
    human_instructions: Path | None
    prepared: bool


def find_files(folder: Path) -> ShopFiles:
    """Recognise the layout of a folder; its subfolders `webshop` and `data` are looked into as well.

    Raises:
        TaskError: If a file is missing.
    """
    for place in (folder, folder / "webshop", folder / "data"):
        prepared = _first(place, "products_*.jsonl*")
        products = prepared or _first(place, "items_shuffle*.json")
        if products is None:
            continue
        size = "".join(re.findall(r"_\d+(?=\.)", products.name))  # `_1000`, or nothing for the whole catalogue
        instructions = _first(place, f"items_ins_v2{size}.json")
        if instructions is None:
            raise TaskError(f"{products} has no items_ins_v2{size}.json beside it: put WebShop's attribute file there")
        human = _first(place, "human_instructions_*.json" if prepared else "items_human_ins.json")
        return ShopFiles(products, instructions, human, prepared is not None)
    raise TaskError(
        f"{folder} holds no shop: expected products_1000.jsonl[.xz], or items_shuffle_1000.json of a WebShop checkout, "
        "in it or in its webshop/ or data/ folder"
    )


def _first(folder: Path, pattern: str) -> Path | None:
    return min(folder.glob(pattern), default=None)


def _read(path: Path, kind: type[T], check: bool) -> T:
    """The content of a JSON or JSON Lines file, maybe packed; with `check`, a known file must have its SHA-256."""
    try:
        data = path.read_bytes()
        expected = CHECKSUMS.get(path.name, "") if check else ""
        actual = hashlib.sha256(data).hexdigest()
        if expected and actual != expected:
            raise TaskError(f"{path} is damaged: its SHA-256 is {actual}, expected {expected}; fetch the file again")
        text = (lzma.decompress(data) if path.suffix == ".xz" else data).decode()
        content = _json_lines(text) if ".jsonl" in path.suffixes else json.loads(text)
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TaskError(f"{path} cannot be read ({error}); fetch the file again") from error
    if not isinstance(content, kind):
        raise TaskError(f"{path} holds a {type(content).__name__}, expected a {kind.__name__}; fetch the file again")
    return content


def _json_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines() if line]


# Products ------------------------------------------------------------------------------------------------------------


class _Draft(NamedTuple):
    """A product before its price is drawn."""

    product: Product
    pricing: tuple[float, ...]


def load_products(files: ShopFiles, generator: random.Random) -> Shelf:
    """The products in file order, a price of a range drawn from `generator`.

    Raises:
        TaskError: If a file is damaged.
    """
    records = _read(files.products, list, files.prepared)
    instructions = _read(files.instructions, dict, files.prepared)
    convert = _from_prepared if files.prepared else partial(_from_checkout, instructions)
    drafts: dict[str, _Draft] = {}
    for number, record in enumerate(records):
        try:
            if record["asin"] != "nan" and len(record["asin"]) <= 10 and record["asin"] not in drafts:
                drafts[record["asin"]] = convert(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TaskError(f"{files.products}: product {number} is not as expected ({error!r})") from error
    return Shelf([_priced(draft, generator) for draft in drafts.values()])


def _from_prepared(record: Mapping[str, Any]) -> _Draft:
    options = {name: tuple(values) for name, values in record["options"].items()}
    product = _product(record, record["Price"], options, record["Attributes"], record["BulletPoints"])
    return _Draft(product, tuple(record["pricing"]))


def _from_checkout(instructions: Mapping[str, Any], record: Mapping[str, Any]) -> _Draft:
    """What the original's loader makes of a scraped record."""
    amounts = str(record.get("pricing") or "").split("$")[1:]
    pricing = tuple(float(re.sub(r"[^\d.]", "", amount)) for amount in amounts)[:2] or (PRICE_OF_THE_UNPRICED,)
    options = {
        name.lower(): tuple(content["value"].strip().replace("/", " | ").lower() for content in contents)
        for name, contents in (record["customization_options"] or {}).items()
        if contents is not None
    }
    bullets = record["small_description"]
    attributes = instructions.get(record["asin"], {}).get("attributes", ["DUMMY_ATTR"])
    tag = " to ".join(f"${amount}" for amount in pricing)
    product = _product(record, tag, options, attributes, bullets if isinstance(bullets, list) else [bullets])
    return _Draft(product, pricing)


def _product(
    record: Mapping[str, Any], tag: str, options: dict[str, tuple[str, ...]], attributes: list[str], bullets: list[str]
) -> Product:
    title, description = record["name"], record["full_description"]
    option_text = ", and ".join(f"{name}: {', '.join(values)}" for name, values in options.items())
    return Product(
        asin=record["asin"],
        title=title,
        description=description,
        features=tuple(bullets),
        price=0.0,  # not drawn yet
        price_tag=tag,
        options=options,
        attributes=tuple(attributes),
        query=record["query"].lower().strip(),
        category=record["category"],
        product_category=record["product_category"],
        search_text=" ".join([title, description, bullets[0] if bullets else "", option_text]).lower(),
    )


def _priced(draft: _Draft, generator: random.Random) -> Product:
    pricing = draft.pricing
    price = generator.uniform(*pricing[:2]) if len(pricing) > 1 else pricing[0] if pricing else PRICE_OF_THE_UNPRICED
    return replace(draft.product, price=price)


# Goals ---------------------------------------------------------------------------------------------------------------


class _Cap(NamedTuple):
    price: float
    text: str


def load_goals(files: ShopFiles, products: Shelf, generator: random.Random, human: bool = False) -> tuple[Goal, ...]:
    """All synthetic goals, or all human ones, in the order of the original's shuffle.

    `generator` draws the caps, and must be the one that has drawn the prices.
    """
    path = files.human_instructions if human else files.instructions
    if path is None:
        return ()
    instructions = _read(path, dict, files.prepared)
    make = _human_goals if human else _synthetic_goals
    try:
        goals = [goal for product in products for goal in make(product, instructions.get(product.asin), generator)]
        if not human:
            goals = _weighted(goals)
    except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise TaskError(f"{path}: an instruction is not as expected ({error!r})") from error
    random.Random(SEED).shuffle(goals)
    return tuple(goals)


def _weighted(goals: list[Goal]) -> list[Goal]:
    """Goals with rare attributes weigh more."""
    spread = Counter(attribute for goal in goals for attribute in goal.attributes)
    return [replace(g, weight=sum(1.0 / spread[a] for a in g.attributes) / len(g.attributes)) for g in goals]


def _draw_cap(price: float, generator: random.Random) -> _Cap:
    above = [float(step) for step in PRICE_STEPS if step > price][:4]
    if len(above) < 2:
        return _Cap(NO_CAP, "")
    cap = max(generator.sample(above, 2))
    return _Cap(cap, f", and price lower than {cap:.2f} dollars")


def _synthetic_goals(product: Product, entry: Any, generator: random.Random) -> Iterator[Goal]:
    """One goal for each combination of option values, all with the same cap."""
    if entry is None or entry.get("instruction") is None:
        return
    cap = _draw_cap(product.price, generator)
    names = sorted(product.options)
    for values in itertools.product(*(product.options[name] for name in names)):
        options = dict(zip(names, values, strict=True))
        wishes = ", and ".join(f"{name}: {value}" for name, value in options.items())
        text = entry["instruction"] + (f" with {wishes}" if wishes else "") + cap.text
        yield _goal(product, text, entry["instruction_attributes"], options, cap)


def _human_goals(product: Product, entries: Any, generator: random.Random) -> Iterator[Goal]:
    for entry in entries or []:
        if entry["instruction_attributes"]:
            cap = _draw_cap(product.price, generator)
            text = entry["instruction"].strip(".") + cap.text
            yield _goal(product, text, entry["instruction_attributes"], tuple(entry["instruction_options"]), cap)


def _goal(
    product: Product, text: str, attributes: list[str], options: dict[str, str] | tuple[str, ...], cap: _Cap
) -> Goal:
    return Goal(
        asin=product.asin,
        instruction=text,
        attributes=tuple(attributes),
        options=options,
        price_upper=cap.price,
        query=product.query,
        name=product.title,
        product_category=product.product_category,
        category=product.category,
    )


# The source ----------------------------------------------------------------------------------------------------------


def split_of(product: Product) -> str:
    """The only split in which a product is a goal: of ten, eight are for training, one for dev, one for test.

    Articles of the same title share a split, whatever their asins.
    """
    return ("dev", "test", *["train"] * 8)[int(content_hash(product.title)[:8], 16) % 10]


def _request(goal: Goal) -> str:
    """What is asked for, whatever the article it was made from and the cap."""
    return content_hash([goal.query, sorted(goal.attributes), goal.options])


class OfficialShopTasks(TaskSource):
    """The goals of the real shop.

    `train`, `dev` and `test` divide the synthetic goals by product, so that no product of an evaluation was trained on;
    requests that some evaluation makes too (for another article) are left out of `train`.
    `human` has all goals that people wrote; products with such goals are in no other split.

    Args:
        folder: Where the files are; see `find_files`.

    Raises:
        TaskError: A file is missing or damaged.
    """

    domain = "webshop"
    official = True

    def __init__(self, folder: Path) -> None:
        files = find_files(folder)
        generator = random.Random(SEED)
        self.products = load_products(files, generator)
        after_prices = generator.getstate()
        synthetic = load_goals(files, self.products, generator)
        generator.setstate(after_prices)  # the original draws either kind of goals, never both
        human = load_goals(files, self.products, generator, human=True)

        self.name = "webshop-1k" if len(self.products) == 1000 else f"webshop-{len(self.products)}"
        self.digest = content_hash([product.search_text for product in self.products])
        reserved = {goal.asin for goal in human}
        splits = {product.asin: "human" if product.asin in reserved else split_of(product) for product in self.products}
        held_out = {_request(goal) for goal in synthetic if splits[goal.asin] != "train"}
        self._goals: dict[str, tuple[Goal, ...]] = {
            "train": tuple(g for g in synthetic if splits[g.asin] == "train" and _request(g) not in held_out),
            "dev": tuple(g for g in synthetic if splits[g.asin] == "dev"),
            "test": tuple(g for g in synthetic if splits[g.asin] == "test"),
        }
        if human:
            self._goals["human"] = human

    def sizes(self) -> Mapping[str, int]:
        """Number of goals by split."""
        return {split: len(goals) for split, goals in self._goals.items()}

    def goal(self, split: str, index: int) -> Goal:
        """The goal at `index` of `split`."""
        return self._goals[split][index]

    def make(self, split: str, index: int) -> Task:
        """The task at `index` of `split`; its payload is the goal and the name of the shop."""
        goal = self._goals[split][index]
        return Task(
            id=self.task_id(split, index),
            domain=self.domain,
            split=split,
            source=self.name,
            instruction=goal.instruction,
            payload={"catalogue": {"name": self.name, "sha256": self.digest}, "goal": goal_payload(goal)},
            max_turns=MAX_TURNS,
        )
