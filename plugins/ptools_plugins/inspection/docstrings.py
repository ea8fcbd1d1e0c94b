"""What a docstring says: its first paragraph, its parameters, its shapes. Nothing is rendered by guess.

docstring(value) the docstring as it is
parse(text)      Doc, of a docstring in Google's or numpy's manner
summary(text)    the first sentence, on one line
without_signature(text)    the docstring behind the signatures it begins with, and these
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ptools.errors import one_line
from ptools_plugins.inspection.plain import formula, plain

_LARGEST = 200_000
_HEADS = re.compile(
    r"^(Args|Arguments|Parameters|Params|Keyword args|Keyword Args|Keyword arguments|Keyword Arguments"
    r"|Other Parameters|Shape|Shapes|Returns?|Yields|Raises|Attributes|Examples?|Note|Notes|Warning"
    r"|Warnings|See Also|References|Inputs?|Outputs?|Variables|Usage|Todo)\s*:{0,2}\s*$"
)
_PARAMETERS = {"args", "arguments", "parameters", "params", "keyword args", "keyword arguments",
               "other parameters"}  # fmt: skip
_ENTRY = re.compile(r"^(\*{0,2}\w[\w, /*.]*?)\s*(?:\(((?:[^()]|\([^()]*\))*)\))?\s*:\s*(.*)$")
_DIRECTIVE = re.compile(r"^\.\. ")
_GIVEN = re.compile(r"^(Inputs|Outputs): ")  # as recurrent layers head their shapes
_DEEPER = "  "


@dataclass(frozen=True)
class Parameter:
    """A parameter as the docstring describes it: name, type in words, what it is."""

    name: str
    type: str
    text: str


@dataclass(frozen=True)
class Doc:
    """A docstring: signatures it begins with, first paragraph, parameters, lines of its shapes."""

    signatures: list[str] = field(default_factory=list)
    paragraph: str = ""
    parameters: list[Parameter] = field(default_factory=list)
    shape: list[str] = field(default_factory=list)


def docstring(value: Any) -> str:
    """Return the docstring of a value, "" where it has none or a stranger's descriptor raises."""
    try:
        text = value.__doc__
    except Exception:
        return ""
    return text if isinstance(text, str) else ""


def parse(text: str | None, name: str = "") -> Doc:
    """Return what a docstring says; `name` is the object's, for the signatures it begins with."""
    signatures, rest = without_signature(text, name)
    lines = rest.splitlines()
    sections = _sections(lines)
    parameters: dict[str, Parameter] = {}
    for head, body in sections:
        if head.lower() in _PARAMETERS:
            for one in _parameters(body):
                parameters.setdefault(one.name, one)
    shape = next((_shape(body) for head, body in sections if head in ("Shape", "Shapes")), [])
    if not shape:
        shape = [
            line for head, body in sections if _GIVEN.match(head) for line in _given(head, body)
        ]
    return Doc(signatures, _paragraph(lines), list(parameters.values()), shape)


def _given(head: str, body: list[str]) -> list[str]:
    """Return the lines of `Inputs: input, (h_0, c_0)` with what is said of each of them."""
    return [" ".join(plain(head).split()), *(_DEEPER + line for line in _shape(body))]


def summary(text: str | None, name: str = "", limit: int = 200) -> str:
    """Return the first sentence of a docstring on one line."""
    _, rest = without_signature(text, name)
    found = _paragraph(rest.splitlines())
    sentence = re.match(r"(.{8,}?[.!?])(?=\s+[A-Z`(*]|\s*$)", found)
    return one_line(sentence[1] if sentence else found, limit)


def without_signature(text: str | None, name: str = "") -> tuple[list[str], str]:
    """Return the signatures that a docstring begins with, and the rest of it, cleaned as by inspect."""
    import inspect

    if not isinstance(text, str):
        return [], ""
    rest = inspect.cleandoc(text[:_LARGEST].replace("\t", "    "))
    found: list[str] = []
    while match := re.match(r"(?:\.\. function::\s*)?([A-Za-z_][\w.]*)\(", rest):
        end = _closed(rest, match.end() - 1)
        called = match[1].rpartition(".")[2]
        if called == "__init__":
            called = name
        if not end or (name and called.rstrip("_").lower() != name.rstrip("_").lower()):
            break
        tail = re.match(r"[ ]*->[ ]*[^\n]+|[ ]*(?=\n|$)", rest[end:])
        if tail is None:
            break
        found.append(_signature(f"{called}{rest[match.end() - 1 : end]}{tail[0].rstrip()}"))
        rest = rest[end + tail.end() :].lstrip("\n ")
        rest = rest.removeprefix("--\n").lstrip("\n ")  # the end of a text signature
    if found:  # torch.max has more of them further down
        for more in re.findall(r"^\.\. (?:function|method):: (.+)$", rest, re.M):
            if more.rpartition("(")[0]:
                found.append(_signature(more))
    return list(dict.fromkeys(found)), rest


def _signature(text: str) -> str:
    """Return a signature of a docstring on one line, its marks taken off."""
    return " ".join(plain(text).replace("\\", "").split())


def _closed(text: str, start: int) -> int:
    """Return the place behind the parenthesis that closes the one at `start`; 0 where none does."""
    depth = 0
    for at in range(start, min(len(text), start + 4000)):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if depth == 0:
            return at + 1
    return 0


def _paragraph(lines: list[str]) -> str:
    """Return the first paragraph of prose on one line; "" where there is none."""
    found: list[str] = []
    skipping = False
    for line in lines:
        bare = line.strip()
        if skipping and (not bare or line.startswith(" ")):
            continue
        skipping = False
        if _HEADS.match(bare) or re.fullmatch(r"[-=~^*]{3,}", bare):
            if found and re.fullmatch(r"[-=~^*]{3,}", bare):
                found = []  # that was a title
                continue
            break
        if not bare:
            if found:
                break
        elif _DIRECTIVE.match(bare) or bare.startswith(">>>"):
            if found:
                break
            skipping = True
        else:
            found.append(bare)
    return " ".join(plain(" ".join(found)).split())


def _sections(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Return the sections of a docstring: headings with what is indented, or underlined, below them."""
    found: list[tuple[str, list[str]]] = []
    body: list[str] | None = None
    for at, line in enumerate(lines):
        match = _HEADS.match(line.strip())
        if _GIVEN.match(line):
            body = []
            found.append((line.strip(), body))
            continue
        underlined = at + 1 < len(lines) and re.fullmatch(r"\s*-{3,}\s*", lines[at + 1])
        if match and not line.startswith(" ") and (underlined or line.rstrip().endswith(":")):
            body = []
            found.append((match[1], body))
        elif body is not None:
            if re.fullmatch(r"\s*-{3,}\s*", line):
                continue
            numpy = found[-1][0] in ("Parameters", "Other Parameters")
            if line.strip() and not line.startswith(" ") and not numpy:
                body = None
                continue
            body.append(line)
    return found


def _parameters(body: list[str]) -> list[Parameter]:
    """Return the parameters of a section, each description as one line."""
    filled = [line for line in body if line.strip()]
    if not filled:
        return []
    least = min(_indent(line) for line in filled)
    found: list[tuple[str, str, list[str]]] = []
    for line in body:
        bare = line.strip()
        match = _ENTRY.match(bare) if _indent(line) <= least + 1 and bare else None
        if match:
            found.append((match[1], match[2] or "", [match[3]]))
        elif not bare:
            continue
        elif found and _indent(line) > least:
            found[-1][2].append(bare)
        elif not found and least == _indent(line) and " " not in bare:
            found.append((bare, "", []))
    numpy = least == 0
    return [_parameter(name, kind, text, numpy=numpy) for name, kind, text in found]


def _parameter(name: str, kind: str, text: list[str], *, numpy: bool) -> Parameter:
    if numpy and not kind and len(text) > 1:  # `x : int` in one line, its description below
        kind, text = text[0], text[1:]
    kept = []
    for line in text:
        if _DIRECTIVE.match(line) or line.startswith((">>>", "- ", "* ")):
            break
        kept.append(line)
    clean = [" ".join(plain(part).split()) for part in (name, kind, " ".join(kept))]
    return Parameter(*(one_line(part, 600) for part in clean))


def _shape(body: list[str]) -> list[str]:
    """Return the lines of a section of shapes: items, and under them, indented, formulas."""
    found: list[tuple[str, str]] = []  # (indent, text)
    math: list[str] | None = None
    for line in [*body, ""]:
        bare = line.strip()
        item = bare.startswith(("- ", "* "))
        begins = bare.startswith(".. math::")
        if math is not None and not (begins or item or (math and not bare)):
            math += [bare] if bare else []
            continue
        if math and (text := formula(" ".join(math))):
            found.append((_DEEPER, text))
        math = [rest] if begins and (rest := bare[9:].strip()) else [] if begins else None
        if not bare or begins:
            continue
        words = bare[2:] if item else bare
        if item or not found or found[-1][0] == _DEEPER:
            found.append(("", words))
        else:
            found[-1] = ("", f"{found[-1][1]} {words}")
    return [indent + one_line(text if indent else plain(text), 400) for indent, text in found]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
