"""From argv to an exit code: the root group, the global options, the one place that reports errors.

Imports click, the group and the registry, and nothing else: this file runs before every --help.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import click

from ptools import __version__
from ptools.errors import Interrupted, PtoolsError, cause, one_line
from ptools.group import RUNNING, PluginGroup
from ptools.output import discard, note

_COMPLETE = "_PTOOLS_COMPLETE"  # the variable click's completion scripts set
_SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True}
_EPILOG = """\b
Examples:
  ptools train
  ptools shapes --in 32 --k 5 --p 2
  ptools device
"""


@click.group(cls=PluginGroup, context_settings=_SETTINGS, epilog=_EPILOG)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, message="ptools %(version)s")
def root(debug: bool) -> None:
    """Small tools for people who work with PyTorch. Each command is a plugin."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ptools and return its exit code: 0, 1, 2, 3 or 130 (see ptools.errors)."""
    args = list(sys.argv[1:] if argv is None else argv)
    _hear_interrupts()
    if instruction := os.environ.get(_COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, "ptools", _COMPLETE, instruction)
    ctx = None
    try:
        ctx = root.make_context("ptools", args, terminal_width=_width())
        with ctx:
            root.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return _flushed(end.exit_code)
    except BrokenPipeError:  # the reader of our pipe has gone: nothing is wrong here
        discard(sys.stdout)
        return 1
    except BaseException as error:
        if isinstance(error, (SystemExit, GeneratorExit)):
            raise
        return _report(error, ctx, "--debug" in args[:1] or bool(ctx and ctx.params.get("debug")))
    return 0


def _width() -> int:
    """Return the width of help texts. click would import shutil, bz2 and lzma to ask for it."""
    try:
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns)
    except (ValueError, OSError):  # no number, no terminal
        columns = 80
    return max(50, min(columns, 80) - 2)


def _hear_interrupts() -> None:
    """Take SIGINT back where a shell started us in the background with SIGINT ignored."""
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    except ValueError:  # not the main thread: signals are not ours to set
        return


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError as error:
        return _report(error, None, False)
    return code


def _report(error: BaseException, ctx: click.Context | None, debug: bool) -> int:
    """Print one line on stderr for any error and return its exit code."""
    if debug:
        import traceback

        traceback.print_exception(error)
    text, code = _explain(error, ctx)
    note(f"Error: {text}" if code != Interrupted.exit_code else text)
    return code


def _explain(error: BaseException, ctx: click.Context | None) -> tuple[str, int]:
    if isinstance(error, PtoolsError):
        return one_line(error, 1000), error.exit_code
    if isinstance(error, click.ClickException):
        return _usage(error), error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "Interrupted.", Interrupted.exit_code
    if isinstance(error, OSError) and (error.filename or error.errno == 28):
        if sys.stdout and error.filename is None:
            discard(sys.stdout)
        where = f" {os.fsdecode(error.filename)!r}" if error.filename else ""
        return f"{error.strerror}:{where or ' while writing'}.", 1
    plugin = ctx.meta.get(RUNNING) if ctx else None
    who = f"'{plugin.name}' of {plugin.origin}" if plugin else "ptools"
    again = f"ptools --debug {plugin.name} ..." if plugin else "ptools --debug"
    return f"{who} failed: {cause(error)}; traceback: {again}", 1


def _usage(error: click.ClickException) -> str:
    """Return a click error as one line that says where a bad default came from, and the help to read."""
    text = one_line(error.format_message(), 500)
    ctx = getattr(error, "ctx", None)
    if not isinstance(error, click.UsageError) or ctx is None:
        return text
    param = getattr(error, "param", None)
    source = ctx.get_parameter_source(param.name) if param and param.name else None
    if source is click.core.ParameterSource.DEFAULT_MAP:
        text += " It was set in ptools.toml or by a PTOOLS_ variable."
    return f"{text} See: {ctx.command_path} --help"
