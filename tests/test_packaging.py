"""setup.cfg says what is on the disk; the wheel holds two packages and runs from anywhere."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from ptools import __version__, registry

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def _packages_on_disk() -> set[str]:
    found = set()
    for source in (ROOT / "ptools", ROOT / "plugins" / "ptools_plugins"):
        for file in source.rglob("__init__.py"):
            found.add(".".join(file.parent.relative_to(source.parent).parts))
    return found


def test_the_packages_listed_are_those_on_disk(setup: configparser.ConfigParser) -> None:
    assert set(setup["options"]["packages"].split()) == _packages_on_disk()


def test_every_folder_with_code_is_a_package() -> None:
    for source in (ROOT / "ptools", ROOT / "plugins" / "ptools_plugins"):
        for file in source.rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), file


def test_no_module_takes_a_name_of_the_standard_library() -> None:
    for file in (ROOT / "plugins" / "ptools_plugins").glob("*.py"):
        assert file.stem == "__init__" or file.stem not in sys.stdlib_module_names


def test_pyproject_holds_only_what_tools_force() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(pyproject) == {"build-system", "tool"}
    assert set(pyproject["tool"]) == {"ruff"}


def test_dependencies_are_ranges(setup: configparser.ConfigParser) -> None:
    lines = setup["options"]["install_requires"].strip().splitlines()
    for extra in setup["options.extras_require"].values():
        lines += extra.strip().splitlines()
    assert all(">=" in line and "==" not in line for line in lines)
    named = {line.split()[0] for line in lines}
    assert {"click", "torch", "torchvision", "tensorboard", "pillow", "numpy", "rich", "safetensors",
            "pytorch-ignite", "matplotlib", "scikit-learn", "onnx", "onnxscript", "onnxruntime",
            "ruff", "mypy", "pytest"} <= named  # fmt: skip


def test_every_builtin_comes_through_the_public_entry_points(
    setup: configparser.ConfigParser,
) -> None:
    text = setup["options.entry_points"]["ptools.plugins"].strip().splitlines()
    listed = {tuple(part.strip() for part in line.split("=", 1)) for line in text}
    assert listed == {(p.name, p.reference) for p in registry.find() if p.builtin}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    copy.mkdir()
    for name in ("ptools", "plugins"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "-w", str(folder), str(copy)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheels_top_level_is_two_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    info = f"ptools-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"ptools", "ptools_plugins", info}
    assert {"ptools/py.typed", "ptools_plugins/py.typed", f"{info}/licenses/LICENSE"} <= set(names)
    code = {name for name in names if name.endswith(".py")}
    disk = {f.relative_to(ROOT).as_posix() for f in (ROOT / "ptools").rglob("*.py")}
    disk |= {f.relative_to(ROOT / "plugins").as_posix() for f in (ROOT / "plugins").rglob("*.py")}
    assert code == disk


def test_the_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    env = {**os.environ, "PYTHONPATH": str(site)}
    for args, says in ((["--version"], f"ptools {__version__}"), (["list", "models"], "cnn-bn")):
        done = subprocess.run(
            [site / "bin" / "ptools", *args], capture_output=True, text=True, env=env, cwd=tmp_path
        )
        assert says in done.stdout, done.stderr
    code = "import ptools, ptools_plugins; print(ptools.__file__, ptools_plugins.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path
    )
    assert all(place.startswith(str(site)) for place in done.stdout.split())


def test_ci_runs_the_commands_of_the_readme() -> None:
    text = (ROOT / ".ci" / "run").read_text()
    assert "README.md" in text
    assert "pip install -e" not in text.replace('pip install -q -e ".[dev]"', "")
