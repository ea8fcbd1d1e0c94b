"""What ptools costs before it does anything, as ratios to `python -c 'import click'`.

    python -m benchmarks.startup [--repeats 11]

CPU time (user + sys) of whole child processes, medians of interleaved repeats, sources compiled
first. The environments are real folders of metadata: N installed distributions, 30 % of them with
an entry_points.txt, 10 of them plugins beside the built-ins. Prints the table of the README, and
other toolboxes where they are installed beside ptools.
"""

from __future__ import annotations

import argparse
import compileall
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Case, Cost, interleaved
from ptools import registry
from ptools.testing import install_distribution

PLUGIN = (
    '"""Do the thing number {0}."""\nimport click\n\n@click.command()\ndef command():\n    pass\n'
)
OTHERS = ("rio", "fio", "llm", "flask", "sqlite-utils", "hatch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument(
        "--others", action="store_true", help="Also other toolboxes, where installed."
    )
    given = parser.parse_args()
    _compile()
    rows: list[tuple[str, float, Cost]] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (200, 1000, 5000):
            site = build_site(Path(folder, str(count)), count)
            costs = interleaved(cases(count, site), given.repeats)
            base = next(iter(costs.values()))
            rows += [(label, cost.cpu / base.cpu, cost) for label, cost in costs.items()]
    _print(rows)


def build_site(site: Path, count: int) -> Path:
    """Write `count` distributions, 10 of them plugins, so that 15 commands or more are listed."""
    builtin = sum(plugin.builtin for plugin in registry.find())
    plugins = max(15 - builtin, 1)
    for index in range(plugins):
        install_distribution(site, f"thing{index:02d}", PLUGIN.format(index))
    for index in range(count - plugins):
        info = site / f"made_up_{index:04d}-1.{index}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: made-up-{index:04d}\nVersion: 1\n"
        )
        if index % 10 < 3:
            text = f"[console_scripts]\nmade-up-{index} = made_up:main\n"
            (info / "entry_points.txt").write_text(text)
    compileall.compile_dir(site, quiet=1)
    return site


def _compile() -> None:
    import click

    import ptools
    import ptools_plugins

    for package in (ptools, ptools_plugins, click):
        compileall.compile_dir(Path(str(package.__file__)).parent, quiet=1)


def cases(count: int, site: Path) -> dict[str, Case]:
    """Return label -> command; the smallest environment has them all, the larger ones --help."""
    ptools = str(Path(sys.executable).with_name("ptools"))
    env = {"PYTHONPATH": str(site)}
    cases = {
        f"import click, {count} distributions": Case([sys.executable, "-c", "import click"], env),
        f"ptools --help, {count} distributions": Case([ptools, "--help"], env),
    }
    if count > 200:
        return cases
    complete = {"_PTOOLS_COMPLETE": "bash_complete", "COMP_WORDS": "ptools ", "COMP_CWORD": "1"}
    cases["ptools TAB"] = Case([ptools], env | complete)
    cases["ptools --version"] = Case([ptools, "--version"], env)
    for plugin in registry.find():
        if plugin.builtin:
            cases[f"ptools {plugin.name} --help"] = Case([ptools, plugin.name, "--help"], env)
    sizes = ["shapes", "--in", "32", "--k", "5", "--p", "2"]
    cases["ptools " + " ".join(sizes)] = Case([ptools, *sizes], env)
    for other in OTHERS:
        program = Path(sys.executable).with_name(other)
        if program.exists():
            cases[f"{other} --help"] = Case([str(program), "--help"], env)
    return cases


def _print(rows: list[tuple[str, float, Cost]]) -> None:
    print("| command | x `import click` (CPU) | CPU ms | wall ms |")
    print("|---|---|---|---|")
    for label, ratio, cost in rows:
        command, comma, rest = label.partition(",")
        print(
            f"| `{command}`{comma}{rest} | {ratio:.2f} | {cost.cpu * 1e3:.0f} | {cost.wall * 1e3:.0f} |"
        )


if __name__ == "__main__":
    main()
