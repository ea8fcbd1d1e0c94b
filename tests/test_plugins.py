"""ptools plugins: the list, --check, and a plugin written, installed and tested for real."""

from __future__ import annotations

import os
import signal
import site
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from ptools import __version__
from ptools.testing import Install, Result, Run
from tests.faults import GOOD

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that sees what is installed here; installing into it changes only it."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    library = next(folder.glob("lib/python*/site-packages"), folder / "Lib" / "site-packages")
    here = [p for p in site.getsitepackages() if p.endswith(("site-packages", "dist-packages"))]
    lines = [f"import site; site.addsitedir({p!r})" for p in here]
    (library / "outer.pth").write_text("\n".join(lines) + "\n")
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def python(fresh: Path, *args: str, cwd: Path | None = None) -> Result:
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTEST_CURRENT_TEST")}
    done = subprocess.run(
        [fresh, *args], capture_output=True, text=True, cwd=cwd or fresh.parent, env=env
    )
    return Result(done.returncode, done.stdout, done.stderr)


def install_editable(fresh: Path, folder: Path) -> None:
    pip = (
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-e",
        str(folder),
    )
    done = python(fresh, *pip)
    assert done.exit_code == 0, done.stderr


# -- the list ----------------------------------------------------------------------------------------


def test_the_list(install: Install, ptools: Run) -> None:
    install("good", GOOD)
    rows = {row["name"]: row for row in ptools("plugins", "--json").document}
    assert rows["good"] == {
        "name": "good",
        "summary": "Do good.",
        "distribution": "ptools-good",
        "version": "1.0",
        "state": "ready",
        "detail": "",
        "reference": "ptools_good:command",
    }
    assert rows["plugins"]["distribution"] == "ptools"
    assert rows["plugins"]["version"] == __version__
    text = ptools("plugins").stdout
    assert text.splitlines()[0].split() == ["name", "state", "distribution", "version", "summary"]
    assert "Do good." in text


def test_a_piped_table_has_no_control_codes_and_no_trailing_spaces(ptools: Run) -> None:
    out = ptools("plugins", process=True, env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_check_of_good_plugins(install: Install, ptools: Run) -> None:
    install("good", GOOD)
    done = ptools("plugins", "--check", "--json")
    assert done.exit_code == 0
    assert {row["state"] for row in done.document} == {"ok"}


def test_check_of_a_broken_plugin_exits_1_and_says_why(install: Install, ptools: Run) -> None:
    install("dies", '"""Die."""\nimport os\nos._exit(9)\n')
    install("child", '"""Fork."""\nimport subprocess\nsubprocess.run(["sleep", "60"])\n')
    done = ptools("plugins", "--check", "--timeout", "3")
    assert done.exit_code == 1
    assert "dies: its import ended the process with exit code 9; update or remove it" in done.stderr
    assert "child: its import did not end within 3 s" in done.stderr
    assert "pip uninstall ptools-dies" in done.stderr
    assert ptools("plugins").exit_code == 0


def test_check_leaves_nobody_behind(install: Install, ptools: Run, tmp_path: Path) -> None:
    """What a plugin started is ended with it, and Ctrl-C ends the check itself at once."""
    source = (
        '"""Fork."""\nimport subprocess\n'
        "child = subprocess.Popen(['sleep', '61'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\nchild.wait()\n"
    )
    install("forks", source)
    assert ptools("plugins", "--check", "--timeout", "3").exit_code == 1
    assert not _alive(int((tmp_path / "pid").read_text()))
    (tmp_path / "pid").unlink()
    check = subprocess.Popen(
        [sys.executable, "-m", "ptools", "plugins", "--check"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    begun = time.monotonic()
    check.send_signal(signal.SIGINT)
    assert check.communicate(timeout=20)[1] == "Interrupted.\n"
    assert check.returncode == 130
    assert time.monotonic() - begun < 5
    assert not _alive(int((tmp_path / "pid").read_text()))


def _alive(pid: int) -> bool:
    """Whether a process runs; a zombie waiting for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_check_does_not_import_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ptools: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("click.py").write_text("raise RuntimeError")
    done = ptools("plugins", "--check", process=True)
    assert (done.exit_code, done.stderr) == (0, "")


def test_a_command_is_called_by_its_entry_point(install: Install, ptools: Run) -> None:
    from ptools import registry
    from ptools.group import load_command

    install("good", GOOD.replace("def command", "def other_name"), "ptools_good:other_name")
    assert load_command(registry.owners()["good"]).name == "good"
    assert ptools("good", "--help").stdout.startswith("Usage: ptools good ")


# -- new ---------------------------------------------------------------------------------------------


def test_new_writes_two_short_files_and_a_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ptools: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ptools("plugins", "new", "say-hello")
    assert done.exit_code == 0
    assert done.stdout.startswith("ptools-say-hello: a plugin")
    assert "pip install -e ptools-say-hello" in done.stderr
    files = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    readme, *others = files
    assert readme == "ptools-say-hello/README.md"
    assert others == ["ptools-say-hello/ptools_say_hello.py", "ptools-say-hello/pyproject.toml"]
    for file in others:
        assert len(Path(file).read_text().splitlines()) <= 20
    assert "@" not in Path(others[0]).read_text().replace("@click", "")


def test_new_overwrites_nothing_without_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ptools: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ptools("plugins", "new", "hello").exit_code == 0
    Path("ptools-hello/ptools_hello.py").write_text("mine")
    done = ptools("plugins", "new", "hello")
    assert done.exit_code == 1
    assert "--force" in done.stderr
    assert Path("ptools-hello/ptools_hello.py").read_text() == "mine"
    assert ptools("plugins", "new", "hello", "--force").exit_code == 0
    assert Path("ptools-hello/ptools_hello.py").read_text() != "mine"
    assert "pip install -e 'my dir'" in ptools("plugins", "new", "hello", "--dir", "my dir").stderr
    Path("file").touch()
    done = ptools("plugins", "new", "other", "--dir", "file")
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)


def test_new_takes_no_name_of_another_plugin(install: Install, ptools: Run, tmp_path: Path) -> None:
    install("taken", GOOD, distribution="somebody")
    install("mine", GOOD)
    refused = ptools("plugins", "new", "taken", "--dir", str(tmp_path / "a"))
    assert refused.exit_code == 2
    assert "'taken' is a command of somebody 1.0" in refused.stderr
    assert ptools("plugins", "new", "mine", "--dir", str(tmp_path / "b")).exit_code == 0


@pytest.mark.slow
def test_new_installed_runs_and_passes_its_own_test(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ptools: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ptools("plugins", "new", "hello").exit_code == 0
    folder = tmp_path / "ptools-hello"
    install_editable(fresh, folder)
    assert python(fresh, "-m", "ptools", "hello", "you").stdout == "Hello, you!\n"
    assert "Greet somebody. [ptools-hello]" in python(fresh, "-m", "ptools", "--help").stdout
    tested = python(fresh, "-m", "pytest", "-q", cwd=folder)
    assert tested.exit_code == 0, tested.stdout
    assert "1 passed" in tested.stdout
    (folder / "ptools_hello.py").write_text(
        (folder / "ptools_hello.py").read_text().replace("Hello,", "Goodbye,", 1)
    )
    assert python(fresh, "-m", "pytest", "-q", cwd=folder).exit_code == 1


@pytest.mark.slow
def test_the_example_installed_runs_and_passes_its_tests(fresh: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "ptools-norms"
    ignore = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
    shutil.copytree(ROOT / "examples" / "ptools-norms", folder, ignore=ignore)
    install_editable(fresh, folder)
    listed = python(fresh, "-m", "ptools", "list", "datasets", "--grep", "ptools-norms")
    assert listed.stdout.splitlines()[1].startswith("stripes  ptools-norms 0.1.0  400 made 8x8")
    tested = python(fresh, "-m", "pytest", "-q", str(folder))
    assert tested.exit_code == 0, tested.stdout
    assert "4 passed" in tested.stdout
