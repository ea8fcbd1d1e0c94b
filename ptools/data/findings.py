"""What is odd about a data set: named, counted, and told before training, or an end to it (strict)."""

# A set may have a million paths, and pathlib takes several times as long as os.path.
# ruff: noqa: PTH118

from __future__ import annotations

import os

from ptools.errors import FileError

NAMED = 10  # of one kind; the rest is counted


class Findings:
    """Oddities by kind, in the order they were met. Paths are told relative to `root`."""

    def __init__(self, root: str | os.PathLike[str] = "") -> None:
        self.root = os.fspath(root)
        self.kinds: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        """Note that `name`, a path or a class, is of `kind`."""
        self.kinds.setdefault(kind, []).append(name)

    def __len__(self) -> int:
        return sum(map(len, self.kinds.values()))

    def notes(self) -> list[str]:
        """Return one line per kind: `left out, truncated (2): cats/1.jpg, dogs/7.jpg`."""
        return [f"{kind} ({len(names)}): {self._listed(names)}" for kind, names in self._sorted()]

    def stop(self) -> None:
        """Raise FileError if there is anything: what --strict asks for."""
        if self.kinds:
            kinds = "; ".join(self.notes()[:4])
            raise FileError(
                f"--strict: {self.root or 'the data set'} has {len(self)} oddities: {kinds}; mend them "
                f"or go without --strict."
            )

    def _sorted(self) -> list[tuple[str, list[str]]]:
        return sorted(self.kinds.items(), key=lambda item: not item[0].startswith(OUT))

    def _listed(self, names: list[str]) -> str:
        shown = [_below(name, self.root) for name in names[:NAMED]]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return ", ".join(shown) + more


OUT = "left out, "


def _below(name: str, root: str) -> str:
    """Return a path as it is below `root`, a class name as it is."""
    inside = root and name.startswith(os.path.join(root, ""))
    return os.path.relpath(name, root) if inside else name
