"""List runs with their results, or compare two of them.

A FOLDER is a run, or holds some: those of 'runs' are listed, the newest first. Two that are both runs
are compared: what was set differently, what came of it, class by class. With --sort they are listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ptools import output
from ptools.options import FilePath, examples, json_option
from ptools_plugins.runs import show
from ptools_plugins.runs.comparing import Comparison, compare
from ptools_plugins.runs.reading import Listing, is_run, listing, read

__all__ = ["command", "compare", "listing", "read"]

_EPILOG = examples(
    "ptools train --out runs/one",
    "ptools train --epochs 4 --out runs/two",
    "ptools runs --sort accuracy",
    "ptools runs runs/one runs/two",
)


@click.command(epilog=_EPILOG)
@click.argument("folders", metavar="[FOLDER]...", nargs=-1, type=FilePath())
@click.option(
    "--sort",
    type=click.Choice(["time", "accuracy", "name"]),
    show_default="time",
    help="The newest first, the best on validation images, or by name.",
)
@json_option
def command(folders: tuple[Path, ...], sort: str | None, as_json: bool) -> None:
    found = runs(folders, sort=sort)
    if as_json:
        output.document(found.document())
    elif isinstance(found, Comparison):
        show.comparison(found)
    else:
        show.listing(found, folders or _DEFAULT)
    if isinstance(found, Listing):
        for why in found.damaged:
            output.note(f"left out: {why}")


_DEFAULT = (Path("runs"),)


def runs(folders: Sequence[Path] = (), *, sort: str | None = None) -> Listing | Comparison:
    """Return the runs in `folders`, or, where these are two runs and no `sort` is given, compare them.

    Raises UsageError for a folder that is not there, FileError where one to compare is damaged.
    """
    if sort is None and len(folders) == 2 and all(map(is_run, folders)):
        return compare(read(folders[0]), read(folders[1]))
    return listing(folders or _DEFAULT, sort=sort or "time", missing_ok=not folders)
