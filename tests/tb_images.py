"""What the tests of tb-images share: pictures to show, event files as TensorBoard reads them."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
from torch import Tensor


def photo(height: int = 96, width: int = 128, seed: int = 0) -> Tensor:
    """Return something like a photograph, uint8 (3, H, W): smooth, of many colours."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 8, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return (smooth[0].clamp(0, 1) * 255).round().to(torch.uint8)


def save(image: Tensor, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image.permute(1, 2, 0).numpy()
    Image.fromarray(pixels[..., 0] if len(image) == 1 else pixels).save(path)
    return path


def photos(
    folder: str = "photos", classes: tuple[str, ...] = ("ants", "bees"), each: int = 3
) -> Path:
    """Write PNG photographs, a folder per class."""
    for place, name in enumerate(classes):
        for index in range(each):
            save(photo(seed=10 * place + index), Path(folder, name, f"{index}.png"))
    return Path(folder)


def events(folder: str | Path) -> list[Any]:
    """Return the events of the one event file in a folder; tensorboard's reader checks every checksum."""
    (file,) = Path(folder).glob("events.out.tfevents.*")
    return list(_read(file))


def _read(file: Path) -> Iterator[Any]:
    reader = PyRecordReader_New(str(file))
    while True:
        try:
            reader.GetNext()
        except Exception as error:
            assert type(error).__name__ == "OutOfRangeError"  # the end; a wrong checksum is another
            return
        yield Event.FromString(reader.record())


def images(folder: str | Path) -> dict[tuple[str, int], bytes]:
    """Return {(tag, step): encoded image}, in the order of the file."""
    return {
        (value.tag, event.step): value.image.encoded_image_string
        for event in events(folder)
        for value in event.summary.value
        if value.HasField("image")
    }


def decoded(data: bytes) -> Tensor:
    """Return the pixels of an encoded image, uint8 (C, H, W)."""
    pixels = torch.from_numpy(np.array(Image.open(BytesIO(data))))
    return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)


def levels(image: Tensor) -> list[int]:
    """Return the values that occur, in order."""
    return sorted(set(image.flatten().tolist()))


def kind(data: bytes) -> str:
    return str(Image.open(BytesIO(data)).format)
