"""The map as a file: --save-map writes what was decided, --map-file does what it says.

map         target key: source key, or an operation: "cat0(q.weight, k.weight, v.weight)"
likely      the same; loaded with --accept likely
ambiguous   target key: list of candidates; put one of them in place of the list to choose it
rows        target key: pairs [row of the target, row of OLD], of the operation "rows"
left        target key: why it is left as it is; for reading only
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptools.errors import FileError, cause
from ptools.files import failed
from ptools_plugins.partial_load.naming import source_text
from ptools_plugins.partial_load.plan import Plan

FORMAT = "ptools partial-load map 1"


@dataclass(frozen=True)
class Saved:
    """What a map file says; sources are texts, as on the right of a --map."""

    given: dict[str, str]
    likely: dict[str, str] = field(default_factory=dict)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


def content(plan: Plan, old: str, new: str) -> str:
    """Return the text of the map file."""

    def texts(items: Any) -> dict[str, str]:
        return {key: source_text(item.op, item.sources) for key, item in items.items()}

    document: dict[str, Any] = {
        "format": FORMAT,
        "old": old,
        "new": new,
        "map": texts(plan.items),
        "likely": texts(plan.likely),
        "ambiguous": plan.ambiguous,
        "rows": {key: item.rows for key, item in plan.items.items() if item.rows},
        "left": plan.unmatched,
    }
    return json.dumps(document, indent=1) + "\n"


def read(path: Path) -> Saved:
    """Read a map file, or a plain JSON object {target key: source key}. Raises FileError."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise failed("read", path, error) from error
    except ValueError as error:
        raise FileError(f"{path} is no map file: {cause(error)[:120]}.") from error
    if not isinstance(found, dict):
        raise FileError(f'{path} is no map file; write {{"new key": "old key"}}.')
    if "format" not in found:
        return Saved(_texts(found, path))
    if found["format"] != FORMAT:
        raise FileError(f"{path} is of the format '{found['format']}', not '{FORMAT}'.")
    return _saved(found, path)


def _saved(found: dict[str, Any], path: Path) -> Saved:
    parts = {name: found.get(name) or {} for name in ("map", "likely", "ambiguous", "rows")}
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise FileError(f"{path}: '{name}' is no object of names.")
    chosen = {key: one for key, one in parts["ambiguous"].items() if isinstance(one, str)}
    still = {key: one for key, one in parts["ambiguous"].items() if key not in chosen}
    if any(not isinstance(one, list) for one in still.values()):
        raise FileError(f"{path}: 'ambiguous' holds lists of candidates, or the one you choose.")
    try:
        rows = {key: [(int(a), int(b)) for a, b in one] for key, one in parts["rows"].items()}
    except (TypeError, ValueError) as error:
        raise FileError(f"{path}: 'rows' holds pairs [row of the target, row of OLD].") from error
    given = _texts(parts["map"], path) | chosen
    return Saved(given, _texts(parts["likely"], path), still, rows)


def _texts(part: dict[str, Any], path: Path) -> dict[str, str]:
    for key, one in part.items():
        if not isinstance(one, str):
            raise FileError(f"{path}: '{key}' is not mapped to a name.")
    return part
