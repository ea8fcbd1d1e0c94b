"""The scan agrees with importlib.metadata; the states; the summaries; nothing is imported."""

from __future__ import annotations

import email.message
import importlib.metadata
import os
import quopri
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptools import registry
from ptools.errors import PluginError
from ptools.registry import GROUPS, find, load
from ptools.scan import scan
from ptools.summaries import summary
from ptools.testing import Install

# -- the scan equals importlib.metadata --------------------------------------------------------------

STEMS = st.sampled_from(["alpha", "Alpha", "a_b", "a-b", "a.b", "A__b", "beta", "gamma2", "~elta"])
VERSIONS = st.sampled_from(["", "1.0", "2.0.post1", "1.0+cu132"])
KINDS = st.sampled_from(
    [".dist-info", ".DIST-INFO", ".egg-info", "file.egg-info", ".egg", ".whl", ".Dist-Info"]
)
NAMES = st.sampled_from(["one", "two", "three x", "vier.f", " pad ", "größe"])
VALUES = st.sampled_from(["m:a", "m.n:a.b", "m : a", "m", "m:a [extra]", "??", "", "a = b"])
# A line that is neither header nor `a = b` stops importlib.metadata, so none is drawn here.
LINES = st.one_of(
    st.tuples(NAMES, VALUES).map(" = ".join),
    st.sampled_from(["", "  ", "# comment = x:y", "; odd = x:y", "\t indented = m:a"]),
    st.sampled_from(
        [*(f"[{group}]" for group in GROUPS), "[console_scripts]", "[ptools.plugins ]"]
    ),
    st.sampled_from(["[[ptools.plugins]]", "[PTOOLS.PLUGINS]", "[]"]),
)
TEXTS = st.one_of(
    st.none(),
    st.tuples(
        st.sampled_from(["", "[ptools.plugins]\n", "\ufeff[ptools.models]\n", "[x]\r\n"]),
        st.lists(LINES, max_size=6),
        st.sampled_from(["\n", "\r\n", "\r"]),
    ).map(lambda parts: parts[0] + parts[2].join(parts[1])),
)
FOLDERS = st.lists(st.tuples(STEMS, VERSIONS, KINDS, TEXTS), max_size=6)


def _write(place: Path, stem: str, version: str, kind: str, text: str | None) -> Path | None:
    """Write one distribution; return what must itself be an entry of sys.path, if anything."""
    full = f"{stem}-{version}" if version else stem
    metadata = f"Metadata-Version: 2.1\nName: {stem}\nVersion: {version or '0'}\n"
    if kind == "file.egg-info":
        (place / f"{full}.egg-info").write_text(metadata)
        return None
    if kind == ".whl":
        with zipfile.ZipFile(place / f"{full}.whl", "w") as archive:
            archive.writestr(f"{full}.dist-info/METADATA", metadata)
            if text is not None:
                archive.writestr(f"{full}.dist-info/entry_points.txt", text)
        return place / f"{full}.whl"
    egg = kind == ".egg"
    folder = place / f"{full}.egg" / "EGG-INFO" if egg else place / f"{full}{kind}"
    folder.mkdir(parents=True)
    (folder / ("PKG-INFO" if egg or kind == ".egg-info" else "METADATA")).write_text(metadata)
    if text is not None:
        (folder / "entry_points.txt").write_bytes(text.encode())
    return folder.parent if egg else None


# importlib.metadata imports these when it needs them, and then finds no standard library.
LAZILY = (email.message, quopri)


@contextmanager
def _on_path(path: list[str]) -> Iterator[None]:
    before = sys.path[:]
    sys.path[:] = path
    try:
        yield
    finally:
        sys.path[:] = before


def _expected() -> Counter[tuple[str, str, str]]:
    entry_points = importlib.metadata.entry_points()
    return Counter(
        (group, point.name, point.value)
        for group in GROUPS
        for point in entry_points.select(group=group)
    )


def _scanned() -> Counter[tuple[str, str, str]]:
    return Counter((p.group, p.name, p.reference) for p in scan() if not p.problem)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(FOLDERS, min_size=1, max_size=3), st.booleans())
def test_the_scan_equals_importlib_metadata(
    folders: list[list[tuple[str, str, str, str | None]]], twice: bool
) -> None:
    with tempfile.TemporaryDirectory() as root:
        path: list[str] = []
        for index, distributions in enumerate(folders):
            place = Path(root, f"place{index}")
            place.mkdir()
            path.append(str(place))
            for stem, version, kind, text in distributions:
                try:
                    extra = _write(place, stem, version, kind, text)
                except (FileExistsError, IsADirectoryError):
                    continue  # the same folder drawn twice
                path += [str(extra)] if extra else []
        path += path[:1] if twice else []
        path += [str(Path(root, "not-there")), str(Path(root))]
        with _on_path(path):
            assert _scanned() == _expected()


def test_the_scan_equals_importlib_metadata_here() -> None:
    assert _scanned() == _expected()
    assert {"train", "shapes", "device"} <= {p.name for p in scan()}


def test_the_working_folder_as_an_empty_entry(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(install("here", None).parent)
    assert [p.name for p in scan([""])] == ["here"]


def test_a_custom_finder_is_asked(tmp_path: Path, install: Install) -> None:
    info = install("custom", None)
    away = tmp_path / "away"
    shutil.move(info, away / info.name)

    class Finder(importlib.metadata.MetadataPathFinder):
        @classmethod
        def find_distributions(cls, context=None):  # type: ignore[no-untyped-def]
            return iter([importlib.metadata.PathDistribution(away / info.name)])

        @classmethod
        def find_spec(cls, name, path=None, target=None):  # type: ignore[no-untyped-def]
            return None

    sys.meta_path.append(Finder)
    try:
        assert "custom" in {p.name for p in scan()}
        assert _scanned() == _expected()
    finally:
        sys.meta_path.remove(Finder)


def test_entries_of_sys_path_that_are_no_strings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    place = install("kept", None).parent
    monkeypatch.setattr("sys.path", [place, b"/bytes", None, *sys.path])
    assert "kept" in {p.name for p in find()}


@pytest.mark.parametrize(
    "name", ["x.egg", "x.egg-info/PKG-INFO", "x-1.DIST-INFO/METADATA", "x-1.egg/EGG-INFO/PKG-INFO"]
)
def test_no_pipe_blocks_the_scan(name: str, tmp_path: Path) -> None:
    pipe = tmp_path / name
    pipe.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pipe)
    (pipe.parent / "entry_points.txt").write_text("[ptools.plugins]\nx = m:a\n")
    places = [str(tmp_path), str(tmp_path / "x.egg"), str(tmp_path / "x-1.egg")]
    assert len(scan(places)) <= 1  # and it returns


def test_a_broken_archive_or_finder_hides_nobody_else(
    tmp_path: Path, install: Install, capfd: pytest.CaptureFixture[str]
) -> None:
    install("kept", None)
    torn = tmp_path / "torn.whl"
    torn.write_bytes(b"PK no zip")

    class Hostile:  # without find_spec, which importlib allows
        @property
        def find_distributions(self) -> object:
            print("polluted")
            raise SystemExit(3)

    sys.path.insert(0, str(torn))
    sys.meta_path.insert(0, Hostile())  # type: ignore[arg-type]
    try:
        found = {p.name for p in find()}
        line = summary(registry.owners()["train"])
    finally:
        sys.meta_path.pop(0)
        sys.path.remove(str(torn))
    assert {"kept", "train"} <= found
    assert line == "Train a network on images and keep the best weights."
    assert "polluted" not in capfd.readouterr().out


def test_a_stale_or_false_ptools_hides_no_builtin(install: Install) -> None:
    site = install("kept", None).parent
    (site / "ptools-0.0.1.dist-info").mkdir()
    false = site / "Ptools-9.9.dist-info"
    false.mkdir()
    (false / "entry_points.txt").write_text("[ptools.plugins]\nshapes = evil:command\n")
    owners = registry.owners()
    assert owners["shapes"].reference == "ptools_plugins.shapes:command"
    assert {"train", "device", "list", "plugins"} <= set(owners)
    assert [p.state for p in find() if p.reference == "evil:command"] == ["shadowed"]


def test_too_many_entry_points_are_refused_quickly(install: Install) -> None:
    for name, line in (("many", "n{0} = m:a\n"), ("same", "x = m:a\n"), ("rivals", "x = m:a{0}\n")):
        lines = "".join(line.format(i) for i in range(50_000))
        (install(name, None) / "entry_points.txt").write_text("[ptools.plugins]\n" + lines)
    begun = process_time()
    found = find()
    assert process_time() - begun < 5  # not a speed test: without the limit it is minutes
    assert sum(p.state == "unreadable" for p in found) == 3
    assert all("more than 1000" in p.detail for p in found if p.state == "unreadable")


def test_what_is_shown_of_a_distribution_is_printable(install: Install) -> None:
    site = install("kept", None).parent
    info = site / "evil\x1b[31m-1.0\x1b[0m.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[ptools.plugins]\nfine = m:a\na\x1b[1mb = m:a\n")
    for plugin in find():
        assert "".join(plugin).isprintable()


# -- states ------------------------------------------------------------------------------------------


def _states(group: str = "ptools.plugins", disable: str = "") -> dict[tuple[str, str], str]:
    found = find(group, environ={"PTOOLS_DISABLE": disable})
    return {(p.distribution, p.name): p.state for p in found}


def test_states(install: Install) -> None:
    install("fine", "")
    install("train", "", distribution="thief")
    install("same", "", distribution="first")
    install("same", "", distribution="second")
    install("odd", "", "no reference")
    install("bad name", "", distribution="bad-name")
    states = _states()
    assert states["ptools", "train"] == states["ptools-fine", "fine"] == "ready"
    assert states["thief", "train"] == "shadowed"
    assert states["first", "same"] == states["second", "same"] == "conflict"
    assert states["ptools-odd", "odd"] == states["bad-name", "bad name"] == "invalid"
    settled = _states(disable="second")
    assert (settled["first", "same"], settled["second", "same"]) == ("ready", "disabled")


def test_one_distribution_with_one_name_twice(install: Install) -> None:
    info = install("same", "")
    (info / "entry_points.txt").write_text("[ptools.plugins]\nsame = a:b\nsame = c:d\n")
    twins = [p for p in find() if p.name == "same"]
    assert {p.state for p in twins} == {"conflict"}
    assert "pip uninstall ptools-same" in twins[0].detail


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"[ptools.plugins]\nx = \xff:y\n", "not UTF-8"), (b"#" * (2 << 20), "larger than 1 MiB")],
)
def test_unreadable_is_listed_with_the_reason(install: Install, content: bytes, why: str) -> None:
    (install("x", None) / "entry_points.txt").write_bytes(content)
    (found,) = [p for p in find() if p.distribution == "ptools-x"]
    assert found.state == "unreadable"
    assert why in found.detail
    assert "pip install --force-reinstall ptools-x" in found.detail


def test_a_large_but_honest_file_is_read_whole(install: Install) -> None:
    lines = "".join(f"n{i} = module_with_a_long_name:attribute\n" for i in range(4000))
    info = install("many", None)
    (info / "entry_points.txt").write_text(
        "[console_scripts]\n" + lines + "[ptools.plugins]\nlast = m:a"
    )
    assert (info / "entry_points.txt").stat().st_size > 1 << 16
    assert "last" in {p.name for p in find()}


@pytest.mark.parametrize("size", [(1 << 16) - 1, 1 << 16, (1 << 16) + 1, 1 << 17])
def test_files_at_the_edge_of_a_read(install: Install, size: int) -> None:
    tail = "\n[ptools.plugins]\nlast = m:a"
    (install("edge", None) / "entry_points.txt").write_text("#" * (size - len(tail)) + tail)
    assert "last" in {p.name for p in find()}


def test_an_egg_info_folder_without_a_version_in_its_name(tmp_path: Path) -> None:
    for name in ("old.egg-info", "older-2.0-py3.11.egg-info"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "entry_points.txt").write_text("[ptools.plugins]\nx = a:b\n")
        (tmp_path / name / "PKG-INFO").write_text("Metadata-Version: 2.1\nVersion: 1.5\n")
    assert {(p.distribution, p.version) for p in scan([str(tmp_path)])} == {
        ("old", "1.5"),
        ("older", "2.0"),
    }


# -- summaries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('"""One line."""\n', "One line."),
        ('"""First.\n\nSecond.\n"""', "First."),
        ("'''Single.'''", "Single."),
        ('"Short."', "Short."),
        ('r"""Raw."""', "Raw."),
        ('"""\nBelow.\n"""', "Below."),
        ('"""\\\nContinued.\n"""', "Continued."),
        ('#!/usr/bin/python\n# coding: utf-8\n\n"""After."""', "After."),
        ('\ufeff"""Mark."""', "Mark."),
        ('"""Say \x1b[31mred."""', "Say ?[31mred."),
        ('"""größer."""', "größer."),
        ("import os\n", ""),
        ("", ""),
        ('x = """no docstring"""', ""),
    ],
)
def test_summary_of_a_module(install: Install, source: str, line: str) -> None:
    install("text", source)
    assert summary(registry.owners()["text"]) == line
    assert "ptools_text" not in sys.modules


def test_summary_in_a_package_imports_no_parent(install: Install) -> None:
    site = install("deep", None, "deep_package.sub.module:command").parent
    (site / "deep_package" / "sub").mkdir(parents=True)
    (site / "deep_package" / "__init__.py").write_text("raise RuntimeError('imported')")
    (site / "deep_package" / "sub" / "module.py").write_text('"""Found without an import."""')
    assert summary(registry.owners()["deep"]) == "Found without an import."


def test_summary_of_a_model_is_its_functions(install: Install) -> None:
    source = (
        '"""Module."""\n'
        'def tiny(\n    classes: int,  # comment\n):  # another\n    """A tiny one."""\n'
        "def silent(classes, shape): return 1\n"
        'def third(classes, shape):\n    """A third one."""\n'
    )
    install("tiny", source, "ptools_tiny:tiny [extra]", group="ptools.models")
    install("silent", None, "ptools_tiny:silent", group="ptools.models")
    owners = registry.owners("ptools.models")
    assert summary(owners["tiny"]) == "A tiny one."
    assert summary(owners["silent"]) == ""


# -- loading -----------------------------------------------------------------------------------------


def test_load_returns_the_object(install: Install) -> None:
    install("value", "class A:\n    b = 41\n", "ptools_value:A.b [extra]")
    assert load(registry.owners()["value"]) == 41


def test_load_lets_ctrl_c_through(install: Install) -> None:
    install("stopped", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load(registry.owners()["stopped"])


def test_load_of_a_conflict_says_how_to_settle_it(install: Install) -> None:
    install("same", "", distribution="first", group="ptools.models")
    install("same", "", distribution="second", group="ptools.models")
    with pytest.raises(PluginError, match="PTOOLS_DISABLE=second"):
        load(registry.owners("ptools.models")["same"])
