"""Every entry point of our groups, read from the metadata folders on sys.path. Imports no plugin.

Our own, because importlib.metadata costs 25 ms to import and one undecodable file anywhere stops it.
It keeps importlib.metadata's rules (the first distribution of a name wins) and leaves to it what is
no plain folder: zip files, finders of others. tests/test_registry.py holds that both agree, but for

    a file that cannot be read, is larger than 1 MiB, not UTF-8, or offers more than 1,000 entry
    points: importlib.metadata stops, or takes seconds; we keep the reason in `problem` and go on
    `ptools` itself: every folder of that name is read, so that a stale one cannot hide the built-ins

This runs before every --help: no pathlib, no regular expressions, one open per distribution.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import PathFinder
from typing import Any, NamedTuple

from ptools.errors import one_line
from ptools.output import aside

PLUGINS = "ptools.plugins"
MODELS = "ptools.models"
DATASETS = "ptools.datasets"
GROUPS = (PLUGINS, MODELS, DATASETS)

_MOST = 1000  # entry points of one distribution
_LIMIT = 1 << 20  # bytes; no honest entry_points.txt is larger, and 100 MB must not delay --help
_CHUNK = 1 << 16
_KINDS = (".dist-info", ".egg-info")
_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class EntryPoint(NamedTuple):
    """A line of an entry_points.txt, and where it stands."""

    group: str
    name: str
    reference: str
    distribution: str  # as PEP 503 spells it
    version: str
    problem: str = (
        ""  # why the distribution's file cannot be read; then it has no name and reference
    )


def scan(path: Iterable[object] | None = None) -> list[EntryPoint]:
    """Return every entry point of our groups, in the order of sys.path (or of `path`)."""
    run = _Scan()
    if path is not None:
        run.path(path)
        return run.found
    for finder in sys.meta_path:
        if finder is PathFinder:
            run.path(sys.path)
        else:
            run.finder(finder)
    return run.found


def read(file: str, limit: int = _LIMIT) -> bytes:
    """Return at most `limit` bytes of a file. A pipe gives nothing instead of blocking us."""
    descriptor = os.open(file, _OPEN)
    try:
        data = os.read(descriptor, min(_CHUNK, limit))
        while data and len(data) % _CHUNK == 0 and len(data) < limit:
            more = os.read(descriptor, _CHUNK)
            if not more:
                break
            data += more
        return data
    finally:
        os.close(descriptor)


def normalize(name: str) -> str:
    """Return a distribution's name as PEP 503 spells it: lower case, one hyphen between words."""
    name = name.lower().replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name


def parse(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield (group, name, reference) of our groups from the text of an entry_points.txt."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            group = line.strip("[]")
        elif group in GROUPS:
            name, equals, reference = line.partition("=")
            if equals:
                yield group, name.strip(), reference.strip()


class _Scan:
    """One pass: what was found, and the distributions seen, as the first of a name wins."""

    def __init__(self) -> None:
        self.found: list[EntryPoint] = []
        self.seen: set[str] = set()

    def path(self, entries: Iterable[object]) -> None:
        for entry in entries:
            place = os.fspath(entry) if isinstance(entry, os.PathLike) else entry
            if not isinstance(place, str):
                continue  # as importlib does
            if os.path.isfile(place):
                self.archive(place)
            else:
                self.folder(place)

    def folder(self, place: str) -> None:
        try:
            children = os.listdir(place or ".")
        except (OSError, ValueError):
            return
        egg = place.lower().endswith(".egg")
        for child in children:
            if child[-5:].lower() == "-info":
                kind = child[-10:] if child[-10:-9] == "." else child[-9:]
                if kind in _KINDS:  # as every installer writes it: the folder's name says it all
                    self.metadata(os.path.join(place, child), child[: -len(kind)])
                elif kind.lower() in _KINDS or (egg and child.lower() == "egg-info"):
                    self.metadata(os.path.join(place, child), "")

    def metadata(self, folder: str, stem: str) -> None:
        """Read one metadata folder. This runs once per installed distribution."""
        name, _, version = stem.partition("-")
        if not name:
            name, version = _name_and_version(folder)
        if self.is_new(name):
            try:
                data = read(folder + "/entry_points.txt")
            except (FileNotFoundError, NotADirectoryError):
                return
            except OSError as error:
                self.unreadable(name, version, error.strerror or "it cannot be opened")
                return
            if len(data) >= _LIMIT:
                self.unreadable(name, version, "larger than 1 MiB")
            elif b"ptools." in data:
                version = version.partition("-")[
                    0
                ]  # an egg-info folder adds the Python: 1.0-py3.11
                self.lines(data, name, version or _name_and_version(folder)[1])

    def is_new(self, name: str) -> bool:
        key = normalize(name)
        if key in self.seen and key != "ptools":
            return False
        self.seen.add(key)
        return True

    def lines(self, data: bytes, name: str, version: str) -> None:
        name, version = one_line(normalize(name), 64), one_line(version, 64)
        try:
            points = [EntryPoint(*point, name, version) for point in parse(data.decode())]
        except UnicodeDecodeError:
            self.unreadable(name, version, "not UTF-8")
            return
        if len(points) > _MOST:
            self.unreadable(name, version, f"it offers more than {_MOST} entry points")
        elif name == "ptools":
            known = {point[:3] for point in self.found}
            self.found += [point for point in points if point[:3] not in known]
        else:
            self.found += points

    def unreadable(self, name: str, version: str, why: str) -> None:
        name, version = one_line(normalize(name), 64), one_line(version, 64)
        self.found.append(EntryPoint(PLUGINS, "", "", name, version, why))

    def archive(self, file: str) -> None:
        def distributions() -> Iterable[Any]:
            from importlib.metadata import DistributionFinder

            return PathFinder.find_distributions(DistributionFinder.Context(path=[file]))

        self.ask(distributions)

    def finder(self, finder: Any) -> None:
        def distributions() -> Iterable[Any]:
            if not hasattr(finder, "find_distributions"):
                return ()
            from importlib.metadata import DistributionFinder

            found: Iterable[Any] = finder.find_distributions(DistributionFinder.Context())
            return found

        self.ask(distributions)

    def ask(self, distributions: Callable[[], Iterable[Any]]) -> None:
        """Read what importlib.metadata finds. It is the code of others: nothing may escape from it."""
        try:
            with aside():
                for distribution in distributions():
                    self.distribution(distribution)
        except (Exception, SystemExit):
            return

    def distribution(self, distribution: Any) -> None:
        try:
            name, version = str(distribution.metadata["Name"]), str(distribution.version)
            if self.is_new(name):
                data = (distribution.read_text("entry_points.txt") or "").encode()
                self.lines(data, name, version)
        except (Exception, SystemExit):  # this one is broken; the next may not be
            return


def _name_and_version(folder: str) -> tuple[str, str]:
    """Return what METADATA or PKG-INFO says, where the folder's name does not."""
    for file in ("METADATA", "PKG-INFO"):
        try:
            lines = read(f"{folder}/{file}", _CHUNK).decode(errors="replace").splitlines()
        except OSError:
            continue
        fields = dict(line.split(": ", 1) for line in reversed(lines) if ": " in line)
        return fields.get("Name", ""), fields.get("Version", "")
    return "", ""
