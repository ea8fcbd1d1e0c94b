"""Which plugins exist: names, distributions, states, conflicts. Nothing is imported to know it.

    find(group)    one Plugin per entry point, its state decided
    owners(group)  name -> the Plugin that owns it
    load(plugin)   import that one plugin and return the object it names

A distribution offers tools in its metadata (`entry_points.txt`, written by pip, read by ptools.scan):

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
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ptools import __version__
from ptools.errors import PluginError, cause, one_line
from ptools.output import aside
from ptools.scan import DATASETS, GROUPS, MODELS, PLUGINS, EntryPoint, normalize, scan

__all__ = ["DATASETS", "GROUPS", "MODELS", "PLUGINS", "Plugin", "find", "load", "owners"]

READY, DISABLED, SHADOWED, CONFLICT = "ready", "disabled", "shadowed", "conflict"
INVALID, UNREADABLE = "invalid", "unreadable"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
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
        """Whether it is ours: a distribution that only calls itself ptools is not."""
        ours = self.reference.startswith(("ptools_plugins.", "ptools."))
        return ours and self.distribution == "ptools"

    @property
    def origin(self) -> str:
        return f"{self.distribution} {self.version}".strip()

    @property
    def module(self) -> str:
        return self.reference.partition(":")[0].strip()

    @property
    def attribute(self) -> str:
        return self.reference.partition(":")[2].partition("[")[0].strip()


# -- states ----------------------------------------------------------------------------------------


def find(
    group: str = PLUGINS,
    path: Iterable[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> list[Plugin]:
    """Return the plugins of `group`, sorted by name, each with its state decided."""
    off = {item.strip() for item in environ.get("PTOOLS_DISABLE", "").split(",")} - {""}
    off |= {normalize(item) for item in off}
    points = dict.fromkeys(point for point in scan(path) if point.group == group)
    rivals: dict[str, list[Plugin]] = {}
    for point in points:
        rivals.setdefault(point.name, []).append(_judge(point, off))
    settled = [plugin for same in rivals.values() for plugin in _settle(same)]
    return sorted(settled, key=lambda plugin: (plugin.name, plugin.distribution))


def owners(group: str = PLUGINS) -> dict[str, Plugin]:
    """Return the plugin that owns each name: a ready one, or a conflict, whose load() tells."""
    return {p.name: p for p in find(group) if p.state in (READY, CONFLICT)}


def _judge(point: EntryPoint, off: set[str]) -> Plugin:
    """Decide what can be told from the entry point alone."""
    plugin = Plugin(*point[:5])
    if point.problem:
        way = f"reinstall it: pip install --force-reinstall {plugin.distribution}"
        why = f"entry_points.txt is unreadable ({point.problem}); {way}"
        return plugin._replace(state=UNREADABLE, detail=why)
    if plugin.name in off or plugin.distribution in off:
        return plugin._replace(state=DISABLED, detail="PTOOLS_DISABLE switches it off")
    if not _NAME.fullmatch(plugin.name):
        plugin = plugin._replace(name=one_line(plugin.name, 64))
        why = f"'{plugin.name}' is no command name: use letters, digits and hyphens"
    elif not _REFERENCE.fullmatch(plugin.reference):
        reference = one_line(plugin.reference, 100)
        why = f"its reference '{reference}' is not of the form package.module:attribute"
    else:
        return plugin
    return plugin._replace(
        state=INVALID, detail=f"{why}; tell the authors of {plugin.distribution}"
    )


def _settle(same: list[Plugin]) -> list[Plugin]:
    """Decide, for plugins of one name, what depends on who else wants it."""
    ours = [plugin for plugin in same if plugin.builtin]
    if ours:  # of a stale folder and the running one, the running one
        ours = [p for p in ours if p.version == __version__][:1] or ours[:1]
        why = f"'{same[0].name}' is a built-in, which is never replaced; rename it in its metadata"
        return ours + [_refused(p, SHADOWED, why) for p in same if not p.builtin]
    able = [plugin for plugin in same if plugin.state == READY]
    if len(able) < 2:
        return same
    names = sorted({plugin.distribution for plugin in able})
    both = one_line(" and ".join(sorted({plugin.origin for plugin in able})), 200)
    way = f"keep one: PTOOLS_DISABLE={','.join(names[1:])} ptools {same[0].name}"
    if len(names) == 1:
        way = f"pip uninstall {names[0]}"
    why = f"both {both} offer it, so neither runs; {way}"
    return [_refused(plugin, CONFLICT, why) for plugin in same]


def _refused(plugin: Plugin, state: str, why: str) -> Plugin:
    return plugin._replace(state=state, detail=why) if plugin.state == READY else plugin


# -- the import --------------------------------------------------------------------------------------


def load(plugin: Plugin, adopt: Callable[[Any], Any] = lambda value: value) -> Any:
    """Import the one module a plugin names and return `adopt(object)`. Raises PluginError.

    `adopt` touches the object inside the same guard: an object of strangers may raise at a touch.
    What is printed meanwhile goes to stderr: stdout is the command's result.
    """
    import importlib

    if plugin.state != READY:
        raise PluginError(f"'{plugin.name}' cannot run: {plugin.detail}.")
    try:
        with aside():
            value: Any = importlib.import_module(plugin.module)
            for part in plugin.attribute.split("."):
                value = getattr(value, part)
            return adopt(value)
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:  # SystemExit too, and what other frameworks derive from it
        raise PluginError(_broken(plugin, error)) from error


def _broken(plugin: Plugin, error: BaseException) -> str:
    dist, module = plugin.distribution, plugin.module
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    if not isinstance(missing, str):
        way = f"update or remove it: pip install --upgrade {dist}, or pip uninstall {dist}"
    elif module == missing or module.startswith(missing + "."):
        way = f"its files are gone: pip install --force-reinstall {dist}, or pip uninstall {dist}"
    else:
        way = f"install what provides '{missing}', or pip install --force-reinstall {dist}"
    what = f"plugin '{plugin.name}' of {plugin.origin} cannot be loaded"
    return f"{what}: {cause(error)}; {way} (traceback: ptools --debug {plugin.name})"
