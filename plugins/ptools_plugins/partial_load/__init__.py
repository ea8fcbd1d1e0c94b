"""Load the weights of one network into another, checked.

OLD is the checkpoint to take weights from, NEW a state_dict saved from the new
model; what comes of both is written beside NEW, as NEW.loaded. With --model the
model says what is wanted, and NEW is the file to write.

Certain matches are loaded, likely ones with --accept likely; what is ambiguous
is listed, and waits for --map or --hint. Exit code 3: something was left so.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ptools import output
from ptools.errors import PtoolsError, UsageError
from ptools.options import (
    FilePath,
    InputSpec,
    Whole,
    examples,
    force_option,
    json_option,
    seed_option,
)

if TYPE_CHECKING:
    from ptools_plugins.partial_load.work import Outcome, Request

_EPILOG = examples(
    "ptools train --model cnn --out old",
    'ptools partial-load old/best.pth new.pt --model "cnn(shape=(1, 8, 8), classes=5)"',
    "ptools partial-load old/best.pth new.pt --freeze loaded",
    "ptools partial-load old/best.pth new.pt --dry-run --save-map map.json",
)
_OLD = FilePath(exists=True)
_FILE = FilePath(exists=True, dir_okay=False)
_OUT = FilePath(dir_okay=False)


@click.command(epilog=_EPILOG)
@click.argument("old", type=_OLD)
@click.argument("new", type=FilePath(), required=False)
@click.option("-o", "--out", type=_OUT, help="File to write.  [default: NEW with .loaded]")
@click.option("--in-place", is_flag=True, help="Replace NEW.")
@click.option("--dry-run", is_flag=True, help="Only report.")
@click.option("--model", help="Name or net.py:Net; then NEW is the file to write.")
@click.option("--source-key", metavar="KEY", help="The state_dict inside OLD: model.ema.")
@click.option("--trust", is_flag=True, help="Let the files run code when they are read.")
@click.option("--accept", type=click.Choice(["likely"]), help="Load likely matches too.")
@click.option("--map", "maps", metavar="NEW=OLD", multiple=True, help="This tensor is that one.")
@click.option("--hint", "hints", metavar="NEW=OLD", multiple=True, help="This module is that one.")
@click.option("--rename", metavar="REGEX=>TEXT", multiple=True, help="Rename in OLD: 'enc=>dec'.")
@click.option("--strip", metavar="PREFIX", multiple=True, help="Take off names in OLD: module.")
@click.option("--only", metavar="PATTERN", multiple=True, help="Of the target only these.")
@click.option("--skip", metavar="PATTERN", multiple=True, help="Of the target not these.")
@click.option("--first", type=Whole(1), help="The first N tensors, in order; nothing else.")
@click.option("--map-file", type=_FILE, help="Load what a saved map says, nothing else.")
@click.option("--save-map", type=_OUT, help="Write the map, to review and edit.")
@click.option(
    "--adapt", type=click.Choice(["channels", "resize", "rows", "bias"]), multiple=True,
    help="Do what invents or loses values.",
)  # fmt: skip
@click.option("--classes", type=(_FILE, _FILE), metavar="OLD.txt NEW.txt", help="For --adapt rows.")
@click.option(
    "--dtype", type=click.Choice(["target", "source"]), default="target", help="Kept from."
)
@click.option("--freeze", metavar="loaded|PATTERN", multiple=True, help="Write a freeze manifest.")
@click.option("--verify", is_flag=True, help="Run both models and compare the layers.")
@click.option("--old-model", metavar="MODEL", help="The network of OLD, for --verify.")
@click.option("--in", "inputs", type=InputSpec(), multiple=True, help="For --verify: 3x224x224.")
@click.option("--explain", metavar="KEY", help="Say all about one tensor, write nothing.")
@click.option("--emit-python", is_flag=True, help="Print a script instead of writing.")
@seed_option
@force_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    explain, python = options.pop("explain"), options.pop("emit_python")
    _check(options, as_json=as_json, explain=explain, python=python)
    request = _request(options, writes=not (options["dry_run"] or explain or python))

    from ptools_plugins.partial_load import work

    outcome = work.decide(request)
    if explain:
        _explain(outcome, explain, as_json)
        return
    if python and not outcome.refused:
        from ptools_plugins.partial_load import snippet

        output.result(snippet.script(request, outcome))
    else:
        _load(request, outcome, as_json)
    if outcome.refused:
        raise PtoolsError(outcome.refused)
    if outcome.open:
        ctx.exit(3)


def _load(request: Request, outcome: Outcome, as_json: bool) -> None:
    """Do it, and say what was done."""
    from ptools_plugins.partial_load import report, show, work

    if request.verify and not outcome.refused:
        work.verify(request, outcome)
    work.save_map(request, outcome)
    if request.writes and not outcome.refused:
        work.write(request, outcome)
    if as_json:
        output.document(report.document(outcome))
    elif not outcome.refused or outcome.plan.verdict != "different":
        show.report(outcome)
    for text in outcome.warnings:
        output.note(f"Warning: {text}")
    for path in outcome.written:
        output.note(f"Wrote {path}")


def _explain(outcome: Outcome, key: str, as_json: bool) -> None:
    from ptools_plugins.partial_load import report, show

    found = report.explanation(outcome, key)
    if as_json:
        output.document(found)
    else:
        show.explained(outcome, key)


def _check(options: dict[str, Any], *, as_json: bool, explain: str | None, python: bool) -> None:
    """Refuse what contradicts itself, before anything is read."""
    alone = {"--first": options["first"], "--map-file": options["map_file"]}
    if all(alone.values()):
        raise UsageError("--first and --map-file both say what is loaded; give one of them.")
    for name, value in alone.items():
        if value and options["hints"]:
            raise UsageError(f"--hint is for the automatic match; {name} leaves nothing to it.")
    if options["verify"] and not (options["model"] and options["old_model"]):
        raise UsageError("--verify runs both networks: add --model NEW and --old-model OLD.")
    for name in ("old_model", "inputs"):
        if options[name] and not options["verify"]:
            option = {"old_model": "--old-model", "inputs": "--in"}[name]
            raise UsageError(f"{option} is for --verify; add it or leave {option} out.")
    if options["classes"] and "rows" not in options["adapt"] and not options["maps"]:
        raise UsageError("--classes is for --adapt rows; add it.")
    if python and (as_json or explain):
        raise UsageError("--emit-python prints a script; leave --json and --explain out.")
    _check_files(options, needs_file=not (options["dry_run"] or explain))


def _check_files(options: dict[str, Any], *, needs_file: bool) -> None:
    model, new = options["model"], options["new"]
    if model and new and options["out"]:
        raise UsageError("with --model, NEW is the file to write; leave -o out.")
    if model and options["in_place"]:
        raise UsageError("with --model, NEW is the file to write; use --force to overwrite it.")
    if options["in_place"] and options["out"]:
        raise UsageError("--in-place replaces NEW; leave -o out.")
    if not model and new is None:
        raise UsageError("give NEW, a state_dict saved from the new model, or --model net.py:Net.")
    if not model and not new.exists():
        raise UsageError(
            f"{new} does not exist; save the new model's state_dict() there, or add --model."
        )
    if model and new is None and options["out"] is None and needs_file:
        raise UsageError("give NEW, the file to write.")


def _request(options: dict[str, Any], *, writes: bool) -> Request:
    from ptools_plugins.partial_load.naming import assignments
    from ptools_plugins.partial_load.plan import Wish
    from ptools_plugins.partial_load.work import Request

    wish = Wish(
        given=dict(assignments(options.pop("maps"), "--map")),
        hints=assignments(options.pop("hints"), "--hint"),
        accept_likely=options.pop("accept") == "likely",
        **{name: options.pop(name) for name in ("only", "skip", "strip", "rename", "first")},
        adapt=options.pop("adapt"),
    )
    options.pop("dry_run")
    classes: tuple[Path, ...] = options.pop("classes") or ()
    keep = options.pop("dtype") == "source"
    return Request(wish=wish, classes=classes, keep_source=keep, writes=writes, **options)
