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
    _ready_streams()
    _hear_interrupts()
    if instruction := os.environ.get(_COMPLETE):
        return _complete(instruction)
    ctx = None
    try:
        ctx = root.make_context("ptools", args, terminal_width=_width())
        with ctx:
            root.invoke(ctx)
        code = 0
    except click.exceptions.Exit as end:
        code = end.exit_code
    except BaseException as error:
        code = _report(error, ctx, bool(ctx and ctx.params.get("debug")))
    return _flushed(code)


def _ready_streams() -> None:
    """Make both streams usable: closed ones go nowhere, and no character can stop a line."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (it is kept)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _complete(instruction: str) -> int:
    """Answer TAB. An error, or a Ctrl-C, is no answer: a shell has no place for a message."""
    from click.shell_completion import shell_complete

    try:
        code = shell_complete(root, {}, "ptools", _COMPLETE, instruction)
        sys.stdout.flush()
        return code
    except BaseException:
        discard(sys.stdout)
        return 1


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
    """Write out what is left of the result; a result that cannot be written is an error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our pipe has gone: nothing is wrong here
        discard(sys.stdout)
        return code or 1
    except OSError as error:
        return _report(error, None, False)
    return code


def _report(error: BaseException, ctx: click.Context | None, debug: bool) -> int:
    """Print one line on stderr for any error and return its exit code."""
    if isinstance(error, BrokenPipeError) and _reader_left():
        return 1
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and error.ctx:
        note(error.ctx.get_help())
        return error.exit_code
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return int(error.code or 0)
    if debug:
        import traceback

        traceback.print_exception(error)
    text, code = _explain(error, ctx)
    if isinstance(error, click.UsageError) and _follows():
        return code
    note(f"Error: {text}" if code != Interrupted.exit_code else text)
    return code


def _follows() -> bool:
    """Whether torchrun started this as one of several: the first tells what is wrong with their one line."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0"


def _reader_left() -> bool:
    """Whether it was our stdout that broke, and not a pipe of the command's own."""
    import select

    try:
        poll = select.poll()  # not on Windows, where a broken pipe is another error anyway
        poll.register(sys.stdout.fileno(), 0)
        left = bool(poll.poll(0))
    except (AttributeError, OSError, ValueError):
        return False
    if left:
        discard(sys.stdout)
    return left


def _explain(error: BaseException, ctx: click.Context | None) -> tuple[str, int]:
    """Return the line and the exit code of an error."""
    if isinstance(error, PtoolsError):
        return one_line(error, 1000), error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "Interrupted.", Interrupted.exit_code
    if isinstance(error, SystemExit):
        return one_line(error.code), 1
    plugin = ctx.meta.get(RUNNING) if ctx else None
    who = f"'{plugin.name}' of {plugin.origin}" if plugin else "ptools"
    again = f"ptools --debug {plugin.name} ..." if plugin else "ptools --debug"
    unexpected = f"{who} failed: {cause(error)}; traceback: {again}", 1
    try:
        if isinstance(error, click.ClickException):
            return _usage(error), error.exit_code
        return (_system(error), 1) if isinstance(error, OSError) else unexpected
    except Exception:  # an exception of strangers may raise at a touch
        return unexpected


def _system(error: OSError) -> str:
    """Return the line of an error about a file, or about writing the result. Raises on any other."""
    import errno

    if isinstance(error.filename, (str, bytes)) and error.strerror:
        return f"{error.strerror}: {one_line(repr(os.fsdecode(error.filename)))}."
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        raise TypeError  # of a socket, say: it is the command's own
    discard(sys.stdout)  # no more can be written to it
    return f"{error.strerror}: while writing the result; free some space or write elsewhere."


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
