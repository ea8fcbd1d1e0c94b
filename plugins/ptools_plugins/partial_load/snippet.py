"""--emit-python: a script of plain PyTorch that does the same load, for where ptools is not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ptools.checkpoints.tensorfiles import read_index
from ptools.matching.apply import grids, squeezed
from ptools_plugins.partial_load.plan import Item

if TYPE_CHECKING:
    from pathlib import Path

    from ptools.checkpoints import Weights
    from ptools_plugins.partial_load.work import Outcome, Request

_RESIZE = '''

def resize(weight, tokens, old, new):
    """Resize position embeddings (tokens + old*old rows), bicubic; the tokens stay as they are."""
    flat = weight.reshape(-1, weight.shape[-1])
    grid = flat[tokens:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, (new, new), mode="bicubic", antialias=True)
    rows = grid.permute(0, 2, 3, 1).reshape(new * new, -1).to(weight)
    return torch.cat([flat[:tokens], rows])
'''
_SHARDS = '''

def load_shards(index):
    """Return the tensors of all files that an index names."""
    import json
    from pathlib import Path

    files = json.loads(Path(index).read_text())["weight_map"]
    state = {}
    for name in sorted(set(files.values())):
        path = Path(index).parent / name
        safe = path.suffix == ".safetensors"
        shard = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
        state.update((key, value) for key, value in shard.items() if files.get(key) == name)
    return state
'''
_LOAD = '''

def partial_load(new):
    """Return the tensors of `new`, a state_dict, with those of OLD in their places."""
    old = {old}
    made = {{key: old[source] for key, source in MAP.items()}}
{made}    state = dict(new)
    for key, value in made.items():
        state[key] = value.reshape(new[key].shape){dtype}.contiguous()
    return state
'''


def script(request: Request, outcome: Outcome) -> str:
    """Return the text of the script."""
    plain = {k: i for k, i in outcome.plan.items.items() if i.op == "copy"}
    made = {k: i for k, i in outcome.plan.items.items() if i.op != "copy"}
    source = outcome.source.weights
    dtype = "" if request.keep_source else ".to(new[key].dtype)"
    kept = "{}.to({}.dtype)" if request.keep_source else "{}"
    expressions = {
        k: kept.format(_made(i, outcome), f"old[{i.sources[0]!r}]")
        if i.op == "rows"
        else _made(i, outcome)
        for k, i in made.items()
    }
    lines = "".join(f"    made[{k!r}] = {text}\n" for k, text in expressions.items())
    uses_resize = "resize(" in lines
    files = [source, *([outcome.target.weights] if outcome.target.weights else [])]
    out = outcome.out or request.old.with_name("loaded.pth")
    imports = ["import torch"]
    if out.suffix == ".safetensors" or any(map(_safe, files)):
        imports.append("from safetensors.torch import load_file, save_file")
    text = [
        f'"""Load a part of {request.old.name} into {outcome.target.name}. Plain PyTorch."""\n',
        "\n".join(imports),
        f"\nOLD = {str(source.path)!r}\nOUT = {str(out)!r}\n",
        "# tensor of the new network: tensor of OLD",
        "MAP = {\n" + "".join(f"    {k!r}: {i.sources[0]!r},\n" for k, i in plain.items()) + "}",
    ]
    shards = _SHARDS if any(one.format.startswith("sharded") for one in files) else ""
    load = _LOAD.format(old=_read(source, "OLD"), made=lines, dtype=dtype)
    body = "\n".join(text) + "\n" + shards + (_RESIZE if uses_resize else "") + load
    return body + "\n\n" + _main(request, outcome, out)


def _read(weights: Weights, name: str) -> str:
    """Return the expression that reads the state_dict of a file."""
    if weights.format == "safetensors":
        return f"load_file({name})"
    if weights.format.startswith("sharded"):
        return f"load_shards({name})"
    if weights.format.startswith("TorchScript"):
        return f'torch.jit.load({name}, map_location="cpu").state_dict()'
    loaded = f'torch.load({name}, map_location="cpu", weights_only={_plain(weights.path)})'
    if weights.format == "pickled module" and not weights.where:
        return f"{loaded}.state_dict()"
    return loaded + "".join(f"[{key!r}]" for key in _keys(weights))


def _safe(weights: Weights) -> bool:
    """Return whether a file, or one of those an index names, is safetensors."""
    if weights.format.startswith("sharded"):
        return any(path.suffix == ".safetensors" for path in read_index(weights.path).values())
    return weights.format == "safetensors"


def _keys(weights: Weights) -> list[str]:
    """Return the keys that lead to the state_dict; a key may have a dot in it."""
    keys, rest, value = [], weights.where, weights.tree
    while rest:
        known = (
            [k for k in value if rest == k or rest.startswith(f"{k}.")]
            if isinstance(value, dict)
            else []
        )
        key = max(known, key=len) if known else rest.partition(".")[0]
        keys.append(key)
        rest = rest[len(key) + 1 :]
        value = value.get(key) if isinstance(value, dict) else None
    return keys


def _plain(path: Path) -> bool:
    """Return whether torch.load takes a file with weights_only=True."""
    import warnings

    import torch

    try:
        with warnings.catch_warnings(action="ignore"):
            torch.load(path, map_location="meta", weights_only=True)
    except Exception:  # the bytes are a stranger's
        return False
    return True


def _main(request: Request, outcome: Outcome, out: Path) -> str:
    """Return the part that runs: what NEW is, and the file that is written."""
    lines = ['if __name__ == "__main__":']
    weights, value, whole = outcome.target.weights, "partial_load(new)", ""
    if weights is None:
        lines += [f"    {line}" for line in _model(str(request.model), request.seed)]
        lines.append("    new = model.state_dict()")
    else:
        lines.append(f"    NEW = {str(weights.path)!r}")
        if keys := _keys(weights):
            lines.append(
                f'    whole = torch.load(NEW, map_location="cpu", weights_only={_plain(weights.path)})'
            )
            whole = "whole" + "".join(f"[{key!r}]" for key in keys)
            lines.append(f"    new = {whole}")
        else:
            lines.append(f"    new = {_read(weights, 'NEW')}")
    if out.suffix == ".safetensors":
        lines.append(f"    save_file({value}, OUT)")
    elif whole:
        lines += [f"    {whole} = {value}", "    torch.save(whole, OUT)"]
    else:
        lines.append(f"    torch.save({value}, OUT)")
    return "\n".join(lines)


def _model(spec: str, seed: int) -> list[str]:
    """Return the lines that build the model."""
    match = re.fullmatch(r"((?P<place>[^:()]+):)?(?P<name>[\w.-]+)(?P<call>\(.*\))?", spec, re.S)
    assert match, "the model was built before"
    place, name, call = match["place"], match["name"], match["call"] or "()"
    lines = [f"torch.manual_seed({seed})"]
    if place and place.endswith(".py"):
        folder, _, file = place.rpartition("/")
        return [
            "import sys",
            "",
            f"sys.path.insert(0, {folder or '.'!r})",
            f"from {file.removesuffix('.py')} import {name}",
            "",
            *lines,
            f"model = {name}{call}",
        ]
    if place and place != "torchvision":
        return [f"from {place} import {name}", "", *lines, f"model = {name}{call}"]
    from ptools import registry

    if not place and name in registry.owners(registry.MODELS):
        return ["from ptools.models import build", "", *lines, f"model = build({spec!r})"]
    arguments = call[1:-1].strip()
    none = "weights=None" if "weights" not in arguments else ""
    given = ", ".join(part for part in (arguments, none) if part)
    return ["import torchvision", "", *lines, f"model = torchvision.models.{name}({given})"]


def _made(item: Item, outcome: Outcome) -> str:
    """Return the expression that makes one tensor."""
    shapes = [outcome.source.shapes[key] for key in item.sources]
    shape = outcome.target.shapes[item.target]
    olds = [f"old[{key!r}]" for key in item.sources]
    if item.op == "reshape":
        return olds[0]
    if item.op == "zeros":
        return f"{olds[0]}.new_zeros({shape})"
    if item.op == "channels":
        return _channels(olds[0], shapes[0][1], shape[1])
    if item.op == "weight_norm":
        g, v = olds
        along = [n for n in range(len(shapes[1])) if shapes[0][n : n + 1] in ((), (1,))]
        return f"{g} * {v} / {v}.norm(2, dim={along}, keepdim=True)"
    if item.op == "resize":
        if len(shape) == 4:
            size = tuple(shape[-2:])
            scaled = f'interpolate({olds[0]}.float(), {size}, mode="bicubic", antialias=True)'
            return f"torch.nn.functional.{scaled}.to({olds[0]})"
        return f"resize({olds[0]}, *{grids(shapes[0], shape)})"
    if item.op == "rows":
        to, taken = [to for to, _ in item.rows], [taken for _, taken in item.rows]
        return (
            f"new[{item.target!r}].index_copy(0, torch.tensor({to}), "
            f"{olds[0]}[{taken}].to(new[{item.target!r}].dtype))"
        )
    return _joined(item.op, olds, shapes, shape)


def _channels(old: str, number: int, wanted: int) -> str:
    if wanted == 1:
        return f"{old}.sum(1, keepdim=True)"
    times = -(-wanted // number)
    return f"torch.cat([{old}] * {times}, 1)[:, :{wanted}] * ({number} / {wanted})"


def _joined(op: str, olds: list[str], shapes: list[tuple[int, ...]], shape: tuple[int, ...]) -> str:
    """Return the expression for concatenating, chunking and transposing."""
    if op.startswith("transpose"):
        olds = [
            f"{old}.T" if len(one) == 2 else f"{old}.squeeze().T"
            for old, one in zip(olds, shapes, strict=True)
        ]
    if op in ("cat0", "transpose,cat1"):
        flat = [one if len(one) == 2 else squeezed(one) for one in shapes]
        beside = op != "cat0" and (flat[0][1], sum(one[0] for one in flat)) == shape
        return f"torch.cat([{', '.join(olds)}], {1 if beside else 0})"
    if "split0:" in op:
        at, _, parts = op.partition("split0:")[2].partition("/")
        return f"{olds[0]}.chunk({parts})[{at}]"
    return olds[0]
