"""Source and the whole help text, as they are: --source and --full.

source(found)    Source: file, line and text; of what is compiled an error that says so
help_text(...)   all that Python's help() would say, the signature at its head
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

from ptools.errors import PtoolsError
from ptools_plugins.inspection.cards import origin
from ptools_plugins.inspection.docstrings import docstring
from ptools_plugins.inspection.finding import Found
from ptools_plugins.inspection.signatures import of


@dataclass(frozen=True)
class Source:
    """The source of an object: its lines begin at `line` of `file`; `shown` is the short path."""

    name: str
    shown: str
    file: str
    line: int
    text: str

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def source(found: Found) -> Source:
    """Return the source of an object. Raises PtoolsError where there is none to read."""
    import inspect

    value = found.value
    target = value.fget if isinstance(value, property) and value.fget else value
    where = origin(found)
    try:
        target = inspect.unwrap(target)
        lines, line = inspect.getsourcelines(target)
    except Exception as error:  # compiled, made at run time, a plain value
        raise PtoolsError(f"{found.name} has no Python source: {_why(found)}.") from error
    return Source(found.name, where.shown, where.file or "", max(line, 1), "".join(lines))


def _why(found: Found) -> str:
    value = found.value
    if not callable(value) and not isinstance(value, (ModuleType, property)):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return f"it is an object of {kind}; see ptools inspect {kind} --source"
    lines = of(value, found.short).lines if callable(value) else []
    called = f", called as {lines[0]}" if lines else ""
    return f"it is compiled{called}"


def help_text(found: Found) -> str:
    """Return what help() says of an object, without control characters; its signatures come first."""
    import pydoc

    value = found.value
    lines = of(value, found.short).lines if callable(value) else []
    try:
        plain: Any = vars(pydoc)["plaintext"]  # the renderer without bold letters
        text = pydoc.render_doc(value, "%s", renderer=plain)
    except Exception:  # a stranger's object that pydoc cannot take
        text = docstring(value)
    return "\n".join([found.name, *(f"    {line}" for line in lines), "", text])
