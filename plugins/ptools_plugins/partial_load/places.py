"""Where things are written: OUT, and the freeze manifest beside it. Nothing is lost by it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ptools import files
from ptools.errors import UsageError

if TYPE_CHECKING:
    from ptools_plugins.partial_load.work import Request


def destination(request: Request) -> Path | None:
    """Return the file to write. Raises where it may not be written, before anything is read."""
    out = _out(request)
    if out is None or not request.writes:
        return out
    others = [("OLD", request.old), ("NEW", None if request.model else request.new)]
    for name, path in others:
        if path and _same(out, path) and not (request.in_place and name == "NEW"):
            way = "add --in-place to replace it" if name == "NEW" else "choose another name"
            raise UsageError(f"{out} is {name} itself; {way}.")
    asked = [out, *([manifest(out)] if request.freeze else []), request.save_map]
    replaced = out if request.in_place else None
    for path in asked:
        if path and path != replaced:
            files.place(path, force=request.force)
    return out


def _out(request: Request) -> Path | None:
    if request.out or request.new is None:
        return request.out
    if request.model:
        return request.new
    if request.in_place:
        return request.new.resolve()  # a link stays a link
    return beside(request.new)


def beside(path: Path) -> Path:
    """Return `net.loaded.pth` for `net.pth`."""
    name = path.name
    if path.is_dir():
        return path.with_name(f"{name}.loaded.safetensors")
    ends = (".safetensors.index.json", ".bin.index.json", ".pth.tar", ".pt.tar")
    end = next((end for end in ends if name.endswith(end)), path.suffix)
    stem = name.removesuffix(end)
    return path.with_name(f"{stem}.loaded{end.removesuffix('.index.json')}")


def manifest(out: Path) -> Path:
    """Return `net.loaded.freeze.json` for `net.loaded.pth`."""
    end = next((e for e in (".pth.tar", ".pt.tar") if out.name.endswith(e)), out.suffix)
    return out.with_name(f"{out.name.removesuffix(end)}.freeze.json")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
