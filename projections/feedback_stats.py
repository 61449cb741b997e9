"""Feedback in numbers, by its key: how much there is, and how its scores are spread."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from events.jsontext import NotJSON, loads
from projections.feedback import Feedback
from projections.pairs import value_text

COMMENTS_MAX: Final = 5
VALUES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class KeyStats:
    """The feedback with one key: `n` pieces, the spread of the scores that are numbers, and how often each value is.

    Truths count as 1 and 0. Without any such score `avg` and its like are None, as `stdev` is of a single one.
    """

    n: int
    avg: float | None
    stdev: float | None
    min: float | None
    max: float | None
    errors: int
    values: Mapping[str, int]
    comments: tuple[str, ...]


def of_keys(told: Iterable[Feedback]) -> dict[str, KeyStats]:
    """The numbers of each key."""
    tallies = FeedbackTallies()
    for one in told:
        tallies.count(one)
    return tallies.stats()


class FeedbackTallies:
    """Counts feedback piece by piece, however much there is."""

    def __init__(self) -> None:
        self._by_key: dict[str, _Tally] = {}

    def count(self, one: Feedback, times: int = 1) -> None:
        """Count one more piece, or as many as are like it."""
        self._by_key.setdefault(one.key, _Tally()).count(one, times)

    def quote(self, one: Feedback) -> None:
        """Take over the comment of a piece that was counted without it; one that came since is passed over."""
        if one.key in self._by_key:
            self._by_key[one.key].quote(one)

    def stats(self) -> dict[str, KeyStats]:
        """The numbers of each key so far."""
        return {key: tally.stats() for key, tally in sorted(self._by_key.items())}


@dataclass(slots=True)
class _Tally:
    n: int = 0
    errors: int = 0
    scores: int = 0
    mean: float = 0.0
    squares: float = 0.0
    lowest: float = math.inf
    highest: float = -math.inf
    values: Counter[str] = field(default_factory=Counter)
    comments: list[str] = field(default_factory=list)

    def count(self, one: Feedback, times: int) -> None:
        self.n += times
        self.errors += times if member(one, "error") is True else 0
        score, value = number(one), member(one, "value")
        if score is not None:
            self._count_score(score, times)
        if value is not None and (len(self.values) < VALUES_MAX or value_text(value) in self.values):
            self.values[value_text(value)] += times
        self.quote(one)

    def quote(self, one: Feedback) -> None:
        comment = member(one, "comment")
        if comment and len(self.comments) < COMMENTS_MAX:
            self.comments.append(str(comment))

    def _count_score(self, score: float, times: int) -> None:
        # Welford's way: a sum of squares would lose all digits of scores that are large and close to each other.
        self.scores += times
        off = score - self.mean
        self.mean += off * times / self.scores
        self.squares += off * (score - self.mean) * times
        self.lowest, self.highest = min(self.lowest, score), max(self.highest, score)

    def stats(self) -> KeyStats:
        scored = self.scores > 0
        deviation = math.sqrt(self.squares / (self.scores - 1)) if self.scores > 1 else math.nan
        return KeyStats(
            n=self.n,
            avg=self.mean if scored and math.isfinite(self.mean) else None,
            stdev=deviation if math.isfinite(deviation) else None,
            min=self.lowest if scored else None,
            max=self.highest if scored else None,
            errors=self.errors,
            values=dict(self.values.most_common()),
            comments=tuple(self.comments),
        )


def number(one: Feedback) -> float | None:
    """The score as a double; None when it is none, or too large for one."""
    score = member(one, "score")
    try:
        return float(score) if isinstance(score, int | float) else None
    except OverflowError:
        return None


def member(one: Feedback, name: str) -> Any:
    """A member as a JSON value; None when it is not said."""
    try:
        return loads(one.members.get(name, "null").encode())
    except NotJSON:
        return None
