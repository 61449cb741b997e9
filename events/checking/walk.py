"""Whether the rows of a chained table are numbered without gaps, and each follows from the one before it."""

from typing import Final

from events import chain
from events.checking.slices import Slice
from events.findings import Finding, Place

CONTEXT_ROWS: Final = 2
"""How many rows before a slice a walk needs."""
UNCHAINED: Final = "its chain value does not follow from the one before: that or another column of it was changed"


class Walk:
    """Goes along the rows of a chained table in order and tells where numbers or the chain break.

    A row that does not follow from the stored value before it may follow from the computed one: then that value alone
    was changed, and this row is sound. Up to two rows before the slice are walked as context.
    """

    def __init__(self, place: Place, part: Slice, context: int) -> None:
        self._place: Place = place
        self._part = part
        self._is_begin = context < CONTEXT_ROWS
        self._number: int | None = 0 if self._is_begin else None
        self._stored: bytes | None = chain.GENESIS if self._is_begin else None
        self._computed: bytes | None = None

    def step(self, number: int, receipt_id: int) -> Finding | None:
        """Move on to the row with this number, and tell what is wrong with that, or with what should be before it.

        A row whose number is none is told, and passed over.
        """
        if number <= 0:
            wrong = "its number is none that was ever given"
            return Finding(self._place, number, wrong, self._part.receipts, follows=True)
        before, self._number = self._number, number
        if before is None or number == before + 1 <= self._part.end:
            return None
        self._stored = self._computed = None
        if number > self._part.end:
            wrong = f"it is beyond the head, which says that {self._part.end} is the last"
            return Finding(self._place, number, wrong, receipt_id)
        return missing(self._place, before + 1, number - 1, receipt_id)

    def follows(self, leaf: bytes | None, stored: object) -> bool:
        """Whether the row's chain value follows, by its leaf, from the row before. True when nothing is known of that.

        A row without a leaf cannot be checked, and does not follow.
        """
        before, computed = self._stored, self._computed
        self._stored, self._computed = stored if isinstance(stored, bytes) else None, None
        if leaf is None:
            return False
        if before is None:
            return True
        self._computed = chain.link(before, leaf)
        if self._computed == stored:
            return True
        return computed is not None and chain.link(computed, leaf) == stored


def missing(place: Place, first: int, last: int, receipt_id: int) -> Finding:
    """That rows are not there."""
    wrong = "it is missing" if first == last else f"it is missing, and so is all up to {place} {last}"
    return Finding(place, first, wrong, receipt_id)
