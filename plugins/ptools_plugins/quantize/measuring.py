"""What int8 costs in answers: `ptools predict` itself, run on the files before and after.

measure(weights, ...)    accuracy before and after, and, with `alone`, of each layer by itself
check(data, ...)         is it there?
pictures(data)           the folder, or that of a data set's test images, for the while
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools.errors import PtoolsError, UsageError, one_line, suggestion
from ptools_plugins.quantize import applying

if TYPE_CHECKING:
    from ptools.checkpoints import Weights
    from ptools.data import ImageSet
    from ptools_plugins.quantize.network import Model

__all__ = ["Answers", "answers", "check", "measure", "pictures"]

_TOP = "10"  # classes of a picture that are compared


@dataclass(frozen=True)
class Answers:
    """What a network says of a folder: right answers in 0..1, of how many `images` with labels.

    `tops` are, for each picture, its best classes with their probabilities, the best first.
    """

    accuracy: float
    images: int
    tops: tuple[dict[str, float], ...]

    def against(self, other: Answers) -> dict[str, Any]:
        """Return what is different in `other`, of the same pictures.

        `changed` answers; `shift` is how far the probability of what was best moves, on average.
        """
        pairs = [(next(iter(a)), a, b) for a, b in zip(self.tops, other.tops, strict=True)]
        shift = sum(abs(b.get(best, 0.0) - a[best]) for best, a, b in pairs) / len(pairs)
        changed = sum(next(iter(b)) != best for best, _, b in pairs)
        return {"accuracy": other.accuracy, "changed": changed, "shift": shift}


def measure(
    weights: Weights,
    found: Model,
    written: Path,
    folder: Path,
    *,
    alone: bool = False,
    watch: Callable[[int, int], object] = lambda *_: None,
    **how: Any,
) -> dict[str, Any]:
    """Return `accuracy` {before, after, images, changed, shift}, and `alone` {layer: {...}}.

    `written` is the int8 file; `how` (model, trust) is for predict. Raises what predict raises,
    PtoolsError where no folder is called after a class.
    """
    before = answers(weights.path, folder, **how)
    with redirect_stderr(io.StringIO()):  # the same warnings
        after = before.against(answers(written, folder, **how))
    done: dict[str, Any] = {
        "accuracy": {"before": before.accuracy, "after": after.pop("accuracy"), **after}
        | {"images": before.images}
    }
    if alone:
        done["alone"] = {}
        for name in applying.each(weights, found, written):
            with redirect_stderr(io.StringIO()):  # one bar for all; the warnings were given above
                one = answers(written, folder, **how)
            done["alone"][name] = before.against(one)
            watch(len(done["alone"]), len(found.layers))
    return done


def answers(file: Path, folder: Path, *, model: str | None = None, trust: bool = False) -> Answers:
    """Run `ptools predict FILE FOLDER --json`. Raises what it raises, PtoolsError without labels."""
    from ptools import registry
    from ptools.group import load_command

    plugin = registry.owners().get("predict")
    if plugin is None:
        raise PtoolsError("--data needs 'ptools predict', which is switched off: PTOOLS_DISABLE.")
    command = load_command(plugin)
    more = [*(["--model", model] if model else []), *(["--trust"] if trust else [])]
    caught = io.StringIO()
    with redirect_stdout(caught):
        args = [*more, "--top", _TOP, "--json", "--", str(file), str(folder)]
        command.main(args, standalone_mode=False)
    return _read(caught.getvalue(), folder)


def _read(text: str, folder: Path) -> Answers:
    found = json.loads(text)
    if not found["labelled"]:
        some = one_line(", ".join(found["classes"][:5]), 100)
        raise PtoolsError(
            f"{folder} has no folder that is called after one of the classes ({some}), so nothing is "
            "known to be right; call its folders after them."
        )
    tops = [[(top.pop("class"), top) for top in image["top"]] for image in found["images"]]
    pairs = [{name: _value(values) for name, values in top} for top in tops]
    return Answers(found["accuracy"], found["labelled"], tuple(pairs))


def _value(values: dict[str, float | None]) -> float:
    """Return the probability or score; nan, which JSON lacks, is no answer at all: 0."""
    return next(iter(values.values())) or 0.0


def check(data: str, data_dir: Path | None = None) -> None:
    """Raise UsageError unless `data` is the name of a data set, or a folder and no `data_dir` is given."""
    from ptools import registry

    known = registry.owners(registry.DATASETS)
    if data not in known and not Path(data).is_dir():
        raise UsageError(
            f"--data {one_line(data, 80)}: no such folder, and no data set of that name."
            f"{suggestion(data, list(known)) or ' See: ptools list datasets'}"
        )
    if data not in known and data_dir is not None:
        raise UsageError("--data-dir is for data sets that are downloaded; leave it out.")


@contextmanager
def pictures(data: str, data_dir: Path | None = None) -> Iterator[Path]:
    """Give the folder `data`, or of a data set its test images as PNG files in a temporary folder."""
    from ptools import registry

    check(data, data_dir)
    if data not in registry.owners(registry.DATASETS):
        yield Path(data)
        return
    from ptools.data import load

    with tempfile.TemporaryDirectory(prefix="ptools-") as place:
        _save(load(data, data_dir=data_dir), Path(place))
        yield Path(place)


def _save(images: ImageSet, place: Path) -> None:
    """Write the test images, or those for validation, one PNG each in a folder of its class."""
    import torch
    from PIL import Image

    part = images.test or images.val
    if part is None:
        raise UsageError(
            f"--data {images.name} has neither test nor validation images; name another."
        )
    for name in images.classes:
        if not name.strip(". ") or "/" in name or "\\" in name:
            raise UsageError(
                f"--data {images.name}: class {name!r} cannot be a folder's name; give a folder."
            )
        (place / name).mkdir()
    for start in range(0, len(part), 256):
        some = torch.arange(start, min(start + 256, len(part)))
        pixels = part.pixels(some).permute(0, 2, 3, 1)  # (B, H, W, C)
        for number, image in zip(some.tolist(), pixels.numpy(), strict=True):
            folder = place / images.classes[int(part.labels[number])]
            grey = image.shape[2] == 1
            Image.fromarray(image[:, :, 0] if grey else image).save(folder / f"{number}.png")
