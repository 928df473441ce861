"""The shop's search engine: BM25 with the rules of Lucene, on numpy arrays that processes can share.

What makes it rank like Lucene rather than like a textbook:
    - document lengths are rounded to one byte (`quantise_length`) before they enter the score, the average is not;
    - scores are 32-bit floats, summed in 64 bits and rounded once;
    - equal scores go by document id where ids are given (as the original shop asks Lucene to), else by index order;
    - idf has the `1 +` inside the logarithm, and the factor k1 + 1 of the textbook is left out.

Source: S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009.
"""

from __future__ import annotations

import json
import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cmat_gym.core.errors import UsageError
from cmat_gym.envs.webshop.analyser import analyse, normalise, tokenise

__all__ = ["SearchIndex", "quantise_length"]

K1: Final = np.float32(0.9)
B: Final = np.float32(0.4)

_ARRAYS = ("vocabulary", "vocabulary_ends", "posting_ends", "documents", "saturations", "weights", "tie_order")


def quantise_length(length: int) -> int:
    """The document length that survives Lucene's one-byte encoding: exact below 40, then four significant bits."""
    rest = length - 24
    shift = max(rest.bit_length() - 4, 0) if rest > 0 else 0
    return length if shift == 0 else 24 + (rest >> shift << shift)


class _TermNumbers(dict[str, int]):
    """Token -> number of its index term, in order of first appearance; -1 for a stop word."""

    def __init__(self) -> None:
        self.terms: dict[str, int] = {}

    def __missing__(self, token: str) -> int:
        term = normalise(token)
        number = -1 if term is None else self.terms.setdefault(term, len(self.terms))
        if len(self) < 1_000_000:  # bounds the memory of a build; beyond it, rare tokens are just stemmed again
            self[token] = number
        return number


class SearchIndex:
    """An inverted index over texts. Immutable; any number of environments may search it at once.

    The postings of term i are the entries `posting_ends[i] : posting_ends[i + 1]` of `documents` (positions, rising)
    and `saturations` (1 + tf / norm of that document, so that its score is `weight - weight / saturation`).
    Terms are kept sorted as bytes in one array, so that a loaded index needs no dictionary in each process.
    """

    FORMAT = 1
    """Of the saved folder; raise it when the arrays or the analyser change."""

    def __init__(self, size: int, arrays: dict[str, npt.NDArray[Any]], folder: Path | None = None) -> None:
        """Take finished arrays; use `build` or `load`. `folder` is where they are mapped from."""
        self.size = size
        self._folder = folder
        self._arrays = arrays
        self._vocabulary: npt.NDArray[np.uint8] = arrays["vocabulary"]
        self._vocabulary_ends: npt.NDArray[np.int64] = arrays["vocabulary_ends"]
        self._posting_ends: npt.NDArray[np.int64] = arrays["posting_ends"]
        self._documents: npt.NDArray[np.int32] = arrays["documents"]
        self._saturations: npt.NDArray[np.float32] = arrays["saturations"]
        self._weights: npt.NDArray[np.float32] = arrays["weights"]
        self._tie_order: npt.NDArray[np.int32] = arrays["tie_order"]
        self._term_number = lru_cache(maxsize=16_384)(self._look_up)

    @classmethod
    def build(
        cls, texts: Iterable[str], lengths: Sequence[int] | None = None, ids: Sequence[str] | None = None
    ) -> SearchIndex:
        """Index texts in the given order.

        Args:
            texts: One text per document.
            lengths: Document lengths to score with (rounded as usual) in place of the counted ones; the average
                length stays that of the counted ones. For lengths taken out of another engine's index.
            ids: One id per text; documents of equal score are listed in the order of their ids.

        Raises:
            UsageError: If there is not one length, or not one id, per text.
        """
        numbers = _TermNumbers()
        documents, frequencies, terms_of_postings = array("i"), array("i"), array("i")
        counted = array("q")
        for position, text in enumerate(texts):
            counts = Counter([numbers[token] for token in tokenise(text)])
            counts.pop(-1, None)
            terms_of_postings.extend(counts.keys())
            frequencies.extend(counts.values())
            documents.extend([position] * len(counts))
            counted.append(sum(counts.values()))
        size = len(counted)
        for name, given in (("document lengths", lengths), ("ids", ids)):
            if given is not None and len(given) != size:
                raise UsageError(f"{len(given)} {name} for {size} texts: give one per text, in the same order")

        terms = sorted(numbers.terms, key=str.encode)
        rank = np.empty(len(terms), np.int32)  # number by first appearance -> place in sorted order
        rank[[numbers.terms[term] for term in terms]] = np.arange(len(terms), dtype=np.int32)
        posting_terms = rank[np.frombuffer(terms_of_postings, np.int32)]
        order = np.argsort(posting_terms, kind="stable")  # stable: documents stay in rising order within a term
        document_frequency = np.bincount(posting_terms, minlength=len(terms))

        average = np.float32(sum(counted) / max(size, 1) or 1)
        quantised = np.array([quantise_length(n) for n in (counted if lengths is None else lengths)], np.float32)
        norms = np.float32(1) / (K1 * ((np.float32(1) - B) + B * quantised / average))
        postings = np.frombuffer(documents, np.int32)[order]
        tf = np.frombuffer(frequencies, np.int32)[order].astype(np.float32)
        encoded = [term.encode() for term in terms]
        tie_order = np.arange(size, dtype=np.int32)
        if ids is not None:
            tie_order[sorted(range(size), key=ids.__getitem__)] = np.arange(size, dtype=np.int32)
        arrays: dict[str, npt.NDArray[Any]] = {
            "vocabulary": np.frombuffer(b"".join(encoded), np.uint8),
            "vocabulary_ends": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
            "posting_ends": np.concatenate(([0], np.cumsum(document_frequency))).astype(np.int64),
            "documents": postings,
            "saturations": np.float32(1) + tf * norms[postings],
            "weights": np.log(1 + (size - document_frequency + 0.5) / (document_frequency + 0.5)).astype(np.float32),
            "tie_order": tie_order,
        }
        return cls(size, arrays)

    def search(self, query: str, limit: int = 50) -> list[int]:
        """Positions of the best `limit` documents that hold at least one query term, best first."""
        positions: list[int] = self.rank(query, limit)[0].tolist()
        return positions

    def rank(self, query: str, limit: int = 50) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Positions and scores of the best `limit` documents, best first."""
        totals = np.zeros(self.size)
        matched: list[npt.NDArray[np.int32]] = []
        for term, repeats in Counter(analyse(query)).items():
            number = self._term_number(term)
            if number is not None:
                start, end = self._posting_ends[number : number + 2].tolist()
                weight = self._weights[number] * np.float32(repeats)
                documents = self._documents[start:end]
                totals[documents] += weight - weight / self._saturations[start:end]
                matched.append(documents)
        hits = np.flatnonzero(totals >= self._floor(totals, matched, limit))
        scores = totals[hits].astype(np.float32)
        best = np.lexsort((self._tie_order[hits], -scores))[:limit]
        return hits[best], scores[best]

    @staticmethod
    def _floor(totals: npt.NDArray[np.float64], matched: list[npt.NDArray[np.int32]], limit: int) -> float:
        """A score that the best `limit` documents certainly reach, and few others: the rank among a rare term's."""
        smallest = sys.float_info.min  # which every match reaches
        big_enough = [documents for documents in matched if len(documents) >= limit]
        if not big_enough:
            return smallest
        some = totals[min(big_enough, key=len)]
        return float(np.partition(some, len(some) - limit)[len(some) - limit]) * (1 - 1e-6)  # for equal 32-bit scores

    def _look_up(self, term: str) -> int | None:
        """The number of a term, by binary search among the sorted terms."""
        wanted = term.encode(errors="replace")
        number = bisect_left(range(len(self._weights)), wanted, key=self._term_bytes)
        return number if number < len(self._weights) and self._term_bytes(number) == wanted else None

    def _term_bytes(self, number: int) -> bytes:
        start, end = self._vocabulary_ends[number : number + 2].tolist()
        return self._vocabulary[start:end].tobytes()

    def __reduce__(self) -> tuple[Any, ...]:
        """A mapped index is pickled as the path of its folder, so that a process that gets it maps the same pages."""
        return (SearchIndex, (self.size, self._arrays)) if self._folder is None else (SearchIndex.load, (self._folder,))

    def __len__(self) -> int:
        """The number of documents."""
        return self.size

    def save(self, folder: Path) -> None:
        """Write the index as a folder of plain numpy files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", self._arrays[name])
        (folder / "index.json").write_text(json.dumps({"format": self.FORMAT, "size": self.size}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, mmap: bool = True) -> SearchIndex:
        """Open a saved index; with `mmap` its pages are read on demand and shared between processes.

        Raises:
            FileNotFoundError: If the folder holds no complete index.
            UsageError: If another version of this package wrote it.
        """
        head = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if head.get("format") != cls.FORMAT:
            raise UsageError(
                f"{folder} holds a search index of format {head.get('format')}, expected {cls.FORMAT}: delete it"
            )
        mode: Any = "r" if mmap else None
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode=mode) for name in _ARRAYS}
        return cls(head["size"], arrays, folder if mmap else None)
