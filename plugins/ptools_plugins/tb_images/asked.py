"""What is asked for, and what was written.

Asked     the options of the command; `kind` is what is made of the images
Shown     tags, files, what was left out; the command line that shows it
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptools import output
from ptools_plugins.tb_images import serving
from ptools_plugins.tb_images.writing import Tag

__all__ = ["Asked", "Shown"]


@dataclass
class Asked:
    """The options of the command, by their names there; `images` are its arguments."""

    images: tuple[str, ...] = ()
    split: str | None = None
    most: int | None = None
    per_class: int | None = None
    shuffle: bool = False
    seed: int = 0
    size: tuple[int, int] | None = None
    dataformats: str | None = None
    data_dir: Path | None = None
    tag: str | None = None
    batch_size: int | None = None
    drop_last: bool = False
    columns: int | None = None
    labels: bool | None = None
    lossless: bool = False
    transform: str | None = None
    variants: int = 7
    model: str | None = None
    weights: str | None = None
    layers: tuple[str, ...] = ()
    kernels: bool = False
    by_map: bool = False
    op: str | None = None
    scalar: tuple[str, ...] = ()
    steps: int = 100
    out: Path | None = None
    sheet: Path | None = None
    serve: bool = False
    force: bool = False

    @property
    def kind(self) -> str:
        """What is made of the images: images, batches, transform, layers, op; scalars where none is shown."""
        if self.model or self.weights:
            return "layers"
        if self.op:
            return "op"
        if self.transform and not self.batch_size:
            return "transform"
        if self.scalar and not self.images:
            return "scalars"
        return "batches" if self.batch_size else "images"


@dataclass
class Shown:
    """What was written. `folder` is the log directory, None where there is a sheet only."""

    source: str
    split: str
    images: int
    tags: list[Tag] = field(default_factory=list)
    folder: Path | None = None
    file: Path | None = None
    sheet: Path | None = None
    sheet_size: tuple[int, int] | None = None  # height, width
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    address: str | None = None

    @property
    def samples(self) -> dict[str, int]:
        """How many samples of a tag TensorBoard has to keep, per plugin."""
        images = [tag.steps for tag in self.tags if tag.height]
        curves = [tag.steps for tag in self.tags if not tag.height]
        found = {"images": max(images, default=0), "scalars": max(curves, default=0)}
        return {plugin: count for plugin, count in found.items() if count}

    @property
    def command(self) -> str | None:
        """The command line that shows all of it."""
        if self.folder is None:
            return None
        words = [output.program("tensorboard"), *serving.command(self.folder, self.samples)]
        return shlex.join(words)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "source": self.source,
            "split": self.split,
            "images": self.images,
            "tags": [tag.document() for tag in self.tags],
            "folder": None if self.folder is None else str(self.folder),
            "file": None if self.file is None else str(self.file),
            "bytes": None if self.file is None else self.file.stat().st_size,
            "sheet": None if self.sheet is None else str(self.sheet),
            "skipped": [{"image": image, "reason": reason} for image, reason in self.skipped],
            "notes": self.notes,
            "command": self.command,
            "address": self.address,
        }
