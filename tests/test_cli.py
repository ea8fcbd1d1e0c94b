"""From argv to an exit code: help, errors in one line, interrupts, broken pipes, full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ptools import __version__, registry
from ptools.summaries import summary
from ptools.testing import HEAVY, Install, Result, Run

HOST_SILENT = (*HEAVY, "importlib.metadata", "rich", "json", "email")
FAIL = '"""Fail."""\nimport click\n\n@click.command()\ndef command():\n    {0}\n'


def modules_after(*args: str, env: dict[str, str] | None = None) -> set[str]:
    """Run ptools in a process of its own and return the modules it had imported at its end."""
    code = (
        "import sys; from ptools.cli import main; code = main(sys.argv[1:]); "
        "print('MODULES', *sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        check=True,
    )
    return set(done.stderr.rpartition("MODULES")[2].split())


def one_line(result: Result) -> str:
    """Assert that an error is one line on stderr and nothing on stdout; return it."""
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr.strip()


# -- what is imported --------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["-h"]])
def test_the_host_imports_no_plugin_and_nothing_heavy(args: list[str]) -> None:
    modules = modules_after(*args)
    assert not modules & set(HOST_SILENT)
    assert not {m for m in modules if m.startswith("ptools_plugins")}


def test_completion_imports_no_plugin_and_nothing_heavy() -> None:
    env = {"_PTOOLS_COMPLETE": "zsh_complete", "COMP_WORDS": "ptools ", "COMP_CWORD": "1"}
    modules = modules_after(env=env)
    assert not modules & set(HOST_SILENT)
    assert not {m for m in modules if m.startswith("ptools_plugins")}


@pytest.mark.parametrize("name", [p.name for p in registry.find() if p.builtin])
def test_help_of_a_command_imports_that_plugin_alone(name: str) -> None:
    modules = modules_after(name, "--help")
    assert not modules & set(HOST_SILENT)
    reference = registry.owners()[name].reference.partition(":")[0]
    others = {m for m in modules if m.startswith("ptools_plugins.")}
    assert {m for m in others if not m.startswith(reference)} == set()


def test_the_calculator_imports_no_torch() -> None:
    assert not modules_after("shapes", "--in", "32", "--k", "5") & set(HOST_SILENT)


# -- help --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [False, True])
def test_help_lists_every_command_with_its_summary(process: bool, ptools: Run) -> None:
    done = ptools("--help", process=process)
    assert done.exit_code == 0
    for plugin in registry.find():
        assert f"  {plugin.name} " in done.stdout
        assert summary(plugin) in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", [p.name for p in registry.find() if p.builtin])
def test_every_command_has_help_with_defaults_and_examples(name: str, ptools: Run) -> None:
    line = summary(registry.owners()[name])
    assert len(line) < 60
    assert line.endswith(".")
    done = ptools(name, "--help")
    assert done.exit_code == 0
    assert line in done.stdout
    examples = done.stdout.partition("Examples:\n")[2].strip().splitlines()
    assert len(examples) >= 2
    assert all(
        line.strip().startswith("ptools ") for line in examples
    )  # one may make what it needs
    assert sum(line.strip().startswith(f"ptools {name}") for line in examples) >= 2


def test_python_m_ptools(ptools: Run) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ptools", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"ptools {__version__}\n" == ptools("--version", process=True).stdout


def test_no_command_prints_the_help(ptools: Run) -> None:
    done = ptools()
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == ptools("--help").stdout


# -- errors ------------------------------------------------------------------------------------------

WRONG = [
    (["shaeps"], "Did you mean 'shapes'?"),
    (["nothing-like-it"], "ptools --help"),
    (["--debgu"], "--debug"),
    (["-x"], "-x"),
    (["shapes", "--in", "32", "--kernle", "3"], "--kernel"),
    (["shapes", "--in", "32"], "--k"),
    (["shapes", "--in", "32xx", "--k", "3"], "'32xx' is no size"),
    (["shapes", "--in", "abc", "--k", "3"], "'abc' is no size"),
    (["shapes", "--in", "", "--k", "3"], "is no size"),
    (["shapes", "--in", "-5", "--k", "3"], "at least 1"),
    (["shapes", "--in", "0", "--k", "3"], "at least 1"),
    (["shapes", "--in", "32", "--k", "0"], "at least 1"),
    (["shapes", "--in", "32", "--k", "3", "--p", "-1"], "at least 0"),
    (["shapes", "--in", "4", "--k", "7", "--p", "1"], "--p 2"),
    (["shapes", "--in", "1x2x3x4", "--k", "3"], "at most 3"),
    (["shapes", "--in", "32x32", "--k", "3x3x3"], "dimensions"),
    (["shapes", "--in", "32", "--k", "3", "--op", "convv"], "conv"),
    (["shapes", "surplus", "--in", "3", "--k", "3"], "surplus"),
    (["train", "--epochs", "0"], "--epochs"),
    (["train", "--epochs", "many"], "--epochs"),
    (["train", "--lr", "-1"], "--lr"),
    (["train", "--seed", "-1"], "--seed"),
    (["train", "--device", "gpu"], "cuda"),
    (["train", "--data", "digit"], "Did you mean 'digits'?"),
    (["train", "--model", "cnnn"], "Did you mean 'cnn'?"),
    (["list", "model"], "models"),
    (["list", "models", "--grep", "("], "regular expression"),
    (["plugins", "new", "Bad Name"], "command name"),
    (["plugins", "new", "train"], "built-in"),
    (["plugins", "nwe"], "new"),
    (["device", "--require", "gpuu"], "--require"),
]


@pytest.mark.parametrize(("args", "says"), WRONG, ids=[" ".join(args) for args, _ in WRONG])
def test_wrong_usage_is_one_line_and_exit_2(args: list[str], says: str, ptools: Run) -> None:
    done = ptools(*args)
    assert done.exit_code == 2
    assert says in one_line(done)


def test_wrong_usage_in_a_process(ptools: Run) -> None:
    done = ptools("shaeps", process=True)
    assert done.exit_code == 2
    assert one_line(done) == "Error: no such command 'shaeps'. Did you mean 'shapes'?"


def test_an_unexpected_error_names_the_distribution(install: Install, ptools: Run) -> None:
    install("fails", FAIL.format("1 / 0"))
    done = ptools("fails")
    assert done.exit_code == 1
    line = one_line(done)
    assert "'fails' of ptools-fails 1.0 failed: ZeroDivisionError: division by zero" in line
    assert "ptools --debug fails" in line
    assert "Traceback" in ptools("--debug", "fails").stderr


def test_an_error_of_many_lines_and_codes_is_one_printable_line(
    install: Install, ptools: Run
) -> None:
    install("fails", FAIL.format("raise ValueError('a\\nb\\x1b[31m' + 'c' * 10_000)"))
    line = one_line(ptools("fails"))
    assert "a b?[31mccc" in line
    assert len(line) < 600


@pytest.mark.parametrize(
    ("statement", "code", "says"),
    [
        ("click.get_current_context().exit(3)", 3, ""),
        ("raise click.ClickException('what to do')", 1, "Error: what to do"),
        ("raise click.UsageError('wrong')", 2, "wrong"),
        ("open('/no/such/file')", 1, "No such file or directory: '/no/such/file'"),
        ("raise KeyboardInterrupt", 130, "Interrupted."),
        ("raise click.Abort", 130, "Interrupted."),
        ("return 7", 0, ""),
        ("raise SystemExit(5)", 5, ""),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit((1, 2))", 1, "Error: (1, 2)"),
        ("raise SystemExit('a\\nb')", 1, "Error: a b"),
        ("raise GeneratorExit", 1, "'ends' of ptools-ends 1.0 failed: GeneratorExit"),
        ("raise OSError(2, None, 5)", 1, "failed"),
        ("raise BrokenPipeError(32, 'socket closed')", 1, "'ends' of ptools-ends 1.0 failed"),
        ("raise ConnectionRefusedError(111, 'refused')", 1, "'ends' of ptools-ends 1.0 failed"),
        ("raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})()", 1, "cannot be printed"),
        ("raise type('E', (click.ClickException,), {'format_message': 0})('x')", 1, "failed"),
    ],
)
def test_exit_codes(statement: str, code: int, says: str, install: Install, ptools: Run) -> None:
    install("ends", FAIL.format(statement))
    done = ptools("ends")
    assert done.exit_code == code
    assert says in done.stderr
    assert len(done.stderr.splitlines()) <= 1


# -- the outside world -------------------------------------------------------------------------------

WAIT = "print('ready', flush=True); import time; time.sleep(60)"


@pytest.mark.parametrize("background", [False, True])
def test_ctrl_c_exits_130(background: bool, install: Install) -> None:
    """Also where a shell started us in the background, with SIGINT ignored."""
    install("waits", FAIL.format(WAIT))
    process = subprocess.Popen(
        [sys.executable, "-m", "ptools", "waits"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if background else None,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == "Interrupted.\n"


def test_ctrl_c_while_a_plugin_is_imported(install: Install) -> None:
    install("slow", "import os, time\nos.write(2, b'ready\\n')\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "ptools", "slow"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[1] == "Interrupted.\n"
    assert process.returncode == 130


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-"])
def test_closed_streams_are_no_traceback(closed: str) -> None:
    command = f'"{sys.executable}" -m ptools shapes --in 32 --k 3 {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_characters_that_stdout_cannot_show(install: Install, ptools: Run) -> None:
    install("arrow", '"""Turn \u2192 \u5927."""\nimport click\ncommand = click.Command("arrow")\n')
    for encoding in ("latin-1", "ascii", "utf-8"):
        done = ptools("--help", process=True, env={"PYTHONIOENCODING": encoding})
        assert (done.exit_code, done.stderr) == (0, "")
        assert "Turn" in done.stdout


def test_output_that_passes_by_sys_stdout_is_not_the_result(install: Install, ptools: Run) -> None:
    low = (
        "import ctypes, os, sys\n"
        "os.write(1, b'polluted')\n"
        "os.system('echo polluted')\n"
        "sys.__stdout__.write('polluted')\n"
        "ctypes.CDLL(None).puts(b'polluted')\n"
    )
    install("low", low + FAIL.format("click.echo('good')"))
    for unbuffered in ("", "1"):
        done = ptools("low", process=True, env={"PYTHONUNBUFFERED": unbuffered})
        assert done.stdout == "good\n"
        assert done.stderr.count("polluted") == 4


def test_the_result_of_a_failing_exit_is_not_lost_in_silence(install: Install) -> None:
    install("three", FAIL.format("print('result'); click.get_current_context().exit(3)"))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ptools", "three"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_a_reader_that_left_before_the_end(install: Install) -> None:
    """The result is still in the buffer when the pipe breaks: Python must not complain at its end."""
    install("late", FAIL.format("import time; print('x'); time.sleep(0.5)"))
    process = subprocess.Popen(
        [sys.executable, "-m", "ptools", "late"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(20) == 1


def test_a_reader_that_leaves_is_no_traceback(install: Install) -> None:
    install("talks", FAIL.format("[click.echo('x' * 1000) for _ in range(10_000)]"))
    process = subprocess.Popen(
        [sys.executable, "-m", "ptools", "talks"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(20) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("args", [["--help"], ["shapes", "--in", "32", "--k", "3", "--json"]])
def test_a_full_disk_behind_stdout_is_one_line(args: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ptools", *args], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "No space left on device" in done.stderr


def test_main_works_outside_the_main_thread() -> None:
    """A notebook or a server may call it: signals belong to the main thread alone."""
    import threading

    from ptools.cli import main

    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(["--version"])))
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        thread.start()
        thread.join(20)
    finally:
        signal.signal(signal.SIGINT, before)
    assert codes == [0]


def test_start_up_does_not_wait() -> None:
    """--help reads nothing that can block: it ends although stdin stays open and empty."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "ptools", "--help"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.wait(20) == 0
    assert time.monotonic() - begun < 20
    assert process.stdout is not None
    process.stdout.close()
