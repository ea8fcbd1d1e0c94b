"""Tensors that fit only after a step that loses or invents values: done where --adapt asks for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ptools.errors import FileError, UsageError
from ptools.files import failed
from ptools.matching.apply import LOSSY, text, why_not
from ptools_plugins.partial_load.plan import Item, Plan, Shapes

Classes = tuple[list[str], list[str]]  # of OLD, of the target


def adapt(
    plan: Plan, source: Shapes, target: Shapes, asked: Sequence[str], classes: Classes | None
) -> None:
    """Take up the offers that --adapt asks for, and complete what --map says of such operations."""
    for item in list(plan.items.values()):
        if item.op in LOSSY:
            plan.items[item.target] = _complete(item, source, target, classes)
    modules = {i.target.rpartition(".")[0] for i in plan.offers.values() if i.op in asked}
    for item in list(plan.offers.values()):
        with_it = item.op == "copy" and item.target.rpartition(".")[0] in modules
        if item.op in asked or with_it:
            chosen = replace(item, confidence="given", reason=f"--adapt {item.op}")
            if item.op == "bias":
                copied = not why_not("copy", [source[item.sources[0]]], target[item.target])
                chosen = replace(chosen, op="copy" if copied else "zeros")
            plan.add(_complete(chosen, source, target, classes))
    plan.settle(source, target)


def lost_biases(plan: Plan, source: Shapes) -> list[str]:
    """Return the biases of OLD that have no place, of layers whose weights were taken all the same."""
    taken = [item for item in plan.items.values() if item.reason == "--adapt bias"]
    used = {old for item in plan.items.values() for old in item.sources}
    beside = {f"{item.sources[0].rpartition('.')[0]}.bias".lstrip(".") for item in taken}
    return [key for key in source if key in beside and key not in used]


def _complete(item: Item, source: Shapes, target: Shapes, classes: Classes | None) -> Item:
    """Return the item with all it needs, or raise UsageError."""
    shapes, shape = [source[key] for key in item.sources], target[item.target]
    if reason := why_not(item.op, shapes, shape):
        raise UsageError(f"{item.reason}: {item.target}: {reason}; leave it out with --skip.")
    if item.op != "rows" or item.rows:
        return item
    if classes is None:
        raise UsageError(
            f"{item.target}: which of its {shape[0]} rows are which of the {shapes[0][0]} of OLD? "
            "Give the names of the classes, one a line: --classes OLD.txt NEW.txt."
        )
    return replace(item, rows=shared_rows(item, shapes[0][0], shape[0], classes))


def shared_rows(item: Item, old: int, new: int, classes: Classes) -> tuple[tuple[int, int], ...]:
    """Return pairs (row of the target, row of OLD) of the classes that both have."""
    for names, rows, whose in ((classes[0], old, "OLD"), (classes[1], new, "the target")):
        if len(names) != rows:
            raise UsageError(
                f"--classes: {len(names)} names, but {item.target} has {rows} rows in {whose}."
            )
        if double := [name for name, times in Counter(names).items() if times > 1]:
            raise UsageError(f"--classes: '{double[0]}' is there twice in the names of {whose}.")
    at = {name: row for row, name in enumerate(classes[0])}
    shared = tuple((row, at[name]) for row, name in enumerate(classes[1]) if name in at)
    if not shared:
        raise UsageError("--classes: OLD and the target have no class in common.")
    return shared


def read_classes(
    files: Sequence[Path], old: Mapping[str, Any], new: Mapping[str, Any]
) -> Classes | None:
    """Return the classes of both sides: of the two files, else of what the checkpoints carry."""
    if files:
        return _lines(files[0]), _lines(files[1])
    found = _carried(old), _carried(new)
    return (found[0], found[1]) if found[0] and found[1] else None


def _lines(path: Path) -> list[str]:
    """Read names, one a line, or a JSON list."""
    try:
        content = path.read_text("utf-8-sig").strip()
        names = json.loads(content) if content.startswith("[") else content.splitlines()
    except OSError as error:
        raise failed("read", path, error) from error
    except ValueError as error:
        raise FileError(f"{path} is no list of names, one a line.") from error
    return [str(name).strip() for name in names if str(name).strip()]


def _carried(metadata: Mapping[str, Any]) -> list[str]:
    """Return the `classes` list that lies beside the weights."""
    names = (key for key in metadata if key == "classes" or key.endswith(".classes"))
    found = metadata.get(next(names, "classes"))
    if isinstance(found, str):  # the metadata of safetensors are texts
        try:
            found = json.loads(found)
        except ValueError:
            return []
    if isinstance(found, (list, tuple)) and all(isinstance(one, str) for one in found):
        return list(found)
    return []


def label(item: Item, source: Shapes, target: Shapes) -> str:
    """Return an operation with what it does: `channels 3->1`, `rows 37 of 100`."""
    if item.op == "rows" and item.rows:
        return f"rows {len(item.rows)} of {target[item.target][0]}"
    if item.op == "channels":
        return f"channels {source[item.sources[0]][1]}->{target[item.target][1]}"
    if item.op == "resize":
        return f"resize {text(source[item.sources[0]])}"
    return item.op
