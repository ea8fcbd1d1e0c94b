"""Options under headings in --help, for commands that have many.

Sections        a command whose --help shows its options by heading
Sectioned       one option under a heading
section(...)    several at once, none with a value of its own
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["Sectioned", "Sections", "section"]

F = TypeVar("F", bound=Callable[..., Any])


class Sections(click.Command):
    """A command whose --help has its options under headings: those of `section(...)`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if not isinstance(param, click.Option):
                continue  # newer clicks would list arguments
            record = param.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        for title in sorted(sections, key=lambda title: title == "Options"):
            with formatter.section(title):
                formatter.write_dl(sections[title])


class Sectioned(click.Option):
    """An option under a heading of `Sections`: click.option(..., cls=Sectioned, section="Data")."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Return what click adds to the help: the value in force where there is one, without brackets."""
        found = super().get_help_extra(ctx)
        if isinstance(self.show_default, str):
            value = self.get_default(ctx, call=False)
            found["default"] = str(self.show_default if value is None else value)
        return found


def section(title: str, *options: tuple[str, Any, str | None, str]) -> Callable[[F], F]:
    """Return a decorator that adds options under a heading of `Sections`.

    An option is (name, type, default as shown, help): none has a value of its own, so that a recipe
    can tell what was asked for. The type `bool` makes a flag.
    """

    def decorate(function: F) -> F:
        for name, kind, shown, text in reversed(options):
            more: dict[str, Any] = {"is_flag": True} if kind is bool else {"type": kind}
            if shown:
                more["show_default"] = shown
            function = click.option(
                name, cls=Sectioned, section=title, default=None, help=text, **more
            )(function)
        return function

    return decorate
