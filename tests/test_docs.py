"""Every command line in README and docs runs; every command is documented; the links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from ptools import registry
from ptools.summaries import summary
from ptools.testing import Run
from tests.test_plugins import fresh  # noqa: F401  (a fixture)

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUICK = [
    'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/ptools train',
    ".venv/bin/python -m pytest",
]


def commands(page: Path) -> list[tuple[str, str]]:
    """Return (command line, the output shown below it) of every console block."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown))
    return found


def test_the_quick_start_has_exactly_two_commands() -> None:
    """.ci/run runs these two, taken from the README, in a fresh clone."""
    section = (ROOT / "README.md").read_text().partition("## Quick start")[2].partition("\n## ")[0]
    assert re.findall(r"^```sh\n(.*?)\n```", section, re.M | re.S) == QUICK


@pytest.fixture(scope="module")
def place(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A folder to work in, with `ptools`, `pip` and `python` of the fresh environment on PATH."""
    for name, module in (("ptools", "ptools.cli"), ("pip", "pip._internal.cli.main")):
        script = fresh.with_name(name)
        script.write_text(f"#!{fresh}\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
        script.chmod(0o755)
    folder = tmp_path_factory.mktemp("docs")
    ignore = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=ignore)
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    return folder


def environment(fresh: Path) -> dict[str, str]:  # noqa: F811
    path = os.pathsep.join(
        [str(fresh.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    offline = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # 0 means: no isolation
    return {**os.environ, "PATH": path, **offline}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_command_line_runs_and_prints_what_is_shown(
    page: Path,
    fresh: Path,  # noqa: F811
    place: Path,
) -> None:
    work = place / page.stem
    shutil.copytree(place / "examples", work / "examples")
    (work / "benchmarks").symlink_to(ROOT / "benchmarks")
    found = commands(page)
    for command, shown in found:
        if command.startswith("tensorboard "):
            assert_serves(command, work, environment(fresh))
            continue
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=work,
            env=environment(fresh),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{page.name}: {command}\n{done.stdout}{done.stderr}"
        assert shown in done.stdout, f"{page.name}: {command} printed\n{done.stdout}"


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_images")
@pytest.mark.parametrize("name", [p.name for p in registry.find() if p.builtin])
def test_every_example_of_help_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ptools: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = ptools(name, "--help").stdout.partition("Examples:\n")[2]
    for line in shown.strip().splitlines():
        done = ptools(*shlex.split(line)[1:], process=True)
        assert done.exit_code == 0, f"{line}: {done.stderr}"


def assert_serves(command: str, work: Path, env: dict[str, str]) -> None:
    """Start TensorBoard and ask it for the runs it sees."""
    process = subprocess.Popen(
        command.split(),
        cwd=work,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        address = None
        for line in process.stderr:
            if match := re.search(r"http://\S+:\d+/", line):
                address = match[0]
                break
        assert address, "TensorBoard did not say where it serves"
        for _ in range(50):
            with urllib.request.urlopen(f"{address}data/runs") as answer:
                runs = answer.read().decode()
            if "digits-cnn-bn-1" in runs:
                return
            time.sleep(0.2)
        pytest.fail(f"TensorBoard sees {runs}")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_the_readme_quotes_the_tables_that_the_benchmarks_print() -> None:
    """Row for row: the figures are of one run, the rows are those of today."""
    from benchmarks import shapes
    from benchmarks.startup import cases

    readme = (ROOT / "README.md").read_text()
    for count in (200, 1000, 5000):
        for label in cases(count, Path("site")):
            command, comma, rest = label.partition(",")
            assert f"| `{command}`{comma}{rest} | " in readme
    assert "| `ptools train` | median | worst |" in readme
    for label in shapes.cases():
        assert f"| {label} | " in readme


def test_there_are_commands_to_run() -> None:
    counts = {page.name: len(commands(page)) for page in PAGES}
    assert counts["README.md"] >= 8
    assert all(counts.values()), counts


@pytest.mark.parametrize("name", [p.name for p in registry.find() if p.builtin])
def test_every_command_is_documented(name: str) -> None:
    page = ROOT / "docs" / f"{name}.md"
    assert page.read_text().startswith(f"# ptools {name}\n")
    assert any(f"ptools {name}" in command for command, _ in commands(page))
    readme = (ROOT / "README.md").read_text()
    line = summary(registry.owners()[name])
    assert f"| [`ptools {name}`](docs/{name}.md) | {line} |" in readme


@pytest.mark.parametrize("name", [p.name for p in registry.find() if p.builtin])
def test_every_option_says_what_it_is(name: str) -> None:
    from ptools.group import load_command

    command = load_command(registry.owners()[name])
    for param in command.params:
        assert getattr(param, "help", None) or param.param_type_name == "argument", param.name


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for name in re.findall(r"`((?:ptools|tests|plugins|docs)/[\w/.]+)`", text):
        assert (ROOT / name).exists(), name
