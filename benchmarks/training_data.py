"""What the benchmarks of training train on, made here: nothing is downloaded.

random_set(folder, shape, n)   a data set plugin of random images: `--data NAME` finds it
cifar10(folder, n)             random images in torchvision's layout, as CIFAR10 reads them
mnist(folder, n)               the same for MNIST
photos(folder, n)              JPEGs of two classes: crops of the photos of scikit-learn, 500x375
"""

from __future__ import annotations

import gzip
import pickle
import random
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from ptools import registry
from ptools.testing import install_distribution

_PLUGIN = '''"""Random images."""
def make():
    """Random images, to measure speed."""
    import torch
    from ptools.data import ImageSet, Split
    random = torch.Generator().manual_seed(0)
    def part(count):
        images = torch.randint(256, (count, *{shape}), dtype=torch.uint8, generator=random)
        return Split(images, torch.randint(10, (count,), generator=random))
    return ImageSet("{name}", tuple("0123456789"), part({count}), None, part(64))
'''


def random_set(folder: Path, shape: tuple[int, int, int], count: int) -> str:
    """Install a data set of `count` random images for this process; return its name."""
    name = f"random-{'x'.join(map(str, shape))}-{count}"
    source = _PLUGIN.format(shape=shape, name=name, count=count)
    module = f"{name.replace('-', '_')}:make"
    install_distribution(folder, name, source, f"ptools_{module}", group=registry.DATASETS)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return name


def cifar10(folder: Path, count: int, transform: Any) -> Any:
    """Write `count` random images as CIFAR-10's files are; return torchvision's CIFAR10 of them."""
    import numpy as np
    from torchvision import datasets

    class Made(datasets.CIFAR10):  # type: ignore[misc]
        """The same reading, without the checksums of the real files."""

        train_list: ClassVar[list[Any]] = [["data_batch_1", None]]
        test_list: ClassVar[list[Any]] = []
        meta = datasets.CIFAR10.meta | {"md5": None}

    numbers = np.random.default_rng(0)
    place = folder / Made.base_folder
    place.mkdir(parents=True, exist_ok=True)
    images = numbers.integers(256, size=(count, 3072), dtype=np.uint8)
    labels = numbers.integers(10, size=count).tolist()
    (place / "data_batch_1").write_bytes(pickle.dumps({"data": images, "labels": labels}))
    (place / "batches.meta").write_bytes(pickle.dumps({"label_names": list("0123456789")}))
    return Made(str(folder), train=True, transform=transform)


def mnist(folder: Path, count: int, transform: Any) -> Any:
    """Write `count` random images as MNIST's files are; return torchvision's MNIST of them."""
    import numpy as np
    from torchvision import datasets

    numbers = np.random.default_rng(0)
    place = folder / "MNIST" / "raw"
    place.mkdir(parents=True, exist_ok=True)
    images = numbers.integers(256, size=(count, 28, 28), dtype=np.uint8)
    labels = numbers.integers(10, size=count, dtype=np.uint8)
    for part in ("train", "t10k"):
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = [2048 + values.ndim, *values.shape]
            content = b"".join(number.to_bytes(4, "big") for number in head) + values.tobytes()
            (place / f"{part}-{kind}-ubyte").write_bytes(content)
            (place / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(content, 1))
    return datasets.MNIST(str(folder), train=True, transform=transform)


def photos(folder: Path, count: int) -> Path:
    """Write `count` JPEGs of 500x375, half of each class: as large and as detailed as photos are."""
    from PIL import Image

    place = find_spec("sklearn")
    assert place is not None, "pip install scikit-learn"
    sources = Path(str((place.submodule_search_locations or [""])[0]), "datasets", "images")
    numbers = random.Random(0)
    for name in ("china", "flower"):
        with Image.open(sources / f"{name}.jpg") as whole:
            (folder / name).mkdir(parents=True, exist_ok=True)
            for index in range(count // 2):
                width = numbers.randint(whole.width * 7 // 10, whole.width * 8 // 10)
                height = width * 3 // 4
                left = numbers.randint(0, whole.width - width)
                top = numbers.randint(0, whole.height - height)
                crop = whole.crop((left, top, left + width, top + height))
                crop.resize((500, 375), Image.Resampling.BICUBIC).save(
                    folder / name / f"{index:04d}.jpg", quality=95
                )
    return folder
