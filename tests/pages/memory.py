"""What a page holds in memory."""

from dataclasses import dataclass

from playwright.sync_api import Page

_BYTES_PER_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Held:
    """What was left after the garbage was collected: megabytes of the heap, nodes, and listeners to events."""

    heap_mb: float
    nodes: int
    listeners: int

    def __str__(self) -> str:
        return f"{self.heap_mb:.1f} MB, {self.nodes:,} nodes, {self.listeners:,} listeners"


def held_by(page: Page) -> Held:
    """What a page holds now. Elements that are no more in its document count for as long as something leads to them."""
    session = page.context.new_cdp_session(page)
    for _ in range(2):  # What the first collection finalises is gone with the second.
        session.send("HeapProfiler.collectGarbage")
    heap_bytes = session.send("Runtime.getHeapUsage")["usedSize"]
    counted = session.send("Memory.getDOMCounters")
    session.detach()
    return Held(heap_bytes / _BYTES_PER_MB, counted["nodes"], counted["jsEventListeners"])
