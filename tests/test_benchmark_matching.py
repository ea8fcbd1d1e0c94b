"""The benchmarks of matching: what is right counts as right, and both print their tables."""

from __future__ import annotations

import gzip
import json
import sys
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import pytest

from benchmarks import matching, matching_others, remap
from benchmarks.matching import Found, Load
from benchmarks.shapes import forked

LINE: dict[str, Any] = {
    "name": "a", "kind": "real", "note": "",
    "src": [["w", [4, 2], True], ["b", [4], True], ["n", [], False]],
    "tgt": [["x.w", [4, 2], True], ["x.b", [4], True], ["x.n", [], False], ["new", [9], True]],
    "truth": {"x.w": "w", "x.b": "b"},
}  # fmt: skip
RIGHT: dict[str, Load] = {"x.w": (None, ("w",)), "x.b": (None, ("b",))}


def judged(found: Found, **changes: Any) -> tuple[int, int, int]:
    """Return whether a pair is fully right, how many keys are wrong and how many of them certain."""
    counts = matching.score(matching.parse("file", LINE | changes), found)
    return counts["full"], counts["wrong"], counts["certain_wrong"]


def test_a_pair_is_right_when_everything_is_and_nothing_else_is_loaded() -> None:
    assert judged(Found(RIGHT)) == (1, 0, 0)
    assert judged(Found({"x.w": (None, ("w",))})) == (0, 0, 0)
    assert judged(Found(RIGHT | {"new": (None, ("b",))})) == (0, 1, 0)
    assert judged(Found(RIGHT | {"x.b": (None, ("w",))}, frozenset({"x.b"}))) == (0, 1, 1)
    assert judged(Found(RIGHT | {"x.n": (None, ("n",))})) == (1, 0, 0), "counters do not count"


def test_nothing_may_be_loaded_where_truth_has_nothing() -> None:
    assert judged(Found({}), kind="negative", truth={}) == (1, 0, 0)
    assert judged(Found(RIGHT), kind="negative", truth={}) == (0, 2, 0)


def test_an_open_choice_is_reported_not_made() -> None:
    choices = {"x.b": ["b", "w"]}
    decided: dict[str, Load] = {"x.w": RIGHT["x.w"]}
    given = {"kind": "ambiguous", "truth": {"x.w": "w"}, "truth_alternatives": choices}
    assert judged(Found(decided, ambiguous={"x.b": ["w", "b"]}), **given) == (1, 0, 0)
    assert judged(Found(decided), **given) == (0, 0, 0)
    assert judged(Found(RIGHT), **given) == (0, 1, 0)
    either = {"truth": {"x.w": "w"}, "truth_alternatives": choices}
    assert judged(Found(RIGHT), **either) == (1, 0, 0), "of a decidable kind either one is right"


def test_a_transformed_tensor_needs_the_right_operation() -> None:
    note = json.dumps({"ops": {"x.w": "cat0", "x.b": "reshape"}})
    given = {"kind": "transform", "note": note, "truth": {"x.w": ["w", "b"], "x.b": ["b"]}}
    fused: dict[str, Load] = RIGHT | {"x.w": ("cat0", ("w", "b"))}
    assert judged(Found(fused), **given) == (1, 0, 0)
    assert judged(Found(RIGHT), **given) == (0, 1, 0)
    assert judged(Found(fused | {"x.w": ("cat0", ("b", "w"))}), **given) == (0, 1, 0)


def test_the_other_methods_do_what_their_authors_say() -> None:
    source, target = {"a": (2, 3), "b": (4,)}, {"m.b": (4,), "m.a": (3, 2)}
    assert matching_others.zipped(source, {"x": (3, 2), "y": (5,)}) == {"x": "a"}
    with pytest.raises(ValueError, match="Remap failed"):
        matching_others.timm(source, {"x": (3, 2), "y": (5,)})
    assert matching_others.suffix(source, target) == {"m.b": "b"}
    longest = {"b": (4,), "m.b": (4,)}
    assert matching_others.suffix(longest, {"x.m.b": (4,)}) == {"x.m.b": "m.b"}
    with pytest.raises(ValueError, match="one checkpoint key"):
        matching_others.suffix(source, {"m.b": (4,), "n.b": (4,)})


@pytest.mark.parametrize("name", matching_others.PACKAGES)
def test_a_package_finds_a_state_dict_in_itself(name: str) -> None:
    pytest.importorskip(name)
    some = {"a.weight": (2, 3), "a.bias": (2,), "b.weight": (5, 2)}
    assert matching_others.OTHERS[name](some, some) == {key: key for key in some}


def test_what_does_not_end_is_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(source: object, target: object) -> dict[str, str]:
        while True:
            pass

    monkeypatch.setitem(matching_others.OTHERS, "zip", stuck)
    pair = matching.made()[0]
    assert "counts" not in forked(partial(matching.judge, "zip", pair, 0.05), (5, 8))
    assert matching.totals([matching.Row(pair, None, 0.05)])["out of time"] == "1"


def test_it_prints_its_tables_without_any_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(matching, "FOLDER", tmp_path)
    matching.main([])
    out, errors = capsys.readouterr()
    assert "name files of pairs" in errors
    for label in ("rename", "order", "negative", "ambiguous", "all"):
        assert out.count(f"| made, {label}  ") == 2, label
    assert "| certain but wrong | " in out
    for name in matching_others.PACKAGES:
        assert (f"{name}: not installed" in out) != matching_others.installed(name)


def test_it_reads_files_and_takes_some_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.jsonl.gz"
    with gzip.open(file, "wt") as lines:
        lines.writelines(f"{json.dumps(LINE)}\n" for _ in range(2 * matching.EVERY))
    matching.main([str(file), "--quick", "--others", ""])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()]
    found = {row[1].strip(): row[2].strip() for row in rows if len(row) > 1}
    assert found["mine, real"] == found["mine, all"] == "2"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")
@pytest.mark.parametrize("suffix", remap.FORMATS)
def test_remap_prints_its_table(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = str(remap.SMALL)
    remap.main(["--gb", size, "--pairs", "1", "--folder", str(tmp_path), "--formats", suffix])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if suffix in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert len(cells) == len(remap.HEADS)
    assert cells[0] == f"4 MB {suffix}"
    assert float(cells[7]) > 10, "anonymous memory was seen"
    assert cells[8].endswith(f"/{len(remap.shapes(remap.SMALL))}")
    assert not list(tmp_path.iterdir())


def test_remap_makes_checkpoints_of_the_size_that_is_asked_for() -> None:
    for gb in (0.1, 4):
        shapes = remap.shapes(gb)
        assert 4 * sum(map(prod, shapes.values())) == pytest.approx(gb * 1e9, rel=0.1)
        assert len({remap.renamed(key) for key in shapes} - shapes.keys()) == len(shapes)
