"""See the images that go into a network, in TensorBoard.

A data set by name, a folder, picture files, arrays: each image by itself, as batches, beside what a
transform makes of it, or as what the layers of a network make of it.

    asked, making      options -> frames; work: frames -> files, and a Shown that says what is there
    sources, arrays    a name -> the images it stands for
    frames, grids      an image at a step of a tag: singles, batches, variants; images in one
    transforming       --transform: torchvision's transforms as text
    network            --model: built, filled, watched
    inside, layers     its maps and kernels: as frames, as images
    scalars            --scalar: arithmetic as text
    writing            frames -> an event file; encoding: in threads; events: its records
    sheets             frames -> a contact sheet
    serving, show      TensorBoard itself; what a person sees
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ptools import files, output
from ptools.errors import UsageError
from ptools.options import FilePath, Sizes, Whole, examples, force_option, json_option, seed_option
from ptools.sections import Sectioned, Sections, section

if TYPE_CHECKING:
    from ptools_plugins.tb_images.asked import Shown

_EPILOG = examples(
    "ptools tb-images digits --per-class 10",
    "ptools tb-images images --batch-size 4 --out runs/look",
    'ptools tb-images images --transform "RandomCrop(6); ColorJitter(0.4)" --sheet sheet.png',
    "ptools tb-images digits --model cnn --layers 0,4 --kernels",
)
_FORMATS = ("HW", "CHW", "HWC", "NHW", "NCHW", "NHWC")
_IMAGES = section(
    "Images",
    ("--split", click.Choice(["train", "val", "test", "all"]), "train", "Part of a data set or folder."),
    ("--max", Whole(1), "100; grids: all", "So many images."),
    ("--per-class", Whole(1), None, "So many of each class."),
    ("--shuffle", bool, None, "In an order drawn by --seed."),
    ("--size", Sizes(most=2), "as they are", "Cut and resized to height x width."),
    ("--dataformats", click.Choice(_FORMATS), "by the shape", "Dimensions of arrays."),
    ("--data-dir", FilePath(), None, "Where downloads lie: ./data, or the cache folder."),
)  # fmt: skip
_SHOWN = section(
    "Shown as",
    ("--tag", str, "source/class", "One name for all: train/ants."),
    ("--batch-size", Whole(1, 100_000), None, "Batches: one grid a step."),
    ("--drop-last", bool, None, "Without a last batch that is smaller."),
    ("--columns", Whole(1, 10_000), "about square", "Of a grid."),
    ("--labels/--no-labels", bool, "in grids", "Draw the labels below the images."),
    ("--transform", str, None, 'The original beside variants: "RandomCrop(24); ColorJitter(0.4)".'),
    ("--variants", Whole(1, 1000), "7", "How many of each image."),
)  # fmt: skip
_INSIDE = section(
    "Inside a network",
    ("--model", str, None, "Feature maps of resnet18, net.py:Net, ..."),
    ("--weights", str, None, "A run folder, a checkpoint, or DEFAULT (torchvision's)."),
    ("--layers", str, "the stages", "Names and patterns: conv1,layer1.*"),
    ("--kernels", bool, None, "The kernels as well."),
    ("--by-map", bool, None, "Black to white in each map, not in a whole layer."),
    ("--op", str, None, 'One fresh layer on batches: "Conv2d(3, 6, 3)".'),
)  # fmt: skip
_WRITTEN = section(
    "Written to",
    ("--out", FilePath(file_okay=False), "runs/tb-images-N", "Log directory."),
    ("--sheet", FilePath(dir_okay=False), None, "A contact sheet (PNG) instead."),
    ("--lossless", bool, None, "PNG for photographs too, not JPEG."),
    ("--serve", bool, None, "Start TensorBoard on this machine only."),
    ("--port", Whole(0, 65535), "6006", "Of --serve; 0: any free one."),
)  # fmt: skip


@click.command(cls=Sections, epilog=_EPILOG)
@click.argument("images", nargs=-1, metavar="[DATASET|FOLDER|IMAGE|ARRAY]...")
@_IMAGES
@_SHOWN
@_INSIDE
@_WRITTEN
@click.option(
    "--scalar",
    cls=Sectioned,
    section="Curves",
    multiple=True,
    metavar="FORMULA",
    help='A curve: "y=2*x"; several.',
)
@section("Curves", ("--steps", Whole(1, 10_000_000), "100", "Steps of --scalar."))
@seed_option
@force_option
@json_option
def command(as_json: bool, **options: Any) -> None:
    """See the images that go into a network, in TensorBoard.

    A data set by name, a folder of class folders, picture files, numpy or tensor files: each image by
    itself, as batches, beside what a transform makes of it, or inside a network. Without any: digits.
    """
    from ptools_plugins.tb_images import show

    _check(options)
    port, bar = options.pop("port"), show.Bar()
    from ptools.training import hardware, signals
    from ptools_plugins.tb_images import serving

    if options["serve"]:  # before anything is written
        port = serving.free_port(port)

    hardware.import_torch()
    with signals.interruptible():
        with output.aside():  # the model may be anybody's code
            try:
                done = tb_images(**options, watch=bar.watch)
            finally:
                bar.stop()
        if options["serve"]:
            _serve(done, port, as_json)
            return
        _print(done, as_json)


def tb_images(**options: Any) -> Shown:
    """Write images for TensorBoard and return a Shown: the options are those of the command.

    `images` are its arguments, `max` and the others as they are called there; `watch` is called with the
    number of images written. Raises UsageError, FileError, PtoolsError.
    """
    from ptools_plugins.tb_images import work
    from ptools_plugins.tb_images.asked import Asked

    watch = options.pop("watch", lambda _: None)
    renamed = {"max": "most"}
    given = {renamed.get(k, k): v for k, v in options.items() if v is not None}
    if "size" in given:
        given["size"] = (given["size"][0], given["size"][-1])
    if isinstance(given.get("layers"), str):
        given["layers"] = tuple(p.strip() for p in given["layers"].split(",") if p.strip())
    return work.show(Asked(**given), watch)


def _check(asked: dict[str, Any]) -> None:
    """Refuse what excludes each other, and options that would do nothing."""
    from ptools_plugins.tb_images import grids

    network = asked["model"] or asked["weights"]
    if network and asked["op"]:
        raise UsageError("--op is a layer by itself: take it, or --model and --weights.")
    rules = [
        ("layers", network, "a network: add --model or --weights"),
        ("by_map", network, "a network: add --model or --weights"),
        ("kernels", network or asked["op"], "a network: add --model, --weights or --op"),
        ("variants", asked["transform"] and not (network or asked["batch_size"]),
         "--transform, without a network and batches"),
        ("drop_last", asked["batch_size"], "batches: add --batch-size"),
        ("columns", asked["batch_size"] or asked["transform"] or asked["op"] or network,
         "grids: add --batch-size, --transform, --op or a network"),
        ("labels", not (asked["op"] or network or (asked["transform"] and not asked["batch_size"])),
         "images and batches"),
        ("steps", asked["scalar"], "curves: add --scalar"),
        ("port", asked["serve"], "a server: add --serve"),
    ]  # fmt: skip
    for name, needed, what in rules:
        if asked[name] is not None and asked[name] is not False and not needed:
            raise UsageError(f"--{name.replace('_', '-')} is for {what}.")
    if asked["size"] and max(asked["size"]) > grids.LARGEST:
        raise UsageError(
            f"--size: a side has at most {grids.LARGEST} pixels; choose a smaller one."
        )
    if asked["op"] and asked["transform"]:
        raise UsageError("--op takes the images as they are: leave --transform out.")
    if network and asked["batch_size"]:
        raise UsageError("a network is shown image by image: leave --batch-size out.")
    if asked["sheet"]:
        files.place(asked["sheet"], force=asked["force"], end=".png")
    if asked["lossless"] and asked["sheet"] and not (asked["out"] or asked["serve"]):
        raise UsageError("a sheet is always PNG: leave --lossless out.")
    _check_curves(asked)


_OF_IMAGES = ("split", "max", "per_class", "shuffle", "size", "dataformats", "data_dir", "tag",
              "batch_size", "transform", "lossless")  # fmt: skip


def _check_curves(asked: dict[str, Any]) -> None:
    """Refuse what curves cannot have; without a name of images there are none beside them."""
    if not asked["scalar"]:
        return
    varied = asked["transform"] and not asked["batch_size"]
    alone = not (asked["images"] or asked["model"] or asked["weights"] or asked["op"] or varied)
    for name in _OF_IMAGES if alone else ():
        if asked[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} is for images: name some beside --scalar."
            )
    if asked["sheet"] and not (asked["out"] or asked["serve"]):
        raise UsageError("--sheet has no curves: leave --scalar out, or add --out FOLDER.")


def _serve(done: Shown, port: int | None, as_json: bool) -> None:
    """Start TensorBoard, say where, and stay until Ctrl-C."""
    from ptools_plugins.tb_images import serving, show

    assert done.folder is not None
    server = serving.start(done.folder, done.samples, port)
    try:
        done.address = f"{server.address}#images" if "images" in done.samples else server.address
        _print(done, as_json)
        show.served(done.address, as_json)
        server.wait()
    finally:
        server.stop()


def _print(done: Shown, as_json: bool) -> None:
    from ptools_plugins.tb_images import show

    if as_json:
        output.document(done.document())
    else:
        show.result(done)
    show.notes(done)
