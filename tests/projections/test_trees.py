import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.trees import Edge, Node, Tree, build, render, subtree

ROOT = b"root"
IDS = [ROOT, *(bytes([letter]) for letter in b"abcdefgh")]

graphs = st.lists(
    st.builds(
        Edge,
        id=st.sampled_from(IDS),
        parent_id=st.sampled_from([None, *IDS]),
        start_us=st.integers(0, 3),
        payload=st.none(),
    ),
    unique_by=lambda edge: edge.id,
)


def edge(id: str, parent: str | None = None, start_us: int = 0) -> Edge[None]:
    return Edge(id.encode(), None if parent is None else parent.encode(), start_us, None)


def drawn(tree: Tree[None]) -> list[str]:
    """One line a node: a dot for each level, the id, `?` when missing, `*` when a cycle was cut there."""
    return ["." * (depth - 1) + node.id.decode() + "?" * node.missing + "*" * node.cycle for node, depth in tree.rows]


def named(node: Node[None]) -> bytes:
    return json.dumps({"id": node.id.hex(), "missing": node.missing}).encode()


def test_a_tree_is_built_from_parents() -> None:
    tree = build([edge("c", "b"), edge("root"), edge("b", "root", 2), edge("a", "root", 1)], ROOT)
    assert drawn(tree) == ["root", ".a", ".b", "..c"]
    assert (tree.total_runs, tree.max_depth) == (4, 3)


def test_a_root_alone_is_one_level() -> None:
    tree = build([edge("root")], ROOT)
    assert (tree.total_runs, tree.max_depth, tree.root.missing) == (1, 1, False)


def test_siblings_stand_by_start_then_id() -> None:
    tree = build([edge("root"), edge("c", "root", 1), edge("b", "root", 1), edge("a", "root", 2)], ROOT)
    assert drawn(tree) == ["root", ".b", ".c", ".a"]


def test_a_root_that_never_came_is_a_missing_node() -> None:
    tree = build([edge("a", "root"), edge("b", "a")], ROOT)
    assert drawn(tree) == ["root?", ".a", "..b"]
    assert (tree.total_runs, tree.max_depth) == (2, 3)


def test_a_trace_without_any_run_is_a_missing_root() -> None:
    tree: Tree[None] = build([], ROOT)
    assert drawn(tree) == ["root?"]
    assert (tree.total_runs, tree.max_depth) == (0, 1)


def test_orphans_hang_under_one_placeholder_that_is_not_counted() -> None:
    tree = build([edge("root"), edge("b", "gone", 5), edge("a", "gone", 2), edge("c", "root", 3)], ROOT)
    assert drawn(tree) == ["root", ".gone?", "..a", "..b", ".c"]
    assert (tree.total_runs, tree.max_depth) == (4, 3)


def test_a_missing_run_stands_where_its_first_child_starts_and_then_by_its_own_id() -> None:
    edges = [
        edge("root"),
        edge("a", "gone", 1),
        edge("b", "root", 1),
        edge("z", "root", 1),
        edge("y", "root"),
    ]
    assert drawn(build(edges, ROOT)) == ["root", ".y", ".b", ".gone?", "..a", ".z"]


def test_a_second_run_without_parent_hangs_under_the_root() -> None:
    assert drawn(build([edge("root", start_us=9), edge("a")], ROOT)) == ["root", ".a"]


def test_a_run_that_is_its_own_parent_is_a_cycle_of_one() -> None:
    assert drawn(build([edge("root"), edge("a", "a"), edge("b", "a")], ROOT)) == ["root", ".a*", "..b"]


def test_a_cycle_is_cut_at_its_earliest_member() -> None:
    edges = [edge("root"), edge("a", "c", 2), edge("b", "a", 1), edge("c", "b", 3), edge("d", "c", 0)]
    assert drawn(build(edges, ROOT)) == ["root", ".b*", "..c", "...d", "...a"]


def test_members_of_a_cycle_that_start_together_are_told_apart_by_id() -> None:
    assert drawn(build([edge("root"), edge("b", "a"), edge("a", "b")], ROOT)) == ["root", ".a*", "..b"]


def test_a_cycle_through_the_root_is_cut_at_the_root() -> None:
    assert drawn(build([edge("root", "a", 9), edge("a", "root", 1)], ROOT)) == ["root*", ".a"]
    assert drawn(build([edge("root", "root")], ROOT)) == ["root*"]


def test_a_root_that_names_a_parent_is_the_root_all_the_same() -> None:
    assert drawn(build([edge("root", "elsewhere"), edge("a", "root")], ROOT)) == ["root", ".a"]


def test_the_same_run_twice_stands_once() -> None:
    edges = [edge("root"), edge("a", "root", 1), edge("a", "b", 1), edge("a", "root", 2), edge("b", "root")]
    assert drawn(build(edges, ROOT)) == drawn(build(edges[::-1], ROOT)) == ["root", ".b", "..a"]


def test_a_subtree_is_the_tree_from_a_run_down() -> None:
    tree = build([edge("root"), edge("a", "root"), edge("b", "a"), edge("c", "b"), edge("d", "root")], ROOT)
    below = subtree(tree, b"a")
    assert below is not None
    assert drawn(below) == ["a", ".b", "..c"]
    assert (below.total_runs, below.max_depth) == (3, 3)
    assert subtree(tree, b"nowhere") is None


def test_a_node_carries_the_payload_of_its_run() -> None:
    tree = build([Edge(ROOT, None, 0, {"name": "agent"})], ROOT)
    assert tree.root.edge is not None
    assert tree.root.edge.payload["name"] == "agent"


def test_a_rendered_tree_is_nested_json() -> None:
    tree = build([edge("root"), edge("a", "root", 1), edge("b", "a"), edge("c", "root", 2)], ROOT)
    assert json.loads(render(tree, lambda node: b'{"id":"%s"}' % node.id)) == {
        "id": "root",
        "children": [
            {"id": "a", "children": [{"id": "b", "children": []}]},
            {"id": "c", "children": []},
        ],
    }


def test_a_node_without_fields_renders_its_children_alone() -> None:
    tree = build([edge("root"), edge("a", "root")], ROOT)
    assert render(tree, lambda _: b"{}") == b'{"children":[{"children":[]}]}'


@pytest.mark.parametrize("fields", [b"", b"[]", b'{"id":1', b"null"])
def test_rendering_refuses_fields_that_are_no_object(fields: bytes) -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        render(build([edge("root")], ROOT), lambda _: fields)


@given(graphs)
def test_every_run_appears_exactly_once(edges: list[Edge[None]]) -> None:
    tree = build(edges, ROOT)
    runs = [node.id for node, _ in tree.rows if not node.missing]
    assert sorted(runs) == sorted(edge.id for edge in edges)
    assert tree.total_runs == len(edges)
    assert tree.root.id == ROOT


@given(graphs)
def test_every_run_hangs_under_its_parent_unless_it_has_none_or_was_cut(edges: list[Edge[None]]) -> None:
    tree = build(edges, ROOT)
    for node, _ in tree.rows:
        for child in node.children:
            named_parent = child.edge and child.edge.parent_id
            expected = ROOT if child.cycle or named_parent is None else named_parent
            assert node.id == expected


@given(graphs)
def test_missing_nodes_are_the_parents_and_the_root_that_never_came(edges: list[Edge[None]]) -> None:
    tree = build(edges, ROOT)
    came = {edge.id for edge in edges}
    named = {edge.parent_id for edge in edges if edge.id != ROOT} - {None} | {ROOT}
    assert {node.id for node, _ in tree.rows if node.missing} == named - came


@given(graphs)
def test_a_run_is_marked_as_cut_once_for_each_cycle(edges: list[Edge[None]]) -> None:
    cut = [node.id for node, _ in build(edges, ROOT).rows if node.cycle]
    assert sorted(cut) == sorted(canonical(edges))


def canonical(edges: Iterable[Edge[None]]) -> set[bytes]:
    """By definition, slowly: on a cycle a run is its own ancestor; the root counts, else the earliest."""
    by_id = {edge.id: edge for edge in edges}
    members = set()
    for id in by_id:
        cycle = []
        at: bytes | None = id
        for _ in by_id:
            if at not in by_id:
                break
            cycle.append(at)
            at = by_id[at].parent_id
            if at == id:
                earliest = min(cycle, key=lambda id: (by_id[id].start_us, id))
                members.add(ROOT if ROOT in cycle else earliest)
                break
    return members


@given(st.data(), graphs)
def test_the_order_of_the_edges_does_not_matter(data: st.DataObject, edges: list[Edge[None]]) -> None:
    shuffled = data.draw(st.permutations(edges))
    assert drawn(build(shuffled, ROOT)) == drawn(build(edges, ROOT))
    assert render(build(shuffled, ROOT), named) == render(build(edges, ROOT), named)


@given(graphs)
def test_a_rendered_tree_holds_its_rows(edges: list[Edge[None]]) -> None:
    tree = build(edges, ROOT)
    met = []
    waiting = [json.loads(render(tree, named))]
    while waiting:
        node = waiting.pop()
        met.append(node["id"])
        waiting.extend(reversed(node["children"]))
    assert met == [node.id.hex() for node, _ in tree.rows]


def chain(length: int) -> list[Edge[None]]:
    return [Edge(b"%05d" % n, b"%05d" % (n - 1) if n else None, n, None) for n in range(length)]


def fan(length: int) -> list[Edge[None]]:
    return [Edge(b"%05d" % n, b"%05d" % 0 if n else None, -n, None) for n in range(length)]


def mixed(length: int) -> list[Edge[None]]:
    """Parents all over the place, some later than their children, some on cycles, some missing."""
    return [Edge(b"%05d" % n, b"%05d" % (n * 7919 % (length + 500)), n % 1_000, None) for n in range(length)]


@pytest.mark.parametrize(
    ("edges", "depth"),
    [(chain(10_000), 10_000), (fan(10_000), 2), (mixed(25_000), None)],
    ids=["10,000 deep", "10,000 wide", "25,000 mixed"],
)
def test_large_traces_are_built_and_rendered_whole(edges: list[Edge[None]], depth: int | None) -> None:
    tree = build(edges[::-1], b"%05d" % 0)
    text = render(tree, lambda node: b'{"id":"%s"}' % node.id)
    assert tree.total_runs == len(edges)
    assert depth is None or tree.max_depth == depth
    assert text.count(b'"children"') == sum(1 for _ in tree.rows)


def test_a_cycle_of_10_000_runs_is_cut_once() -> None:
    edges = chain(10_000)
    edges[0] = Edge(b"00000", b"09999", 0, None)
    tree = build(edges, ROOT)
    assert [node.id for node, _ in tree.rows if node.cycle] == [b"00000"]
    assert tree.max_depth == 10_001
