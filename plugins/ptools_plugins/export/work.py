"""Export, run both, compare, measure; and only then write.

export(...)    -> Exported
Exported       what was written, what it was compared on, how large and how fast it is
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ptools import files
from ptools.errors import PtoolsError, UsageError, cause

if TYPE_CHECKING:
    from torch import Tensor

    from ptools.data import ImageSet
    from ptools.data.sets import Samples
    from ptools.tracing.inputs import Input
    from ptools_plugins.export.formats import Made
    from ptools_plugins.export.source import Source
    from ptools_plugins.export.verify import Check, Run

__all__ = ["Exported", "export"]

BATCHES = (1, 5)
REPEATS = 4  # batches of noise of each size
SECONDS, MOST = 2.0, 50  # how long, and how often, both are timed


@dataclass(frozen=True, eq=False)
class Exported:
    """A file that answers as the network does, and how that is known.

    `inputs` and `outputs` are names with shapes; `bytes` and `milliseconds` (medians of `runs` at batch
    1) are (before, after); `unreadable` pictures of --data were left out.
    """

    file: Path
    format: str
    source: Path
    model: str
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    opset: int | None
    metadata: dict[str, str]
    checks: list[Check]
    bytes: tuple[int, int]
    milliseconds: tuple[float, float]
    runs: int
    threads: int
    unreadable: int = 0

    @property
    def telling(self) -> bool:
        """Whether the outputs depend on the inputs at all, by more than the limit."""
        return any(check.varies for check in self.checks)

    def document(self) -> dict[str, Any]:
        """Return it for --json."""
        from ptools_plugins.export.verify import LIMIT

        return {
            "file": str(self.file),
            "format": self.format,
            "source": str(self.source),
            "model": self.model,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "opset": self.opset,
            "metadata": self.metadata,
            "limit": LIMIT,
            "checks": [check.document() for check in self.checks],
            "telling": self.telling,
            "unreadable": self.unreadable,
            "bytes": dict(zip(("before", "after"), self.bytes, strict=True)),
            "latency_ms": dict(zip(("before", "after"), self.milliseconds, strict=True))
            | {"batch": 1, "runs": self.runs, "threads": self.threads},
        }


def export(
    file: Path,
    out: Path,
    *,
    format: str = "onnx",
    model: str | None = None,
    inputs: Sequence[Input] = (),
    data: str | None = None,
    limit: int = 256,
    opset: int | None = None,
    trust: bool = False,
    force: bool = False,
) -> Exported:
    """Export the network of `file` to `out`, if what comes out is the same network.

    `inputs` are without the batch; `data` is a data set or a folder of which `limit` images are
    compared too; `opset` the version of ONNX's operators, the exporter's choice if None. Raises
    UsageError and FileError, and PtoolsError where it cannot be exported or the outputs differ:
    nothing is written then.
    """
    from ptools_plugins.export import formats

    formats.needs(format, out, opset)
    files.place(out, force=force)
    source = _source(file, out, model=model, inputs=inputs, trust=trust)
    images = _images(data, source) if data else None
    original = formats.runner(source.net)
    names, shapes = _ends(source, original)
    made = _made(format, out, opset)(source, names)
    checks, unreadable = _checked(source, original, made.run, images, limit)
    costs = _costs(source, original, made)
    files.write(out, made.content, force=force)
    return Exported(
        file=out,
        format=format,
        source=source.file,
        model=source.model,
        inputs=_inputs(source, made),
        outputs=dict(zip(made.outputs, shapes, strict=True)),
        opset=made.notes.get("opset"),
        metadata=source.metadata(),
        checks=checks,
        unreadable=unreadable,
        **costs,
    )


def _source(file: Path, out: Path, **how: Any) -> Source:
    """Return the network of `file`, which is not what `out` overwrites."""
    from ptools.training import hardware

    hardware.import_torch()
    from ptools_plugins.export import source as sources

    source = sources.find(file, **how)
    if out.exists() and out.samefile(source.file):
        raise UsageError(f"{out} is what is exported; choose another name for what is written.")
    return source


def _inputs(source: Source, made: Made) -> dict[str, list[Any]]:
    pairs = zip(made.inputs, source.inputs, strict=True)
    return {name: ["batch", *one.shape] for name, one in pairs}


def _made(
    format: str, out: Path, opset: int | None
) -> Callable[[Source, tuple[list[str], list[str]]], Made]:
    from ptools_plugins.export import formats, tensorrt

    makers: dict[str, Callable[[Source, tuple[list[str], list[str]]], Made]] = {
        "onnx": partial(formats.onnx, opset=opset),
        "torch-export": formats.torch_export,
        "tensorrt": partial(tensorrt.build, out=out),
    }
    return makers[format]


def _ends(source: Source, original: Run) -> tuple[tuple[list[str], list[str]], list[list[Any]]]:
    """Return the names of inputs and outputs, and the shapes of outputs, by running it once."""
    from ptools_plugins.export import formats

    try:
        two, three = (original(formats.example(source, batch)) for batch in (2, 3))
    except PtoolsError:
        raise
    except Exception as error:  # the network is anybody's code
        takes = " ".join(f"--in {one}" for one in source.inputs)
        raise UsageError(
            f"'{source.model}' does not run on {takes}: {cause(error)[:160]}; "
            f"'ptools shapes --model {quote(source.model)} {takes}' says where."
        ) from error
    first = "images" if source.pictorial else "input"
    count = len(source.inputs)
    inputs = [first] if count == 1 else [f"input_{i + 1}" for i in range(count)]
    single = "logits" if two[0].dim() == 2 else "output"
    outputs = [single] if len(two) == 1 else [f"output_{i + 1}" for i in range(len(two))]
    return (inputs, outputs), [_shape(a, b) for a, b in zip(two, three, strict=True)]


def _shape(two: Tensor, three: Tensor) -> list[Any]:
    """Return the shape of an output by those at batch 2 and 3: "batch" for what is the batch."""
    return [
        a if a == b else "batch" if (a, b) == (2, 3) else "?"
        for a, b in zip(two.shape, three.shape, strict=True)
    ]


# -- what it is compared on ------------------------------------------------------------------------


def _checked(
    source: Source, original: Run, run: Run, images: ImageSet | None, limit: int
) -> tuple[list[Check], int]:
    """Return what was compared, and how many pictures are unreadable. Raises PtoolsError for a fault."""
    from ptools_plugins.export.verify import compare, noise

    checks = [
        compare(f"noise, batch {n}", original, run, noise(source.inputs, n, REPEATS))
        for n in BATCHES
    ]
    bad: dict[str, str] = {}
    if images is not None:
        part, samples = next(
            (n, s) for n in ("test", "val", "train") if (s := getattr(images, n)) is not None
        )
        batches = _batches(source, images, samples, limit, bad)
        checks.append(compare(f"{images.name}, {part}", original, run, batches))
    if faults := [check.fault for check in checks if not check.passed]:
        raise PtoolsError(f"{faults[0]}: this is not '{source.model}', nothing was written.")
    return checks, len(bad)


def _images(data: str, source: Source) -> ImageSet:
    """Find the images of --data, at the size that the network takes."""
    from ptools import data as sets

    if not source.pictorial:
        raise UsageError(f"--data is for networks that take pictures; '{source.model}' does not.")
    channels, height, width = source.inputs[0].shape
    return sets.load(data, size=(height, width), channels=channels, cache="none")


def _batches(
    source: Source, images: ImageSet, samples: Samples, limit: int, bad: dict[str, str]
) -> Iterator[tuple[list[Tensor], Tensor | None]]:
    """Yield normalised batches, with labels where the data have the classes of the network."""
    from ptools.data.batches import Batches
    from ptools.data.sets import Files, sample

    if len(samples) > limit:
        samples = samples.take(sample(samples.labels, limit, 0))
    if isinstance(samples, Files) and source.geometry is not None:
        samples = replace(samples, geometry=source.geometry)
    known = source.mean is not None and source.std is not None
    statistics = (source.mean, source.std) if known else images.statistics()
    batches = Batches(samples, statistics, batch_size=32, device="cpu")  # type: ignore[arg-type]
    for pixels, labels in batches:
        yield [pixels], labels if images.classes == source.classes else None
    bad.update(batches.bad)


# -- what it costs ---------------------------------------------------------------------------------


def _costs(source: Source, original: Run, made: Made) -> dict[str, Any]:
    """Return size and latency, before and after."""
    import torch

    before, after, runs = _timed(original, made.run, source)
    return {
        "bytes": (source.file.stat().st_size, len(made.content)),
        "milliseconds": (before, after),
        "runs": runs,
        "threads": torch.get_num_threads(),
    }


def _timed(original: Run, exported: Run, source: Source) -> tuple[float, float, int]:
    """Return both medians in milliseconds, of one sample, measured in turns, and the number of turns."""
    from statistics import median

    from ptools_plugins.export.verify import noise

    inputs = next(iter(noise(source.inputs, 1, 1)))[0]
    took: tuple[list[float], list[float]] = ([], [])
    begun = perf_counter()
    for turn in range(-3, MOST):
        for run, times in zip((original, exported), took, strict=True):
            before = perf_counter()
            run(inputs)
            if turn >= 0:
                times.append(1000 * (perf_counter() - before))
        if turn >= 4 and perf_counter() - begun > SECONDS:
            break
    return median(took[0]), median(took[1]), len(took[0])
