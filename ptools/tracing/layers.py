"""Layers written as in PyTorch, `Conv2d(3, 32, 5, padding=2)`: read as literals, never run.

A text holds calls, a pasted nn.Sequential(...), or what PyTorch prints for one.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from ptools.errors import UsageError, one_line, suggestion
from ptools.tracing.chains import Argument, Layer, build, check, source

__all__ = ["Argument", "Layer", "build", "parse", "source"]

LIMIT = 100_000  # characters
DEPTH = 20  # layers in layers
UNKNOWN = "Ɂ"  # what `?` becomes, since Python has no such sign; with hex behind it, a printed name
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?)|(?P<comment>\#[^\n]*)"""
    r"""|(?P<name>\(\s*([^\s()'":,]{1,100})\s*\)\s*:\s*([0-9]+\ x\ )?)|(?P<lines>\n\s*)"""
    r"""|(?P<word>\w+)|(?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)
_WORDS = {  # PyTorch prints these without quotes
    "padding": ("same", "valid"),
    "padding_mode": ("zeros", "reflect", "replicate", "circular"),
}
_PARTS = (
    "Module", "Container", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict",
    "DataParallel", "RNNBase", "RNNCellBase",
)  # fmt: skip


def parse(text: str) -> list[Layer]:
    """Read layers: calls between commas or on lines, nn.Sequential(...), a list, or a printed one.

    `?` may stand for the one argument that the input decides; see ptools.tracing.filling.fill.
    Raises UsageError where the text is no chain of layers, or a layer cannot be built.
    """
    import warnings

    if len(text) > LIMIT:
        raise UsageError(
            f"the layers are longer than {LIMIT // 1000} kB; name the model: --model net.py:Net"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layers = _chain(_entries(ast.parse(_python(text))))
    except SyntaxError as error:
        raise _misread(text, error) from error
    except (RecursionError, MemoryError, ValueError) as error:
        raise UsageError(
            f"'{one_line(text, 60)}' cannot be read: nested too deeply, or not text; "
            "write layers as in PyTorch: Conv2d(3, 32, 5)"
        ) from error
    if not layers:
        raise UsageError("no layer is given; write them as in PyTorch: 'Conv2d(3, 32, 5)' 'ReLU()'")
    return layers


def _misread(text: str, error: SyntaxError) -> UsageError:
    if re.search(r"^[ \t]*(class|def)[ \t]", text, re.MULTILINE):
        return UsageError(
            "that is a class, not a chain of layers; save it and use --model net.py:Net"
        )
    lines = text.splitlines() or [""]
    number = min(max(error.lineno or 1, 1), len(lines))
    reason = re.sub(f"{UNKNOWN}[0-9a-f]*", "?", error.msg)
    return UsageError(
        f"line {number}, '{one_line(lines[number - 1], 80)}', cannot be read: {reason}; "
        "write layers as in PyTorch: Conv2d(3, 32, 5)"
    )


def _python(text: str) -> str:
    """Return `text` as Python: `?` and printed names replaced, lines outside brackets not indented."""
    pieces: list[str] = []
    depth, last = 0, "\n"
    text = re.sub(r"^[ \t]*(>>>|\.\.\.)[ \t]", "", text.lstrip(), flags=re.MULTILINE)
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if match.lastgroup == "comment":
            continue
        if match.lastgroup == "name":  # `(conv1): ` becomes a keyword, or outside brackets a name
            joint = "" if last in "([{,\n" else "," if depth else ";"
            piece = f"{joint}{UNKNOWN}{match[4].encode().hex()}=" + "\n" * piece.count("\n")
        elif match.lastgroup == "lines" and depth == 0:
            piece = "\n" * piece.count("\n")
        elif match.lastgroup == "sign":
            depth = max(0, depth + (piece in "([{") - (piece in ")]}"))
            piece = UNKNOWN if piece == "?" else " " if piece.isspace() else piece
        pieces.append(piece)
        last = piece.rstrip()[-1:] or (piece if match.lastgroup == "lines" and not depth else last)
    return "".join(pieces)


_Entry = tuple[str | None, ast.expr]


def _entries(tree: ast.Module) -> list[_Entry]:
    """Return (name, expression) for what stands in the text, one after the other."""
    found: list[_Entry] = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            continue  # pasted with the rest, and never run
        if isinstance(node, ast.Expr):
            alone = [node.value]
            several = node.value.elts if isinstance(node.value, ast.Tuple) else alone
            found += [(None, one) for one in several]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[-1]
            value = node.value
            if isinstance(value, ast.Tuple) and len(value.elts) == 1:  # a comma at the line's end
                value = value.elts[0]
            found.append((_label(_last(target)), value))
        else:
            raise UsageError(f"'{_shown(node)}' is no layer; write layers only: Conv2d(3, 32, 5)")
    return found


def _chain(entries: list[_Entry]) -> list[Layer]:
    if len(entries) == 1:
        only = entries[0][1]
        if isinstance(only, ast.List | ast.Tuple):
            return _layers([(None, one) for one in only.elts], _shown(only), 1)
        if isinstance(only, ast.Call) and _last(only.func) == "Sequential":
            return list(_layer(only, "", 1).layers)
    return _layers(entries, "the chain", 1)


def _layers(entries: list[_Entry], where: str, depth: int) -> list[Layer]:
    from torch import nn

    flat: list[_Entry] = []
    for name, node in entries:
        inner = node.value if isinstance(node, ast.Starred) else node
        if inner is not node and isinstance(inner, ast.List | ast.Tuple):
            flat += [(None, one) for one in inner.elts]
        else:
            flat.append((name, node))
    seen: set[str] = set()
    taken = set(dir(nn.Sequential()))
    layers = []
    for i, (given, node) in enumerate(flat):
        name = str(i) if given is None else given
        shown = one_line(name, 40)
        if name in seen:
            raise UsageError(f"{where}: two layers are called '{shown}'; give each its own name.")
        if not name or "." in name or name in taken:
            raise UsageError(f"{where}: no layer may be called '{shown}'; choose another name.")
        seen.add(name)
        layers.append(_layer(node, name, depth))
    return layers


def _layer(node: ast.expr, name: str, depth: int) -> Layer:
    where = _shown(node)
    if depth > DEPTH:
        raise UsageError(f"{where}: more than {DEPTH} layers in layers; write fewer.")
    if not isinstance(node, ast.Call):
        if _last(node) in _kinds():
            raise UsageError(f"{where}: a layer needs its parentheses; write {where}()")
        raise UsageError(f"'{where}' is no layer; write layers as in PyTorch: Conv2d(3, 32, 5)")
    kind = _kind(node, where)
    if kind == "Sequential":
        return Layer(name, kind, layers=tuple(_layers(_children(node, where), where, depth + 1)))
    layer = Layer(name, kind, tuple(_arguments(node, kind, where, depth)))
    check(layer)
    return layer


def _kind(node: ast.Call, where: str) -> str:
    """Return the class in torch.nn that is called."""
    dotted = _dotted(node.func)
    prefix, _, kind = dotted.rpartition(".")
    kinds = _kinds()
    if prefix in ("", "nn", "torch.nn") and kind in kinds:
        return kind
    shown = one_line(dotted, 40)
    if any(_label(word.arg or "") != word.arg for word in node.keywords):
        raise UsageError(
            f"{where}: what PyTorch prints for {shown} leaves its forward out; "
            "name the model itself: --model net.py:Net"
        )
    if not dotted:
        raise UsageError(f"'{where}' is no layer; write layers as in PyTorch: Conv2d(3, 32, 5)")
    if kind in _PARTS:
        raise UsageError(f"{where}: {shown} is no layer by itself; write the layers inside it.")
    plain = kind.replace("_", "").lower()  # F.max_pool2d -> MaxPool2d
    same = [known for known in kinds if known.lower() == plain]
    close = f" Did you mean '{same[0]}'?" if same else suggestion(kind[:40], kinds)
    raise UsageError(
        f"{where}: torch.nn has no layer called '{shown}'."
        f"{close or ' Write layers as in PyTorch: Conv2d(3, 32, 5)'}"
    )


@cache
def _kinds() -> list[str]:
    """Return the classes of torch.nn that are layers."""
    from torch import nn

    found = {name: getattr(nn, name) for name in dir(nn) if name not in _PARTS}
    return [k for k, v in found.items() if isinstance(v, type) and issubclass(v, nn.Module)]


def _children(node: ast.Call, where: str) -> list[_Entry]:
    """Return the (name, expression) pairs in Sequential(...), or in its OrderedDict."""
    only = node.args[0] if len(node.args) == 1 else None
    if not node.args and all(_label(word.arg or "") != word.arg for word in node.keywords):
        return [(_label(word.arg or ""), word.value) for word in node.keywords]
    if node.keywords:
        raise UsageError(f"{where}: nn.Sequential takes no keywords; write its layers one by one.")
    if isinstance(only, ast.Call) and _last(only.func) == "OrderedDict":
        if only.keywords and not only.args:
            return [(word.arg or "", word.value) for word in only.keywords]
        only = only.args[0] if len(only.args) == 1 else ast.List([])
        if not isinstance(only, ast.Dict):
            pairs = only.elts if isinstance(only, ast.List | ast.Tuple) else [only]
            return [_pair(one, where) for one in pairs]
    if isinstance(only, ast.Dict):
        found = zip(only.keys, only.values, strict=True)
        return [_pair(ast.Tuple([key or value, value]), where) for key, value in found]
    if isinstance(only, ast.List | ast.Tuple):
        raise UsageError(f"{where}: nn.Sequential takes no list; leave its brackets out.")
    return [(None, one) for one in node.args]


def _pair(node: ast.expr, where: str) -> _Entry:
    elements = node.elts if isinstance(node, ast.Tuple | ast.List) else []
    if len(elements) == 2 and isinstance(elements[0], ast.Constant):
        name = elements[0].value
        if isinstance(name, str):
            return name, elements[1]
    raise UsageError(
        f'{where}: OrderedDict takes ("name", layer) pairs; write ("conv1", Conv2d(3, 8, 3))'
    )


def _arguments(node: ast.Call, kind: str, where: str, depth: int) -> Iterator[Argument]:
    values: list[_Entry] = [(None, one) for one in node.args]
    values += [(word.arg or "**", word.value) for word in node.keywords]
    for keyword, value in values:
        if keyword is not None and _label(keyword) != keyword:
            raise UsageError(
                f"{where}: what PyTorch prints for {kind} leaves its arguments out; "
                f"write the call: {kind}(...)"
            )
        text = ast.unparse(value).replace(UNKNOWN, "?")
        if text == "?":
            yield Argument(keyword, None, "?")
        elif isinstance(value, ast.Call) and _last(value.func) in _kinds():
            yield Argument(keyword, _layer(value, "", depth + 1))
        elif text in _WORDS.get(keyword or "", ()):
            yield Argument(keyword, text, repr(text))
        elif not (kind.startswith("Upsampling") and keyword == "mode"):  # printed, but not taken
            yield Argument(keyword, _literal(value, where), text)


def _literal(node: ast.expr, where: str) -> Any:
    """Return the value of a literal, of arithmetic with numbers, or of torch.float32 and its like."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | None):
        return _bounded(node.value, where)
    if isinstance(node, ast.Tuple | ast.List):
        values = [_literal(one, where) for one in node.elts]
        return tuple(values) if isinstance(node, ast.Tuple) else values
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _number(node.operand, where)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _computed(node, where)
    if isinstance(node, ast.Attribute) and _dotted(node).startswith("torch."):
        import torch

        value = getattr(torch, node.attr, None)
        if isinstance(value, torch.dtype) and _dotted(node) == f"torch.{node.attr}":
            return value
    raise UsageError(
        f"{where}: '{_shown(node)}' is no literal, and layers are read, never run; "
        "write the number, string or tuple itself."
    )


_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


def _computed(node: ast.BinOp, where: str) -> Any:
    left, right = _number(node.left, where), _number(node.right, where)
    if isinstance(node.op, ast.Pow) and (abs(right) > 64 or (left < 0 and right != int(right))):
        raise UsageError(f"{where}: '{_shown(node)}' is no size; write the number itself.")
    try:
        return _bounded(_OPERATORS[type(node.op)](left, right), where)
    except ArithmeticError as error:
        reason = one_line(error)
        raise UsageError(f"{where}: '{_shown(node)}': {reason}; write the number.") from error


def _number(node: ast.expr, where: str) -> Any:
    value = _literal(node, where)
    if isinstance(value, int | float):
        return value
    raise UsageError(f"{where}: '{_shown(node)}' is no number; write the value itself.")


def _bounded(value: Any, where: str) -> Any:
    if isinstance(value, int) and abs(value) >= 2**63:
        raise UsageError(f"{where}: a number is too large for PyTorch; the largest is 2**63 - 1.")
    return value


def _dotted(node: ast.AST) -> str:
    """Return `torch.nn.Conv2d` of such an expression, else nothing."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _last(node: ast.AST) -> str:
    return _dotted(node).rpartition(".")[2]


def _label(name: str) -> str:
    """Return the printed name that `name` stands for; another name as it is."""
    return bytes.fromhex(name[1:]).decode() if name.startswith(UNKNOWN) else name


def _shown(node: ast.AST) -> str:
    text = ast.unparse(node)
    text = re.sub(f"{UNKNOWN}([0-9a-f]+)=", lambda m: f"({bytes.fromhex(m[1]).decode()}): ", text)
    return one_line(text.replace(UNKNOWN, "?"), 80)
