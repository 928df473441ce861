"""Answers and tables, scored by the rules of both official editions and by ours, on cases written from the rules."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmat_gym.envs.db.dialect.engine import Table
from cmat_gym.envs.db.scorer import RULES, content_digest, read_answer, same_answer, table_hash

# answer text or list, gold, and whether it is right by: strict, function_calling, v0.2
ANSWERS: list[tuple[str | list[str], list[str], bool, bool, bool]] = [
    ('["Heron"]', ["Heron"], True, True, True),
    ("Heron", ["Heron"], True, True, True),
    ("('Heron',)", ["Heron"], True, True, True),
    ('["heron"]', ["Heron"], False, False, False),
    ('["12"]', ["12.0"], True, True, True),
    ("[12]", ["12.0"], True, True, True),
    ("12.004", ["12"], True, True, False),
    ("12.02", ["12"], False, False, False),
    ('["1,250"]', ["1250"], True, True, False),
    ('["50%"]', ["50"], True, True, False),
    ("['\"Heron\"']", ["Heron"], True, True, False),
    ('["A", "B"]', ["B", "A"], True, True, True),
    ('["A", "A", "B"]', ["A", "B"], False, True, True),
    ('["A"]', ["A", "B"], False, False, False),
    ('["A", "B"]', ["A"], False, False, False),
    ('["1", "2"]', ["2.0", "1.0"], True, True, False),
    ('["1", "1"]', ["1", "2"], False, False, False),
    ('["none"]', ["0"], False, True, False),
    ('[""]', ["0"], False, True, False),
    ('["nan"]', ["nan"], True, True, False),
    ("nan", ["0"], False, True, False),
    ("inf", ["0"], False, True, False),
    ('["inf"]', ["inf"], True, True, True),
    ("[]", ["A"], False, False, False),
    ("[]", ["none"], False, False, False),
    ("", ["none"], False, True, False),
    ('["none"]', ["none"], True, True, True),
    ("1_000", ["1000"], False, True, True),
    ('["2011"]', ["2011.0"], True, True, True),
    ('[["A"], "B"]', ["A", "B"], False, False, False),
    ("{'A', 'B'}", ["A", "B"], False, False, False),
    ("[1, 2]", ["1", "2"], True, True, False),
    (["A", "B"], ["B", "A"], True, True, True),
    (["12"], ["12.0"], True, True, True),
    # code is text
    ("[x for x in ['Heron']]", ["Heron"], False, False, False),
    ("['Her' + 'on']", ["Heron"], False, False, False),
    ("__import__('os').system('true')", ["0"], False, False, False),
    ("[float('nan')]", ["0"], False, False, False),
    ("[" * 5000, ["0"], False, False, False),
    ("(" + "9" * 5000 + ",)", ["0"], False, False, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "gold", "strict", "function_calling", "v02"), ANSWERS, ids=lambda value: str(value)[:30]
)
def test_answers(answer: str | list[str], gold: list[str], strict: bool, function_calling: bool, v02: bool) -> None:
    found = {rules: same_answer(answer, gold, rules) for rules in RULES}
    assert found == {"strict": strict, "function_calling": function_calling, "v0.2": v02}


@given(st.text() | st.lists(st.text()), st.lists(st.text(), min_size=1))
def test_no_answer_raises_and_gold_is_right(answer: str | list[str], gold: list[str]) -> None:
    for rules in RULES:
        assert isinstance(same_answer(answer, gold, rules), bool)
    assert same_answer(list(gold), gold)
    assert same_answer(list(gold), gold, "function_calling")


@given(st.lists(st.sampled_from(["a", "b", "7", "8", "1.5"]), min_size=1, max_size=5), st.randoms())
def test_order_is_out_and_multiplicity_is_in(gold: list[str], chance: object) -> None:
    assert same_answer(gold[::-1], gold)
    assert not same_answer([*gold, gold[0]], gold)
    assert not same_answer(gold[1:], gold)


def test_reading_answers() -> None:
    assert read_answer('["a", 1, None]') == ["a", 1, None]
    assert read_answer("(1, 2)") == [1, 2]
    assert read_answer("a, b") == ["a, b"]
    assert read_answer("[a]") == ["[a]"]
    assert read_answer("'[1]'") == ["'[1]'"]


# Tables ---------------------------------------------------------------------------------------------------------------


def official_hash(texts: list[str]) -> str:
    """The rule once more, straight from its description."""
    prints = sorted(hashlib.md5(text.encode()).hexdigest()[:5] for text in texts)
    return hashlib.md5(",".join(prints).encode()[:1024]).hexdigest()


def test_table_hash_by_hand() -> None:
    assert table_hash([("a", "b"), ("c", None)]) == f"[('{official_hash(['a,b', 'c'])}',)]"
    assert table_hash([]) == "[(None,)]"
    assert table_hash([("é",)]) == f"[('{official_hash(['é'])}',)]"
    assert table_hash([("a",), ("b",)]) == table_hash([("b",), ("a",)])
    assert table_hash([("a", None, "b")]) == table_hash([("a", "b", None)]), "the official hash skips NULLs"


def test_the_official_hash_is_cut_after_1024_bytes() -> None:
    rows = sorted(([str(n)] for n in range(400)), key=lambda row: hashlib.md5(row[0].encode()).hexdigest())
    assert table_hash(rows[:171]) == table_hash(rows), (
        "170 prints with commas are 1,019 bytes; the cut comes in the 171st"
    )
    assert table_hash(rows[:170]) != table_hash(rows)


def test_our_digest_sees_what_the_official_hash_does_not() -> None:
    def table(*rows: tuple[str | None, ...]) -> list[Table]:
        return [Table("t", ("a", "b"), rows)]

    assert content_digest(table(("x", "y"), ("z", None))) == content_digest(table(("z", None), ("x", "y")))
    different = [
        table(("x", None)), table(("x", "")), table((None, "x")), table(("x,y", None)), table(("x", "y")),
        table(("x", "y"), ("x", "y")), table(), [Table("t", ("a", "c"), (("x", "y"),))],
        [Table("u", ("a", "b"), (("x", "y"),))],
    ]  # fmt: skip
    assert len({content_digest(tables) for tables in different}) == len(different)
