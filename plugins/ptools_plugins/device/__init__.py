"""Say whether PyTorch can use a GPU here, and if not, why.

The verdict comes first, then each fault with the command that repairs it, then details. Metadata,
/proc and /sys are read directly; torch itself is asked in a child process, so that this works
where torch or torchvision is broken. `--no-import` leaves torch out: 0.1 s instead of 3 s of CPU.

    packages         what is installed, read as text
    machine, limits  cards, driver, device nodes, CPU, memory, cgroups; everything under one root
    process          what no file tells: environment, user, platform
    torch_view       torch's own word, from a child process (look.py)
    findings         Facts and Finding
    faults_*         the checks: install, nvidia, gpu (all others), host
    kernels          which cards a build has kernels for
    repairs          commands; import_errors: known texts; known: what ages, with its sources
    verdict          Facts -> Verdict, a pure function
    report           Verdict -> text, JSON
    bench            one second of matrix products and copies
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ptools.options import Positive, examples, json_option

if TYPE_CHECKING:
    from ptools_plugins.device.bench import Bench
    from ptools_plugins.device.verdict import Verdict

_EPILOG = examples(
    "ptools device",
    "ptools device --bench",
    "ptools device --no-import --json",
)


@click.command(epilog=_EPILOG)
@click.option(
    "--require",
    type=click.Choice(["cuda", "rocm", "mps", "xpu", "gpu"]),
    help="Exit 1 where this does not work (gpu: any of them).",
)
@click.option("--bench", is_flag=True, help="Measure matrix products and memory for a second.")
@click.option("--no-import", is_flag=True, help="Read metadata only; do not start torch.")
@click.option(
    "--timeout",
    type=Positive(1e6),  # the system waits in milliseconds of 32 bits
    default=120.0,
    metavar="SECONDS",
    help="How long importing torch may take.",
)
@json_option
def command(
    require: str | None, bench: bool, no_import: bool, timeout: float, as_json: bool
) -> None:
    """Say whether PyTorch can use a GPU here, and if not, why.

    The verdict comes first, then each fault with the command that repairs it, then details. It works
    where torch is broken too: torch is asked in a process of its own. With --no-import it is not asked
    at all, which takes a tenth of a second.
    """
    from ptools.errors import UsageError
    from ptools.output import document, paragraph, result
    from ptools_plugins.device import report

    if bench and no_import:
        raise UsageError("--bench runs torch and --no-import does not: leave one of them out.")
    verdict = diagnose(import_torch=not no_import, timeout=timeout)
    figures = measure(verdict, timeout=timeout) if bench else None
    if as_json:
        document(report.document(verdict, figures))
    else:
        for line in report.lines(verdict, figures):
            (result if line.startswith("  ") else paragraph)(line)  # a command is never broken
    if require:
        insist(verdict, require)


def diagnose(*, import_torch: bool = True, timeout: float = 120) -> Verdict:
    """Return the verdict on this machine and this Python."""
    import sys
    from pathlib import Path

    from ptools_plugins.device.findings import facts
    from ptools_plugins.device.process import here
    from ptools_plugins.device.verdict import judge

    root = Path(Path(sys.executable).anchor or "/")  # on Windows the drive
    return judge(facts(root, sys.path, here(), import_torch=import_torch, timeout=timeout))


def measure(verdict: Verdict, *, timeout: float) -> Bench | None:
    """Return the figures of the best device that works; None where torch cannot be imported."""
    import sys

    from ptools.output import note
    from ptools_plugins.device.bench import run

    if not verdict.facts.view.torch:
        note("No benchmark: torch cannot be imported.")
        return None
    best = verdict.works[0] if verdict.works else "cpu"
    return run("cuda" if best == "rocm" else best, sys.path, timeout=timeout)


def insist(verdict: Verdict, device: str) -> None:
    """Raise PtoolsError where `device` does not work: why, and the command that repairs it."""
    from ptools.errors import PtoolsError
    from ptools_plugins.device.known import ACCELERATORS

    if verdict.has(device):
        return
    reason, repair = verdict.why_not(device)
    title = next((a.title for a in ACCELERATORS if a.device == device), "A GPU")
    then = f"Repair: {repair}" if repair else f"Run where there is one, or drop --require {device}."
    raise PtoolsError(f"{title} is required and does not work: {reason}. {then}")
