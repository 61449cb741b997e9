"""What `verify` finds wrong: where, and what, in a sentence. The first in order is the nearest to the cause."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

Place = Literal[
    "receipt", "event", "quarantine", "stream", "content", "erasure", "shard", "head", "attestation", "read model"
]

# These follow each other as they were written. The other places come after them: what is wrong there may only follow.
_WRITTEN: Final[tuple[Place, ...]] = ("receipt", "event", "quarantine")
_ORDER: Final[tuple[Place, ...]] = get_args(Place)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written.

    `name` is a position, the number of a receipt or quarantined item, a hash, or what else its place is known by.
    `receipt_id` is the request it came with, by which places of different kinds are brought into one order.
    """

    place: Place
    name: int | str
    wrong: str
    receipt_id: int = 0
    follows: bool = False
    """Whether it probably is the consequence of another finding of the same request."""

    def __str__(self) -> str:
        return f"{self.place} {self.name}: {self.wrong}"

    @property
    def rank(self) -> tuple[int, int, bool, int, int, str]:
        """What findings are ordered by."""
        number, text = (self.name, "") if isinstance(self.name, int) else (0, self.name)
        order = _ORDER.index(self.place)
        if self.place in _WRITTEN:
            return 0, self.receipt_id, self.follows, order, number, text
        return order, 0, self.follows, 0, number, text


class Findings:
    """The first findings in order, and how many there are in all."""

    def __init__(self, kept_max: int) -> None:
        self._kept_max = kept_max
        self._kept: list[Finding] = []
        self.count = 0

    def add(self, findings: Iterable[Finding], *, count: int | None = None) -> None:
        """Take more. `count` is how many there were when not all of them are handed over."""
        new = list(findings)
        self.count += len(new) if count is None else count
        if new:
            self._kept = sorted([*self._kept, *new], key=lambda finding: finding.rank)[: self._kept_max]

    @property
    def first(self) -> list[Finding]:
        """The first of them, as many as are kept."""
        return list(self._kept)
