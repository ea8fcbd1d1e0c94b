"""TOML of plain values: what tomllib of the standard library reads, written.

written(document)   TOML of str, bool, int, float, lists and tables; None is left out
read(text)          the document back; what was None is not there

A list that holds a table, a list or None (TOML has no null), and a text that is no Unicode, stand as a
string of JSON, marked so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["read", "written"]

_JSON = "json:"  # marks a string that holds what TOML cannot


def written(document: Mapping[str, Any]) -> str:
    """Return `document` as TOML; tables come after the plain values. Raises TypeError for others."""
    return "\n".join([*_table(document, ()), ""])


def _table(table: Mapping[str, Any], place: tuple[str, ...]) -> list[str]:
    lines = [f"[{'.'.join(map(_key, place))}]"] if place else []
    for key, value in table.items():
        if value is not None and not isinstance(value, Mapping):
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += ["", *_table(value, (*place, key))]
    return lines


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, str):  # a path may hold bytes that are no UTF-8
        plain = not value.startswith(_JSON) and value.encode(errors="replace") == _bytes(value)
        return _text(value if plain else _JSON + json.dumps(value))
    if isinstance(value, (list, tuple)):
        if any(item is None or isinstance(item, (Mapping, list, tuple)) for item in value):
            return _text(_JSON + json.dumps(value))
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)  # nan, inf and 1e-05 are TOML as well
    raise TypeError(f"{value!r} cannot be written as TOML")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _text(text: str) -> str:
    """Return a basic string: JSON's, but for the DEL that TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def read(text: str) -> dict[str, Any]:
    """Return the document of `text`. Raises ValueError where it is no TOML."""
    import tomllib

    found: dict[str, Any] = _opened(tomllib.loads(text))
    return found


def _opened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _opened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_opened(item) for item in value]
    if isinstance(value, str) and value.startswith(_JSON):
        return json.loads(value[len(_JSON) :])
    return value
