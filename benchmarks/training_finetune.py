"""Photos: how fast they are read, and fine-tuning on them with a frozen backbone.

finetune   resnet18 at 224 px against the tutorial's correctly frozen loop, 5 and 20 epochs
jpeg       a JPEG to a 224 crop, against Pillow's Resize and CenterCrop
fold       features of a frozen network with its BatchNorm in the convolutions, against the same without
cache      the second epoch of a folder that fits in RAM: the files are gone by then
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING

from benchmarks.training_data import photos
from benchmarks.training_pairs import Row, cpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_SIZE, _BATCH = 224, 8


def finetune(*, quick: bool) -> list[Row]:
    """Return how much CPU the tutorial takes for one of ours, from files to a trained head.

    All its epochs cost the same, so that its 20 are reckoned from 5.
    """
    import torch

    from benchmarks.tutorials import finetune as tutorial
    from ptools import models
    from ptools.training.hardware import native_bf16

    rows, few = [], 5
    with tempfile.TemporaryDirectory() as place:
        folder, weights = Path(place, "photos"), Path(place, "resnet18.pth")
        photos(folder, 32 if quick else 244)  # as many as the tutorial has
        state = models.build("resnet18").state_dict()
        torch.save(state, weights)

        def theirs() -> None:
            tutorial.train(tutorial.frozen(2, state), str(folder), few, batch_size=_BATCH)

        for amp in ("bf16", "off") if native_bf16("cpu") else ("off",):
            costs = []
            for turn in range(2 if quick else 3):  # the first one imports
                ours = [_finetune(place, weights, folder, n, turn, amp) for n in (few, 4 * few)]
                costs.append((*ours, cpu(theirs)))
            for column, epochs, goals in ((0, 5, (10, 5)), (1, 20, (40, 19))):
                ratio = statistics.median(
                    cost[2] * epochs / few / cost[column] for cost in costs[1:]
                )
                goal = goals[amp == "off"]
                kind = "fp32" if amp == "off" else amp
                rows.append(
                    Row(
                        f"finetune, resnet18 frozen, {epochs} epochs, {kind}",
                        f"{ratio:.1f}x",
                        f"{goal}x",
                    )
                )
    return rows


def _finetune(place: str, weights: Path, folder: Path, epochs: int, turn: int, amp: str) -> float:
    """Return the CPU seconds of `ptools finetune` until its last epoch is trained."""
    from ptools.training import Epoch
    from ptools_plugins.finetune import finetune

    ends: list[float] = []

    def watch(now: object) -> None:
        if isinstance(now, Epoch):
            ends.append(process_time())

    begun = process_time()
    finetune(
        model="resnet18", weights=str(weights), data=str(folder), freeze=("backbone",),
        epochs=epochs, batch_size=_BATCH, size=(_SIZE, _SIZE), val=0, amp=amp,
        out=Path(place, f"run-{amp}-{epochs}-{turn}"), watch=watch,
    )  # fmt: skip
    return ends[-1] - begun


def jpeg(*, quick: bool) -> list[Row]:
    """Return how much faster ptools makes a 224 crop of a photo of 500x375."""
    from PIL import Image
    from torchvision import transforms

    from ptools.data import Geometry
    from ptools.data.pictures import read

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()]
    tutorial, geometry = transforms.Compose(steps), Geometry(3, 224, 224)
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(photos(Path(folder), 20 if quick else 60).rglob("*.jpg"))

        def pillow() -> None:
            for file in files:
                with Image.open(file) as picture:
                    tutorial(picture.convert("RGB"))

        def ours() -> None:
            for file in files:
                read(file, geometry)

        rounds = [(cpu(pillow), cpu(ours)) for _ in range(3 if quick else 8)][1:]
    ratio = statistics.median(theirs / mine for theirs, mine in rounds)
    return [Row("JPEG to a 224 crop, against Pillow", f"{ratio:.2f}x", "1.7x")]


def fold(*, quick: bool) -> list[Row]:
    """Return how many times less CPU the features of photos take once BatchNorm is folded, in fp32."""
    import torch

    from ptools import models
    from ptools.models import heads
    from ptools.training.folding import folded
    from ptools.training.tail import features, tail

    rows = []
    for name in ("resnet18", "mobilenet_v2", "efficientnet_b0"):
        net = models.build(name, classes=2).eval().to(memory_format=torch.channels_last)
        end = tail(net, heads.find(net, (3, _SIZE, _SIZE)).name)
        images = torch.rand(_BATCH, 3, _SIZE, _SIZE).to(memory_format=torch.channels_last)
        both = features(net, end), features(folded(net, end, images[:1]), end)

        def seconds(of: Callable[[Tensor], Tensor], images: Tensor = images) -> float:
            with torch.no_grad():
                return cpu(lambda: of(images))

        rounds = [[seconds(of) for of in both] for _ in range(3 if quick else 21)][1:]
        ratio = statistics.median(plain / less for plain, less in rounds)
        rows.append(Row(f"features of {name}, BatchNorm folded", f"{ratio:.2f}x", "1x"))
    return rows


def cache(*, quick: bool) -> list[Row]:
    """Return what an epoch of photos in RAM costs, which no longer needs the files."""
    from ptools import data
    from ptools.data import Batches

    count = 40 if quick else 200
    with tempfile.TemporaryDirectory() as folder:
        place = photos(Path(folder, "photos"), count)
        begun = process_time()
        images = data.load(str(place), val=0, size=(224, 224))
        loading = process_time() - begun
        shutil.rmtree(place)
        batches = Batches(
            images.train, images.statistics(), batch_size=32, device="cpu", shuffle_seed=0
        )
        epochs = [cpu(lambda n=number: list(batches.epoch(n))) for number in (1, 2)]  # type: ignore[misc]
    second, first = (seconds / count * 1e3 for seconds in (epochs[1], loading))
    told = f"{second:.2f} ms an image, its file deleted (decoding: {first:.1f} ms)"
    return [Row("second epoch of photos in RAM", told, "decodes nothing")]
