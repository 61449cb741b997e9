"""What is checked in one go, and what comes of it.

A slice is some hundreds of rows of one table, so the memory it takes does not grow with the log. What it cannot decide
by itself, because it goes on in the next slice, it hands over in `Checked`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from events.findings import Finding, Place

Kind = Literal["receipts", "events", "quarantine", "contents", "holders", "duplicates", "streams"]

FINDINGS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows of one kind with numbers (or hashes, or streams) after `after` up to `upto`.

    `end` is the number of the last one that there should be, `receipts` that of the last receipt.
    """

    kind: Kind
    shard: int
    after: Any = None
    upto: Any = None
    end: int = 0
    receipts: int = 0


class Share(NamedTuple):
    """How many events name a receipt, as far as one slice has them, and how many of those are erased."""

    events: int
    erased: int


@dataclass(slots=True)
class Checked:
    """What came of a slice. `found` counts the findings, of which the first are in `findings`."""

    rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    found: int = 0
    applied: int = 0
    events: int = 0
    shares: dict[int, Share] = field(default_factory=dict)
    """Of the receipts whose events may go on in the slices before and after."""
    doubted: set[int] = field(default_factory=set)
    """Receipts whose events cannot be counted, because what is wrong with them was found already."""
    erased: set[bytes] = field(default_factory=set)
    """The streams that events of this slice erased."""
    erased_at: int = 0
    """When the latest of these events was recorded."""
    emptied: tuple[int, int] = (0, 0)
    """When the latest quarantined item that is erased came, and its number."""

    def find(self, finding: Finding | None) -> None:
        """Note a finding, if it is one."""
        if finding is None:
            return
        self.found += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)

    def find_all(self, place: Place, name: int | str, errors: Sequence[str], receipt_id: int) -> None:
        """Note what is wrong with one row, if anything is."""
        if errors:
            self.find(Finding(place, name, "; ".join(errors), receipt_id))
