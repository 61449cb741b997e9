from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.sketch import RELATIVE_ACCURACY, add, bucket, changed, merge, midpoint, pack, quantile, total, unpack

durations = st.one_of(st.integers(-5, 200), st.integers(0, 10**7), st.integers(0, 2**62))
quantiles = st.one_of(st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0]), st.floats(0, 1))


def sketch_of(values: list[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for us in values:
        add(counts, us)
    return counts


def test_durations_below_64_microseconds_are_exact() -> None:
    assert [midpoint(bucket(us)) for us in range(64)] == list(range(64))


def test_zero_and_negative_durations_share_bucket_0() -> None:
    assert bucket(0) == bucket(-1) == bucket(-(2**70)) == 0
    assert quantile(sketch_of([-3, 0, -(10**9)]), 0.5) == 0


def test_buckets_follow_each_other_without_a_gap() -> None:
    numbers = [bucket(us) for us in range(5_000)]
    assert set(numbers) == set(range(numbers[-1] + 1))
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("us", [2**n + d for n in range(7, 62) for d in (-1, 0, 1)])
def test_the_middle_of_a_bucket_is_near_its_edges(us: int) -> None:
    assert abs(midpoint(bucket(us)) - us) <= us * RELATIVE_ACCURACY
    assert bucket(midpoint(bucket(us))) == bucket(us)


@given(durations, durations)
def test_buckets_keep_the_order_of_durations(a: int, b: int) -> None:
    shorter, longer = sorted((a, b))
    assert bucket(shorter) <= bucket(longer)


@given(st.lists(durations), st.lists(durations))
def test_what_is_added_and_subtracted_again_leaves_no_trace(kept: list[int], passing: list[int]) -> None:
    counts = sketch_of(kept)
    before = dict(counts)
    for us in passing:
        add(counts, us)
    for us in reversed(passing):
        add(counts, us, -1)
    assert counts == before
    assert total(counts) == len(kept)


@given(st.lists(durations), st.lists(durations))
def test_changes_up_and_down_again_leave_no_trace(kept: list[int], passing: list[int]) -> None:
    before, ups = sketch_of(kept), sketch_of(passing)
    downs = {number: -count for number, count in ups.items()}
    assert changed(before, ups) == merge([before, ups])
    assert changed(changed(before, ups), downs) == before == sketch_of(kept)


def test_taking_away_more_than_was_counted_is_refused_and_changes_nothing() -> None:
    counts = sketch_of([5, 1_000_000])
    with pytest.raises(ValueError, match="would hold -1"):
        add(counts, 5, -2)
    with pytest.raises(ValueError, match="would hold -1"):
        add(counts, 6, -1)
    assert counts == sketch_of([5, 1_000_000])


@given(st.lists(durations, min_size=1), quantiles)
def test_a_quantile_is_near_the_value_of_that_rank(values: list[int], q: float) -> None:
    ranked = sorted(max(us, 0) for us in values)
    expected = ranked[max(1, ceil(round(q * len(ranked), 6))) - 1]
    found = quantile(sketch_of(values), q)
    assert found is not None
    assert abs(found - expected) <= expected * RELATIVE_ACCURACY


def test_quantiles_of_1_to_100_are_their_ranks() -> None:
    counts = sketch_of([us * 10 for us in range(1, 101)])
    assert quantile(counts, 0.07) == midpoint(bucket(70))
    assert quantile(counts, 0.5) == midpoint(bucket(500))
    assert quantile(counts, 0.99) == midpoint(bucket(990))
    assert quantile(counts, 1) == midpoint(bucket(1_000))


def test_an_empty_sketch_has_no_quantile() -> None:
    assert quantile({}, 0.5) is None


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_quantile_outside_0_and_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile({1: 1}, q)


@given(st.lists(durations), st.lists(durations))
def test_a_merged_sketch_is_the_sketch_of_all_values(a: list[int], b: list[int]) -> None:
    assert merge([sketch_of(a), sketch_of(b)]) == sketch_of(a + b)


@given(st.data(), st.lists(durations))
def test_equal_sketches_pack_to_equal_bytes(data: st.DataObject, values: list[int]) -> None:
    shuffled = data.draw(st.permutations(values))
    assert pack(sketch_of(values)) == pack(sketch_of(shuffled))
    assert unpack(pack(sketch_of(values))) == sketch_of(values)


def test_packing_is_small() -> None:
    """A thousand different latencies of 1 ms to 10 s, in under a kilobyte."""
    assert len(pack(sketch_of([1_000 + 10_000 * n for n in range(1_000)]))) < 1_000


@given(st.binary(max_size=12))
def test_unpack_takes_only_what_pack_makes(packed: bytes) -> None:
    try:
        counts = unpack(packed)
    except ValueError:
        return
    assert pack(counts) == packed


@pytest.mark.parametrize("counts", [{1: 0}, {1: -1}, {-1: 1}])
def test_pack_refuses_what_is_no_sketch(counts: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="durations"):
        pack(counts)
