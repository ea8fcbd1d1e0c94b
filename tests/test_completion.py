"""TAB in bash, zsh and fish: names, summaries, options; no plugin imported but the one called."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ptools.testing import Install, Run

BOOM = '"""Explode."""\nraise RuntimeError("imported")\n'


def complete(ptools: Run, shell: str, *words: str) -> list[str]:
    line = " ".join(("ptools", *words))
    env = {
        "_PTOOLS_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    done = ptools(process=True, env=env)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_bash(ptools: Run) -> None:
    assert complete(ptools, "bash", "sh") == ["plain,shapes"]
    assert "plain,train" in complete(ptools, "bash", "")


def test_zsh_shows_summaries(ptools: Run) -> None:
    lines = complete(ptools, "zsh", "sh")
    assert lines == ["plain", "shapes", "Show every shape in a network, or why it does not fit."]


def test_fish_shows_summaries(ptools: Run) -> None:
    lines = "\n".join(complete(ptools, "fish", "sh"))
    assert "shapes" in lines
    assert "Show every shape in a network, or why it does not fit." in lines


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_the_shell(shell: str, ptools: Run) -> None:
    if shell == "bash" and not shutil.which("bash"):
        pytest.skip("bash is not installed")
    done = ptools(process=True, env={"_PTOOLS_COMPLETE": f"{shell}_source"})
    assert done.exit_code == 0
    assert "_PTOOLS_COMPLETE" in done.stdout


def test_options_of_a_command(ptools: Run) -> None:
    lines = complete(ptools, "bash", "shapes", "--str")
    assert lines == ["plain,--stride"]
    assert "plain,--debug" in complete(ptools, "bash", "--")


def test_choices_of_an_option(ptools: Run) -> None:
    assert complete(ptools, "bash", "shapes", "--op", "max") == ["plain,maxpool"]


def test_a_plugin_that_breaks_when_imported(install: Install, ptools: Run) -> None:
    install("boom", BOOM)
    assert complete(ptools, "bash", "bo") == ["plain,boom"]
    assert complete(ptools, "bash", "boom", "--") == [""]
    assert complete(ptools, "bash", "unknown", "--x") == [""]


@pytest.mark.parametrize("env", [{"COMP_CWORD": "x"}, {}], ids=["odd", "missing"])
def test_a_shell_that_asks_wrongly_gets_no_answer(env: dict[str, str], ptools: Run) -> None:
    done = ptools(process=True, env={"_PTOOLS_COMPLETE": "bash_complete", **env})
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", "")


def test_a_broken_configuration_does_not_break_tab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ptools: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ptools.toml").write_text("[train]\nepohcs = 3\n")
    assert complete(ptools, "bash", "train", "--epo") == ["plain,--epochs"]


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_itself_completes(ptools: Run) -> None:
    """The script really works: load it into bash and press TAB by calling its function."""
    script = ptools(process=True, env={"_PTOOLS_COMPLETE": "bash_source"}).stdout
    program = Path(sys.executable).with_name("ptools")
    lines = f"""{script}
COMP_WORDS=({program} de); COMP_CWORD=1
_ptools_completion {program} de
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["device"], done.stderr
