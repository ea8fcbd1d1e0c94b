"""The table of layers, the totals under it, and the diagnosis, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptools import output
from ptools_plugins.shapes.report import Report, rows, training_bytes, unused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ptools.tracing.repair.values import Failure
    from ptools.tracing.trace import Layer, Trace


def report(found: Report, *, depth: int | None) -> None:
    """Print a report: the rows and the totals, or what is wrong."""
    if found.failure is not None:
        for line in failure(found.failure):
            output.result(line)
        return
    assert found.trace is not None
    _table(found, rows(found.layers, depth))
    output.result()
    for name, text in _totals(found, found.trace):
        output.result(f"{name:<12} {text}".rstrip())
    if found.graph:
        from pathlib import Path

        program = output.program("tensorboard")
        output.note(f"The graph is in {found.graph}")
        output.note(f"To see it: {program} --logdir {Path(found.graph).parent}")


def _table(found: Report, layers: list[Layer]) -> None:
    assert found.trace is not None
    heads = ["layer", "type", "output", "params", "MACs", "share"]
    if found.fields is not None:
        heads += ["field", "stride", "centre"]
    cells = []
    for layer in layers:
        share = f"{100 * layer.macs / found.trace.macs:.1f} %" if layer.macs else ""
        row = [
            layer.name or f"({layer.type})",
            found.texts.get(layer.name, layer.type)
            + (f" x{layer.calls}" if layer.calls > 1 else ""),
            _output(layer),
            f"{layer.params:,}" if layer.params else "",
            count(layer.macs) if layer.macs else "",
            share,
        ]
        if found.fields is not None:
            seen = found.fields.get(layer.name)
            row += [str(seen), _axes(seen.stride), _axes(seen.centre)] if seen else ["", "", ""]
        cells.append(row)
    right = ("params", "MACs", "share")
    if output.fits(heads, cells):
        output.table(heads, cells, right=right)
        return
    output.result("  ".join(heads[:2]))  # a narrow terminal: the name has a line to itself
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for row in [heads, *cells]:
        if row is not heads:
            output.result("  ".join(row[:2]))
        rest = zip(heads[2:], row[2:], widths[2:], strict=True)
        line = "  ".join(c.rjust(w) if h in right else c.ljust(w) for h, c, w in rest)
        output.result(f"    {line}".rstrip())


def _axes(values: Sequence[Any]) -> str:
    """Return one value where all axes agree, else 2x1; nothing where the whole image is seen."""
    texts = ["" if value is None else f"{float(value):g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else "x".join(text or "all" for text in texts)


def _output(layer: Layer) -> str:
    if layer.calls:
        return shape(layer.output)
    return "(used by its parent)" if layer.used else "(unused)"


def shape(value: Any, limit: int = 40) -> str:
    """Return shapes as people write them; of many only the first."""
    text = _shape(value)
    if len(text) <= limit or (isinstance(value, list) and all(isinstance(v, int) for v in value)):
        return text
    items = list(value.items()) if isinstance(value, dict) else [("", v) for v in value]
    name, first = items[0]
    rest = f", +{len(items) - 1} more" if len(items) > 1 else ""
    return (f"{name}: " if name else "") + shape(first, limit) + rest


def _shape(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_shape(v)}" for k, v in value.items()) + "}"
    if value and not all(isinstance(v, int) for v in value):
        return "(" + ", ".join(map(_shape, value)) + ")"
    return str(value)


def _totals(found: Report, trace: Trace) -> list[tuple[str, str]]:
    frozen = trace.params - trace.trainable
    kinds = "all trainable" if not frozen else f"{trace.trainable:,} trainable, {frozen:,} frozen"
    buffers = f"; {trace.buffers:,} buffers" if trace.buffers else ""
    at = f"at batch {found.batch}" if found.batch is not None else "for these inputs"
    step = training_bytes(trace)
    lines = [
        ("output", shape(trace.output, 66)),
        ("parameters", f"{trace.params:,} ({kinds}){buffers}"),
        ("MACs", f"{count(trace.macs)} {at}   (1 MAC = 2 FLOPs: {count(2 * trace.macs)}FLOPs)"),
        (
            "memory",
            f"weights {size(trace.weight_bytes)}, activations {size(trace.activation_bytes)} {at}",
        ),
        ("training", f"SGD {size(step['sgd'])}, Adam {size(step['adam'])} a step"),
    ]
    if found.filled:
        lines.insert(0, ("filled in", ", ".join(found.filled)))
    return lines + _remarks(found, trace)


def _remarks(found: Report, trace: Trace) -> list[tuple[str, str]]:
    lines = []
    for op, names in trace.uncounted.items():
        lines.append(("not counted", f"{op} in {_some([n or '(model)' for n in names])}"))
    idle = unused(found.layers)
    auxiliary = [n for n in idle if any(_within(n.name, outer) for outer in found.train_only)]
    if auxiliary:
        params = sum(layer.params for layer in auxiliary)
        lines.append(
            ("auxiliary", f"{_some(found.train_only)} ({params:,} parameters): in train mode only;")
        )
        lines.append(("", f"{trace.params - params:,} parameters without them"))
    left = [layer.name for layer in idle if layer not in auxiliary and (layer.leaf or layer.params)]
    if left:
        lines.append(("unused", _some(left)))
    if trace.data_dependent:
        lines.append(("measured", "a real run with zero weights: the figures depend on the data"))
    if found.not_followed:
        lines.append(("field", f"not followed, taken as all: {_some(found.not_followed)}"))
    lines += [("note", text) for text in trace.notes]
    return lines


def _within(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")


def _some(names: Any, most: int = 4) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def count(number: float) -> str:
    """Return a count with three or four digits and its unit: 1.814 G, 118.0 M."""
    for unit, value in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= value:
            return f"{number / value:.4g} {unit}"
    return f"{number:.0f} "


def size(number: int) -> str:
    """Return bytes in binary units: 44.6 MiB."""
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"


def failure(found: Failure) -> list[str]:
    """Return the diagnosis: at most 8 lines."""
    lines = [f"x {found.message}"]
    if found.got:
        lines.append(f"    got       {found.got}")
    if found.expected:
        lines.append(f"    expected  {found.expected}")
    code = _code(found)
    data = [found.data_fix] if found.data_fix else []
    first, second = (data, code) if found.data_first else (code, data)
    for label, texts in (("fix", first or second), ("or", second if first else [])):
        for number, text in enumerate(texts):
            lines.append(f"  {label if not number else '':<11} {text}")
    if found.verified:
        what = "the loss is computed" if found.stage == "loss" else "the model runs"
        lines.append(f"  {'verified':<11} with the fix {what}: output {shape(found.output, 50)}")
    return lines


def _code(found: Failure) -> list[str]:
    if found.fix is None:
        return []
    texts = list(found.fix.lines) or found.fix.new.strip().splitlines()[:1]
    if len(texts) > 2:
        texts = [*texts[:1], f"... and {len(texts) - 1} more changes (--json has the text)"]
    if found.fix.file is None:
        return texts
    place = f"# {found.fix.file.rpartition('/')[2]}:{found.fix.line}"
    return [f"{texts[0]:<33} {place}", *texts[1:]]
