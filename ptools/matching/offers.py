"""What would fit after a step that loses or invents values: never done unasked, but told.

channels   a first convolution for another number of input channels
rows       a head for other classes: the rows of the classes that both have
resize     position embeddings for another number of positions
bias       a layer of which only one side has a bias: `ptools.matching.biases`
"""

from __future__ import annotations

from collections import defaultdict
from math import prod

from ptools.matching.biases import lacking
from ptools.matching.forms import over_pixels
from ptools.matching.keys import squeezed
from ptools.matching.names import likeness
from ptools.matching.result import Transform
from ptools.matching.units import COUNTER, Unit


def offers(sources: list[Unit], targets: list[Unit]) -> dict[str, Transform]:
    """Return {target key: (operation, (source key,))} for units that nothing fills, from unused ones.

    The tensors of such a unit that need no change are offered with it, as "copy".
    """
    found: dict[str, Transform] = {}
    for target in targets:
        fits = [(s, op) for s in sources if (op := _nearly(s, target))]
        if not fits:
            continue
        source, op = max(fits, key=lambda fit: likeness(fit[0].tokens, target.tokens))
        for role, key in target.roles.items():
            if role in source.roles and role != COUNTER:
                same = source.shapes[role] == target.shapes[role]
                found[key] = Transform("copy" if same else op, (source.roles[role],))
    return found


def nearly(sources: list[Unit], targets: list[Unit]) -> dict[str, str]:
    """Return {target key: why it is not loaded} for modules that an unused one would nearly fill."""
    as_large: dict[int, list[Unit]] = defaultdict(list)
    for source in sources:
        as_large[_size(source)].append(source)
    alone = lacking(sources, targets)
    found: dict[str, str] = {}
    for target in targets:
        why, others = "", as_large.get(_size(target), [])
        if target.index in alone:
            having = "no bias" if "bias" in target.shapes else "a bias too"
            why = f"the source's has {having}: a module is loaded whole or not at all"
        elif any(over_pixels(source, target) for source in others):
            why = "of a patch, a Linear may count the pixels in another order than a convolution"
        found |= {key: why for role, key in target.roles.items() if why and role != COUNTER}
    return found


def _size(unit: Unit) -> int:
    return prod(unit.shapes.get("weight", ()))


def _nearly(source: Unit, target: Unit) -> str:
    """Return the operation that makes `source` fit, or nothing."""
    if source.shapes.keys() - {COUNTER} != target.shapes.keys() - {COUNTER}:
        return ""
    a, b = source.shapes.get("weight", ()), target.shapes.get("weight", ())
    if len(a) != len(b) or len(a) < 2:
        return ""
    differ = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
    if len(differ) != 1:
        return ""
    rest = all(
        source.shapes[role] == shape or (differ == [0] and role == "bias")
        for role, shape in target.shapes.items()
        if role not in ("weight", COUNTER)
    )
    if not rest:
        return ""
    if len(a) == 4 and differ == [1] and min(a[1], b[1]) <= 4:
        return "channels"
    if "pos" in "".join(target.tokens).lower() and len(squeezed(a)) == 2:
        return "resize"
    return "rows" if len(a) == 2 and differ == [0] else ""


def head(sources: list[Unit], targets: list[Unit]) -> dict[int, int]:
    """Return {target unit: source unit} of the one layer of both that differs in the number of classes."""
    by_inputs: dict[int, list[Unit]] = defaultdict(list)
    for source in sources:
        by_inputs[_inputs(source)].append(source)
    found = [
        (target.index, source.index)
        for target in targets
        for source in by_inputs[_inputs(target)]
        if _nearly(source, target) == "rows"
    ]
    return dict(found) if len(found) == 1 else {}


def _inputs(unit: Unit) -> int:
    return prod(unit.shapes.get("weight", ())[1:])


def tied(targets: list[Unit], loaded: list[Unit]) -> dict[int, Unit]:
    """Return {target unit: source unit} of heads that share the matrix of an embedding, (V, D), V > 2 D."""
    found = {}
    for target in targets:
        shape = target.shapes.get("weight", ())
        if list(target.shapes) == ["weight"] and len(shape) == 2 and shape[0] > 2 * shape[1]:
            same = [u for u in loaded if u.shapes == {"weight": shape}]
            if len(same) == 1:
                found[target.index] = same[0]
    return found
