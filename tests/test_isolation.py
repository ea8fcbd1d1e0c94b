"""No plugin can break another command: every fault alone, and all at once; in and out of process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

import pytest

from ptools.testing import Install, Result, Run, install_distribution
from tests.faults import FAULTS, GOOD


@pytest.fixture
def site(install: Install) -> Path:
    """A folder on sys.path and PYTHONPATH with one good plugin."""
    return install("good", GOOD).parent


def assert_unhurt(ptools: Run, *, process: bool) -> None:
    begun = perf_counter()
    help_ = ptools("--help", process=process)
    assert perf_counter() - begun < 5, "a fault delays --help"
    assert help_.exit_code == 0
    assert help_.stderr == ""
    assert "Show every shape in a network, or why it does not fit." in help_.stdout
    assert "Do good. [ptools-good]" in help_.stdout
    assert "polluted" not in help_.stdout
    assert "\x1b" not in help_.stdout
    shapes = ptools("shapes", "--in", "32", "--k", "5", "--p", "2", "--json", process=process)
    assert (shapes.exit_code, shapes.document["out"], shapes.stderr) == (0, [32], "")
    good = ptools("good", process=process)
    assert good == Result(0, "good\n", "")
    listed = ptools("plugins", "--json", process=process)
    assert {"name": "good", "state": "ready"}.items() <= listed.document[_index(listed)].items()
    version = ptools("--version", process=process)
    assert version.exit_code == 0
    assert version.stdout.startswith("ptools ")


def _index(listed: Result) -> int:
    return [row["name"] for row in listed.document].index("good")


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_in_process(fault: str, site: Path, ptools: Run) -> None:
    FAULTS[fault][0](site)
    assert_unhurt(ptools, process=False)


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_in_a_process(fault: str, site: Path, ptools: Run) -> None:
    FAULTS[fault][0](site)
    assert_unhurt(ptools, process=True)


@pytest.mark.parametrize("process", [False, True])
def test_all_faults_at_once(process: bool, site: Path, ptools: Run) -> None:
    for write, _ in FAULTS.values():
        write(site)
    assert_unhurt(ptools, process=process)


def test_completion_with_all_faults(site: Path, ptools: Run) -> None:
    for write, _ in FAULTS.values():
        write(site)
    env = {"_PTOOLS_COMPLETE": "bash_complete", "COMP_WORDS": "ptools g", "COMP_CWORD": "1"}
    done = ptools(process=True, env=env)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "plain,good" in done.stdout.splitlines()


CALLED = {name: text for name, (_, text) in FAULTS.items() if text}


@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize("fault", CALLED)
def test_calling_a_broken_plugin_is_one_line(
    fault: str, process: bool, site: Path, ptools: Run
) -> None:
    FAULTS[fault][0](site)
    done = ptools(fault, process=process)
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"'{fault}'" in done.stderr
    assert f"ptools-{fault}" in done.stderr  # the distribution
    assert CALLED[fault] in done.stderr  # the cause
    assert "pip " in done.stderr or "tell the authors" in done.stderr or "decorate" in done.stderr


def test_debug_shows_the_traceback(site: Path, ptools: Run) -> None:
    FAULTS["dependency"][0](site)
    done = ptools("--debug", "dependency", process=True)
    assert done.exit_code == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "ptools_dependency.py" in done.stderr
    assert "Traceback" not in ptools("dependency", process=True).stderr


def test_what_a_called_plugin_prints_at_import_is_not_its_result(site: Path, ptools: Run) -> None:
    FAULTS["prints"][0](site)
    done = ptools("prints", process=True)
    assert (done.exit_code, done.stdout) == (0, "good\n")
    assert "polluted" in done.stderr


def test_a_builtin_is_never_taken_over(site: Path, ptools: Run) -> None:
    FAULTS["builtin"][0](site)
    assert ptools("shapes", "--in", "32", "--k", "3").stdout.startswith("30\n")
    rows = {row["distribution"]: row for row in ptools("plugins", "--json").document}
    assert rows["thief"]["state"] == "shadowed"
    assert "built-in" in rows["thief"]["detail"]


def test_two_third_parties_with_one_name(site: Path, ptools: Run) -> None:
    for rival in ("first", "second"):
        install_distribution(site, "same", GOOD.replace("good", rival), distribution=rival)
    done = ptools("same", process=True)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "first 1.0 and second 1.0" in done.stderr
    assert "PTOOLS_DISABLE=second ptools same" in done.stderr
    assert "first 1.0 and second 1.0" in ptools("--help").stdout.replace("\n", " ").replace(
        "  ", ""
    )
    settled = ptools("same", process=True, env={"PTOOLS_DISABLE": "second"})
    assert (settled.exit_code, settled.stdout) == (0, "first\n")


@pytest.mark.parametrize("off", ["good", "ptools-good", "other, Ptools_Good"])
def test_disable_by_name_or_distribution(off: str, site: Path, ptools: Run) -> None:
    env = {"PTOOLS_DISABLE": off}
    assert "Do good." not in ptools("--help", env=env).stdout
    done = ptools("good", env=env)
    assert done.exit_code == 1
    assert "PTOOLS_DISABLE" in done.stderr
    rows = {row["name"]: row for row in ptools("plugins", "--json", env=env).document}
    assert rows["good"]["state"] == "disabled"


def test_a_disabled_builtin_is_off_and_nobody_inherits_its_name(site: Path, ptools: Run) -> None:
    FAULTS["builtin"][0](site)
    done = ptools("shapes", "--in", "32", "--k", "3", env={"PTOOLS_DISABLE": "ptools"})
    assert done.exit_code == 1
    assert "hijacked" not in done.stdout


@pytest.mark.slow
def test_check_survives_every_fault(site: Path, ptools: Run) -> None:
    for write, _ in FAULTS.values():
        write(site)
    done = ptools("plugins", "--check", "--timeout", "5", "--json", process=True)
    assert done.exit_code == 1
    rows = {row["name"] or row["distribution"]: row for row in json.loads(done.stdout)}
    assert rows["good"]["state"] == "ok"
    assert rows["train"]["state"] == "ok"
    assert "exit code 9" in rows["dies"]["detail"]
    assert "did not end within 5 s" in rows["endless"]["detail"]
    assert rows["exits"]["state"] == rows["recursion"]["state"] == "broken"
    assert rows["ptools-loop"]["state"] == rows["ptools-huge"]["state"] == "unreadable"


def test_the_faults_are_what_they_claim(site: Path) -> None:
    """importlib.metadata itself dies on some of them: the trees are as bad as they should be."""
    import importlib.metadata

    for fault in ("foreign", "loop"):
        FAULTS[fault][0](site)
    with pytest.raises((UnicodeDecodeError, OSError)):
        importlib.metadata.entry_points(group="ptools.plugins")
    assert str(site) in sys.path
