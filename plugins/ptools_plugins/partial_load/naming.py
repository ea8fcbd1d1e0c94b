"""What is written on the command line about names: assignments, patterns, renamings.

assignments(texts)        --map NEW=OLD, --hint a=b -> pairs
source_of(text)           `fc.weight`, `cat0(q.weight, k.weight)` -> (operation, source keys)
chosen(keys, ...)         the target keys that --only and --skip leave
seen_as(keys, ...)        the names of OLD after --strip and --rename
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ptools.checkpoints.freezing import covers
from ptools.errors import UsageError, suggestion
from ptools.matching.apply import known

_CALL = re.compile(r"(?P<op>[a-z_]+[0-9]?(,[a-z]+[0-9]?)?(:[0-9]+/[0-9]+)?)\((?P<keys>[^()]*)\)")


def assignments(texts: Iterable[str], option: str) -> list[tuple[str, str]]:
    """Split `NEW=OLD`; spaces around both are nothing. Raises UsageError where there is no `=`."""
    found = []
    for text in texts:
        new, equals, old = text.partition("=")
        if not equals:
            raise UsageError(f"{option} '{text}' is no assignment: write {option} NEW=OLD.")
        found.append((new.strip(), old.strip()))
    return found


def source_of(text: str) -> tuple[str, tuple[str, ...]]:
    """Read what stands on the right of a --map: a key, or an operation on keys."""
    match = _CALL.fullmatch(text.strip())
    if not match or not known(match["op"]):
        return "copy", (text.strip(),)
    return match["op"], tuple(key.strip() for key in match["keys"].split(","))


def source_text(op: str, sources: Sequence[str]) -> str:
    """Return what `source_of` reads."""
    return sources[0] if op == "copy" else f"{op}({', '.join(sources)})"


def chosen(keys: Sequence[str], only: Sequence[str], skip: Sequence[str]) -> list[str]:
    """Return the keys that are wanted. Raises UsageError for a pattern that means none of them."""
    for option, patterns in (("--only", only), ("--skip", skip)):
        for pattern in patterns:
            check_pattern(option, pattern, keys)
    return [
        key
        for key in keys
        if (not only or any(covers(pattern, key) for pattern in only))
        and not any(covers(pattern, key) for pattern in skip)
    ]


def check_pattern(option: str, pattern: str, keys: Sequence[str]) -> None:
    """Raise UsageError for a pattern that means no key of the target."""
    if not any(covers(pattern, key) for key in keys):
        close = suggestion(pattern, sorted({*keys, *modules_of(keys)}))
        raise UsageError(f"{option} '{pattern}' is no tensor or module of the target.{close}")


def modules_of(keys: Iterable[str]) -> set[str]:
    """Return the modules that keys lie in, of every depth."""
    found: set[str] = set()
    for key in keys:
        parts = key.split(".")
        found |= {".".join(parts[:n]) for n in range(1, len(parts))}
    return found


def seen_as(keys: Sequence[str], strip: Sequence[str], rename: Sequence[str]) -> dict[str, str]:
    """Return {name: key of OLD} after --strip and --rename.

    Raises UsageError where one of them changes nothing, or makes two keys equal.
    """
    names = {key: key for key in keys}
    for prefix in strip:
        if not any(name.startswith(prefix) for name in names.values()):
            first = next(iter(names.values()), "")
            raise UsageError(
                f"--strip '{prefix}': no name of OLD starts so; the first is '{first}'."
            )
        names = {key: name.removeprefix(prefix) for key, name in names.items()}
    for text in rename:
        names = _renamed(names, text)
    found: dict[str, str] = {}
    for key, name in names.items():
        if name in found or not name:
            other = f"'{found[name]}' and '{key}' both" if name else f"'{key}'"
            raise UsageError(
                f"--strip and --rename make {other} '{name}'; write a narrower expression."
            )
        found[name] = key
    return found


def _renamed(names: Mapping[str, str], text: str) -> dict[str, str]:
    expression, arrow, replacement = text.partition("=>")
    if not arrow:
        raise UsageError(f"--rename '{text}' has no =>: write 'regex=>replacement'.")
    try:
        changed = {key: re.sub(expression, replacement, name) for key, name in names.items()}
    except (re.error, IndexError) as error:
        raise UsageError(f"--rename '{text}': {error}; write it as for Python's re.sub.") from error
    if changed == names:
        first = next(iter(names.values()), "")
        raise UsageError(f"--rename '{text}' changes no name of OLD; the first is '{first}'.")
    return changed
