"""What plugin authors test with. In a test file or conftest: `pytest_plugins = ["ptools.testing"]`.

    ptools(*args)               run ptools in this process; process=True runs the console script
    install(name, source)       install a distribution with one plugin, for this test only
    assert_plugin_ok(name)      the plugin keeps what every command of ptools promises
    tiny_checkpoint             path of a .pth file with the state_dict of tiny_model
    tiny_images                 path of a folder with 2 classes of 3 PNG images
    tiny_model                  a seeded torch.nn.Module, Conv2d and Linear, 122 parameters

Everything is real: a dist-info folder with metadata, a module on sys.path, a process. No mocks.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

if TYPE_CHECKING:
    from torch import nn

__all__ = ["HEAVY", "Install", "Result", "Run", "assert_plugin_ok", "install_distribution", "run"]

HEAVY = ("torch", "torchvision", "numpy", "PIL", "tensorboard", "matplotlib", "sklearn", "ignite")


class Result(NamedTuple):
    """What a run of ptools left behind."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        assert self.stdout, f"there is no document on stdout; stderr: {self.stderr}"
        return json.loads(self.stdout)


class Run(Protocol):
    """Run ptools with `args`; `process=True` runs the console script in a process of its own."""

    def __call__(
        self, *args: str, process: bool = ..., env: Mapping[str, str] | None = ...
    ) -> Result: ...


class Install(Protocol):
    """Install a distribution of one module and its entry points, and return its folder."""

    def __call__(
        self,
        name: str,
        source: str | None,
        value: str | None = ...,
        *,
        group: str = ...,
        distribution: str | None = ...,
    ) -> Path: ...


def run(*args: str, process: bool = False, env: Mapping[str, str] | None = None) -> Result:
    """Run ptools and return exit code, stdout and stderr. In a process `env` is added to os.environ."""
    if process:
        command = [*_console_script(), *args]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=300
        )
        return Result(done.returncode, done.stdout, done.stderr)
    from ptools.cli import main

    out, err = io.StringIO(), io.StringIO()
    with _environment(env or {}), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(args)
    return Result(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _console_script() -> list[str]:
    """The script that pip wrote beside this Python; without one, python -m ptools."""
    script = Path(sys.executable).with_name("ptools.exe" if os.name == "nt" else "ptools")
    return [str(script)] if script.exists() else [sys.executable, "-m", "ptools"]


def install_distribution(
    site: Path,
    name: str,
    source: str | None,
    value: str | None = None,
    *,
    group: str = "ptools.plugins",
    distribution: str | None = None,
) -> Path:
    """Write module and dist-info of a distribution into `site`; return the dist-info folder.

    `name` is the entry point's name, `source` the module's text (None: the module is gone), `value`
    the reference, `MODULE:command` by default, `distribution` the distribution's name.
    """
    distribution = distribution or f"ptools-{name}"
    module = distribution.replace("-", "_")
    site.mkdir(parents=True, exist_ok=True)
    if source is not None:
        (site / f"{module}.py").write_text(source, "utf-8")
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{group}]\n{name} = {value or f'{module}:command'}\n", "utf-8"
    )
    return info


def assert_plugin_ok(name: str, *args: str) -> None:
    """Assert what every command of ptools promises; `args` are arguments it succeeds with.

    It loads and is a click.Command; the docstring's first line is its short help; its --help imports
    nothing heavy; a wrong option is one line and exit 2; with `args` it exits 0 or 3 (or, without
    any, fails in one line with 1 or 2); and if it has --json, that prints one JSON document.
    """
    from ptools import registry
    from ptools.group import load_command
    from ptools.summaries import summary

    plugin = registry.owners().get(name)
    assert plugin is not None, f"no plugin '{name}' is installed; try: pip install -e ."
    command = load_command(plugin)
    line, short = summary(plugin), command.get_short_help_str(200)
    assert line, f"the module of '{name}' needs a docstring: its first line is the help line"
    assert short.rstrip(".") == line.rstrip("."), f"short help {short!r} is not {line!r}"
    _assert_light(name)
    _assert_one_line(run(name, "--no-such-option"), codes=(2,))
    plain = run(name, *args)
    if plain.exit_code in (0, 3):
        if any("--json" in param.opts for param in command.params):
            json.loads(run(name, *args, "--json").stdout)
    else:
        assert not args, f"ptools {name} {' '.join(args)} failed: {plain.stderr}"
        _assert_one_line(plain, codes=(1, 2))


def _assert_light(name: str) -> None:
    """Assert that `ptools NAME --help`, in a process of its own, imports nothing heavy."""
    code = (
        "import sys; from ptools.cli import main; code = main(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, f"ptools {name} --help failed: {done.stderr}"
    heavy = set(done.stderr.split()) & set(HEAVY)
    assert not heavy, (
        f"ptools {name} --help imports {sorted(heavy)}; import them inside the function"
    )


def _assert_one_line(result: Result, codes: Sequence[int]) -> None:
    lines = result.stderr.strip().splitlines()
    assert result.exit_code in codes, f"exit code {result.exit_code}, not one of {codes}"
    assert len(lines) == 1, f"an error is one line on stderr, not {lines}"


# -- the fixtures ------------------------------------------------------------------------------------


@pytest.fixture
def ptools() -> Run:
    """Run ptools: `ptools("shapes", "--in", "32", "--k", "3").stdout`."""
    return run


@pytest.fixture(name="assert_plugin_ok")
def _assert_plugin_ok() -> Callable[..., None]:
    return assert_plugin_ok


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install distributions for one test: this process and its children see them."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    before = set(sys.modules)

    def one(*args: Any, **kwargs: Any) -> Path:
        info = install_distribution(site, *args, **kwargs)
        importlib.invalidate_caches()  # the folder may be younger than its listing
        return info

    yield one
    for module in set(sys.modules) - before:
        if str(getattr(sys.modules[module], "__file__", None) or "").startswith(str(site)):
            del sys.modules[module]


@pytest.fixture
def tiny_model() -> nn.Module:
    """A network for images (N, 3, 8, 8): Conv2d(3, 4, 3), ReLU, pool to 1, Flatten, Linear(4, 2)."""
    import torch
    from torch import nn

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
        )


@pytest.fixture
def tiny_checkpoint(tmp_path: Path, tiny_model: nn.Module) -> Path:
    """The state_dict of tiny_model, as torch.save writes it."""
    import torch

    path = tmp_path / "tiny.pth"
    torch.save(tiny_model.state_dict(), path)
    return path


@pytest.fixture
def tiny_images(tmp_path: Path) -> Path:
    """A folder `images` with the classes `dark` and `light`, 3 PNG images of 8x8 each, seeded."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 128)):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for index in range(3):
            pixels = random.integers(low, low + 128, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "images"
