"""How often the tensors of a state_dict find their place in another network, beside other methods.

    python -m benchmarks.matching [FILE.jsonl.gz ...] [--quick] [--others zip,suffix] [--limit 20]

A line of a file is a pair of state_dicts with known truth: {"name", "kind", "note", "src": [[key, shape,
is_floating], ...] in registration order, "tgt": the same, "truth": {target key: source key, or several,
or null}, "truth_alternatives": {target key: [source keys]}}. Without a FILE, those in ../shared/pairs
beside the repository; where there are none, a few made ones.

A pair is fully right when every floating key of the truth is loaded as in the truth, nothing else is,
and, where the truth is open (`OPEN`), each choice is reported with its candidates and none is made. How
transformed tensors are made ("note": '{"ops": {target key: operation}}') must be right as well.

Every pair meets every method in a process of its own, bounded in wall time and memory.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from functools import partial
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

from benchmarks.matching_others import FLOATS, OTHERS, PACKAGES, Shapes, installed
from benchmarks.shapes import forked

Load = tuple[str | None, tuple[str, ...]]  # operation (None: a copy) and source keys

OURS = "ptools"
OPEN = ("ambiguous", "shuffle_undecidable")  # kinds in which nothing but a person can decide
APART = ("transform", "negative", "neg", *OPEN)
PLAIN = "all that only ask which is which"  # that is, all but APART
UNLIKE_OURS = ("refused", "out of time")
FOLDER = Path(__file__).parents[2] / "shared" / "pairs"
EVERY = 10  # of --quick
MEMORY = 8  # GiB


class Pair(NamedTuple):
    """Two state_dicts, and which tensor of the one belongs to which of the other."""

    file: str
    kind: str
    name: str
    source: Shapes
    target: Shapes
    floats: frozenset[str]  # of the source
    right: Mapping[str, frozenset[Load]]  # floating target key -> all that is right; none: nothing
    open: Mapping[str, frozenset[str]]  # target key -> candidates of what cannot be decided


class Found(NamedTuple):
    """What a method says of a pair."""

    loaded: Mapping[str, Load]
    certain: frozenset[str] = frozenset()
    ambiguous: Mapping[str, Sequence[str]] = {}


class Row(NamedTuple):
    """What a method made of a pair; no counts: it did not end."""

    pair: Pair
    counts: Mapping[str, int] | None
    seconds: float  # of CPU
    refused: str = ""


# -- pairs -------------------------------------------------------------------------------------------


def read(file: Path) -> Iterator[Pair]:
    """Yield the pairs of a file."""
    with gzip.open(file, "rt") as lines:
        for line in lines:
            yield parse(file.name.partition(".")[0], json.loads(line))


def parse(file: str, line: Mapping[str, Any]) -> Pair:
    """Return the pair of one line."""
    alternatives, undecidable = line.get("truth_alternatives") or {}, line["kind"] in OPEN
    operations = json.loads(line["note"]).get("ops", {}) if line["kind"] == "transform" else {}
    right = {}
    for key, _, floating in line["tgt"]:
        if not floating:
            continue
        truth = line["truth"].get(key) or []
        every = [tuple([truth] if isinstance(truth, str) else truth)]
        every += [] if undecidable else [(one,) for one in alternatives.get(key, [])]
        named = operations.get(key)
        operation = None if named == "reshape" else named  # the same elements: a copy
        right[key] = frozenset((operation, sources) for sources in every if sources)
    source, target = (
        {key: tuple(shape) for key, shape, _ in line[side]} for side in ("src", "tgt")
    )
    floats = frozenset(key for key, _, floating in line["src"] if floating)
    some = {key: frozenset(one) for key, one in alternatives.items()} if undecidable else {}
    return Pair(file, line["kind"], line["name"], source, target, floats, right, some)


def made() -> list[Pair]:
    """Return a few pairs made of one small network: renamed, reversed, a different one, two copies."""
    old = {"stem.conv": [8, 3, 3, 3], "fc": [10, 64]}
    for index, width in enumerate((8, 16, 32)):
        old[f"layer{index}.conv1"] = [2 * width, width, 3, 3]
        old[f"layer{index}.conv2"] = [2 * width, 2 * width, 3, 3]
    names = {key: key.replace("layer", "body.stage.").replace("conv", "c") for key in old}
    new = {names[key]: shape for key, shape in old.items()}
    truth = {new: old for old, new in names.items()}
    other = {f"mlp.{index}": [24, 24 + index] for index in range(6)}
    copies = {f"{one}.{key}": shape for one in ("model", "ema") for key, shape in old.items()}
    choices = {key: [f"model.{key}", f"ema.{key}"] for key in old}
    return [
        parse("made", line)
        for line in (
            _line("rename", old, new, truth),
            _line("order", old, dict(reversed(new.items())), truth),
            _line("negative", old, other, {}),
            _line("ambiguous", copies, old, {}, choices),
        )
    ]


def _line(
    kind: str,
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    truth: Mapping[str, str],
    choices: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return a line as a file has it, of modules that have nothing but a weight."""
    src, tgt = ([[f"{key}.weight", shape, True] for key, shape in side.items()]
                for side in (source, target))  # fmt: skip
    return {
        "name": f"made {kind}", "kind": kind, "note": "", "src": src, "tgt": tgt,
        "truth": {f"{new}.weight": f"{old}.weight" for new, old in truth.items()},
        "truth_alternatives": {
            f"{new}.weight": [f"{one}.weight" for one in every]
            for new, every in (choices or {}).items()
        },
    }  # fmt: skip


# -- scores ------------------------------------------------------------------------------------------


def score(pair: Pair, found: Found) -> dict[str, int]:
    """Return what is right and what is wrong, in floating keys of the target."""
    counts = Counter(right=0, wrong=0, certain_wrong=0)
    for key, right in pair.right.items():
        if key not in found.loaded:
            continue
        good = found.loaded[key] in right
        counts["right" if good else "wrong"] += 1
        counts["certain_wrong"] += not good and key in found.certain
    reported = all(some & set(found.ambiguous.get(key, ())) for key, some in pair.open.items())
    every = sum(map(bool, pair.right.values()))
    full = reported and not counts["wrong"] and counts["right"] == every
    return {"full": int(full), **counts}


def find(method: str, pair: Pair) -> Found:
    """Return what `method` says of a pair; it may raise, which is how most of them refuse."""
    if method != OURS:
        source, target = pair.source, pair.target
        if method in FLOATS:
            source = {key: source[key] for key in source if key in pair.floats}
            target = {key: target[key] for key in pair.right}
        mapping = OTHERS[method](source, target)
        return Found({key: (None, (old,)) for key, old in mapping.items()})
    from ptools.matching import match

    result = match(pair.source, pair.target)
    loaded: dict[str, Load] = {
        key: (operation, tuple(sources)) for key, (operation, sources) in result.transforms.items()
    }
    loaded |= {key: (None, (old,)) for key, old in result.mapping.items()}
    certain = frozenset(key for key, word in result.confidence.items() if word == "certain")
    return Found(loaded, certain, result.ambiguous)


def judge(method: str, pair: Pair, limit: float) -> dict[str, Any]:
    """Score one pair in this process, which dies after `limit` seconds of wall time."""
    signal.setitimer(signal.ITIMER_REAL, limit)
    begun, refused, found = process_time(), "", Found({})
    try:
        found = find(method, pair)
    except MemoryError:
        raise
    except Exception as error:
        refused = f"{type(error).__name__}: {error}"[:200]
    return {"counts": score(pair, found), "seconds": process_time() - begun, "refused": refused}


def run(methods: Sequence[str], pairs: Sequence[Pair], limit: float) -> dict[str, list[Row]]:
    """Return the rows of every method; stderr says how far it is."""
    for name in methods:  # what is forked need not import it again
        with suppress(Exception), redirect_stdout(StringIO()):
            find(name, made()[0])
    bounds = (math.ceil(limit) + 5, MEMORY)
    rows = defaultdict(list)
    for at, one in enumerate(pairs, 1):
        for name in methods:
            answer = forked(partial(judge, name, one, limit), bounds)
            ended = "counts" in answer
            rows[name].append(Row(one, **answer) if ended else Row(one, None, limit))
        if at % 50 == 0:
            print(f"{at} of {len(pairs)} pairs", file=sys.stderr, flush=True)
    return dict(rows)


# -- tables ------------------------------------------------------------------------------------------


def groups(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Return the rows of the tables: the kinds of pairs of every file, and some kinds together."""
    found: dict[str, list[Pair]] = {}
    for file in dict.fromkeys(one.file for one in pairs):
        mine = [one for one in pairs if one.file == file]
        for kind in sorted({one.kind for one in mine}):
            found[f"{file}, {kind}"] = [one for one in mine if one.kind == kind]
        found[f"{file}, {PLAIN}"] = [one for one in mine if one.kind not in APART]
        found[f"{file}, all"] = mine
    return found


def totals(rows: Sequence[Row]) -> dict[str, str]:
    """Return figure -> cell for one method and some pairs."""
    counts = [row.counts for row in rows if row.counts is not None]
    sums: Counter[str] = Counter()
    for one in counts:
        sums.update(one)
    return {
        "pairs": str(len(rows)),
        "fully right": str(sums["full"]),
        "with a wrong key": str(sum(one["wrong"] > 0 for one in counts)),
        "wrong keys": str(sums["wrong"]),
        "certain but wrong": str(sums["certain_wrong"]),
        "refused": str(sum(bool(row.refused) for row in rows)),
        "out of time": str(len(rows) - len(counts)),
        "CPU s": f"{sum(row.seconds for row in rows):.1f}",
        "slowest, s": f"{max((row.seconds for row in rows), default=0.0):.2f}",
    }


def report(rows: Mapping[str, Sequence[Row]], pairs: Sequence[Pair]) -> None:
    """Print the tables of the README."""
    kinds = groups(pairs)
    own = {label: totals(_of(rows[OURS], some)) for label, some in kinds.items()}
    some = [figure for figure in next(iter(own.values())) if figure not in UNLIKE_OURS]
    table([OURS, *some], [[label, *(one[f] for f in some)] for label, one in own.items()])
    if len(rows) == 1:
        return
    heads = [f"{name} {version(name)}" if name in PACKAGES else name for name in rows]
    lines = [
        [label, str(len(some)), *(beside(totals(_of(rows[name], some))) for name in rows)]
        for label, some in kinds.items()
    ]
    table(["fully right (with a wrong key: wrong keys)", "pairs", *heads], lines)
    every = {name: totals(some) for name, some in rows.items()}
    for name in every.keys() - {OURS}:
        every[name]["certain but wrong"] = "-"  # they say nothing of the sort
    figures = list(every[OURS])
    table(["all pairs", *heads], [[f, *(every[name][f] for name in rows)] for f in figures])


def _of(rows: Sequence[Row], pairs: Sequence[Pair]) -> list[Row]:
    some = {id(one) for one in pairs}
    return [row for row in rows if id(row.pair) in some]


def beside(total: Mapping[str, str]) -> str:
    """Return how many are fully right and, where some are wrong, how many are and by how much."""
    wrong, keys = total["with a wrong key"], total["wrong keys"]
    return total["fully right"] + (f" ({wrong}: {keys})" if wrong != "0" else "")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table as the README has it, columns aligned."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for cells in (heads, ["-" * width for width in widths], *rows):
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        print("|", " | ".join(padded), "|")
    print(flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.jsonl.gz")
    parser.add_argument("--quick", action="store_true", help=f"Every {EVERY}th pair.")
    parser.add_argument("--others", default=",".join(OTHERS), help="Methods beside; '' for none.")
    parser.add_argument("--limit", type=float, default=20.0, help="Seconds of a pair and a method.")
    args = parser.parse_args(arguments)
    asked = [name for name in args.others.split(",") if name]
    if unknown := set(asked) - OTHERS.keys():
        parser.error(f"--others: no {', '.join(unknown)}; there are {', '.join(OTHERS)}.")
    files = args.files or sorted(FOLDER.glob("*.jsonl.gz"))
    pairs = [one for file in files for one in read(file)]
    if not files:
        print(f"No *.jsonl.gz in {FOLDER}; name files of pairs. These are made:", file=sys.stderr)
        pairs = made()
    elif args.quick:
        pairs = pairs[::EVERY]
    for name in asked:
        if not installed(name):
            print(f"{name}: not installed")
    methods = [OURS, *(name for name in asked if installed(name))]
    report(run(methods, pairs, args.limit), pairs)


if __name__ == "__main__":
    main()
