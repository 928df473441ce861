"""The builtin shop's products and goals: reproducible, lean, never shared between splits."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import pytest

from cmat_gym.core.errors import TaskError, UnknownNameError, UsageError
from cmat_gym.core.task import Task, content_hash
from cmat_gym.envs.webshop.catalogue import Catalogue, build_catalogue, product_types
from cmat_gym.envs.webshop.generator import (
    BuiltinShopTasks,
    goal_from_payload,
    goal_payload,
    product_split,
    request_split,
)
from cmat_gym.envs.webshop.records import Goal, Product

PANELS = ("dev", "test")
BUTTONS = {"back to search", "< prev", "next >", "description", "features", "reviews", "buy now", "search"}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return build_catalogue(0, 1000)


@pytest.fixture(scope="module")
def large() -> Catalogue:
    return build_catalogue(3, 20_000)


@pytest.fixture(scope="module")
def tasks() -> BuiltinShopTasks:
    return BuiltinShopTasks()


@pytest.fixture(scope="module")
def goals(tasks: BuiltinShopTasks) -> dict[str, list[Goal]]:
    sizes = {"train": 5000, "dev": 500, "test": 500}
    return {split: [tasks.goal(split, i) for i in range(size)] for split, size in sizes.items()}


def request(goal: Goal) -> str:
    return content_hash([goal.query, sorted(goal.attributes), goal.options])


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def page_text(product: Product) -> str:
    options = " ".join(f"{name} {' '.join(values)}" for name, values in product.options.items())
    return f"{product.title} {product.description} {' '.join(product.features)} {options} {product.product_category}"


# Reproducible --------------------------------------------------------------------------------------------------------

FINGERPRINT = """
from dataclasses import astuple
from cmat_gym.core.task import content_hash
from cmat_gym.envs.webshop.catalogue import build_catalogue
from cmat_gym.envs.webshop.generator import BuiltinShopTasks
tasks = BuiltinShopTasks(seed=5, size=600)
print(content_hash([astuple(product) for product in tasks.catalogue]))
print([tasks.split(name).manifest(300) for name in ("train", "dev", "test")])
"""


def test_same_in_every_process() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", FINGERPRINT],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "271828")
    }
    assert len(outputs) == 1
    assert outputs.pop().count("sha256=") == 3


def test_products_do_not_depend_on_size_or_order(large: Catalogue) -> None:
    small = Catalogue(3, 1000)
    assert [small[i] for i in reversed(range(1000))] == large[999::-1]


def test_seeds_differ() -> None:
    assert {p.title for p in Catalogue(1, 200)}.isdisjoint({p.asin for p in Catalogue(2, 200)})
    assert [p.title for p in Catalogue(1, 200)] != [p.title for p in Catalogue(2, 200)]
    assert [p.asin for p in Catalogue(1, 200)] != [p.asin for p in Catalogue(2, 200)]


def test_tasks_are_pure_functions_of_the_index(tasks: BuiltinShopTasks) -> None:
    forward = [tasks.make("train", i) for i in range(50)]
    assert [BuiltinShopTasks().make("train", i) for i in reversed(range(50))] == forward[::-1]
    assert len({task.content_hash() for task in forward}) == 50
    last = tasks.split("train")[2**31 - 1]
    assert last.id == "webshop/builtin-v0/train/2147483647"
    assert last == tasks.find(last.id)


def test_default_tasks_are_the_published_ones(tasks: BuiltinShopTasks) -> None:
    """Equal ids mean equal content for ever: a change that alters these hashes needs a new name, `builtin-v1`."""
    published = json.loads((files("cmat_gym.envs.webshop") / "data" / "manifest.json").read_text(encoding="utf-8"))
    assert {split: tasks.split(split).manifest(1000)._asdict() for split in tasks.sizes()} == published


def test_pickling_sends_no_products(catalogue: Catalogue, tasks: BuiltinShopTasks) -> None:
    assert len(pickle.dumps(catalogue)) < 200
    assert pickle.loads(pickle.dumps(catalogue)) is catalogue
    assert pickle.loads(pickle.dumps(tasks)).make("dev", 3) == tasks.make("dev", 3)


# Products ------------------------------------------------------------------------------------------------------------


def test_asins_are_unique_and_lead_back() -> None:
    whole = Catalogue(7, 1_000_000)
    sample = [*range(3000), *range(500_000, 501_000), *range(999_000, 1_000_000)]
    asins = [whole[i].asin for i in sample]
    assert all(re.fullmatch(r"B\d{6}", asin) for asin in asins)
    assert [whole.position(asin) for asin in asins] == sample
    rising = sum(a < b for a, b in pairwise(asins)) / len(asins)
    assert 0.45 < rising < 0.55  # neighbours on the shelf have unrelated asins


@pytest.mark.parametrize("asin", ["", "B12345", "b123456", "B12345x", "C123456", "B1234567", "B²²²²²²"])
def test_foreign_asins_have_no_position(catalogue: Catalogue, asin: str) -> None:
    assert catalogue.position(asin) is None


def test_asins_of_larger_catalogues_are_unknown_to_smaller_ones(large: Catalogue, catalogue: Catalogue) -> None:
    assert Catalogue(3, 1000).position(large[1000].asin) is None


def test_pages_are_lean(large: Catalogue) -> None:
    for product in large:
        assert 4 <= len(product.title.split()) <= 8, product.title
        assert len(product.description.split()) <= 20, product.description
        assert 2 <= len(product.features) <= 4
        assert all(len(feature.split()) <= 8 for feature in product.features), product.features
        assert len(product.options) <= 3
        assert all(2 <= len(values) <= 7 for values in product.options.values()), product.options


def test_vocabulary_is_closed(large: Catalogue, goals: dict[str, list[Goal]]) -> None:
    first, second = (
        {word for product in large[part] for word in words(page_text(product))}
        for part in (slice(0, 10_000), slice(10_000, 20_000))
    )
    assert len(second - first) <= 5  # what one half uses, the other one knows
    requests = {word for split in goals.values() for goal in split for word in words(goal.instruction)}
    assert 1200 <= len(first | second | requests) <= 1800


def test_options_can_be_clicked(large: Catalogue) -> None:
    for product in large:
        values = [value for offered in product.options.values() for value in offered]
        assert len(set(values)) == len(values), "a value under two options goes to the last one only"
        assert BUTTONS.isdisjoint(values)
        assert all(value == value.lower().strip() and "[" not in value and "]" not in value for value in values)


def test_pages_name_exactly_the_product_s_attributes(large: Catalogue) -> None:
    kinds = {kind.query: kind for kind in product_types()}
    for product in large[:5000]:
        text = f"{product.title} {product.description} {' '.join(product.features)}".lower()
        bullets = " ".join(product.features).lower()
        assert {a for a in kinds[product.query].attributes if a in text} == set(product.attributes)
        assert all(attribute in bullets for attribute in product.attributes)
        assert 1 <= sum(attribute in product.title.lower() for attribute in product.attributes) <= 2


def test_price_tags_show_the_price(large: Catalogue) -> None:
    ranges = 0
    for product in large:
        shown = [float(part) for part in product.price_tag.replace("$", "").split(" to ")]
        assert product.price_tag == " to ".join(f"${value}" for value in shown)
        assert shown[0] <= product.price <= shown[-1] <= shown[0] + 10
        assert 5 < product.price < 990
        ranges += len(shown) == 2
    assert 0.05 < ranges / len(large) < 0.2


def test_every_type_gets_its_share(catalogue: Catalogue) -> None:
    counts = Counter(product.query for product in catalogue)
    assert set(counts) == {kind.query for kind in product_types()}
    assert len({product.product_category.rsplit(" › ", 1)[0] for product in catalogue}) >= 12
    assert min(counts.values()) >= 5


def test_most_products_have_near_misses(catalogue: Catalogue) -> None:
    """A sibling with the same attributes but other options or a price out of reach, or with one attribute changed."""
    siblings: dict[str, list[Product]] = defaultdict(list)
    for product in catalogue:
        siblings[product.query].append(product)
    one_attribute = other_options = dearer = 0
    for product in catalogue:
        for_sale = [other for other in siblings[product.query] if other is not product]
        attributes = set(product.attributes)
        one_attribute += any(len(attributes - set(other.attributes)) == 1 for other in for_sale)
        alike = [other for other in for_sale if set(other.attributes) == attributes]
        other_options += any(other.options != product.options for other in alike)
        dearer += any(other.options == product.options and other.price > product.price + 10 for other in alike)
    assert one_attribute / len(catalogue) > 0.9
    assert other_options / len(catalogue) > 0.6
    assert dearer / len(catalogue) > 0.15


@pytest.mark.parametrize(("seed", "size"), [(-1, 1000), (0, 0), (0, 1_000_001)])
def test_bad_catalogues_are_refused(seed: int, size: int) -> None:
    with pytest.raises(UsageError, match=f"seed {seed}, size {size}"):
        Catalogue(seed, size)


# Goals ---------------------------------------------------------------------------------------------------------------


def test_splits_share_no_product_and_no_request(catalogue: Catalogue, goals: dict[str, list[Goal]]) -> None:
    products = {split: {goal.asin for goal in wanted} for split, wanted in goals.items()}
    contents = {split: {request(goal) for goal in wanted} for split, wanted in goals.items()}
    texts = {split: {goal.instruction for goal in wanted} for split, wanted in goals.items()}
    for table in (products, contents, texts):
        assert table["train"].isdisjoint(table["dev"])
        assert table["train"].isdisjoint(table["test"])
        assert table["dev"].isdisjoint(table["test"])
    # ... and beyond the goals sampled here: both sides of every goal are assigned by their content.
    for split, wanted in goals.items():
        for goal in wanted:
            position = catalogue.position(goal.asin)
            assert position is not None
            assert isinstance(goal.options, dict)
            assert product_split(catalogue[position]) == split
            assert request_split(goal.query, goal.attributes, goal.options) == split


def test_product_split_sees_content_only(catalogue: Catalogue) -> None:
    shares = Counter(product_split(product) for product in catalogue)
    assert 0.75 < shares["train"] / len(catalogue) < 0.85
    assert all(product_split(replace(p, asin="B000000")) == product_split(p) for p in catalogue[:200])


def test_tasks_of_different_splits_differ_by_content(tasks: BuiltinShopTasks) -> None:
    hashes = {split: {task.content_hash() for task in tasks.split(split)[:500]} for split in tasks.sizes()}
    assert [len(hashes[split]) for split in PANELS] == [500, 500]
    assert len(hashes["train"] | hashes["dev"] | hashes["test"]) == sum(len(part) for part in hashes.values())


def test_panels_hold_500_different_requests(tasks: BuiltinShopTasks, goals: dict[str, list[Goal]]) -> None:
    assert dict(tasks.sizes()) == {"train": 2**31, "dev": 500, "test": 500}
    for split in PANELS:
        assert len({request(goal) for goal in goals[split]}) == 500
        assert len({goal.query for goal in goals[split]}) >= 50
        assert max(Counter(goal.asin for goal in goals[split]).values()) <= 25


def test_goals_ask_for_what_their_product_is(catalogue: Catalogue, goals: dict[str, list[Goal]]) -> None:
    for wanted in goals.values():
        for goal in wanted:
            product = catalogue[catalogue.position(goal.asin) or 0]
            assert product.asin == goal.asin
            assert 1 <= len(goal.attributes) <= 3
            assert set(goal.attributes) <= set(product.attributes)
            assert isinstance(goal.options, dict)
            assert all(value in product.options[name] for name, value in goal.options.items())


def test_instructions_say_everything_briefly(goals: dict[str, list[Goal]]) -> None:
    for wanted in goals.values():
        for goal in wanted:
            assert isinstance(goal.options, dict)
            for part in (goal.query, *goal.attributes, *goal.options.values(), str(int(goal.price_upper))):
                assert part in goal.instruction, (part, goal.instruction)
            assert len(goal.instruction.split()) <= 40
            assert not re.search(r"  |,,| ,|\{|\}", goal.instruction), goal.instruction


def test_wording_varies(goals: dict[str, list[Goal]]) -> None:
    def frame(goal: Goal) -> str:
        """The instruction without what it asks for."""
        assert isinstance(goal.options, dict)
        text = goal.instruction
        for part in sorted([goal.query, *goal.attributes, *goal.options, *goal.options.values()], key=len)[::-1]:
            text = text.replace(part, "_")
        return re.sub(r"\d+", "0", text)

    assert len({frame(goal) for goal in goals["train"]}) > 500
    assert 0.3 < sum(": " in goal.instruction for goal in goals["train"] if goal.options) / 5000 < 0.6


def test_caps_are_the_larger_of_two_of_the_next_four_tens(catalogue: Catalogue, goals: dict[str, list[Goal]]) -> None:
    steps: Counter[int] = Counter()
    for wanted in goals.values():
        for goal in wanted:
            price = catalogue[catalogue.position(goal.asin) or 0].price
            assert goal.price_upper % 10 == 0
            steps[int(goal.price_upper // 10 - price // 10)] += 1
    assert set(steps) == {2, 3, 4}  # the next multiple itself is never the larger of two
    total = sum(steps.values())
    assert [round(steps[step] / total, 1) for step in (2, 3, 4)] == [0.2, 0.3, 0.5]  # 1/6, 2/6, 3/6


def test_payload_holds_the_whole_goal(tasks: BuiltinShopTasks) -> None:
    task = tasks.make("test", 17)
    goal = tasks.goal("test", 17)
    assert Task(**task.to_json()) == task
    assert task.payload["catalogue"] == {"seed": 0, "size": 1000}
    assert goal_from_payload(task.payload["goal"]) == goal
    human = Goal("B000001", "a lamp", ("easy clean",), ("blue", "large"), 1e6, "desk lamps", "Tern Desk Lamps", "Home")
    assert goal_from_payload(goal_payload(human)) == human


def test_names_of_other_catalogues_differ() -> None:
    """Equal ids must mean equal content, so only the default catalogue has the short name."""
    names = {BuiltinShopTasks(seed, size).name for seed, size in [(0, 1000), (1, 1000), (0, 2000)]}
    assert len(names) == 3
    assert BuiltinShopTasks().name == "builtin-v0"


def test_small_catalogues_and_unknown_splits_are_refused(tasks: BuiltinShopTasks) -> None:
    with pytest.raises(TaskError, match="500 products or more, got 499"):
        BuiltinShopTasks(size=499)
    with pytest.raises(UnknownNameError, match="dev, test, train"):
        tasks.split("validation")
    assert len({request(BuiltinShopTasks(size=500).goal("test", i)) for i in range(500)}) == 500
