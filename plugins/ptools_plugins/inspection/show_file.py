"""Files on the screen: what is beside the weights, the tree of keys, figures; two files side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ptools import output
from ptools.errors import one_line
from ptools.matching.apply import text as shape_text
from ptools_plugins.inspection.contents import Contents, Item
from ptools_plugins.inspection.differing import Changed, Difference
from ptools_plugins.inspection.layout import CUT, LINES, bold, columns, cut, shares, wrapped
from ptools_plugins.inspection.opening import Seen
from ptools_plugins.inspection.outline import Line, outline

_PROGRESS = re.compile(r"^(global_)?(epochs?|steps?|iter(ation)?s?)$|^(best|last)_epoch$", re.I)
_METRIC = re.compile(
    r"acc|loss|error|perplexity|precision|recall|dice|(^|_)(m?ap|m?iou|f1|auc|auroc|psnr|ssim|bleu|wer"
    r"|score|metric|best|val|valid|test|top_?[15])(_|\d|$)",
    re.I,
)
_VALUES = 12  # lines for what is beside the weights


def seen(found: Seen, *, whole: bool, depth: int | None) -> None:
    """Print a file: format and totals, what is beside the weights, the tree of keys."""
    head = [*_head(found.contents), *_beside(found, whole)]
    for line in head:
        output.result(line)
    if not found.items:
        if found.grep:
            output.note(f"no key has '{found.grep}'")
        return
    items = [item for item in found.items if whole or item.key not in found.scalars]
    room = None if whole else max(LINES - len(head) - 3, 8)
    lines = _lines(items, room, None if whole else depth)
    left = len(lines) - room if depth is None and room is not None else 0
    lines = lines[:room] if left > 0 else lines
    output.result()
    _table(lines, found)
    if left > 0:
        output.note(f"{left} more lines: --all has every key, --grep WORD some")
    elif any(line.folded for line in lines):
        output.note("Folded: --depth N opens N levels, --all has every key, --grep WORD some")


def _lines(items: list[Item], room: int | None, depth: int | None) -> list[Line]:
    """Return the tree of keys; where everything would be folded, its first level in full length."""
    lines = outline(items, room, depth)
    if depth is None and room and len(lines) <= 3 and any(line.folded for line in lines):
        return outline(items, None, 1)
    return lines


def _head(found: Contents) -> Iterator[str]:
    yield bold(one_line(found.path)) + f"  ({found.format}, {output.size(found.size)})"
    dtypes = list(dict.fromkeys(item.dtype for item in found.items))
    kinds = ", ".join(dtypes[:4]) + (f" and {len(dtypes) - 4} more" if len(dtypes) > 4 else "")
    if not found.items:
        yield "no tensors"
    else:
        name = f"{one_line('.'.join(found.where), 60)}: " if found.where else ""
        yield f"{name}{_tensors(found, found.weights, parameters=True)}, {kinds}"
    if found.where and found.rest:
        yield f"beside it: {_tensors(found, found.rest)}"
    nbytes = found.totals(found.items)[1]
    if found.kept > 1.5 * nbytes and found.kept > nbytes + (1 << 20):
        yield f"It keeps {output.size(found.kept)} for them: views were saved; save x.clone() instead."
    if tied := list(found.tied.items()):
        some = ", ".join(f"{key} = {first}" for key, first in tied[:3])
        yield from wrapped(
            f"Tied: {some}" + (f" and {len(tied) - 3} more" if tied[3:] else ""), most=2
        )


def _tensors(found: Contents, items: list[Item], *, parameters: bool = False) -> str:
    numel, nbytes = found.totals(items)
    count = f"{len(items):,} tensor" + ("s" if len(items) != 1 else "")
    return (
        f"{count}, {numel:,} parameters, {output.size(nbytes)}"
        if parameters
        else f"{count}, {output.size(nbytes)}"
    )


def _beside(found: Seen, whole: bool) -> Iterator[str]:
    """Yield lines for plain values, classes and shards: what is not in the table."""
    contents = found.contents
    values = contents.values | found.scalars
    rows = [
        (name, _plain(values[name]))
        for name in sorted(values, key=lambda name: _interest(name, values[name]))
        if whole or not _is_detail(name)
    ]
    rows += [
        (name or "the whole file", f"a pickled {kind}; it was read, not run")
        for name, kind in contents.objects.items()
        if whole or name.count(".") <= 1
    ]
    rows += [
        (name, f"{len(some)} tensors, {output.size(sum(i.nbytes for i in some))}")
        for name, some in contents.shards.items()
    ]
    if rows:
        yield ""
        room = sum(1 for _ in rows) if whole else min(len(rows), _VALUES)
        yield from columns(rows, room=room, indent="")


def _interest(name: str, value: Any) -> int:
    """Return the place of a value: how far a training was, its metrics, other values, what is empty."""
    last = name.rpartition(".")[2]
    if _PROGRESS.search(last):
        return 0
    if _METRIC.search(last) and isinstance(value, (int, float)) and name.count(".") <= 1:
        return 1
    return 4 if value is None else 2 if isinstance(value, (int, float, str)) else 3


def _is_detail(name: str) -> bool:
    """Whether a value is one of an optimizer's many."""
    return (
        name.startswith("optim") and ".state." in f".{name}."
    ) or ".param_groups." in f".{name}."


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and len(value) > 8:
        return f"list of {len(value)}: {', '.join(_plain(v) for v in value[:3])}, {CUT} {_plain(value[-1])}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return one_line(value, 300)


# -- the table ----------------------------------------------------------------------------------------


def _table(lines: Sequence[Line], found: Seen) -> None:
    numbers = ("mean", "std", "min", "max", "nan") if found.figures else ("parameters", "bytes")
    heads = ["key", "shape", *([] if found.figures else ["dtype"]), *numbers]
    rows = []
    for line in lines:
        row = [f"{'  ' * line.depth}{line.name}", _shape(line)]
        if found.figures is None:
            row.append(_dtypes(line.items) if not line.heading else "")
        rows.append([*row, *(_figures(line, found) if found.figures else _sizes(line))])
    if not output.fits(heads, rows):  # shapes are there without --stats, dtypes in the second line
        less = 1 if found.figures else 2
        heads = heads[:less] + heads[less + 1 :]
        rows = [row[:less] + row[less + 1 :] for row in rows]
    output.table(heads, rows, right=numbers)


def _shape(line: Line) -> str:
    if line.heading:
        return ""
    if line.folded:
        return f"({len(line.items):,} tensors)"
    same = shape_text(line.items[0].shape)
    return same if len(line.items) == 1 else f"{same}  x {len(line.items)}"


def _dtypes(items: Sequence[Item]) -> str:
    found = list(dict.fromkeys(item.dtype for item in items))
    return "/".join(found) if len(found) <= 2 else "mixed"


def _sizes(line: Line) -> list[str]:
    if line.heading:
        return ["", ""]
    return [f"{sum(i.numel for i in line.items):,}", output.size(sum(i.nbytes for i in line.items))]


def _figures(line: Line, found: Seen) -> list[str]:
    assert found.figures is not None
    if line.heading:
        return [""] * 5
    real = [i.key for i in line.items if not i.dtype.startswith(("int", "uint", "bool"))]
    stats = found.figures.of(real or [item.key for item in line.items])
    if stats is None:
        return ["-"] * 5
    bad = f"{stats.nan:,}" + (f" +{stats.inf:,} inf" if stats.inf else "")
    return [*(_short(x) for x in (stats.mean, stats.std, stats.min, stats.max)), bad]


def _short(number: float | None) -> str:
    return "-" if number is None else f"{number:.3g}"


# -- two files ----------------------------------------------------------------------------------------


def difference(found: Difference, *, whole: bool) -> None:
    """Print what differs between two files."""
    blocks = _blocks(found, whole)
    sizes = {title: len(rows) for title, _, rows in blocks}
    room = LINES - 7 - 4 * len(blocks)
    shown = sizes if whole or sum(sizes.values()) <= room else shares(sizes, room)
    sides = zip("ab", found.files, found.formats, found.where, found.prefix, strict=True)
    for letter, path, format, where, prefix in sides:
        told = f", weights in '{one_line(where, 40)}'" if where else ""
        told += f", keys without their '{prefix}'" if prefix else ""
        output.result(f"{letter}  {one_line(path)}  ({format}{told})")
    output.result()
    for title, heads, rows in blocks:
        output.result(bold(title))
        right = [head for head in heads if head in ("largest", "relative", "differing")]
        output.table(heads, rows[: shown[title]], right=right)
        if left := len(rows) - shown[title]:
            output.result(f"{CUT} {left} more (--all)")
        output.result()
    output.result(_verdict(found))


def _blocks(found: Difference, whole: bool) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return title, columns and rows of what differs."""
    keyed = ["key", "a", "b"]
    values = {k: pair for k, pair in found.values.items() if whole or not _is_detail(k)}
    only = [_only(items, whole) for items in found.only]
    blocks = [
        (
            f"Beside the weights ({len(values)})",
            keyed,
            [
                [k, *("-" if v is None else cut(_plain(v), 30) for v in pair)]
                for k, pair in values.items()
            ],
        ),
        (f"Only in a ({len(found.only[0])})", ["key", "shape", "dtype"], only[0]),
        (f"Only in b ({len(found.only[1])})", ["key", "shape", "dtype"], only[1]),
        (
            f"Other shapes ({len(found.shapes)})",
            keyed,
            [[k, *map(shape_text, pair)] for k, pair in found.shapes.items()],
        ),
        (
            f"Other dtypes ({len(found.dtypes)})",
            keyed,
            [[k, *pair] for k, pair in found.dtypes.items()],
        ),
        (
            f"Other values ({len(found.changed)})",
            ["key", "largest", "relative", "differing"],
            [_changed(one) for one in found.changed],
        ),
    ]
    return [block for block in blocks if block[2]]


def _only(items: list[Item], whole: bool) -> list[list[str]]:
    lines = outline(items, None if whole else 20)
    return [
        ["  " * line.depth + line.name, _shape(line), "" if line.heading else _dtypes(line.items)]
        for line in lines
    ]


def _changed(one: Changed) -> list[str]:
    share = f"{100 * one.differing / max(one.count, 1):.3g} %"
    return [one.key, _short(one.largest), _short(one.relative), share]


def _verdict(found: Difference) -> str:
    if found.same:
        return f"All {found.equal:,} tensors are equal."
    if not found.count:
        return "They have no key in common."
    return f"Of {found.count:,} tensors that both have, {found.equal:,} are equal."
