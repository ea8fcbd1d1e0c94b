"""Show a convolution step by step, with your numbers.

Every window: the input with the window marked, the kernel, the products, their sum, the output so far.
Without options three classics: stride 1, stride 2, and padding 1. It needs numpy, and Pillow for pictures.

    reading      text -> numbers
    build        options -> Demos; defaults, and which option belongs to which operation
    layer        a layer, and how its input lies before the windows; what PyTorch refuses
    arithmetic   outputs and windows; backward: gradients
    scenes       what is to be seen: grids, signs, sums; views: which of them
    text, play   scenes in the terminal
    paint, tiles scenes as pictures; files: a GIF, or one sheet
    photo        a photo through a layer
    report       everything as one document
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ptools import output
from ptools.errors import UsageError
from ptools.options import (
    FilePath,
    Positive,
    Sizes,
    Whole,
    examples,
    force_option,
    json_option,
    seed_option,
)
from ptools.sections import Sections, section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptools_plugins.convdemo.arithmetic import Demo
    from ptools_plugins.convdemo.photo import Photo
    from ptools_plugins.convdemo.scenes import Scene


class _Pair(Sizes):
    """One number, or two: rows x columns."""

    def __init__(self, *, least: int = 1, words: tuple[str, ...] = ()) -> None:
        super().__init__(least=least, most=2, words=words)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "|".join(["N[xN]", *self.words])


_EPILOG = examples(
    "ptools convdemo",
    "ptools convdemo --stride 2 --padding 1 --gif conv.gif",
    'ptools convdemo --input "1 2 0; 0 1 2; 3 1 1" --kernel "1 0; 0 -1"',
    "ptools convdemo --op transpose --stride 2 --png transposed.png",
    "ptools convdemo --input 2x5x5 --groups 2 --backward",
)
_NUMBERS = section(
    "Numbers",
    ("--input", str, "a classic 5x5", '"1 2 0; 0 1 2", | between channels; or a size: 2x5x5.'),
    ("--image", FilePath(exists=True, dir_okay=False), None, "A photo instead."),
    ("--kernel", str, "a classic 3x3; pooling: 2",
     "As --input, or edge, sharpen, blur, sobel-x, sobel-y, emboss."),
    ("--bias", str, None, "A number per output channel: 1,-2."),
    ("--out-channels", Whole(1, 64), "--groups", "Of a random kernel."),
)  # fmt: skip
_LAYER = section(
    "Layer",
    ("--op", click.Choice(["conv", "max", "avg", "transpose"]), "conv", "Kind of layer."),
    ("--stride", _Pair(), "1; pooling: the kernel", "Step of the window."),
    ("--padding", _Pair(least=0, words=("same", "valid")), "0", "On each side."),
    ("--padding-mode", click.Choice(["zeros", "reflect", "replicate", "circular"]), "zeros",
     "What is in it."),
    ("--dilation", _Pair(), "1", "Distance of the kernel's cells."),
    ("--groups", Whole(1, 64), "1", "Channels in groups of their own."),
    ("--output-padding", _Pair(least=0), "0", "Of a transposed convolution."),
    ("--ceil", bool, None, "Round the output's size up (pooling)."),
    ("--exclude-pad", bool, None, "Leave padding out of averages."),
    ("--relu", bool, None, "ReLU after it."),
    ("--sigmoid", bool, None, "Sigmoid after it."),
)  # fmt: skip
_VIEW = section(
    "View",
    ("--im2col", bool, None, "As one product of matrices."),
    ("--backward", bool, None, "Where gradients go, window by window."),
    ("--step", bool, None, "Wait for a key after each window."),
    ("--animate", bool, None, "Play in the terminal."),
    ("--delay", Positive(60), "0.7", "Seconds per window, in a GIF too."),
    ("--gif", FilePath(dir_okay=False), None, "Write a film."),
    ("--png", FilePath(dir_okay=False), None, "Write one sheet with all windows."),
    ("--save", FilePath(dir_okay=False), None, "Write the photo as it comes out."),
)  # fmt: skip


@click.command(cls=Sections, epilog=_EPILOG)
@_NUMBERS
@_LAYER
@_VIEW
@seed_option
@force_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, force: bool, **asked: Any) -> None:
    """Show a convolution step by step, with your numbers.

    Every window: the input with the window marked, the kernel, the products, their sum, the output so
    far. Without options three classics: stride 1, stride 2, and padding 1.
    """
    _check(ctx, asked, as_json)
    photo, shown = _computed(asked)
    written = _write(asked, photo, shown, force)
    if as_json:
        _document(asked, photo, shown, written)
        return
    for line in _about(photo):
        output.result(line)
    if photo is not None and not written:
        output.result("")
    if asked["step"] or asked["animate"]:
        _play(asked, shown)
    elif not written:
        _print(asked, photo, shown)
    for path, size in written.items():
        output.result(f"{path}: {output.size(size)}")


def _check(ctx: click.Context, asked: dict[str, Any], as_json: bool) -> None:
    """Refuse views that exclude each other, and an option of the command line that would do nothing."""
    for one, other in (("im2col", "backward"), ("step", "animate"), ("input", "image")):
        if asked[one] and asked[other]:
            raise UsageError(f"--{one} and --{other}: take one of them.")
    for name, instead in (("step", "leave it out"), ("animate", "write a film with --gif FILE")):
        if asked[name] and (as_json or not (sys.stdin.isatty() and sys.stdout.isatty())):
            raise UsageError(f"--{name} needs a terminal, without --json: {instead}.")
    for name in ("gif", "png"):
        if asked[name] and asked[name].suffix.lower() != f".{name}":
            raise UsageError(f"--{name} {asked[name]}: the name must end in .{name}.")
    if asked["image"] and asked["png"] and (asked["im2col"] or asked["backward"]):
        raise UsageError("--png of a photo is before, kernel and after: take --gif FILE for these.")
    given = ctx.get_parameter_source("delay") is click.core.ParameterSource.COMMANDLINE
    if given and not (asked["gif"] or asked["animate"]):
        raise UsageError("--delay is of --gif FILE and --animate: add one of them.")


def demos(**asked: Any) -> list[Demo]:
    """Return layers computed on numbers; the options are those of the command line. See build.demos."""
    from ptools_plugins.convdemo import build

    return build.demos(**asked)


def _computed(asked: dict[str, Any]) -> tuple[Photo | None, list[Demo]]:
    if asked["image"] is None:
        if asked["save"]:
            raise UsageError("--save is for a photo: add --image FILE, or write --png FILE.")
        return None, demos(**asked)
    from ptools_plugins.convdemo.photo import filtered

    photo = filtered(asked, asked["image"])
    return photo, [photo.crop]


def _scenes(asked: dict[str, Any], demo: Demo, *, steps: bool = True) -> Iterator[Scene]:
    from ptools_plugins.convdemo import views

    if asked["im2col"]:
        return views.product(demo, steps=steps)
    return views.gradients(demo) if asked["backward"] else views.windows(demo)


def _write(
    asked: dict[str, Any], photo: Photo | None, shown: list[Demo], force: bool
) -> dict[str, int]:
    """Write the files that were asked for; return their sizes."""
    from ptools.files import write

    made: dict[Path, bytes] = {}
    if asked["gif"] or asked["png"]:
        from ptools_plugins.convdemo import files

        files.insist(shown)
        if asked["gif"]:
            parts = [list(_scenes(asked, demo)) for demo in shown]
            made[asked["gif"]] = files.gif(parts, asked["delay"] or 0.7)
        if asked["png"] and photo is None:
            parts = [list(_scenes(asked, demo, steps=False)) for demo in shown]
            made[asked["png"]] = files.sheet(parts)
    if photo is not None:
        from ptools_plugins.convdemo import photo as photos

        if asked["png"]:
            made[asked["png"]] = photos.sheet(photo)
        if asked["save"]:
            made[asked["save"]] = photos.encoded(photos.picture(photo.whole), asked["save"])
    for path, content in made.items():
        write(path, content, force=force)
    return {str(path): len(content) for path, content in made.items()}


def _document(
    asked: dict[str, Any], photo: Photo | None, shown: list[Demo], written: dict[str, int]
) -> None:
    from ptools_plugins.convdemo import report

    more = {"im2col": bool(asked["im2col"]), "backward": bool(asked["backward"])}
    output.document(
        {
            "demos": [report.document(demo, **more) for demo in shown],
            "photo": None if photo is None else photo.document(),
            "files": list(written),
        }
    )


def _about(photo: Photo | None) -> list[str]:
    if photo is None:
        return []
    from ptools_plugins.convdemo import photo as photos
    from ptools_plugins.convdemo import scenes

    whole, seen = photo.whole, photo.document()
    height, width = whole.layer.input.shape[1:]
    smaller = "" if (width, height) == photo.scale else " of {}x{}".format(*photo.scale[::-1])
    out, y, x = photo.at
    both = " (a picture shows their absolute values)" if photos.answers_both_ways(whole) else ""
    colours = "3 channels" if len(whole.layer.input) == 3 else "1 channel"
    return [
        f"{photo.path}, {height}x{width}{smaller}, {colours}",
        scenes.heading(whole),
        f"values {scenes.number(seen['min'])} to {scenes.number(seen['max'])}{both}",
        f"strongest at channel {out}, row {y}, column {x}",
    ]


def _play(asked: dict[str, Any], shown: list[Demo]) -> None:
    from ptools_plugins.convdemo import play, text

    every = (scene for demo in shown for scene in _scenes(asked, demo))
    if asked["step"]:
        play.step(every, text.ink())
    else:
        play.animate(every, text.ink(), asked["delay"] or 0.7)


def _print(asked: dict[str, Any], photo: Photo | None, shown: list[Demo]) -> None:
    from ptools_plugins.convdemo import text, views

    ink = text.ink()
    every = [_scenes(asked, demo, steps=False) for demo in shown]
    if photo is not None and not (asked["im2col"] or asked["backward"]):
        every = [views.windows(photo.crop, [photo.window])]
    else:
        every.append(views.summary(shown, backward=bool(asked["backward"])))
    before = ""
    for number, scene in enumerate(itertools.chain(*every)):
        layer, _, rest = scene.heading.partition("\n")
        lines = text.lines(scene, ink, again=layer == before and bool(rest))
        output.result("\n".join([""] * (number > 0) + lines))
        before = layer
    if sys.stdout.isatty() and number > 8:
        output.note("One at a time: --step. A film: --animate, or --gif FILE.")
