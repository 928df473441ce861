"""Long-term memory: a store of lessons, found again by relevance, strengthened by use, forgotten without it.

Relevance is BM25 over the words of a lesson and of the task it was learned in, or the cosine of embeddings where the
store is given a function that makes them. A lesson's rank is its relevance times how much of it is left,
2^(-age / (half-life · strength)) with a strength that grows by one each time it is used, as in MemoryBank (Zhong et
al., 2023), which follows Ebbinghaus's curve of forgetting.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from cmat_gym.core.errors import TaskError, UsageError

__all__ = ["BM25", "Embed", "Lesson", "LessonRow", "LessonStore"]

Embed: TypeAlias = Callable[[Sequence[str]], npt.ArrayLike]
"""Texts to vectors. [text] -> [text, dimension]"""

_WORD = re.compile(r"\w+")
# Words that say nothing about what a lesson is about. Negations and orderings ("not", "no", "before") do, so they stay.
_FUNCTION_WORDS = frozenset(
    _WORD.findall(
        "a an and are as at be but by for from had has have he i if in into is it its of on or our she so such that "
        "the their them then there these they this to was we were what which will with you your"
    )
)
_MOST_CONTEXTS = 4  # tasks a lesson remembers having been learned in


class BM25:
    """Okapi BM25 over a few hundred short texts (Robertson and Zaragoza, 2009), with Lucene's non-negative idf.

        score(q, d) = Σ_{w in q} idf(w) · tf(w, d) (k1 + 1) / (tf(w, d) + k1 (1 - b + b |d| / mean |d|))
        idf(w) = ln(1 + (N - n(w) + 1/2) / (n(w) + 1/2))

    Args:
        documents: Each document's words.
        k1: How soon further occurrences of a word stop counting.
        b: How much long documents are held back.
    """

    def __init__(self, documents: Sequence[Sequence[str]], k1: float = 1.2, b: float = 0.75) -> None:
        self.size = len(documents)
        self._postings: dict[str, list[tuple[int, float]]] = {}
        mean = sum(map(len, documents)) / max(1, len(documents))
        for index, words in enumerate(documents):
            floor = k1 * (1 - b + b * len(words) / mean) if mean else k1
            for word, count in Counter(words).items():
                weight = count * (k1 + 1) / (count + floor)
                self._postings.setdefault(word, []).append((index, weight))

    def scores(self, query: Sequence[str]) -> list[float]:
        """Score of every document; a word that is asked for twice counts once."""
        scores = [0.0] * self.size
        for word in dict.fromkeys(query):
            found = self._postings.get(word, ())
            idf = math.log(1 + (self.size - len(found) + 0.5) / (len(found) + 0.5))
            for index, weight in found:
                scores[index] += idf * weight
        return scores


@dataclass
class Lesson:
    """One thing learned, in words.

    Attributes:
        text: What the agent reads.
        context: The tasks it was learned in, one a line; they take part in finding it again.
        family: The family of tasks it belongs to; empty for all of them.
        strength: 1 when it is learned; grows by one with each episode that uses it.
        last_used: Episode count at which it was learned or last used.
    """

    text: str
    context: str = ""
    family: str = ""
    strength: float = 1.0
    last_used: int = 0

    def retention(self, now: int, half_life: float = 1.0) -> float:
        """How much of the lesson is left at episode `now`: 2^(-age / (half_life · strength)), in (0, 1]."""
        return math.exp2(-(now - self.last_used) / (half_life * self.strength))


class LessonRow(NamedTuple):
    """One line of what is in a store, for people to look at.

    Attributes:
        lesson: The lesson.
        retention: How much of it is left, in (0, 1].
        age: Episodes since it was learned or last used.
        relevance: To the query that was asked with; 0 without one.
    """

    lesson: Lesson
    retention: float
    age: int
    relevance: float


@dataclass
class LessonStore:
    """Long-term memory of one environment, or of as many as share it.

    Attributes:
        capacity: Lessons kept; when it is full the least retained one goes.
        half_life: Episodes after which half of a lesson of strength 1 is left.
        forget_below: Lessons of which less is left than this go at the beginning of an episode; 0 keeps all.
        episodes: Episodes begun so far, of all environments that share the store: the clock of forgetting.
        lessons: What is known, oldest first.
        embed: Makes relevance the cosine of embeddings instead of BM25. Not saved: give it again after loading.
    """

    capacity: int = 256
    half_life: float = 32.0
    forget_below: float = 0.01
    episodes: int = 0
    lessons: list[Lesson] = field(default_factory=list)
    embed: Embed | None = field(default=None, repr=False, compare=False)
    _indices: dict[str | None, tuple[list[str], BM25]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _vectors: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse sizes that mean nothing."""
        if self.capacity < 0 or not self.half_life > 0 or not 0 <= self.forget_below < 1:
            raise UsageError(
                "A LessonStore needs capacity >= 0, half_life > 0 and forget_below in [0, 1), got "
                f"{self.capacity}, {self.half_life} and {self.forget_below}"
            )

    # Learning and forgetting ----------------------------------------------------------------------------------------

    def begin_episode(self) -> None:
        """Let an episode's time pass, and forget what has faded."""
        self.episodes += 1
        if self.forget_below > 0:
            self.lessons[:] = [lesson for lesson in self.lessons if self.retention(lesson) >= self.forget_below]

    def add(self, text: str, context: str = "", family: str = "") -> Lesson | None:
        """Learn a lesson; one that is known already is strengthened instead.

        Two lessons of a family are the same when they have the same words in the same order, function words and
        punctuation apart ("Open the fridge first." and "open fridge first").

        Returns:
            The lesson in the store; None for an empty text or a store without room.
        """
        text = " ".join(text.split())
        if not text or self.capacity == 0:
            return None
        key = _content_words(text) or _words(text)
        for known in self.lessons:
            if known.family == family and (_content_words(known.text) or _words(known.text)) == key:
                known.strength += 1.0
                known.last_used = self.episodes
                _add_context(known, context)
                return known
        if len(self.lessons) >= self.capacity:
            weakest = min(range(len(self.lessons)), key=lambda i: (self.retention(self.lessons[i]), i))
            del self.lessons[weakest]
        lesson = Lesson(text, " ".join(context.split()), family, last_used=self.episodes)
        self.lessons.append(lesson)
        return lesson

    def strengthen(self, lesson: Lesson) -> None:
        """Note that `lesson` was used in this episode (counted once an episode)."""
        if lesson.last_used != self.episodes:
            lesson.strength += 1.0
            lesson.last_used = self.episodes

    def retention(self, lesson: Lesson) -> float:
        """How much of the lesson is left now, in (0, 1]."""
        return lesson.retention(self.episodes, self.half_life)

    # Finding again --------------------------------------------------------------------------------------------------

    def find(
        self, query: str, limit: int, budget: int, family: str | None = None, count: Callable[[str], int] = len
    ) -> list[Lesson]:
        """The most relevant lessons for `query`, best first. Finding alone strengthens nothing.

        Args:
            query: What is going on: the task and the present observation.
            limit: Lessons at most.
            budget: What they may measure together; a lesson that does not fit is passed over.
            family: Only lessons of this family, and those of none; None looks at all.
            count: Measures a text; characters by default.
        """
        if limit == 0:
            return []
        ranked = [
            (-relevance * self.retention(lesson), index, lesson)
            for index, (lesson, relevance) in enumerate(self._relevance(query, family))
            if relevance > 0
        ]
        found: list[Lesson] = []
        for _, _, lesson in sorted(ranked, key=lambda item: item[:2]):
            size = count(lesson.text)
            if size <= budget and len(found) < limit:
                budget -= size
                found.append(lesson)
        return found

    def rows(self, query: str = "", family: str | None = None) -> list[LessonRow]:
        """What is in the store, for inspection: by rank for a query, else what is best retained first."""
        rows = [
            LessonRow(lesson, self.retention(lesson), self.episodes - lesson.last_used, relevance)
            for lesson, relevance in self._relevance(query, family)
        ]
        return sorted(rows, key=lambda row: -row.retention * (row.relevance if query else 1.0))

    def _relevance(self, query: str, family: str | None) -> list[tuple[Lesson, float]]:
        visible = [lesson for lesson in self.lessons if family is None or lesson.family in ("", family)]
        if not visible:
            return []
        texts = [f"{lesson.text} {lesson.context}" for lesson in visible]
        if not query:
            scores: Sequence[float] = [0.0] * len(texts)
        elif self.embed is not None:
            scores = self._cosines(self.embed, query, texts)
        else:
            known = self._indices.get(family)
            if known is None or known[0] != texts:
                known = (texts, BM25([_content_words(text) for text in texts]))
                self._indices[family] = known
            scores = known[1].scores(_content_words(query))
        return list(zip(visible, scores, strict=True))

    def _cosines(self, embed: Embed, query: str, texts: Sequence[str]) -> list[float]:
        new = [text for text in texts if text not in self._vectors]
        vectors = np.asarray(embed([query, *new]), dtype=np.float64)
        if vectors.ndim != 2 or len(vectors) != 1 + len(new) or not np.isfinite(vectors).all():
            raise UsageError(
                f"The embedding function gave an array of shape {vectors.shape} for {1 + len(new)} texts; "
                "[text, dimension] with finite numbers is expected"
            )
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        # Vectors of forgotten lessons go: only what is in the store is kept.
        kept = {text: self._vectors[text] for text in texts if text in self._vectors}
        self._vectors = kept | dict(zip(new, vectors[1:], strict=True))
        cosines: list[float] = (np.stack([self._vectors[text] for text in texts]) @ vectors[0]).tolist()
        return cosines

    # Values and files -----------------------------------------------------------------------------------------------

    def copy(self) -> LessonStore:
        """An independent copy, as a plain value: without the embedding function, which may not travel."""
        lessons = [replace(lesson) for lesson in self.lessons]
        return LessonStore(self.capacity, self.half_life, self.forget_below, self.episodes, lessons)

    def assign(self, other: LessonStore) -> None:
        """Become equal to `other`, for everyone who shares this store; the embedding function stays."""
        self.capacity, self.half_life, self.forget_below = other.capacity, other.half_life, other.forget_below
        self.episodes = other.episodes
        self.lessons[:] = [replace(lesson) for lesson in other.lessons]

    def save(self, path: str | Path) -> None:
        """Write the store as JSON; an interrupted write leaves the old file as it was."""
        path = Path(path)
        data = {name: getattr(self, name) for name in _SAVED} | {"lessons": [asdict(item) for item in self.lessons]}
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            scratch.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, embed: Embed | None = None) -> LessonStore:
        """Read what `save` wrote.

        Raises:
            TaskError: The file is missing, or is no lesson store.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            lessons = [_read_lesson(lesson) for lesson in data["lessons"]]
            return cls(**{name: data[name] for name in _SAVED}, lessons=lessons, embed=embed)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TaskError(f"{path} is not a lesson store written by LessonStore.save: {error}") from error


_SAVED = ("capacity", "half_life", "forget_below", "episodes")


def _read_lesson(data: Mapping[str, Any]) -> Lesson:
    lesson = Lesson(**data)
    for item in fields(Lesson):
        value, kinds = getattr(lesson, item.name), (int, float) if item.name in ("strength", "last_used") else str
        if not isinstance(value, kinds):
            raise TypeError(f"{item.name} of a lesson is {value!r}")
    if not lesson.strength > 0:
        raise ValueError(f"strength of a lesson is {lesson.strength}")
    return lesson


def _add_context(lesson: Lesson, context: str) -> None:
    contexts = [*lesson.context.split("\n"), " ".join(context.split())]
    lesson.context = "\n".join(list(dict.fromkeys(filter(None, contexts)))[-_MOST_CONTEXTS:])


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _content_words(text: str) -> list[str]:
    return [word for word in _words(text) if word not in _FUNCTION_WORDS]
