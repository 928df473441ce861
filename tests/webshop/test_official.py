"""Reading the published files, in both layouts, on a shop of our own making; the real files are in test_golden."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path
from typing import Any

import pytest

from cmat_gym.core.errors import TaskError
from cmat_gym.envs.webshop.official import OfficialShopTasks, find_files, load_goals, load_products
from cmat_gym.envs.webshop.tasks import open_shop

SCRAPED: list[dict[str, Any]] = [
    {
        "asin": f"B{number:04}", "name": f"Tern Lamp {number}", "full_description": "Bright.",
        "small_description": ["Easy clean. ", "Tall"] if number % 2 else "Easy clean. ", "pricing": pricing,
        "query": " Desk Lamps ", "category": "garden", "product_category": "Home › Lamps",
        "customization_options": {"Color": [{"value": " Red/Blue ", "image": None}, {"value": "Green"}], "Size": None},
    }
    for number, pricing in enumerate(["$5.00", "$19.99$27.99", "", None, "$1,250.00", "$981.00", *["$12.5"] * 24])
]  # fmt: skip
NOT_KEPT = [{**SCRAPED[0], "name": "again"}, {**SCRAPED[0], "asin": "nan"}, {**SCRAPED[0], "asin": "B2345678901"}]
INSTRUCTIONS = {
    product["asin"]: {
        "attributes": ["easy clean"],
        "instruction": "Find me desk lamps",
        "instruction_attributes": ["easy clean"],
    }
    for product in SCRAPED[:-1]
}
HUMAN = {
    "B0000": [
        {"instruction": "a lamp..", "instruction_attributes": ["easy clean"], "instruction_options": ["green"]},
        {"instruction": "skipped", "instruction_attributes": [], "instruction_options": []},
    ]
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the names of a WebShop checkout."""
    data = tmp_path / "WebShop" / "data"
    data.mkdir(parents=True)
    (data / "items_shuffle_1000.json").write_text(json.dumps([*SCRAPED, *NOT_KEPT]))
    (data / "items_ins_v2_1000.json").write_text(json.dumps(INSTRUCTIONS))
    (data / "items_human_ins.json").write_text(json.dumps(HUMAN))
    return data.parent


def test_products_of_a_checkout(checkout: Path) -> None:
    products = load_products(find_files(checkout), random.Random(0))
    assert [product.asin for product in products] == [product["asin"] for product in SCRAPED]
    tags = ["$5.0", "$19.99 to $27.99", "$100.0", "$100.0", "$1250.0", "$981.0"]
    assert [product.price_tag for product in products[:6]] == tags
    assert products[1].price == random.Random(0).uniform(19.99, 27.99)
    assert [products[number].price for number in (0, 2, 3, 4)] == [5.0, 100.0, 100.0, 1250.0]
    lamp = products[0]
    assert (lamp.query, lamp.features, lamp.attributes) == ("desk lamps", ("Easy clean. ",), ("easy clean",))
    assert lamp.options == {"color": ("red | blue", "green")}
    assert lamp.search_text == "tern lamp 0 bright. easy clean.  color: red | blue, green"
    assert products[-1].attributes == ("DUMMY_ATTR",)
    assert products.position("B0003") == 3
    assert products.position("nan") is None


def test_goals_of_a_checkout(checkout: Path) -> None:
    files = find_files(checkout)
    products = load_products(files, random.Random(1))
    goals = load_goals(files, products, random.Random(1))
    assert len(goals) == 2 * (len(SCRAPED) - 1)  # one for each colour
    by_product = {(goal.asin, goal.options["color"]): goal for goal in goals if isinstance(goal.options, dict)}
    one, other = by_product["B0000", "green"], by_product["B0000", "red | blue"]
    assert one.price_upper == other.price_upper
    assert one.price_upper in (20.0, 30.0, 40.0)  # the larger of two of 10, 20, 30, 40
    assert (
        one.instruction == f"Find me desk lamps with color: green, and price lower than {one.price_upper:.2f} dollars"
    )
    assert one.weight == pytest.approx(1 / len(goals))
    dear = by_product["B0004", "green"]
    assert (dear.price_upper, dear.instruction) == (1_000_000, "Find me desk lamps with color: green")
    assert by_product["B0005", "green"].price_upper == 1_000_000  # one step of ten is left above 981
    (human,) = load_goals(files, products, random.Random(1), human=True)
    assert human.instruction == f"a lamp, and price lower than {human.price_upper:.2f} dollars"
    assert human.options == ("green",)


def test_the_global_generator_is_left_alone(checkout: Path) -> None:
    random.seed(7)
    expected = random.random()
    random.seed(7)
    OfficialShopTasks(checkout)
    assert random.random() == expected


def test_both_layouts_give_the_same_shop(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "webshop"
    folder.mkdir()
    products = load_products(find_files(checkout), random.Random(0))
    lines = [
        json.dumps(
            {
                **scraped, "Price": product.price_tag, "options": product.options, "Attributes": product.attributes,
                "BulletPoints": product.features,
                "pricing": [float(part[1:]) for part in product.price_tag.split(" to ")],
            }
        )
        for scraped, product in zip(SCRAPED, products, strict=True)
    ]  # fmt: skip
    (folder / "products_30.jsonl.xz").write_bytes(lzma.compress("\n".join(lines).encode()))
    (folder / "items_ins_v2_30.json").write_text(json.dumps(INSTRUCTIONS))
    (folder / "human_instructions_1.json").write_text(json.dumps(HUMAN))
    prepared, scraped_shop = OfficialShopTasks(tmp_path), OfficialShopTasks(checkout)
    assert prepared.products == scraped_shop.products
    assert prepared.sizes() == scraped_shop.sizes()
    for split in prepared.sizes():
        assert list(prepared.split(split)) == list(scraped_shop.split(split))


def test_splits(checkout: Path) -> None:
    """No product in two splits, no request of an evaluation in training, people's products kept apart."""
    tasks = OfficialShopTasks(checkout)
    goals = {split: [tasks.goal(split, i) for i in range(size)] for split, size in tasks.sizes().items()}
    asins = {split: {goal.asin for goal in split_goals} for split, split_goals in goals.items()}
    assert asins["human"] == {"B0000"}
    assert sum(map(len, asins.values())) == len(set().union(*asins.values()))
    assert goals["train"] == []  # every lamp here answers the same requests, and some of them are held out
    assert goals["dev"] or goals["test"]
    assert tasks.name == "webshop-30"
    assert tasks.official


def test_a_shop_opened_twice_is_one(checkout: Path) -> None:
    shop = open_shop(checkout)
    assert open_shop(str(checkout)) is shop
    assert len(shop.backend.products) == 30


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items_shuffle_1000.json", None, "holds no shop: expected products_1000"),
        ("items_ins_v2_1000.json", None, "has no items_ins_v2_1000.json beside it"),
        ("items_shuffle_1000.json", "[{", "items_shuffle_1000.json cannot be read .*fetch the file again"),
        ("items_shuffle_1000.json", "{}", "items_shuffle_1000.json holds a dict, expected a list"),
        ("items_shuffle_1000.json", '[{"asin": "B1"}]', "product 0 is not as expected"),
        ("items_shuffle_1000.json", "[3]", "product 0 is not as expected"),
        ("items_ins_v2_1000.json", '{"B0001": {"instruction": "x"}}', "an instruction is not as expected"),
        (
            "items_ins_v2_1000.json",
            '{"B0001": {"instruction": "x", "instruction_attributes": []}}',
            "an instruction is not as expected",
        ),
        ("items_ins_v2_1000.json", "[]", "items_ins_v2_1000.json holds a list, expected a dict"),
        ("items_human_ins.json", '{"B0001": [{}]}', "items_human_ins.json: an instruction is not as expected"),
    ],
)
def test_errors_name_the_file(checkout: Path, name: str, content: str | None, message: str) -> None:
    path = checkout / "data" / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(TaskError, match=message):
        OfficialShopTasks(checkout)
