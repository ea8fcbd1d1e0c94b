"""The digits that ship with scikit-learn: 1,797 real 8x8 grey images, no download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (test set).
"""

from __future__ import annotations

from pathlib import Path

from ptools.data import ImageSet, split
from ptools.errors import FileError


def digits() -> ImageSet:
    """1,797 real 8x8 grey images of handwritten digits, ten classes; offline.

    Images are uint8 (N, 1, 8, 8), 0..255. Raises FileError where scikit-learn is missing.
    """
    import numpy as np
    import torch

    table = np.loadtxt(_file(), delimiter=",", dtype=np.uint8)  # (1797, 65): 64 pixels 0..16, label
    pixels = torch.from_numpy(table[:, :64]).view(-1, 1, 8, 8)
    images = (pixels.float() * (255 / 16)).round().to(torch.uint8)
    labels = torch.from_numpy(table[:, 64]).long()
    return split("digits", tuple("0123456789"), images, labels)


def _file() -> Path:
    """Find the csv beside scikit-learn's code. Importing scikit-learn would cost a second."""
    from importlib.util import find_spec

    spec = find_spec("sklearn")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            return file
    raise FileError("the digits come with scikit-learn, which is missing: pip install scikit-learn")
