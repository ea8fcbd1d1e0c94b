"""Show what int8 does to numbers and to weights, or apply it.

Given are numbers ("0.1 -1.2 3.4", rows parted by ;), a checkpoint of any kind, or a run folder. The
two schemes stand side by side: symmetric (zero_point 0) and affine. Of a checkpoint every weight is
looked at, the most damaged first; --apply writes them as int8 with their scales, which 'ptools
predict' reads.
\f
    arithmetic   scale, zero point, codes and back, to the bit as torch does it
    ranges       minmax, percentile, mse
    typed        numbers on the command line
    work         what both schemes do to one tensor; network: to all weights of a file
    applying     the int8 file; measuring: the accuracy before and after, by 'ptools predict'
    kernels      torchao's int8 kernels on the same network, timed
    show         the tables; pictures: --png

The file's format is in ptools.checkpoints.int8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from ptools import files, output
from ptools.errors import UsageError, one_line
from ptools.options import FilePath, Whole, examples, force_option, json_option
from ptools.sections import Sections, section

if TYPE_CHECKING:
    from ptools.checkpoints import Weights
    from ptools_plugins.quantize.network import Model
    from ptools_plugins.quantize.work import Settings, Tensor

__all__ = ["command", "layer", "numbers", "quantize"]

_EPILOG = examples(
    'ptools quantize "0.1 -1.2 3.4"',
    'ptools quantize "1 2 3; 40 50 60" --per channel --bits 4',
    "ptools train --epochs 2 --out mine",
    "ptools quantize mine --apply small.safetensors --data digits",
)
_ARITHMETIC = section(
    "Arithmetic",
    ("--bits", Whole(2, 8), "8", "Bits of a code."),
    ("--per", click.Choice(["tensor", "channel"]), "channel; numbers: tensor", "What has a scale."),
    ("--axis", Whole(-64, 63), "0", "The dimension of the channels."),
    ("--range", str, "minmax", "minmax, percentile:99.9, or mse: the least squared error."),
    ("--unsigned", bool, None, "Affine codes from 0, as torch.quint8, not from -128."),
    ("--scheme", click.Choice(["symmetric", "affine"]), "symmetric", "Rank by it, and apply it."),
)
_NETWORK = section(
    "Network",
    ("--layer", str, None, "Look at this one tensor of the file."),
    ("--key", str, None, "The state_dict in a file of several."),
    ("--apply", FilePath(), None, "Write the int8 weights to this .safetensors file."),
    ("--data", str, None, "Folder of class folders, or data set: accuracy before and after."),
    ("--alone", bool, None, "With --data: each layer alone, ranked by how it moves the answers."),
    ("--data-dir", FilePath(), None, "Where downloads lie: ./data, or the cache folder."),
    ("--torchao", bool, None, "Time torchao's int8 kernels on it (pip install 'ptools[quant]')."),
    ("--model", str, None, "With --data, --torchao: build this network, not the file's."),
    ("--trust", bool, None, "Read a file that runs code when it is read."),
)


class _Negative(Sections):
    """A command whose first argument may begin with a minus: "-1.2 3.4" is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [f" {a}" if _is_negative(a) else a for a in args])


def _is_negative(text: str) -> bool:
    return text[:1] == "-" and (text[1:2].isdigit() or text[1:2] == "." or text[1:4] == "inf")


@click.command(cls=_Negative, epilog=_EPILOG)
@click.argument("what", metavar="NUMBERS|FILE|RUN")
@_ARITHMETIC
@_NETWORK
@click.option("--png", type=FilePath(), help="Draw the histograms before and after.")
@force_option
@json_option
def command(what: str, **given: Any) -> None:
    from ptools_plugins.quantize.typed import looks_typed

    typed = looks_typed(what) and not _exists(what)
    settings = _settings(given, typed=typed)
    _refuse(given, typed=typed)
    _ready(given)
    if typed:
        found, values = numbers(what, settings)
        _show_tensor(found, values, settings, given, typed=True)
    elif given["layer"]:
        found, values = layer(_read(what, given), given["layer"], settings)
        _show_tensor(found, values, settings, given, typed=False)
    else:
        _show_model(_read(what, given), settings, given)


# -- the work --------------------------------------------------------------------------------------


def numbers(text: str, settings: Settings) -> tuple[Tensor, Any]:
    """Return what both schemes do to typed numbers, and these as an array. Raises UsageError."""
    from ptools_plugins.quantize import typed, work

    values = typed.numbers(text)
    if settings.per == "channel" and values.ndim == 1:
        raise UsageError("one row of numbers has no channels; part rows by ';': \"1 2; 30 40\".")
    return work.study(values, settings), values


def layer(weights: Weights, name: str, settings: Settings) -> tuple[Tensor, Any]:
    """Return what both schemes do to one tensor, and its values. Raises UsageError, PtoolsError."""
    from ptools_plugins.quantize import network, work

    values = network.one(weights, name)
    return work.study(values, settings, name), values


def quantize(
    weights: Weights,
    settings: Settings,
    *,
    apply: Path | None = None,
    force: bool = False,
    data: str | None = None,
    data_dir: Path | None = None,
    alone: bool = False,
    watch: Callable[[int, int], object] = lambda *_: None,
    **how: Any,
) -> Model:
    """Return what both schemes do to every weight; write it to `apply`, and measure it on `data`.

    `data` is a folder of class folders or a data set's name; `alone` measures each layer by itself,
    too; `how` (model, trust) is for predict. Without `apply` what is measured is a temporary file.
    Raises PtoolsError and its kinds.
    """
    from ptools.training import hardware
    from ptools_plugins.quantize import applying, measuring, network

    if data is not None:
        measuring.check(data, data_dir)
    found = network.model(weights, settings, watch)
    if data is not None or apply is not None:
        hardware.import_torch()
    if data is not None:
        with TemporaryDirectory(prefix="ptools-") as scratch:
            file = Path(scratch, "int8.safetensors")
            applying.apply(weights, found, file)
            with measuring.pictures(data, data_dir) as folder:
                done = measuring.measure(
                    weights, found, file, folder, alone=alone, watch=watch, **how
                )
        found.applied.update(done)
    if apply is not None:
        applying.apply(weights, found, apply, force=force)
        one_file = not weights.format.startswith("sharded")
        before = weights.path.stat().st_size if one_file else found.before
        sizes = {"before": before, "after": apply.stat().st_size}
        found.applied["written"] = {"file": str(apply), **sizes}
    return found


# -- asked and shown -------------------------------------------------------------------------------


def _settings(given: dict[str, Any], *, typed: bool) -> Settings:
    from ptools_plugins.quantize.ranges import Rule
    from ptools_plugins.quantize.work import Settings

    per = given["per"] or ("tensor" if typed and given["axis"] is None else "channel")
    if given["axis"] is not None and per == "tensor":
        raise UsageError("--axis is for --per channel; a whole tensor has one scale.")
    return Settings(
        bits=given["bits"] or 8,
        per=per,
        axis=given["axis"] or 0,
        rule=Rule.of(given["range"] or "minmax"),
        unsigned=bool(given["unsigned"]),
        scheme=given["scheme"] or "symmetric",
    )


_OF_FILES = ("layer", "key", "apply", "data", "data_dir", "torchao", "model", "trust", "scheme")
_OF_ALL = ("apply", "data", "torchao", "scheme")
_NEED = {"model": ("data", "torchao"), "data_dir": ("data",), "alone": ("data",)}


def _refuse(given: dict[str, Any], *, typed: bool) -> None:
    """Refuse what would do nothing."""
    if typed and (name := next((name for name in _OF_FILES if given[name]), None)):
        raise UsageError(f"--{name.replace('_', '-')} is for a file, not for typed numbers.")
    for name in _OF_ALL:
        if given["layer"] and given[name]:
            raise UsageError(f"--{name} is for all weights; leave --layer out.")
    if given["key"] and given["data"]:
        raise UsageError(
            "--data measures what 'ptools predict' reads of the file; leave --key out."
        )
    for name, needs in _NEED.items():
        if given[name] and not any(given[need] for need in needs):
            raise UsageError(
                f"--{name.replace('_', '-')} is of use with --{' or --'.join(needs)} only."
            )


def _ready(given: dict[str, Any]) -> None:
    """Refuse a file that cannot be written before anything is computed."""
    for name, end in (("png", ".png"), ("apply", ".safetensors")):
        path = given[name]
        if path is not None:
            files.place(path, force=given["force"], end=end)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or a null character in it
        return False


def _read(what: str, given: dict[str, Any]) -> Weights:
    from ptools import checkpoints

    path = Path(what)
    if not what.strip() or not _exists(what):
        raise UsageError(
            f"'{one_line(what, 80)}' is neither numbers nor a file that is there; check the path."
        )
    best = path / "best.pth"
    return checkpoints.read(
        best if best.exists() else path, key=given["key"], trust=bool(given["trust"])
    )


def _show_tensor(
    found: Tensor, values: Any, settings: Settings, given: dict[str, Any], *, typed: bool
) -> None:
    from ptools_plugins.quantize import show
    from ptools_plugins.quantize.work import listed

    if given["as_json"]:
        output.document(found.document() | (listed(found, values) if typed else {}))
    else:
        show.tensor(found, settings, values, typed=typed)
    _draw([(found, values)], settings, given)


def _show_model(weights: Weights, settings: Settings, given: dict[str, Any]) -> None:
    from ptools.checkpoints import int8
    from ptools_plugins.quantize import kernels, show

    if given["torchao"]:
        with output.aside():
            kernels.require()  # before any work
    bar = show.Bar()
    names = ("apply", "force", "data", "data_dir", "alone", "model", "trust")
    try:
        found = quantize(
            weights, settings, watch=bar.watch, **{name: given[name] for name in names}
        )
    finally:
        bar.stop()
    if given["torchao"]:
        with output.aside():  # torchao, and the network may be anybody's code
            timed = kernels.timed(weights, model=given["model"], trust=bool(given["trust"]))
        found.applied["torchao"] = [asdict(one) for one in timed]
    if given["as_json"]:
        output.document(found.document())
    else:
        show.model(found)
        show.applied(found)
    worst = found.layers[:_DRAWN]
    if given["png"]:
        _draw([(one, int8.array(weights, one.name)) for one in worst], settings, given)


_DRAWN = 4  # layers of a picture


def _draw(tensors: list[tuple[Tensor, Any]], settings: Settings, given: dict[str, Any]) -> None:
    if given["png"] is None:
        return
    from ptools_plugins.quantize.pictures import png

    files.write(given["png"], png(tensors, settings), force=given["force"])
    output.note(f"saved {given['png']}")
