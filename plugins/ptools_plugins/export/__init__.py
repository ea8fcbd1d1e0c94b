"""Export a network to ONNX, checked against the original.

RUN is a run folder of 'ptools train' or 'ptools finetune', or a file of weights; a plain state_dict
needs --model. The file takes batches of any size, and has the classes, the normalisation and the
size of its pictures inside. It is written only if it answers as the network does.
"""

# source      what is exported, and what is known of its inputs
# formats     ONNX and torch.export; tensorrt: an engine for the GPU that is here
# verify      the same inputs to both: how far the outputs are apart
# work        all of it in order, data and latency; writes the file
# show        the report and the picture

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ptools import files, output
from ptools.errors import UsageError
from ptools.options import FilePath, InputSpec, Whole, examples, force_option, json_option

if TYPE_CHECKING:
    from pathlib import Path

    from ptools.tracing.inputs import Input
    from ptools_plugins.export.work import Exported

_WHOLE = ("int64", "int32", "int16", "int8")

_EPILOG = examples(
    "ptools train --epochs 2 --out mine",
    "ptools export mine --data digits",
    "ptools export mine/best.pth --format torch-export -o mine.pt2 --json",
)


@click.command(epilog=_EPILOG)
@click.argument("run", type=FilePath(exists=True), required=False, metavar="[RUN|FILE]")
@click.option("--model", metavar="SPEC", help="Build this network, not the one the file names.")
@click.option("--weights", type=FilePath(exists=True), help="The file of weights, as RUN|FILE.")
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    show_default="model.onnx, .pt2 or .ep",
    help="The file to write.",
)
@click.option(
    "--format",
    type=click.Choice(["onnx", "torch-export", "tensorrt"]),
    default="onnx",
    show_default=True,
    help="What to write; tensorrt needs an NVIDIA GPU.",
)
@click.option(
    "--in",
    "inputs",
    type=InputSpec(),
    multiple=True,
    help="What goes in, without the batch: 3x32x32, 16:int64:1000; where the file does not say.",
)
@click.option("--data", metavar="NAME|FOLDER", help="Compare on these images too.")
@click.option("--limit", type=Whole(1), default=256, show_default=True, help="Images of --data.")
@click.option(
    "--opset", type=Whole(1, 1000), help="Version of ONNX's operators, for older runtimes."
)
@click.option("--png", type=FilePath(), help="Also draw differences, latency and size.")
@click.option("--trust", is_flag=True, help="Read a file that runs code when it is read.")
@force_option
@json_option
def command(
    run: Path | None, weights: Path | None, out: Path | None, png: Path | None, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    from ptools_plugins.export import formats, work

    if (run is None) == (weights is None):
        raise UsageError("name one thing to export: a run folder, or --model M --weights FILE.")
    out = _out(out, options["format"])
    if out == png:
        raise UsageError(f"--out and --png are both {out}; choose another name for one.")
    formats.needs(options["format"], out, options["opset"])
    files.place(out, force=options["force"])
    if png is not None:
        files.place(png, force=options["force"], end=".png")
    output.note(f"Exporting {run or weights} to {out}: some seconds.")
    with output.aside():  # the model may be anybody's code
        done = work.export(run or weights, out, **options)  # type: ignore[arg-type]
    from ptools_plugins.export import show

    if png is not None:
        files.write(png, show.picture(done), force=options["force"])
    if as_json:
        output.document(done.document())
    else:
        show.report(done)
    _told(done, options["inputs"])


def _out(out: Path | None, format: str) -> Path:
    """Return where to write; a name that another format has is a slip."""
    from pathlib import Path

    from ptools_plugins.export.formats import SUFFIXES

    if out is None and format == "tensorrt":
        from ptools_plugins.export import tensorrt

        return Path(f"model{tensorrt.suffix()}")
    if out is None:
        return Path(f"model{SUFFIXES[format]}")
    other = {suffix: name for name, suffix in SUFFIXES.items()}.get(out.suffix.lower(), format)
    if other != format and (other, format) != ("onnx", "tensorrt"):  # onnxruntime writes its engine
        raise UsageError(f"{out.name} is a name for --format {other}, and {format} is written.")
    if out.suffix.lower() not in SUFFIXES.values() and not out.is_dir():
        raise UsageError(f"{out}: the name must end in {SUFFIXES[format]}.")
    return out


def _told(done: Exported, inputs: Sequence[Input]) -> None:
    if done.unreadable:
        output.note(f"Warning: {done.unreadable} pictures of --data cannot be read.")
    if any(one.dtype and not one.below and one.dtype.endswith(_WHOLE) for one in inputs):
        output.note(
            "Warning: the whole numbers that go in were all 0; say how many there are, 16:int64:1000."
        )
    if not done.telling:
        output.note(
            "Warning: the network gives all of these inputs the same output, within the limit, and a "
            "constant would have passed: compare on images as well, --data FOLDER."
        )
    if "classes" in done.metadata and done.format == "onnx":
        output.note(f"To use it: ptools predict {done.file} IMAGE")
