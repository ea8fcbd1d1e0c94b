"""The work of tb-images: what is asked for -> an event file, a contact sheet.

show(asked, ...)   find the images, make the frames, write them; returns a Shown
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import time

from ptools import files
from ptools.data.pictures import PictureError
from ptools_plugins.tb_images import scalars, sheets, sources, writing
from ptools_plugins.tb_images.asked import Asked, Shown
from ptools_plugins.tb_images.frames import Frame
from ptools_plugins.tb_images.making import Making
from ptools_plugins.tb_images.sources import Entry, Found

__all__ = ["show"]

# how many images where --max says nothing: all where a grid holds many
_MOST = {"images": 100, "transform": 16, "layers": 4, "op": 64, "batches": None}


def show(asked: Asked, watch: Callable[[int], object] = lambda _: None) -> Shown:
    """Write what is asked for. `watch` is called with the number of images written.

    Raises UsageError, FileError, and PtoolsError where a network or a layer does not take the images.
    """
    if asked.sheet is not None:
        files.place(asked.sheet, force=asked.force, end=".png")
    found, entries = _images(asked)
    done = Shown(found.name, asked.split or "train", len(entries), notes=found.notes)

    def unread(error: PictureError) -> None:
        if (error.path, error.reason) not in done.skipped:
            done.skipped.append((error.path, error.reason))

    curves = [scalars.parse(text) for text in asked.scalar]
    made = Making(asked, found, entries, unread, done.notes)
    if asked.sheet is not None:
        _sheet(asked, done, made(), unread)
    if asked.sheet is None or asked.out is not None or asked.serve:
        _events(asked, done, made(), curves, unread, watch)
    done.images = len(entries) - len(done.skipped)
    return done


def _images(asked: Asked) -> tuple[Found, list[Entry]]:
    """Return what is there, and what of it is shown."""
    if asked.kind == "scalars":
        return Found("scalars", []), []
    found = sources.find(
        asked.images or ("digits",),
        split=asked.split,
        data_dir=asked.data_dir,
        dataformats=asked.dataformats,
    )
    most = asked.most or _MOST[asked.kind]
    seed = asked.seed if asked.shuffle else None
    entries = sources.select(
        found.entries,
        most=most,
        per_class=asked.per_class,
        seed=seed,
        spread=asked.kind != "batches",
    )
    if len(entries) < len(found.entries) and asked.most is None and asked.per_class is None:
        found.notes.append(f"{len(entries)} of {len(found.entries):,} images; --max shows more")
    return found, entries


def _sheet(
    asked: Asked, done: Shown, frames: Iterator[Frame], unread: Callable[[PictureError], object]
) -> None:
    assert asked.sheet is not None
    drawn = sheets.draw(frames, small=asked.kind == "images", unread=unread)
    files.write(asked.sheet, drawn.content, force=asked.force)
    done.sheet, done.sheet_size = asked.sheet, (drawn.height, drawn.width)
    if drawn.left:
        done.notes.append(f"{drawn.left} images find no place on the sheet; --max shows fewer")


def _events(
    asked: Asked,
    done: Shown,
    frames: Iterator[Frame],
    curves: list[scalars.Curve],
    unread: Callable[[PictureError], object],
    watch: Callable[[int], object],
) -> None:
    """Write the event file into a folder of its own; where that fails, no empty folder is left."""
    runs = Path("runs")
    there = asked.out is not None and asked.out.exists()
    parent = asked.out is not None or runs.exists()
    folder = (
        files.claim(asked.out, force=asked.force)
        if asked.out is not None
        else files.claim_next(runs, "tb-images")
    )
    earlier = list(folder.glob("events.out.tfevents.*.tb-images"))
    file = folder / f"events.out.tfevents.{time():.6f}.tb-images"
    try:
        tags = writing.write(
            file,
            frames,
            curves=curves,
            steps=asked.steps,
            lossless=asked.lossless,
            unread=unread,
            watch=watch,
        )
    except BaseException:
        if not there:
            with suppress(OSError):
                folder.rmdir()
                if not parent:
                    runs.rmdir()
        raise
    for old in earlier:  # replaced: TensorBoard would show both at the same steps
        with suppress(OSError):
            old.unlink()
    done.folder, done.file, done.tags = folder, file, list(tags.values())
