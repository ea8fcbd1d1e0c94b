"""Say what is on pictures, with a network that was trained.

RUN is a run folder of 'ptools train' or 'ptools finetune', its best.pth, an .onnx file
of 'ptools export', or an int8 file of 'ptools quantize'; nothing in it is run. Folders
are searched for pictures; where their subfolders are called after classes, accuracy and
confusion matrix are told as well. What is no picture is named and skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ptools import output
from ptools.errors import PtoolsError, UsageError
from ptools.options import FilePath, Whole, device_option, examples, json_option

if TYPE_CHECKING:
    from pathlib import Path

    from ptools_plugins.predict.network import Network
    from ptools_plugins.predict.pictures import Picture, Skipped
    from ptools_plugins.predict.result import Prediction

_EPILOG = examples(
    "ptools train --out mine",
    "ptools predict mine images --top 1",
    "ptools predict mine/best.pth images/dark/0.png --json",
)


@click.command(epilog=_EPILOG)
@click.argument("run", type=FilePath(exists=True), metavar="RUN|FILE")
@click.argument(
    "images", type=FilePath(exists=True), nargs=-1, required=True, metavar="IMAGE|FOLDER..."
)
@click.option("--top", type=Whole(1), default=3, help="How many classes to name per picture.")
@click.option("--model", metavar="SPEC", help="Build this network, not the one the file names.")
@click.option("--batch-size", type=Whole(1, 1_000_000), default=32, help="Pictures at once.")
@click.option("--trust", is_flag=True, help="Read a file that runs code when it is read.")
@device_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
def command(as_csv: bool, as_json: bool, **options: Any) -> None:
    from ptools_plugins.predict import show

    if as_csv and as_json:
        raise UsageError("--csv and --json both say what is printed; give one of them.")
    bar = show.Bar()
    with output.aside():  # the model may be anybody's code
        try:
            done = predict(**options, watch=bar.watch)
        finally:
            bar.stop()
    if as_json:
        output.document(done.document())
    elif as_csv:
        output.result(show.text(done))
    else:
        show.table(done)
    show.warnings(done)


def predict(
    run: Path,
    images: Sequence[Path],
    *,
    top: int = 3,
    model: str | None = None,
    batch_size: int = 32,
    trust: bool = False,
    device: str = "auto",
    watch: Callable[[int, int], None] = lambda *_: None,
) -> Prediction:
    """Return what the network of `run` takes `images`, files or folders of them, for.

    `top` classes of each; `model` is built instead of the one that the file names; `watch` is called
    with the number of files done and of all. Raises UsageError, FileError, and PtoolsError where no
    file is a picture.
    """
    from ptools.training import hardware

    hardware.import_torch()
    from ptools_plugins.predict import network, pictures

    if run.suffix.lower() == ".onnx":
        from ptools_plugins.predict import onnxfile

        net = onnxfile.load(run, model=model, device=device, trust=trust)
    else:
        net = network.load(run, model=model, device=hardware.pick_device(device), trust=trust)
    found = pictures.find(images, net.classes)
    return _answer(net, found, top, batch_size, watch)


def _answer(
    net: Network, found: list[Picture], top: int, size: int, watch: Callable[[int, int], None]
) -> Prediction:
    import torch

    from ptools_plugins.predict.pictures import batches
    from ptools_plugins.predict.result import Prediction

    read: list[Picture] = []
    skipped: list[Skipped] = []
    values, indices = [], []
    top = min(top, len(net.classes))
    for batch in batches(found, net.geometry, size):
        if batch.images:
            best = net(torch.stack(batch.images)).topk(top)
            values.append(best.values)
            indices.append(best.indices)
        read += batch.pictures
        skipped += batch.skipped
        watch(len(read) + len(skipped), len(found))
    if not read:
        raise PtoolsError(_none(skipped))
    return Prediction(
        file=str(net.file),
        model=net.blueprint.model,
        classes=net.classes,
        measure=net.measure,
        images=[str(picture.path) for picture in read],
        top=torch.cat(indices),
        values=torch.cat(values),
        labels=torch.tensor([-1 if p.label is None else p.label for p in read]),
        skipped=skipped,
    )


def _none(skipped: list[Skipped]) -> str:
    first, *others = skipped
    more = f", nor can {len(others)} more" if others else ""
    return f"{first.image} cannot be read ({first.reason}){more}; give other pictures."
