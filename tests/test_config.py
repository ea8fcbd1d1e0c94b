"""Defaults from ptools.toml and PTOOLS_* variables: precedence, --help, errors with a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptools.testing import Install, Run

ECHO = '''"""Echo options."""
import click

@click.group(invoke_without_command=True)
@click.option("--depth", "-d", type=int, default=1)
@click.option("--tag", multiple=True)
@click.option("--pair", nargs=2, type=int)
@click.option("--in", "size", default="none")
@click.option("--quick/--slow", default=False)
@click.option("--flag", is_flag=True)
@click.pass_context
def command(ctx, **given):
    if ctx.invoked_subcommand is None:
        click.echo(" ".join(f"{k}={v}" for k, v in given.items()))

@command.command()
@click.option("--batch-size", type=int, default=2)
def sub(batch_size):
    click.echo(f"batch_size={batch_size}")
'''


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install) -> Path:
    """An empty working folder and the plugin `echo`."""
    install("echo", ECHO)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def toml(text: str) -> None:
    Path("ptools.toml").write_text(text)


def test_precedence(ptools: Run) -> None:
    assert "depth=1 " in ptools("echo").stdout
    toml("[echo]\ndepth = 2\n")
    assert "depth=2 " in ptools("echo").stdout
    env = {"PTOOLS_ECHO_DEPTH": "3"}
    assert "depth=3 " in ptools("echo", env=env).stdout
    assert "depth=4 " in ptools("echo", "--depth", "4", env=env).stdout
    assert "depth=3 " in ptools("echo", env=env, process=True).stdout


def test_help_shows_the_value_in_force(ptools: Run) -> None:
    assert "[default: 8]" in _option(ptools("train", "--help").stdout, "--epochs")
    toml("[train]\nepochs = 21\nbatch-size = 7\n")
    done = ptools("train", "--help", env={"PTOOLS_TRAIN_BATCH_SIZE": "9"})
    assert "21" in _option(done.stdout, "--epochs")
    assert "9" in _option(done.stdout, "--batch-size")


def _option(text: str, name: str) -> str:
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip().startswith(name))
    end = next(i for i in range(start + 1, len(lines)) if lines[i].strip()[:1] in ("-", ""))
    return " ".join(line.strip() for line in lines[start:end])


def test_all_kinds_of_values(ptools: Run) -> None:
    toml('[echo]\ntag = ["a b", "c"]\npair = [1, 2]\nin = "3x4"\nquick = true\nflag = true\n')
    out = ptools("echo").stdout
    assert "tag=('a b', 'c') pair=(1, 2) size=3x4 quick=True flag=True" in out
    env = {
        f"PTOOLS_ECHO_{k}": v
        for k, v in {"TAG": "x y", "PAIR": "5 6", "IN": "7", "FLAG": "1"}.items()
    }
    toml('[echo]\ntag = "one word"\n')
    assert "tag=('one word',)" in ptools("echo").stdout
    Path("ptools.toml").unlink()
    assert (
        "tag=('x', 'y') pair=(5, 6) size=7 quick=False flag=True" in ptools("echo", env=env).stdout
    )
    assert "flag=False" in ptools("echo", env={"PTOOLS_ECHO_FLAG": "0"}).stdout
    assert "depth=1" in ptools("echo", env={"PTOOLS_ECHO_DEPTH": ""}).stdout


def test_subcommands(ptools: Run) -> None:
    toml("[echo]\ndepth = 5\n[echo.sub]\nbatch_size = 3\n")
    assert ptools("echo", "sub").stdout == "batch_size=3\n"
    env = {"PTOOLS_ECHO_SUB_BATCH_SIZE": "4"}
    assert ptools("echo", "sub", env=env).stdout == "batch_size=4\n"
    assert "depth=5" in ptools("echo", env=env).stdout


def test_a_variable_that_two_commands_could_mean(install: Install, ptools: Run) -> None:
    install("echo-sub-batch", ECHO)
    env = {"PTOOLS_ECHO_SUB_BATCH_SIZE": "4"}
    assert ptools("echo", "sub", env=env).stdout == "batch_size=4\n"


def test_a_table_of_a_plugin_that_is_gone_is_a_warning(ptools: Run) -> None:
    toml("[my-lost-plugin]\ndepth = 3\n[echo]\ndepth = 2\n")
    done = ptools("echo")
    assert done.exit_code == 0
    assert "depth=2 " in done.stdout
    assert "Warning: ptools.toml: no command 'my-lost-plugin'" in done.stderr
    toml("[echo]\ndepth = 3\n")
    done = ptools("shapes", "--in", "3", "--k", "3", env={"PTOOLS_DISABLE": "echo"})
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[echo]\ndepht = 3\n", "[echo] has no option 'depht'. Did you mean 'depth'?"),
        ("[ehco]\ndepth = 3\n", "no command 'ehco'. Did you mean 'echo'?"),
        ("depth = 3\n", "no command 'depth'"),
        ("[echo.sub]\nbatchsize = 3\n", "Did you mean 'batch-size'?"),
        ("echo = 3\n", "[echo]"),
        ("[echo\n", "no valid TOML"),
        ("[echo]\ndepth = {a = 1}\n", "must be a single value"),
        ("[echo]\ndepth = 'deep'\n", "It was set in ptools.toml"),
        ("[echo]\ndepth = [1]\n", "must be a single value"),
        ("[echo]\ntag = [[1]]\n", "must be a list of values"),
        ("[echo]\nflag = 3\n", "is not a valid boolean"),
        ("x = " + "9" * 5000 + "\n", "no valid TOML"),
        ("x = " + "[" * 20_000 + "\n", "no valid TOML"),
        ("[echo]\ndepth = 2.7\n", "'2.7' is not a valid integer"),
        ("[echo]\ndepth = true\n", "must be a single value"),
    ],
)
def test_errors_in_the_file_are_one_line(text: str, says: str, ptools: Run) -> None:
    toml(text)
    done = ptools("echo")
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr
    assert "ptools.toml" in done.stderr


def test_a_misspelt_variable(ptools: Run) -> None:
    done = ptools("echo", env={"PTOOLS_ECHO_DEPHT": "3"})
    assert done.exit_code == 2
    assert "Did you mean 'PTOOLS_ECHO_DEPTH'?" in done.stderr


def test_a_variable_of_a_misspelt_command(ptools: Run) -> None:
    done = ptools("echo", env={"PTOOLS_EHCO_DEPTH": "3"})
    assert done.exit_code == 2
    assert "PTOOLS_EHCO_DEPTH names no command. Did you mean 'echo'?" in done.stderr
    assert ptools("echo", env={"PTOOLS_UNRELATED": "3"}).exit_code == 0


def test_a_variable_belongs_to_the_longest_command(install: Install, ptools: Run) -> None:
    install("echo-more", ECHO.replace("Echo", "Echo more"))
    env = {"PTOOLS_ECHO_MORE_DEPTH": "9"}
    assert "depth=1 " in ptools("echo", env=env).stdout
    assert "depth=9 " in ptools("echo-more", env=env).stdout


def test_variables_of_the_host_are_no_options(ptools: Run) -> None:
    assert ptools("echo", env={"PTOOLS_DISABLE": "nobody"}).exit_code == 0


def test_help_comes_in_spite_of_a_broken_file(ptools: Run) -> None:
    toml("[train]\nepohcs = 3\n")
    done = ptools("train", "--help")
    assert done.exit_code == 0
    assert "--epochs" in done.stdout
    assert "Did you mean 'epochs'?" in done.stderr
    assert ptools("--help").exit_code == 0
