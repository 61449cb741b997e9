"""The tree of a trace, built from its edges: any edges give a tree in which each run appears exactly once.

Nothing here recurses: traces ten thousand levels deep are built, walked and rendered like any other.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

P = TypeVar("P")


class Edge(msgspec.Struct, Generic[P], frozen=True, gc=False):
    """A run of a trace, the parent that it names, its start (µs), and what the caller wants to find again."""

    id: bytes
    parent_id: bytes | None
    start_us: int
    payload: P


class Node(msgspec.Struct, Generic[P], eq=False, gc=False):
    """A run in its place; `missing` when others name it but it never came, and so there is no edge.

    `cycle` marks the member of a cycle at which the cycle was cut.
    """

    id: bytes
    edge: Edge[P] | None
    children: list["Node[P]"] = []
    cycle: bool = False

    @property
    def missing(self) -> bool:
        return self.edge is None


@dataclass(frozen=True, slots=True, eq=False)
class Tree(Generic[P]):
    """A root and all below it.

    `rows` are the nodes, each with its level, from the root down: parents before their children, children in their
    order. `total_runs` leaves out missing ones; `max_depth` counts levels from 1.
    """

    root: Node[P]
    rows: Sequence[tuple[Node[P], int]]
    total_runs: int
    max_depth: int


def build(edges: Iterable[Edge[P]], root_id: bytes) -> Tree[P]:
    """The tree of a trace whose root is `root_id`, the same for any order of the edges.

    A root that is not among the edges is a missing node. Under the root also hang every missing parent, which
    carries its orphans; every other run without a parent; and every cycle, cut at its earliest member. The
    earliest is that of the smallest (start, id), and in this order siblings stand; a missing run starts with
    its first child. Of edges with the same id the earliest counts.
    """
    nodes = _nodes(edges)
    for id in _cuts(nodes, root_id):
        nodes[id].cycle = True
    in_order = list(nodes.values())
    root = nodes.setdefault(root_id, Node(root_id, None))
    for node in in_order:
        if node is not root:
            _parent(node, nodes, root).children.append(node)
    root.children.sort(key=_start_and_id)
    return _measured(root)


def subtree(tree: Tree[P], id: bytes) -> Tree[P] | None:
    """The tree from a run, or a missing one, down; None when the tree has no such node. Nodes are shared."""
    return next((_measured(node) for node, _ in tree.rows if node.id == id), None)


def render(tree: Tree[P], node_to_fields: Callable[[Node[P]], bytes]) -> bytes:
    """The tree as nested JSON: each node the object that `node_to_fields` gives, with `children` added to it.

    `node_to_fields` answers the text of a JSON object, without white space around it; ValueError otherwise.
    The text is written by hand because serialisers recurse (orjson stops at 254 levels).
    """
    text: list[bytes] = []
    waiting: list[Node[P] | bytes] = [tree.root]
    while waiting:
        item = waiting.pop()
        if isinstance(item, bytes):
            text.append(item)
            continue
        text.append(_opened(node_to_fields(item)))
        waiting.append(b"]}")
        for child in reversed(item.children):
            waiting += (child, b",")
        if item.children:
            waiting.pop()
    return b"".join(text)


def _opened(fields: bytes) -> bytes:
    if fields[:1] != b"{" or fields[-1:] != b"}":
        raise ValueError(f"the fields of a node are no JSON object: {fields[:80]!r}")
    return fields[:-1] + (b',"children":[' if len(fields) > 2 else b'"children":[')


def _nodes(edges: Iterable[Edge[P]]) -> dict[bytes, Node[P]]:
    """A node for each run, by its id; in the order in which siblings stand."""
    nodes: dict[bytes, Node[P]] = {}
    for edge in sorted(edges, key=lambda edge: (edge.start_us, edge.id, edge.parent_id or b"")):
        if edge.id not in nodes:
            nodes[edge.id] = Node(edge.id, edge)
    return nodes


def _cuts(nodes: dict[bytes, Node[P]], root_id: bytes) -> list[bytes]:
    """One run of each cycle: the root when the cycle passes through it, else the earliest."""
    cuts: list[bytes] = []
    walked_by: dict[bytes, bytes] = {}
    for first, node in nodes.items():
        parent_id = None if node.edge is None else node.edge.parent_id
        if parent_id is None or parent_id not in nodes or parent_id in walked_by:
            walked_by.setdefault(first, first)  # Where nearly all are: what is above was walked before.
            continue
        path: list[bytes] = []
        at: bytes | None = first
        while at is not None and at in nodes and at not in walked_by:
            walked_by[at] = first
            path.append(at)
            edge = nodes[at].edge
            at = None if edge is None else edge.parent_id
        if at is not None and walked_by.get(at) == first:
            cycle = path[path.index(at) :]
            cuts.append(root_id if root_id in cycle else min(cycle, key=lambda id: _start_and_id(nodes[id])))
    return cuts


def _parent(node: Node[P], nodes: dict[bytes, Node[P]], root: Node[P]) -> Node[P]:
    """The node under which a run hangs. A parent that never came is made here, and hung under the root."""
    parent_id = None if node.edge is None or node.cycle else node.edge.parent_id
    if parent_id is None:
        return root
    parent = nodes.get(parent_id)
    if parent is None:
        parent = nodes[parent_id] = Node(parent_id, None)
        root.children.append(parent)
    return parent


def _start_and_id(node: Node[P]) -> tuple[int, bytes]:
    """Where a node stands among its siblings. A missing one always has a child, with which it starts."""
    edge = node.edge or node.children[0].edge
    return (0 if edge is None else edge.start_us, node.id)


def _measured(root: Node[P]) -> Tree[P]:
    rows = _rows(root)
    total_runs = sum(node.edge is not None for node, _ in rows)
    return Tree(root, rows, total_runs, max(level for _, level in rows))


def _rows(root: Node[P]) -> list[tuple[Node[P], int]]:
    rows: list[tuple[Node[P], int]] = []
    waiting = [(root, 1)]
    while waiting:
        row = waiting.pop()
        rows.append(row)
        node, level = row
        if node.children:
            waiting += [(child, level + 1) for child in reversed(node.children)]
    return rows
