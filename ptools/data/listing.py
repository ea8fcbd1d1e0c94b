"""Which pictures a folder or a CSV file offers, and their classes by name. No picture is opened.

    cats/ dogs/                   one subfolder per class
    train/ val/ test/             each of them as above or as below; val is also valid, validation
    images/ labels/               label files of the same stem; also cats_image/ cats_label/
    pictures.csv                  path,label; paths relative to the file; a header, if there is one,
                                  names the columns, and one called split tells train, val and test

A label file holds one line: the name of the class, or its number (a line of a classes.txt beside).
"""

# A set may have a million paths, and pathlib takes several times as long as os.path.
# ruff: noqa: PTH113, PTH118, PTH122, PTH123

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from ptools.data.findings import OUT, Findings
from ptools.data.walking import EXTENSIONS, identity, is_picture, walk
from ptools.errors import FileError, one_line
from ptools.files import failed

Part: TypeAlias = list[tuple[str, str]]  # path, name of the class
Parts: TypeAlias = dict[str, Part]  # "train", and "val" and "test" where they are told apart

ROLES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_FOLDER = "a folder with the name of a picture"
_PAIR = re.compile(r"(.*?)[_-]?(image|label)s?", re.IGNORECASE)
_BOXES = re.compile(r"\d+( +[-+.\deE]+){4,}")
LAYOUTS = "one subfolder per class (train/ and val/ above them if you like), or images/ and labels/"


def folder(root: Path, labels: Path | None, findings: Findings) -> Parts:
    """List the pictures of a folder; `labels` is where their label files are, if not beside them."""
    parts = _parts(root, labels, findings)
    if not any(parts.values()):
        kinds = sorted({os.path.splitext(entry.name)[1].lower() for entry in walk(root)})[:5]
        loose = set(kinds) & EXTENSIONS
        has = "pictures, but not in class folders" if loose else f"files of {', '.join(kinds)}"
        raise FileError(
            f"{root} holds no pictures of classes: it has {has if kinds else 'no files'}; wanted is "
            f"{LAYOUTS}."
        )
    return parts


def _parts(root: Path, labels: Path | None, findings: Findings) -> Parts:
    roles = _roles(root)
    parts: Parts = {}
    for role, below in roles:
        inside = _parts(below, labels / below.name if labels else None, findings)
        parts.setdefault(role, []).extend(pair for part in inside.values() for pair in part)
    if roles:
        return parts
    if labels:
        return {"train": list(_labelled(root, labels, findings))}
    for images, beside in _pairs(root):
        for role, part in _parts(images, beside, findings).items():
            parts.setdefault(role, []).extend(part)
    return parts or {"train": list(_classes(root, findings))}


def _roles(root: Path) -> list[tuple[str, Path]]:
    """Return the subfolders with their roles, if each has one and one is for training."""
    below = _folders(root)
    roles = [(ROLES[path.name.lower()], path) for path in below if path.name.lower() in ROLES]
    return roles if len(roles) == len(below) and "train" in dict(roles) else []


def _pairs(root: Path) -> list[tuple[Path, Path]]:
    """Return folders of images with the folder of their labels: images/ labels/, a_image/ a_label/."""
    found: dict[str, dict[str, Path]] = {}
    for path in _folders(root):
        if match := _PAIR.fullmatch(path.name):
            found.setdefault(match[1].lower(), {})[match[2].lower()] = path
    return [(pair["image"], pair["label"]) for pair in found.values() if len(pair) == 2]


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    except OSError as error:
        raise failed("read", root, error) from error
    return [root / name for name in sorted(names)]


def _classes(root: Path, findings: Findings) -> Iterator[tuple[str, str]]:
    above = frozenset({identity(root), identity(findings.root)})
    for below in _folders(root):
        paths = []
        for entry in walk(below, above, lambda path: findings.add(_FOLDER, path)):
            if is_picture(entry.name):
                paths.append(entry.path)
            else:
                findings.add("no pictures by their names", entry.path)
        if not paths:
            findings.add(OUT + "a class folder without pictures", str(below))
        for path in sorted(paths):
            yield path, below.name


# -- label files -----------------------------------------------------------------------------------


def _labelled(images: Path, labels: Path, findings: Findings) -> Iterator[tuple[str, str]]:
    files: dict[str, str] = {}
    for entry in walk(labels):
        if not is_picture(entry.name):
            files[os.path.splitext(os.path.relpath(entry.path, labels))[0]] = entry.path
    names = _names(files.get("classes"))
    inside = walk(images, odd=lambda path: findings.add(_FOLDER, path))
    pictures = [entry.path for entry in inside if is_picture(entry.name)]
    for path in sorted(pictures):
        file = files.get(os.path.splitext(os.path.relpath(path, images))[0])
        label = _label(file, names) if file else "without a label file"
        if isinstance(label, str):
            findings.add(OUT + label, path)
        else:
            yield path, label[0]


def _names(file: str | None) -> list[str]:
    return Path(file).read_text("utf-8", "replace").split("\n") if file else []


def _label(file: str, names: list[str]) -> tuple[str] | str:
    """Return the class a label file names, or what is wrong with it."""
    try:
        with open(file, encoding="utf-8-sig", errors="replace") as opened:
            text = opened.read(2000).strip()
    except OSError as error:
        return f"its label file cannot be read ({one_line(error.strerror)})"
    if not text:
        return "its label file is empty"
    if _BOXES.match(text):
        return "its label file holds boxes, not a class"
    if "\n" in text:
        return "its label file has more than one line"
    if names and text.isdecimal():
        number = int(text)
        name = names[number].strip() if number < len(names) else ""
        return (name,) if name else "its label is not in classes.txt"
    return (text,)


# -- tables ----------------------------------------------------------------------------------------

_PATHS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "img", "id")
_LABELS = ("label", "class", "target", "category", "class_name", "breed", "species", "y")
_SPLITS = ("split", "set", "subset", "fold", "part")


def table(file: Path, findings: Findings) -> Parts:
    """List the pictures of a CSV file: comma, semicolon or tab between the columns."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as opened:
            first = opened.readline()
            opened.seek(0)
            mark = max(",;\t", key=first.count)
            rows = [[cell.strip() for cell in row] for row in csv.reader(opened, delimiter=mark)]
    except OSError as error:
        raise failed("read", file, error) from error
    except csv.Error as error:
        raise FileError(f"{file} is no CSV file: {one_line(error)}.") from error
    rows = [row for row in rows if any(row)]
    if not rows or max(map(len, rows)) < 2:
        raise FileError(f"{file} has no rows of path,label; write one per picture.")
    path, label, split = 0, 1, None
    if _is_head(rows[0], file.parent):
        heads = [cell.lower() for cell in rows.pop(0)]
        path, label, split = _columns(heads)
    parts: Parts = {}
    for row in rows:
        _add(parts, row, (path, label, split), file.parent, findings)
    if not any(parts.values()):
        place = f"paths are relative to {file.parent}"
        raise FileError(f"none of the {len(rows)} pictures of {file} is there; {place}.")
    return parts


def _add(
    parts: Parts,
    row: list[str],
    columns: tuple[int, int, int | None],
    root: Path,
    findings: Findings,
) -> None:
    path, label, split = (row[i] if i is not None and i < len(row) else "" for i in columns)
    if not path or not label:
        findings.add(OUT + "a row without path or label", ",".join(row))
        return
    full = os.path.join(root, path)
    if not os.path.isfile(full):
        findings.add(OUT + "no such file", full)
        return
    role = ROLES.get(split.lower(), "") if columns[2] is not None else "train"
    if role:
        parts.setdefault(role, []).append((full, label))
    else:
        findings.add(OUT + "its split is none of train, val and test", full)


def _is_head(row: list[str], root: Path) -> bool:
    """Tell a header: a name we know, or nothing that looks like a file."""
    known = {*_PATHS, *_LABELS}
    if known & {cell.lower() for cell in row}:
        return not os.path.isfile(root / row[0])
    return not os.path.splitext(row[0])[1] and not os.path.isfile(root / row[0])


def _columns(heads: list[str]) -> tuple[int, int, int | None]:
    def find(names: tuple[str, ...], instead: int | None) -> int | None:
        return next((heads.index(name) for name in names if name in heads), instead)

    path = find(_PATHS, 0) or 0
    label = find(_LABELS, 1 if path == 0 else 0) or 0
    return path, label, find(_SPLITS, None)
