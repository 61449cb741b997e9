"""Retries of quarantined items: what the receipts of retries say, against what is noted with the items."""

import re
from typing import Final

from events.checking.slices import Checked, Slice
from events.dialect import Snapshot
from events.findings import Finding

_RETRY: Final = re.compile(r"\bquarantine(?:/0*([1-9]\d{0,18})/retry| retry 0*([1-9]\d{0,18}))/?\Z")


def retried_item(endpoint: str) -> int | None:
    """The item of the quarantine that a request retried, by its endpoint; None when it was no retry."""
    match = _RETRY.search(endpoint)
    return int(match[1] or match[2]) if match else None


async def check_retries(snapshot: Snapshot, part: Slice, checked: Checked, retries: dict[int, int]) -> None:
    """A receipt of a retry that succeeded is noted with the item that was retried. `retries`: receipts to items."""
    rows = await snapshot.lookup(
        "SELECT k.quarantine_id, q.retry_receipt_id FROM k JOIN quarantine q "
        f"ON q.shard = {part.shard} AND q.quarantine_id = k.quarantine_id",
        {"quarantine_id": "bigint"},
        [(item,) for item in set(retries.values())],
    )
    noted = {quarantine_id: receipt_id for quarantine_id, receipt_id in rows}
    for receipt_id, item in retries.items():
        if item in noted and noted[item] != receipt_id:
            wrong = f"receipt {receipt_id} retried it, and that is not noted"
            checked.find(Finding("quarantine", item, wrong, receipt_id, follows=True))
