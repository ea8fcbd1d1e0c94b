"""Docstrings as plain text: reStructuredText without its marks, LaTeX as a person would type it.

plain(text)      a line or a paragraph: `:math:`(N, C_{in})`` -> (N, C_in), `:attr:`bias`` -> bias
formula(text)    LaTeX -> text: \\frac{a}{b} -> a / b, \\left\\lfloor x \\right\\rfloor -> floor(x)
"""

from __future__ import annotations

import re
from collections.abc import Callable

_LONGEST = 20_000  # characters; what is longer is no sentence

_SIGNS = {
    "times": "*", "cdot": "*", "star": "⋆", "ast": "*", "odot": "*", "otimes": "⊗", "div": "/",
    "leq": "<=", "le": "<=", "geq": ">=", "ge": ">=", "neq": "!=", "ne": "!=", "approx": "≈",
    "equiv": "≡", "sim": "~", "propto": "∝", "in": "in", "pm": "±", "infty": "inf", "to": "->",
    "rightarrow": "->", "Rightarrow": "=>", "leftarrow": "<-", "ldots": "...", "dots": "...",
    "cdots": "...", "quad": " ", "qquad": " ", "mid": "|", "vert": "|", "Vert": "||", "lVert": "||",
    "rVert": "||", "lvert": "|", "rvert": "|", "partial": "∂", "nabla": "∇", "forall": "for all",
    "sum": "sum", "prod": "prod", "int": "integral", "langle": "<", "rangle": ">", "prime": "'",
    "lfloor": "floor(", "rfloor": ")", "lceil": "ceil(", "rceil": ")", "left": "", "right": "",
    "displaystyle": "", "limits": "", "nolimits": "", "big": "", "Big": "", "bigg": "", "Bigg": "",
    "bigl": "", "bigr": "", "Bigl": "", "Bigr": "", "hspace": "", "vspace": "", "limits_": "",
}  # fmt: skip
# Commands that only say how their argument looks.
_LOOKS = (
    "text|textbf|textit|texttt|mathrm|mathbf|mathbb|mathcal|mathit|mathsf|mathtt|operatorname|boldsymbol"
    "|bm|mbox|overline|underline|bar|tilde|hat|widehat|widetilde|vec|underset|overset|mathop"
)
_ROLE = re.compile(r":(?:[a-z]+:)?([a-z]+):`([^`]*)`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^>`]*>`__?")
_COMMAND = re.compile(r"\\([A-Za-z]+)")


def plain(text: str) -> str:
    """Return reStructuredText as plain text, its spaces as they are."""
    text = _ROLE.sub(_role, text[:_LONGEST])
    text = _LINK.sub(r"\1", text)
    text = re.sub(r"`([^`]+)`__?(?!\w)", r"\1", text)
    text = re.sub(r"``([^`]+)``", r"\1", text)
    text = re.sub(r"`([^`\n]+)`", r"\1", text)
    text = re.sub(r"\*\*([^*\n]+)\*\*", r"\1", text)
    return re.sub(r"\\([*_|`\\])", r"\1", text)


def _role(match: re.Match[str]) -> str:
    role, text = match[1], match[2]
    if role == "math":
        return formula(text)
    if "<" in text and text.endswith(">"):  # a title <and where it leads>
        return text.partition("<")[0].strip()
    return text.rpartition(".")[2].lstrip("~") if text.startswith("~") else text.lstrip("!")


def formula(text: str) -> str:
    """Return LaTeX as text on one line, with calls and operators instead of its commands."""
    text = " ".join(text[:_LONGEST].split())
    text = re.sub(r"\\(begin|end)\s*\{[^}]*\}(\{[^}]*\})?", " ", text)
    text = text.replace("\\\\", " ; ").replace("&", " ")
    text = re.sub(r"\\[,;:!> ]|~", " ", text).replace(r"\_", "_").replace(r"\%", "%")
    text = text.replace(r"\{", "\0").replace(r"\}", "\1").replace(r"\|", "||")
    text = _calls(text)
    text = re.sub(r"\\(?:left|right)\s*\.", " ", text)
    text = _COMMAND.sub(lambda m: _SIGNS.get(m[1], m[1]), text)
    text = re.sub(r"([_^])\{([^{}]*)\}", _script, text)
    text = text.replace("{", "").replace("}", "").replace("\0", "{").replace("\1", "}")
    return _tidy(text)


def _calls(text: str) -> str:
    """Carry out the commands with arguments, the innermost first."""
    looks = re.compile(rf"\\(?:{_LOOKS})\*?\s*\{{([^{{}}]*)\}}")
    steps: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
        (looks, r"\1"),
        (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), _fraction),
        (re.compile(r"\\sqrt\s*(?:\[[^\]]*\])?\s*\{([^{}]*)\}"), r"sqrt(\1)"),
        (re.compile(r"\\binom\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"binom(\1, \2)"),
        (re.compile(r"([_^])\{([^{}\\]*)\}"), _script),
    ]
    for _ in range(30):
        before = text
        for pattern, to in steps:
            text = pattern.sub(to, text)
        if text == before:
            break
    return text


def _fraction(match: re.Match[str]) -> str:
    parts = [part.strip() for part in match.groups()]
    wrapped = [f"({p})" if re.search(r"[-+*/\s]|\\", p) else p for p in parts]
    return f"{wrapped[0]} / {wrapped[1]}"


def _script(match: re.Match[str]) -> str:
    """A subscript or a power: braces are kept, as parentheses, where it is more than a word."""
    mark, inner = match[1], match[2].strip()
    if not inner:
        return ""
    return f"{mark}{inner}" if re.fullmatch(r"[\w.,']+|[-+]\w+|\*", inner) else f"{mark}({inner})"


def _tidy(text: str) -> str:
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"(floor|ceil)\( ", r"\1(", text)
    text = re.sub(r"\(\s+", "(", text)
    text = re.sub(r"\s+([),\]])", r"\1", text)
    text = re.sub(r"(?<=\w) \[", "[", text)
    text = re.sub(r"(?<=[\w)\]])\*(?=[\w(\[])", " * ", text)
    return text.strip().removesuffix(";").strip()
