"""Ranges in the report of partial-load: few rows, and never one that claims what is not so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptools_plugins.partial_load.ranges import Row, compress, matches


def shown(pairs: list[tuple[str, str]], *more: str) -> list[str]:
    """The rows as text; `more` are names that are there but are not mapped."""
    rows = compress([(t, s, "") for t, s in pairs], more, more)
    assert_exact(rows, pairs, more)
    return [f"{row.target} <- {row.source}" for row in rows]


def assert_exact(rows: list[Row], pairs: list[tuple[str, str]], more: tuple[str, ...]) -> None:
    assert sorted(pair for row in rows for pair in row.pairs) == sorted(pairs)
    targets, sources = {t for t, _ in pairs}, {s for _, s in pairs}
    for row in rows:
        assert set(matches(row.target, targets | set(more))) == {t for t, _ in row.pairs}
        if "cat0(" not in row.source:
            assert set(matches(row.source, sources | set(more))) == {s for _, s in row.pairs}


def test_nothing_to_compress() -> None:
    assert shown([("fc", "head.linear")]) == ["fc <- head.linear"]
    assert shown([]) == []


def test_a_range_carried_as_it_is_and_with_an_offset() -> None:
    assert shown([(f"conv{i}", f"c{i}") for i in range(1, 5)]) == ["conv{1..4} <- c{1..4}"]
    assert shown([(f"conv{i}", f"b.{i + 9}") for i in range(3)]) == ["conv{0..2} <- b.{9..11}"]


def test_ranges_repeat_below_ranges() -> None:
    pairs = [
        (f"layer{s}.{b}.conv{c}", f"stage.{s - 1}.block{b}.c{c}")
        for s in (1, 2, 3)
        for b in (0, 1)
        for c in (1, 2)
    ]
    assert shown(pairs) == ["layer{1..3}.{0..1}.conv{1..2} <- stage.{0..2}.block{0..1}.c{1..2}"]


def bottlenecks() -> list[tuple[str, str]]:
    return [
        (f"layer{s}.{b}.conv1", f"s{s}.b{b}.conv1.conv")
        for s, blocks in ((1, 3), (2, 4), (3, 6), (4, 3))
        for b in range(blocks)
    ]


def test_a_star_where_the_ranges_differ() -> None:
    assert shown(bottlenecks()) == ["layer{1..4}.*.conv1 <- s{1..4}.b*.conv1.conv"]


@pytest.mark.parametrize("extra", ["layer2.9.conv1", "s4.b7.conv1.conv"])
def test_no_star_where_it_would_stand_for_more(extra: str) -> None:
    rows = shown(bottlenecks(), extra)
    assert len(rows) == 4
    assert "layer3.{0..5}.conv1 <- s3.b{0..5}.conv1.conv" in rows


def test_a_star_is_carried_as_it_is_only() -> None:
    pairs = [(t, s.replace(".b", ".b1")) for t, s in bottlenecks()]  # b0 -> b10
    assert all("*" not in row for row in shown(pairs))


def test_a_gap_ends_a_range() -> None:
    assert shown([(f"c{i}", f"d{i}") for i in (0, 1, 2, 5, 6, 9)]) == [
        "c{0..2} <- d{0..2}",
        "c{5..6} <- d{5..6}",
        "c9 <- d9",
    ]


def test_numbers_that_do_not_run_along_together() -> None:
    assert shown([("a0", "b1"), ("a1", "b0")]) == ["a0 <- b1", "a1 <- b0"]
    assert shown([("a0", "b0"), ("a1", "b2"), ("a2", "b4")]) == [
        "a0 <- b0",
        "a1 <- b2",
        "a2 <- b4",
    ]


def test_one_source_for_many_is_said_line_by_line() -> None:
    assert shown([("a0", "b"), ("a1", "b")]) == ["a0 <- b", "a1 <- b"]


def test_two_numbers_of_one_name_that_go_up_together_would_read_as_a_product() -> None:
    assert shown([(f"a{i}", f"b{i}.c{i}") for i in range(3)]) == [
        f"a{i} <- b{i}.c{i}" for i in range(3)
    ]


def test_a_flat_list_of_blocks_is_a_row_per_stage() -> None:
    pairs = [(f"s{s}.{b}", f"blocks.{2 * s + b}") for s in range(3) for b in range(2)]
    assert shown(pairs) == [
        "s0.{0..1} <- blocks.{0..1}",
        "s1.{0..1} <- blocks.{2..3}",
        "s2.{0..1} <- blocks.{4..5}",
    ]


def test_several_sources_go_up_together() -> None:
    pairs = [(f"h.{i}.qkv", f"cat0(l.{i}.q, l.{i}.k, l.{i}.v)") for i in range(4)]
    assert shown(pairs) == ["h.{0..3}.qkv <- cat0(l.{0..3}.q, l.{0..3}.k, l.{0..3}.v)"]


def test_numbers_with_a_leading_zero_are_words() -> None:
    assert shown([("a01", "b01"), ("a02", "b02")]) == ["a01 <- b01", "a02 <- b02"]


def test_what_is_of_another_kind_has_a_row_of_its_own() -> None:
    rows = compress([("0", "a.0", "conv"), ("1", "a.1", "bn"), ("2", "a.2", "bn")])
    assert [(row.target, row.kind) for row in rows] == [("0", "conv"), ("{1..2}", "bn")]


def test_rows_stand_in_the_order_of_the_target() -> None:
    pairs = [("stem", "s"), ("b1.x", "c1.x"), ("b1.y", "c1.y"), ("b2.x", "c2.x"), ("b2.y", "c2.y")]
    assert [row.split(" ")[0] for row in shown(pairs)] == ["stem", "b{1..2}.x", "b{1..2}.y"]


numbers = st.integers(0, 3)
names = st.builds(
    lambda a, b, c, t: f"layer{a}.{b}.conv{c}{t}", numbers, numbers, numbers, st.sampled_from("xy")
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, names, max_size=40), st.lists(names, max_size=6))
def test_whatever_is_mapped_rows_stand_for_exactly_their_pairs(
    mapping: dict[str, str], more: list[str]
) -> None:
    sources = {s: t for t, s in mapping.items()}  # one source, one target
    shown([(t, s) for s, t in sources.items()], *more)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=5),
    st.integers(0, 3),
    st.integers(0, 2),
    st.booleans(),
)
def test_whatever_network_of_stages(
    blocks: list[int], offset: int, below: int, other: bool
) -> None:
    pairs = [
        (f"layer{s}.{b}.conv", f"{'m' if other else 'stage'}{s + offset}.{b + below}.c")
        for s, count in enumerate(blocks)
        for b in range(count)
    ]
    rows = shown(pairs)
    stages = sum(count > 0 for count in blocks)
    assert len(rows) <= max(stages, 1) if pairs else not rows
