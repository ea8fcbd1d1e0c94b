"""Write pictures of digits, a folder per class: something to train on and to look at.

    python examples/digit_pictures.py FOLDER [COUNT]

They are the test images of the data set `digits`, at most COUNT of each class. No training has seen them.
"""

import sys
from pathlib import Path

from PIL import Image

from ptools import data


def main(folder: str, count: str = "1000") -> None:
    digits = data.load("digits")
    for label, name in enumerate(digits.classes):
        place = Path(folder, name)
        place.mkdir(parents=True, exist_ok=True)
        images = digits.test.images[digits.test.labels == label]  # (N, 1, 8, 8)
        for index, image in enumerate(images[: int(count)]):
            Image.fromarray(image[0].numpy()).save(place / f"{index}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
