"""List, check and start plugins.

Every command is a plugin, found by the entry points of installed distributions. The state is

\b
  ready       it runs under its name
  disabled    PTOOLS_DISABLE=name,distribution switches it off
  shadowed    it takes the name of a built-in, which is never given up
  conflict    two distributions offer one name; neither runs
  invalid     its name or its reference cannot be read
  unreadable  the entry points of a distribution cannot be read
  ok, broken  what --check found by importing it in a process of its own
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ptools import output
from ptools.options import FilePath, Positive, examples, force_option, json_option

if TYPE_CHECKING:
    from pathlib import Path

    from ptools.registry import Plugin

_BAD = ("broken", "conflict", "invalid", "shadowed", "unreadable")
_EPILOG = examples(
    "ptools plugins",
    "ptools plugins --check --timeout 60",
    "ptools plugins new hello",
)


@click.group(invoke_without_command=True, epilog=_EPILOG)
@click.option("--check", is_flag=True, help="Import each plugin in a child process.")
@click.option("--timeout", type=Positive(1e6), default=30, help="Seconds per import.")
@json_option
@click.pass_context
def command(ctx: click.Context, check: bool, timeout: float, as_json: bool) -> None:
    if ctx.invoked_subcommand:
        return
    found = plugins(check=check, timeout=timeout)
    if as_json:
        output.document([_row(plugin) for plugin in found])
    else:
        _print(found)
    if check and any(plugin.state in _BAD for plugin in found):
        ctx.exit(1)


def plugins(*, check: bool = False, timeout: float = 30) -> list[Plugin]:
    """Return every plugin with its state; `check` imports each in a child process."""
    from ptools import checking, registry

    found = registry.find()
    return checking.check(found, timeout=timeout) if check else found


def _row(plugin: Plugin) -> dict[str, Any]:
    from ptools.summaries import summary

    return {
        "name": plugin.name,
        "summary": summary(plugin),
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": plugin.state,
        "detail": plugin.detail,
        "reference": plugin.reference,
    }


def _print(found: list[Plugin]) -> None:
    rows = [_row(plugin) for plugin in found]
    heads = ("name", "state", "distribution", "version", "summary")
    output.table(heads, [tuple(row[head] or "-" for head in heads) for row in rows])
    for plugin in found:
        if plugin.detail:
            output.note(f"{plugin.name or plugin.distribution}: {plugin.detail}")


@command.command(
    epilog=examples("ptools plugins new hello", "ptools plugins new hello --dir plugins/hello")
)
@click.argument("name")
@click.option("--dir", "folder", type=FilePath(), show_default="ptools-NAME", help="Where.")
@force_option
def new(name: str, folder: Path | None, force: bool) -> None:
    """Write a plugin of your own, ready to install and to test.

    Two files and a README: pyproject.toml names the entry point, the module holds the command and
    its first test.
    """
    from pathlib import Path
    from shlex import quote

    target = create(name, folder or Path(f"ptools-{name}"), force=force)
    output.result(f"{target}: a plugin with the command '{name}'")
    output.note("\nNext:")
    place = quote(str(target))
    output.note(f"  {output.program('pip')} install -e {place}")
    output.note(f"  {output.program('ptools')} {name}")
    output.note(f"  {output.program('python')} -m pytest {place}")


def create(name: str, folder: Path, *, force: bool = False) -> Path:
    """Write the distribution `ptools-NAME` into `folder`. Raises UsageError, FileError."""
    import re

    from ptools import files, registry
    from ptools.errors import UsageError

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"'{name}' is no command name: small letters, digits, single hyphens.")
    owner = registry.owners().get(name)
    if owner is not None and owner.distribution != f"ptools-{name}":
        kind = "a built-in command" if owner.builtin else f"a command of {owner.origin}"
        raise UsageError(f"'{name}' is {kind}; choose another name.")
    files.claim(folder, force=force)
    module = f"ptools_{name.replace('-', '_')}"
    for file, text in _TEMPLATE.items():
        content = text.replace("@NAME@", name).replace("@MODULE@", module)
        files.write(folder / file.replace("@MODULE@", module), content, force=force)
    return folder


_TEMPLATE = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "ptools-@NAME@"
version = "0.1.0"
dependencies = ["ptools"]

[project.entry-points."ptools.plugins"]
@NAME@ = "@MODULE@:command"

[tool.setuptools]
py-modules = ["@MODULE@"]

[tool.pytest.ini_options]
addopts = "-p ptools.testing"
python_files = "@MODULE@.py"
""",
    "@MODULE@.py": '''\
"""Greet somebody."""

import json

import click


@click.command()
@click.argument("who", default="world")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(who, as_json):
    text = f"Hello, {who}!"  # import torch in here, not at the top: --help stays fast
    click.echo(json.dumps({"text": text}) if as_json else text)


def test_command(ptools, assert_plugin_ok):
    assert_plugin_ok("@NAME@", "you")
    assert ptools("@NAME@", "you").stdout == "Hello, you!\\n"
''',
    "README.md": """\
# ptools-@NAME@

The command `ptools @NAME@`. Install it, run it, test it:

    pip install -e .
    ptools @NAME@
    python -m pytest

`pyproject.toml` names the entry point; `@MODULE@.py` holds the command and its first test. The first
line of the module's docstring is the line in `ptools --help`. When the tests grow, move them to a
file of their own that begins with `pytest_plugins = ["ptools.testing"]`, and drop the
`[tool.pytest.ini_options]` table.
""",
}
