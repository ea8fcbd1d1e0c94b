"""What a diagnosis says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ptools.errors import one_line


def said(error: BaseException) -> str:
    """Return an exception's message; an exception of strangers may have none, or raise."""
    return one_line(error, 10_000)


class Fault(Exception):
    """Something wrong that raises no exception of its own, or one that says too little.

    `kind` chooses the repairs; `detail` is what they need to know.
    """

    def __init__(
        self, kind: str, layer: str, title: str, expected: str, got: str, **detail: Any
    ) -> None:
        super().__init__(title)
        self.kind, self.layer, self.title = kind, layer, title
        self.expected, self.got, self.detail = expected, got, detail


@dataclass(frozen=True)
class Fix:
    """Replace `old`, which stands once in the file, by `new`; without a file, in a chain of layers."""

    file: str | None
    line: int | None
    old: str
    new: str
    lines: tuple[str, ...] = ()  # the statements as they read after the edits, for people


@dataclass(frozen=True)
class Failure:
    """Where a model stops, why, and what repairs it; `verified`: it was run with the repair."""

    layer: str
    type: str
    file: str | None
    line: int | None
    expected: str
    got: str
    cause: str
    message: str  # the first line
    fix: Fix | None = None
    data_fix: str | None = None
    data_first: bool = False  # the data is at fault: its repair is the better one
    verified: bool = False
    output: Any = None  # of the model with the repair
    stage: str = "forward"
    gave_up: bool = False  # no repair was found in the time that there was

    def document(self) -> dict[str, Any]:
        """Return it for --json."""
        found = asdict(self)
        if self.fix is not None:
            found["fix"] = {key: found["fix"][key] for key in ("file", "line", "old", "new")}
        return found
