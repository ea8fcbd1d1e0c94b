"""What plugin authors test with: it passes good plugins, and it fails bad ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ptools import registry, testing
from ptools.testing import Install, Run, assert_plugin_ok

if TYPE_CHECKING:
    from torch import nn

GOOD = '''"""Do good."""
import click

@click.command()
@click.argument("what", default="thing")
@click.option("--json", "as_json", is_flag=True)
def command(what, as_json):
    click.echo('{"did": 1}' if as_json else "did")
'''


def test_a_good_plugin(install: Install) -> None:
    install("good", GOOD)
    assert_plugin_ok("good")
    assert_plugin_ok("good", "more")


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('"""Do good."""\n', "", "needs a docstring"),
        (
            "def command(what, as_json):\n",
            'def command(what, as_json):\n    """Other."""\n',
            "'Other'",
        ),
        ("import click\n", "import click, numpy\n", "imports .*numpy"),
        ("'{\"did\": 1}'", "'no json'", "Expecting value"),
        ('else "did")', 'else "did"); 1 / 0', "failed"),
    ],
)
def test_a_bad_plugin(install: Install, before: str, after: str, says: str) -> None:
    assert before in GOOD
    install("bad", GOOD.replace(before, after))
    with pytest.raises((AssertionError, ValueError), match=says):
        assert_plugin_ok("bad", "thing")


def test_a_plugin_that_is_not_there() -> None:
    with pytest.raises(AssertionError, match="no plugin 'nobody' is installed"):
        assert_plugin_ok("nobody")


@pytest.mark.usefixtures("tiny_checkpoint")
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("convdemo", []),
        ("device", ["--no-import"]),
        ("export", []),
        ("finetune", []),
        ("gradcheck", ["exp", "--in", "4x3"]),
        ("inspect", ["tiny.pth"]),
        ("list", ["models"]),
        ("partial-load", ["tiny.pth", "tiny.pth", "--dry-run"]),
        ("plugins", []),
        ("predict", []),
        ("quantize", ["0.1 -1.2 3.4"]),
        ("regress", []),
        ("runs", []),
        ("shapes", ["--in", "32", "--k", "3"]),
        ("tb-images", []),
        ("train", ["--epochs", "1", "--model", "mlp"]),
    ],
)
def test_every_builtin_keeps_the_promises(
    name: str, args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_plugin_ok(name, *args)


def test_every_builtin_is_in_the_test_above() -> None:
    mark = test_every_builtin_keeps_the_promises.pytestmark[0]  # type: ignore[attr-defined]
    assert {p.name for p in registry.find() if p.builtin} == {name for name, _ in mark.args[1]}


def test_one_call_in_process_or_as_the_console_script(ptools: Run) -> None:
    args = ("shapes", "--in", "32", "--k", "3", "--json")
    assert ptools(*args) == ptools(*args, process=True)
    assert ptools(*args).document["out"] == [30]
    wrong = ("shapes", "--in", "x")
    assert ptools(*wrong) == ptools(*wrong, process=True)


def test_env_is_for_one_call(ptools: Run) -> None:
    assert ptools("train", "--help", env={"PTOOLS_DISABLE": "train"}).exit_code == 1
    assert ptools("train", "--help").exit_code == 0


def test_an_installed_plugin_is_gone_after_the_test(tmp_path: Path) -> None:
    inner = tmp_path / "test_inner.py"
    inner.write_text(
        'pytest_plugins = ["ptools.testing"]\n'
        "import sys\n"
        f"GOOD = {GOOD!r}\n"
        "def test_one(install, ptools):\n"
        '    install("good", GOOD)\n'
        '    assert ptools("good").stdout == "did\\n"\n'
        '    assert "ptools_good" in sys.modules\n'
        "def test_two(ptools):\n"
        '    assert "ptools_good" not in sys.modules\n'
        '    assert ptools("good").exit_code == 2\n'
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(inner)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "2 passed" in done.stdout, done.stdout


def test_the_small_inputs(tiny_model: nn.Module, tiny_checkpoint: Path, tiny_images: Path) -> None:
    import torch
    from PIL import Image

    assert tiny_model(torch.zeros(2, 3, 8, 8)).shape == (2, 2)
    assert sum(p.numel() for p in tiny_model.parameters()) == 122
    state = torch.load(tiny_checkpoint, weights_only=True)
    assert all(state[key].equal(value) for key, value in tiny_model.state_dict().items())
    files = sorted(p.relative_to(tiny_images).as_posix() for p in tiny_images.rglob("*.png"))
    assert files == [f"{c}/{i}.png" for c in ("dark", "light") for i in range(3)]
    assert Image.open(tiny_images / files[0]).size == (8, 8)


def test_what_is_public_is_listed() -> None:
    public = {n for n in vars(testing) if n.isidentifier() and not n.startswith("_")}
    fixtures = {"ptools", "install", "tiny_model", "tiny_checkpoint", "tiny_images"}
    imported = {"annotations", "contextlib",
        "importlib", "io", "json", "os", "subprocess", "sys", "Callable",
                "Iterator", "Mapping", "Sequence", "Path", "Any", "NamedTuple", "Protocol", "pytest",
                "TYPE_CHECKING"}  # fmt: skip
    assert public - imported - fixtures == set(testing.__all__)
