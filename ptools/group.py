"""The lazy click group: lists, completes and helps from the registry, imports one command on call.

Nothing here imports a plugin but `resolve_command`, and that only the one that was named.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from ptools import config, registry
from ptools.errors import PluginError, PtoolsError, UsageError, suggestion
from ptools.output import note
from ptools.registry import CONFLICT, PLUGINS, READY, Plugin
from ptools.summaries import summary

RUNNING = "ptools.running"  # ctx.meta: the Plugin whose command was called
_FOUND = "ptools.found"  # ctx.meta: every Plugin there is; the scan is made once per run
_DEAD_END = "ptools.dead-end"  # ctx.meta: completion stands behind a command that cannot be had


class PluginGroup(click.Group):
    """A click.Group whose commands are the entry points of `ptools.plugins`."""

    def plugins(self, ctx: click.Context) -> dict[str, Plugin]:
        """Return the plugins that own a command name: the ready ones, and conflicts to be told."""
        return {p.name: p for p in self.found(ctx) if p.state in (READY, CONFLICT)}

    def found(self, ctx: click.Context) -> list[Plugin]:
        """Return every plugin, also those that own no name."""
        if _FOUND not in ctx.meta:
            ctx.meta[_FOUND] = registry.find(PLUGINS)
        found: list[Plugin] = ctx.meta[_FOUND]
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.plugins(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        plugin = self.plugins(ctx).get(cmd_name)
        return load_command(plugin) if plugin else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, *rest = args
        if name.startswith("-"):
            ctx.fail(f"No such option: {name}")
        try:
            command = self._load(ctx, name)
        except PtoolsError:
            if not ctx.resilient_parsing:
                raise
            ctx.meta[_DEAD_END] = True  # completion: nothing to offer, nothing to say
            return None, None, []
        ctx.default_map = {name: self._defaults(ctx, command, name, rest)}
        return name, command, rest

    def _load(self, ctx: click.Context, name: str) -> click.Command:
        plugin = self.plugins(ctx).get(name)
        if plugin is None:
            raise self._no_command(ctx, name)
        ctx.meta[RUNNING] = plugin
        return load_command(plugin)

    def _defaults(
        self, ctx: click.Context, command: click.Command, name: str, rest: list[str]
    ) -> dict[str, Any]:
        """Return the options' defaults in force; a bad ptools.toml must not keep --help away."""
        try:
            known = {plugin.name for plugin in self.found(ctx)}  # those that cannot run too
            return config.defaults(command, name, known)
        except UsageError as error:
            if ctx.resilient_parsing:
                return {}
            if not set(rest) & set(ctx.help_option_names):
                raise
            note(f"Warning: {error}")
            return {}

    def _no_command(self, ctx: click.Context, name: str) -> PtoolsError:
        for plugin in self.found(ctx):
            if plugin.name == name:  # it is there, but it owns no name
                what = f"plugin '{name}' of {plugin.origin} is {plugin.state}"
                return PluginError(f"{what}: {plugin.detail}.")
        close = suggestion(name, self.list_commands(ctx)) or " See: ptools --help"
        return UsageError(f"no such command '{name}'.{close}")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        plugins = self.plugins(ctx).values()
        for title, builtin in (("Commands", True), ("Plugins", False)):
            rows = [(p.name, _described(p)) for p in plugins if p.builtin is builtin]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete from the registry; click's own method would import every plugin that matches."""
        from click.shell_completion import CompletionItem

        if _DEAD_END in ctx.meta:
            return []
        items = [
            CompletionItem(name, help=summary(plugin))
            for name, plugin in self.plugins(ctx).items()
            if name.startswith(incomplete)
        ]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]


def _described(plugin: Plugin) -> str:
    if plugin.state == CONFLICT:
        return f"({plugin.detail})"
    text = summary(plugin)
    return text if plugin.builtin else f"{text} [{plugin.distribution}]".strip()


def load_command(plugin: Plugin) -> click.Command:
    """Import one plugin and return its command, named as its entry point. Raises PluginError."""

    def adopt(command: object) -> click.Command:
        if not isinstance(command, click.Command):
            raise PluginError(
                f"plugin '{plugin.name}' of {plugin.origin} yields a {type(command).__name__}, not a "
                f"click.Command; decorate it with @click.command() or pip uninstall {plugin.distribution}"
            )
        command.name = plugin.name
        if not command.help:  # the module's docstring is the help: written once
            command.help = sys.modules[plugin.module].__doc__
        return command

    loaded: click.Command = registry.load(plugin, adopt)
    return loaded
