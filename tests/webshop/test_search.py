"""Analyser and search engine, against the rules written out plainly."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmat_gym.core.errors import UsageError
from cmat_gym.envs.webshop.analyser import STOP_WORDS, analyse, tokenise
from cmat_gym.envs.webshop.search import SearchIndex, quantise_length
from cmat_gym.envs.webshop.stemmer import stem

# The analyser --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("red-and/blue & 2+2", ["red", "and", "blue", "2", "2"]),
        ("it's o'clock don’t", ["it's", "o'clock", "don’t"]),
        ("color:red, size: 6", ["color:red", "size", "6"]),
        ("3.5 1,000 1'000 4;5 6:7 1.a", ["3.5", "1,000", "1'000", "4;5", "6", "7", "1", "a"]),
        ("U.S.A. e.g. end. Next", ["U.S.A", "e.g", "end", "Next"]),
        ("x,y a;b", ["x", "y", "a", "b"]),
        ("foo_bar __x__ ___", ["foo_bar", "__x__"]),
        ("usb3.0 3d 40x40 5k2", ["usb3.0", "3d", "40x40", "5k2"]),
        ("café 日本 ヽカタ ねこ", ["café", "日", "本", "ヽカタ", "ね", "こ"]),
        ("★x☆ ❤️ ✔ ✿ ™ 👨\u200d💼 🇺🇸", ["★", "x", "❤️", "✔", "™", "👨\u200d💼", "🇺🇸"]),
        ("non\u00a0break so\u00adft ½ Ⅷ", ["non", "break", "so\u00adft", "Ⅷ"]),
        ("q：a b，c 1，2", ["q：a", "b", "c", "1，2"]),
        ("", []),
        ("\ud800 !?", []),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert tokenise(text) == tokens


def test_long_runs_are_cut() -> None:
    assert [len(token) for token in tokenise("a" * 600)] == [255, 255, 90]


@given(st.text(alphabet="ab1_.,:'- é日★\u200d\u00ad"))
def test_tokens_are_pieces_of_the_text_in_order(text: str) -> None:
    end = 0
    for token in tokenise(text):
        end = text.index(token, end) + len(token)
        assert any(character.isalnum() or character == "★" for character in token)


@given(st.text(alphabet="ab1_.,:'-; ", max_size=40))
def test_both_tokenisers_agree_on_ascii(text: str) -> None:
    """ASCII has a shortcut; one foreign word at the end sends the same text the general way."""
    assert tokenise(text) == tokenise(text + " é")[:-1]


def test_terms() -> None:
    assert analyse("The Women's SHOES are for running, and they're waterproof") == [
        "women", "shoe", "run", "they'r", "waterproof",
    ]  # fmt: skip
    assert len(STOP_WORDS) == 33
    assert analyse(" ".join(STOP_WORDS)) == []


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        # The examples of Porter's paper, step by step
        ("caresses", "caress"), ("ponies", "poni"), ("ties", "ti"), ("caress", "caress"), ("cats", "cat"),
        ("feed", "feed"), ("agreed", "agre"), ("plastered", "plaster"), ("bled", "bled"), ("motoring", "motor"),
        ("sing", "sing"), ("conflated", "conflat"), ("troubled", "troubl"), ("sized", "size"), ("hopping", "hop"),
        ("tanned", "tan"), ("falling", "fall"), ("hissing", "hiss"), ("fizzed", "fizz"), ("failing", "fail"),
        ("filing", "file"), ("happy", "happi"), ("sky", "sky"), ("relational", "relat"), ("conditional", "condit"),
        ("rational", "ration"), ("valenci", "valenc"), ("digitizer", "digit"), ("conformabli", "conform"),
        ("radicalli", "radic"), ("differentli", "differ"), ("vileli", "vile"), ("analogousli", "analog"),
        ("vietnamization", "vietnam"), ("predication", "predic"), ("operator", "oper"), ("feudalism", "feudal"),
        ("decisiveness", "decis"), ("hopefulness", "hope"), ("callousness", "callous"), ("formaliti", "formal"),
        ("sensitiviti", "sensit"), ("sensibiliti", "sensibl"), ("triplicate", "triplic"), ("formative", "form"),
        ("formalize", "formal"), ("electriciti", "electr"), ("electrical", "electr"), ("hopeful", "hope"),
        ("goodness", "good"), ("revival", "reviv"), ("allowance", "allow"), ("inference", "infer"),
        ("airliner", "airlin"), ("gyroscopic", "gyroscop"), ("adjustable", "adjust"), ("defensible", "defens"),
        ("irritant", "irrit"), ("replacement", "replac"), ("adjustment", "adjust"), ("dependent", "depend"),
        ("adoption", "adopt"), ("communism", "commun"), ("activate", "activ"), ("angulariti", "angular"),
        ("homologous", "homolog"), ("effective", "effect"), ("bowdlerize", "bowdler"), ("probate", "probat"),
        ("rate", "rate"), ("cease", "ceas"), ("controll", "control"), ("roll", "roll"),
        # Where Porter2 differs, and what is no English
        ("generously", "gener"), ("archaeology", "archaeolog"), ("as", "as"), ("28cm", "28cm"), ("日本s", "日本"),
    ],
)  # fmt: skip
def test_stems(word: str, expected: str) -> None:
    assert stem(word) == expected


# The index -----------------------------------------------------------------------------------------------------------


def one_byte(length: int) -> int:
    """Lucene's encoding of a length and its inverse, spelled out as in the format's description."""
    if length < 24:
        return length
    rest = length - 24
    if rest.bit_length() < 4:
        return length
    shift = rest.bit_length() - 4
    code = ((rest >> shift) & 7) | ((shift + 1) << 3)
    bits, exponent = code & 7, (code >> 3) - 1
    return 24 + ((bits | 8) << exponent)


def test_quantised_lengths() -> None:
    assert [quantise_length(n) for n in (0, 23, 39, 40, 41, 42, 55, 56, 59, 60, 151, 152)] == [
        0, 23, 39, 40, 40, 42, 54, 56, 56, 60, 144, 152,
    ]  # fmt: skip
    assert all(quantise_length(n) == one_byte(n) for n in range(100_000))


def plain_bm25(texts: list[str], query: str) -> dict[int, float]:
    """The formula of the module, document by document, in double precision."""
    documents = [Counter(analyse(text)) for text in texts]
    average = sum(document.total() for document in documents) / len(texts)
    scores: dict[int, float] = {}
    for term, repeats in Counter(analyse(query)).items():
        having = sum(term in document for document in documents)
        weight = repeats * math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        for position, document in enumerate(documents):
            if term in document:
                norm = 0.9 * (1 - 0.4 + 0.4 * quantise_length(document.total()) / average)
                scores[position] = scores.get(position, 0) + weight * document[term] / (document[term] + norm)
    return scores


WORDS = ["red", "blue", "cotton", "shirt", "shirts", "the", "lamp", "28", "café", "x-large"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join), min_size=1, max_size=80)


@settings(max_examples=50)
@given(TEXTS, st.lists(st.sampled_from([*WORDS, "unknown"]), max_size=8).map(" ".join), st.integers(1, 60))
def test_ranking_is_bm25(texts: list[str], query: str, limit: int) -> None:
    positions, scores = SearchIndex.build(texts).rank(query, limit)
    expected = plain_bm25(texts, query)
    assert len(positions) == min(limit, len(expected))
    assert len(set(positions.tolist())) == len(positions)
    best = sorted(expected.values(), reverse=True)[:limit]
    assert scores.tolist() == pytest.approx(best, rel=1e-5)
    assert [expected[position] for position in positions.tolist()] == pytest.approx(best, rel=1e-5)
    ties = [(-score, position) for score, position in zip(scores.tolist(), positions.tolist(), strict=True)]
    assert ties == sorted(ties)


def test_equal_scores_go_by_id() -> None:
    texts = ["lamp"] * 100
    assert SearchIndex.build(texts).search("lamp", 5) == [0, 1, 2, 3, 4]
    backwards = [f"{99 - position:03}" for position in range(100)]
    assert SearchIndex.build(texts, ids=backwards).search("lamp", 5) == [99, 98, 97, 96, 95]


def test_given_lengths_replace_counted_ones() -> None:
    texts = ["lamp one", "lamp two"]
    assert SearchIndex.build(texts, lengths=[20, 2]).search("lamp") == [1, 0]
    with pytest.raises(UsageError, match="1 document lengths for 2 texts"):
        SearchIndex.build(texts, lengths=[20])
    with pytest.raises(UsageError, match="1 ids for 2 texts"):
        SearchIndex.build(texts, ids=["a"])


@pytest.mark.parametrize("query", ["", "the", "nowhere", "!?", "\ud800", "x" * 5000, "\x00"])
def test_queries_without_matches(query: str) -> None:
    index = SearchIndex.build(["red lamp", "blue shirt"])
    assert index.search(query) == []
    assert SearchIndex.build([]).search(query) == []


@pytest.mark.parametrize("mmap", [True, False])
def test_saved_and_pickled_indexes_rank_alike(tmp_path: Path, mmap: bool) -> None:
    index = SearchIndex.build(["red lamp", "red red shirt", "blaue Lampe für café", "shirt"], ids=["d", "c", "b", "a"])
    index.save(tmp_path)
    loaded = SearchIndex.load(tmp_path, mmap=mmap)
    for copy in (loaded, pickle.loads(pickle.dumps(loaded)), pickle.loads(pickle.dumps(index))):
        assert len(copy) == 4
        for query in ("red", "café shirt", "lamp lamp red"):
            positions, scores = copy.rank(query)
            assert positions.tolist() == index.rank(query)[0].tolist()
            assert np.array_equal(scores, index.rank(query)[1])
    assert (len(pickle.dumps(loaded)) < 300) == mmap  # a mapped index travels as its path


def test_an_index_of_another_format_is_refused(tmp_path: Path) -> None:
    SearchIndex.build(["red lamp"]).save(tmp_path)
    (tmp_path / "index.json").write_text('{"format": 0, "size": 1}')
    with pytest.raises(UsageError, match="format 0, expected 1: delete it"):
        SearchIndex.load(tmp_path)
