"""--verify: both networks get one random input, and every loaded layer must give what it gave before.

Layers are paired as their weights were mapped, and compared in the order in which the new network runs
them. What is loaded by halves (a fused or split weight) or computed without a module of its own has no
layer to compare; what follows a layer that differs differs too, so the first one is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ptools import output
from ptools.errors import PtoolsError, UsageError, cause
from ptools.tracing.inputs import Input

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ptools_plugins.partial_load.loading import Loaded, Source

TOLERANCE = 1e-4  # of the largest value of the layer: what another order of summation may do


@dataclass(frozen=True)
class Verified:
    """How many layers agreed, and by how much the worst of them differed."""

    layers: int
    not_run: int
    largest: float
    where: str
    input: str
    different: str | None = None  # the first layer that differs, in words

    @property
    def text(self) -> str:
        """Return it as one line."""
        if self.different:
            return self.different
        worst = f"largest difference {self.largest:.2g} in {self.where}"
        silent = f"; {self.not_run} not run as a module" if self.not_run else ""
        said = worst if self.largest else "bit-identical"
        return f"{self.layers} layers give what they gave in OLD, {said}{silent}  (in {self.input})"


class Call(NamedTuple):
    """One call of a layer: what came in and what came out."""

    layer: str
    input: Tensor | None
    output: Tensor | None


def verify(
    new: nn.Module, old: nn.Module, loaded: Loaded, inputs: Sequence[Input], prefix: str
) -> Verified:
    """Compare the loaded layers of `new` with those of `old`, both already holding their weights."""
    pairs = _pairs(loaded, prefix, old)
    tried = [tuple(inputs)] if inputs else _guesses(new)
    failed: PtoolsError | None = None
    for guess in tried:
        try:
            before = _run(old, set(pairs.values()), guess, "the network of OLD")
            after = _run(new, set(pairs), guess, "the new network")
        except PtoolsError as error:
            failed = failed or error
            continue
        return _compared(pairs, before, after, "x".join(map(str, guess[0].shape)))
    assert failed is not None
    raise failed


def fill(old: nn.Module, source: Source, name: str) -> str:
    """Load OLD into its own network; return the prefix its names have in the file.

    Raises UsageError where they do not belong together.
    """
    state = old.state_dict()
    needed = [key for key in state if not key.endswith("num_batches_tracked")]
    ends = [key for key in source.shapes if needed and key.endswith(needed[0])]
    prefixes = ["", *(key.removesuffix(needed[0]) for key in ends)]

    def missing(prefix: str) -> list[str]:
        return [k for k in needed if source.shapes.get(prefix + k) != tuple(state[k].shape)]

    prefix = min(prefixes, key=lambda one: len(missing(one)))
    if lacks := missing(prefix):
        raise UsageError(
            f"--old-model {name} is not the network of OLD: {len(lacks)} of its tensors are not there "
            f"in their shape, such as '{prefix}{lacks[0]}'."
        )
    tensors = source.weights.tensors
    old.load_state_dict({k: tensors[prefix + k] for k in needed}, strict=False)
    return prefix


def _pairs(loaded: Loaded, prefix: str, old: nn.Module) -> dict[str, str]:
    """Return {layer of the new network: layer of the old one}, of those that are copies as a whole."""
    modules = dict(old.named_modules(remove_duplicate=False))
    found: dict[str, list[str]] = defaultdict(list)
    for key, item in loaded.items_.items():
        layer = key.rpartition(".")[0]
        source = item.sources[0].removeprefix(prefix).rpartition(".")[0]
        found[layer].append(source if item.op == "copy" and source in modules else "")
    return {
        new: max(
            olds, key=olds.count
        )  # where a module is put together of two, one of them will differ
        for new, olds in found.items()
        if new and "" not in olds
    }


def _guesses(model: nn.Module) -> list[tuple[Input, ...]]:
    """Return inputs that the first layer of a network may take."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return [(Input((module.in_channels, n, n)),) for n in (224, 64, 32, 28, 299, 16)]
        if isinstance(module, nn.Conv1d):
            return [(Input((module.in_channels, n)),) for n in (1024, 16000, 128)]
        if isinstance(module, nn.Conv3d):
            return [(Input((module.in_channels, 16, 112, 112)),)]
        if isinstance(module, nn.Linear):
            return [(Input((module.in_features,)),)]
        if isinstance(module, nn.Embedding):
            return [(Input((16,), "int64", module.num_embeddings),)]
    raise UsageError("--verify: what goes into these networks? Say it: --in 3x224x224.")


def _run(model: nn.Module, layers: set[str], inputs: Sequence[Input], whose: str) -> list[Call]:
    """Run a model in eval mode and return the calls of `layers`, in order."""
    import torch

    calls: list[Call] = []
    fed: dict[str, list[Tensor | None]] = defaultdict(list)
    handles = []
    for name, module in model.named_modules():
        if name in layers:
            # copies: a ReLU(inplace=True) behind writes into what came out
            handles += [
                module.register_forward_pre_hook(
                    lambda _, args, name=name: fed[name].append(_tensor(args))
                ),
                module.register_forward_hook(
                    lambda _, __, out, name=name: calls.append(
                        Call(name, fed[name].pop(), _tensor(out))
                    )
                ),
            ]
    first = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    try:
        with torch.no_grad(), output.aside():
            model.eval()(*(one.batched(2).tensor("cpu", first) for one in inputs))
    except Exception as error:  # the model is the user's code
        shape = ", ".join(str(one) for one in inputs)
        raise PtoolsError(
            f"--verify: {whose} does not run with --in {shape}: {cause(error)[:160]}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _tensor(value: object) -> Tensor | None:
    """Return a copy of the first tensor of what goes in or comes out."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, (tuple, list)):
        return next((found for one in value if (found := _tensor(one)) is not None), None)
    return None


def _compared(
    pairs: Mapping[str, str], before: list[Call], after: list[Call], fed: str
) -> Verified:
    olds: dict[str, list[Call]] = defaultdict(list)
    for call in before:
        olds[call.layer].append(call)
    turns: dict[str, int] = defaultdict(int)
    largest, where = 0.0, ""
    ran: set[str] = set()
    for call in after:
        name = pairs[call.layer]
        turn = turns[call.layer]
        turns[call.layer] += 1
        if not olds[name] or call.output is None:
            continue
        ran.add(call.layer)
        if turn >= len(olds[name]):
            text = f"{call.layer} runs {turn + 1} times, {name} in OLD {len(olds[name])}"
            return Verified(len(ran) - 1, 0, largest, where, fed, text)
        off, text = _difference(call, olds[name][turn])
        if text:
            return Verified(len(ran) - 1, 0, off, call.layer, fed, text)
        if off > largest:
            largest, where = off, call.layer
    return Verified(len(ran), len(pairs) - len(ran), largest, where, fed)


def _difference(new: Call, old: Call) -> tuple[float, str]:
    """Return the largest difference, and in words what is wrong where it is too large."""
    assert new.output is not None
    said = f"{new.layer} differs from {old.layer} in OLD"
    aligned = _aligned(old.output, new.output)
    if aligned is None:
        shape = list(old.output.shape) if old.output is not None else None
        return 0.0, f"{said}: its output is {list(new.output.shape)}, there {shape}"
    off, scale = _off(new.output, aligned)
    if off <= TOLERANCE * scale:
        return off, ""
    came = _aligned(old.input, new.input) if new.input is not None else None
    if new.input is None or came is None:
        return off, f"{said} by {off:.2g}"
    off_in, scale_in = _off(new.input, came)
    if off_in <= TOLERANCE * scale_in:
        why = "of the same input: its settings are others (stride, eps, groups), or its weights"
    else:
        why = f"and already gets another input (by {off_in:.2g}): look at what runs before it"
    return off, f"{said} by {off:.2g}, {why}"


def _off(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Return the largest difference and the largest value; nan counts as infinitely far."""
    import torch

    a, b = a.double(), b.double()
    if not a.numel():
        return 0.0, 1.0
    off = torch.nan_to_num((a - b).abs().max(), nan=float("inf"))
    return float(off), float(b.abs().max().clamp(min=1e-12))


def _aligned(old: Tensor | None, new: Tensor | None) -> Tensor | None:
    """Return `old` in the layout of `new`: sizes of 1, channels first or last; None: no such."""
    if old is None or new is None or old.numel() != new.numel():
        return None
    layouts = [old]
    if old.ndim > 2:
        layouts += [old.movedim(1, -1), old.movedim(-1, 1), old.flatten(2).transpose(1, 2)]
        layouts.append(old.flatten(1, -2).transpose(1, 2))
    wanted = [n for n in new.shape if n != 1]
    for one in layouts:
        if [n for n in one.shape if n != 1] == wanted:
            return one.reshape(new.shape)
    return None
