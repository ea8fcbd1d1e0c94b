"""List the models and data sets that can be named."""

from __future__ import annotations

from typing import Any

import click

from ptools import output, registry
from ptools.errors import UsageError
from ptools.options import examples, json_option
from ptools.summaries import summary

_GROUPS = {"models": registry.MODELS, "datasets": registry.DATASETS}


@click.command(epilog=examples("ptools list models", "ptools list datasets --grep dig --json"))
@click.argument("kind", type=click.Choice(list(_GROUPS)))
@click.option("--grep", metavar="REGEX", help="Only names, origins and summaries that match.")
@json_option
def command(kind: str, grep: str | None, as_json: bool) -> None:
    rows = names(kind, grep)
    if as_json:
        output.document(rows)
        return
    if not rows:
        output.note(f"No {kind} match '{grep}'." if grep else f"No {kind} are installed.")
        return
    output.table(("name", "origin", "what"), [tuple(row.values()) for row in rows])


def names(kind: str, grep: str | None = None) -> list[dict[str, Any]]:
    """Return name, origin and summary of every model or data set. Raises UsageError on a bad regex."""
    import re

    try:
        pattern = re.compile(grep or "", re.IGNORECASE)
    except re.error as error:
        raise UsageError(f"--grep '{grep}' is no regular expression: {error}.") from error
    rows = [
        {
            "name": plugin.name,
            "origin": plugin.origin,
            "what": summary(plugin) if plugin.state == registry.READY else plugin.detail,
        }
        for plugin in registry.find(_GROUPS[kind])
    ]
    if kind == "models":
        rows += _torchvision({row["name"] for row in rows})
    return [row for row in rows if pattern.search(" ".join(row.values()))]


def _torchvision(taken: set[str]) -> list[dict[str, Any]]:
    """Return the rows of torchvision's classification models, but for names that are somebody's."""
    from ptools.models import zoo

    found = zoo.names()
    origin = f"torchvision {zoo.version()}" if found else ""
    return [
        {"name": name, "origin": origin, "what": what}
        for name, what in found.items()
        if name not in taken
    ]
