"""Which plugins exist: names, distributions, conflicts, summaries. Nothing is imported to know it.

    scan()         every entry point of our groups, from the metadata folders on sys.path
    find(group)    one Plugin per entry point, its state decided
    owners(group)  name -> the Plugin that owns it
    load(p)        import that one plugin and return the object it names

A distribution offers tools in its metadata (`entry_points.txt`, written by pip):

    [ptools.plugins]
    hello = ptools_hello:command        a click.Command; its name is the entry point's name
    [ptools.models]
    tiny = ptools_hello:tiny            a function (classes, shape) -> torch.nn.Module
    [ptools.datasets]
    stripes = ptools_hello:stripes      a function () -> ptools.data.ImageSet

States of a plugin:

    ready       it runs under its name
    disabled    PTOOLS_DISABLE names it or its distribution
    shadowed    it takes the name of a built-in, which is never given up
    conflict    another distribution offers the same name; neither runs
    invalid     its name or its reference cannot be read
    unreadable  the entry_points.txt of a distribution cannot be read; its plugins are unknown

The scan is our own because importlib.metadata costs 25 ms to import and one undecodable file
anywhere stops it. It keeps importlib.metadata's rules (the first distribution of a name wins) and
asks it where an entry of sys.path is no plain folder. tests/test_registry.py holds that both agree.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import PathFinder
from typing import Any, NamedTuple

from ptools.errors import PluginError, cause

PLUGINS = "ptools.plugins"
MODELS = "ptools.models"
DATASETS = "ptools.datasets"
GROUPS = (PLUGINS, MODELS, DATASETS)

READY, DISABLED, SHADOWED, CONFLICT = "ready", "disabled", "shadowed", "conflict"
INVALID, UNREADABLE = "invalid", "unreadable"

_LIMIT = 1 << 20  # bytes; no honest entry_points.txt is larger, and 100 MB must not delay --help
_CHUNK = 1 << 16
NEVER_BLOCK = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)  # a pipe must not block
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_REFERENCE = re.compile(r"([A-Za-z_][\w.]*)\s*:\s*([A-Za-z_][\w.]*)\s*(\[.*\])?")


class Plugin(NamedTuple):
    """One entry point and what is known of it without importing it."""

    group: str
    name: str
    reference: str  # "package.module:attribute"
    distribution: str
    version: str
    state: str = READY
    detail: str = ""  # why it is not ready, and what to do

    @property
    def builtin(self) -> bool:
        return self.distribution == "ptools"

    @property
    def origin(self) -> str:
        return f"{self.distribution} {self.version}".strip()


# -- the scan --------------------------------------------------------------------------------------


def scan(path: Iterable[str] | None = None) -> list[Plugin]:
    """Return every entry point of our groups, in the order of sys.path."""
    found: list[Plugin] = []
    seen: set[str] = set()
    if path is not None:
        _scan_path(path, seen, found)
        return found
    for finder in sys.meta_path:
        if finder is PathFinder:
            _scan_path(sys.path, seen, found)
        elif hasattr(finder, "find_distributions"):
            _ask_importlib(seen, found, finder=finder)
    return found


def _scan_path(path: Iterable[str], seen: set[str], found: list[Plugin]) -> None:
    for entry in path:
        if entry.endswith(".egg") or os.path.isfile(entry):
            _ask_importlib(seen, found, entry=entry)
            continue
        try:
            children = os.listdir(entry or ".")
        except (OSError, ValueError):
            continue
        for child in children:
            if child[-5:].lower() != "-info":
                continue
            stem, _, kind = child.rpartition(".")
            if kind not in _KINDS and kind.lower() in _KINDS:  # no installer writes it so
                _ask_importlib(seen, found, folder=os.path.join(entry, child))
            elif kind in _KINDS:
                key = _normalize(stem.partition("-")[0])
                if key not in seen:
                    seen.add(key)
                    _read_into(os.path.join(entry, child), stem, found)


_KINDS = ("dist-info", "egg-info")


def _normalize(name: str) -> str:
    """Return a distribution's name as PEP 503 spells it: lower case, one hyphen between words."""
    name = name.lower().replace("_", "-").replace(".", "-")
    return re.sub("-+", "-", name) if "--" in name else name


def _read_into(folder: str, stem: str, found: list[Plugin]) -> None:
    """Add the entry points of one metadata folder. This runs once per installed distribution."""
    try:
        descriptor = os.open(folder + "/entry_points.txt", NEVER_BLOCK)
    except FileNotFoundError:
        return
    except OSError as error:
        if not isinstance(error, NotADirectoryError):
            _add_unreadable(stem, error.strerror or "cannot be opened", found)
        return
    try:
        data = os.read(descriptor, _CHUNK)
        while data and len(data) % _CHUNK == 0 and len(data) < _LIMIT:
            more = os.read(descriptor, _CHUNK)
            if not more:
                break
            data += more
    except OSError as error:
        _add_unreadable(stem, error.strerror or "cannot be read", found)
        return
    finally:
        os.close(descriptor)
    if len(data) >= _LIMIT:
        _add_unreadable(stem, "larger than 1 MiB", found)
    elif b"ptools." in data:
        _parse_into(data, stem if "-" in stem else f"{stem}-{_version(folder)}", found)


def _version(folder: str) -> str:
    """Return the version of an egg-info folder, whose name may not carry it."""
    try:
        with open(folder + "/PKG-INFO", encoding="utf-8", errors="replace") as file:
            lines = file.read(_CHUNK).splitlines()
    except OSError:
        return ""
    return next((line[8:].strip() for line in lines if line.startswith("Version:")), "")


def _parse_into(data: bytes, stem: str, found: list[Plugin]) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        _add_unreadable(stem, "not UTF-8", found)
        return
    name, version, *_ = f"{stem}-".split("-")  # an egg-info folder adds the Python: x-1.0-py3.11
    for group, key, value in parse(text):
        found.append(Plugin(group, key, value, _normalize(name), version))


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


def _add_unreadable(stem: str, why: str, found: list[Plugin]) -> None:
    name, _, version = stem.partition("-")
    name = _normalize(name)
    detail = f"entry_points.txt is unreadable ({why}); reinstall it: pip install --force-reinstall {name}"
    found.append(Plugin(PLUGINS, "", "", name, version, UNREADABLE, detail))


def _ask_importlib(
    seen: set[str], found: list[Plugin], *, finder: Any = None, entry: str = "", folder: str = ""
) -> None:
    """Let importlib.metadata read what is no plain folder: a zip, an egg, a custom finder."""
    from importlib.metadata import Distribution, DistributionFinder

    try:
        distributions: Iterable[Any]
        if folder:
            distributions = [Distribution.at(folder)]
        elif entry:
            distributions = PathFinder.find_distributions(DistributionFinder.Context(path=[entry]))
        else:
            distributions = finder.find_distributions(DistributionFinder.Context())
        for distribution in distributions:
            name = str(distribution.metadata["Name"])
            if _normalize(name) not in seen:
                seen.add(_normalize(name))
                data = (distribution.read_text("entry_points.txt") or "").encode()
                _parse_into(data, f"{name.replace('-', '_')}-{distribution.version}", found)
    except Exception:  # somebody else's finder or archive: it cannot be allowed to stop us
        return


# -- states ----------------------------------------------------------------------------------------


def find(
    group: str = PLUGINS,
    path: Iterable[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> list[Plugin]:
    """Return the plugins of `group`, sorted by name, each with its state decided."""
    off = {item.strip() for item in environ.get("PTOOLS_DISABLE", "").split(",")} - {""}
    off |= {_normalize(item) for item in off}
    mine = [_judge(plugin, off) for plugin in scan(path) if plugin.group == group]
    rivals: dict[str, list[Plugin]] = {}
    for plugin in mine:
        rivals.setdefault(plugin.name, []).append(plugin)
    settled = [_settle(plugin, rivals[plugin.name]) for plugin in mine]
    return sorted(settled, key=lambda plugin: (plugin.name, plugin.distribution))


def owners(group: str = PLUGINS) -> dict[str, Plugin]:
    """Return the plugin that owns each name: a ready one, or a conflict, whose load() tells."""
    return {p.name: p for p in find(group) if p.state in (READY, CONFLICT)}


def _judge(plugin: Plugin, off: set[str]) -> Plugin:
    """Decide what can be told from the entry point alone."""
    if plugin.state != READY:
        return plugin
    if plugin.name in off or plugin.distribution in off:
        return plugin._replace(state=DISABLED, detail="PTOOLS_DISABLE switches it off")
    if not _NAME.fullmatch(plugin.name):
        why = f"{plugin.name!r} is no command name: use letters, digits and hyphens"
    elif not _REFERENCE.fullmatch(plugin.reference):
        why = f"its reference {plugin.reference!r} is not of the form package.module:attribute"
    else:
        return plugin
    return plugin._replace(
        state=INVALID, detail=f"{why}; tell the authors of {plugin.distribution}"
    )


def _settle(plugin: Plugin, rivals: list[Plugin]) -> Plugin:
    """Decide what depends on who else wants the name."""
    if plugin.state in (DISABLED, UNREADABLE) or plugin.builtin:
        return plugin
    if any(rival.builtin for rival in rivals):
        detail = (
            f"'{plugin.name}' is a built-in, which is never replaced; rename it in its metadata"
        )
        return plugin._replace(state=SHADOWED, detail=detail)
    others = [rival for rival in rivals if rival.state not in (DISABLED, UNREADABLE)]
    if plugin.state == INVALID or len(others) < 2:
        return plugin
    names = sorted({rival.distribution for rival in others})
    both = " and ".join(rival.origin for rival in sorted(others))
    way = f"keep one: PTOOLS_DISABLE={names[-1]} ptools {plugin.name}"
    if len(names) == 1:
        way = f"pip uninstall {names[0]}"
    return plugin._replace(state=CONFLICT, detail=f"both {both} offer it, so neither runs; {way}")


# -- the import --------------------------------------------------------------------------------------


def load(plugin: Plugin) -> Any:
    """Import the one module a plugin names and return the object. Raises PluginError.

    What the module prints while it is imported goes to stderr: stdout is the command's result.
    """
    import importlib
    from contextlib import redirect_stdout

    if plugin.state != READY:
        raise PluginError(f"'{plugin.name}' cannot run: {plugin.detail}.")
    module, _, attribute = plugin.reference.partition(":")
    try:
        with redirect_stdout(sys.stderr):
            value: Any = importlib.import_module(module.strip())
            for part in attribute.partition("[")[0].strip().split("."):
                value = getattr(value, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too, and what other frameworks derive from it
        raise PluginError(_broken(plugin, module, error)) from error
    return value


def _broken(plugin: Plugin, module: str, error: BaseException) -> str:
    dist = plugin.distribution
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    if missing and (module == missing or module.startswith(missing + ".")):
        way = f"its files are gone: pip install --force-reinstall {dist}, or pip uninstall {dist}"
    elif missing:
        way = f"install what provides '{missing}', or pip install --force-reinstall {dist}"
    else:
        way = f"update or remove it: pip install --upgrade {dist}, or pip uninstall {dist}"
    what = f"plugin '{plugin.name}' of {plugin.origin} cannot be loaded"
    return f"{what}: {cause(error)}; {way} (traceback: ptools --debug {plugin.name})"
