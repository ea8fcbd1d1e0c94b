"""The formats: a network -> the bytes of one file, and those bytes -> something that runs.

Made                 the content, how to run it, what is to be told of it
onnx(...)            torch.onnx.export (dynamo), run by onnxruntime
torch_export(...)    torch.export, run by torch
needs(format, ...)   say at once what is missing

The exporters print much and warn of more; whether they are right is found by comparing outputs.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ptools.errors import PtoolsError, UsageError, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ptools_plugins.export.source import Source

__all__ = ["SUFFIXES", "Made", "needs", "onnx", "torch_export"]

SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2", "tensorrt": ".ep"}
ONNX_MOST = 2**31 - 2**20  # bytes: protobuf holds less than 2 GiB, the graph needs some of it
BATCH = 2  # of the example: torch.export takes a batch of 1 for one that never changes


@dataclass(frozen=True, eq=False)
class Made:
    """An exported network. `run` takes and returns lists of tensors on the CPU."""

    content: bytes
    run: Callable[[list[Tensor]], list[Tensor]]
    inputs: list[str]
    outputs: list[str]
    notes: dict[str, Any] = field(default_factory=dict)


def needs(format: str, out: Path, opset: int | None = None) -> None:
    """Raise PtoolsError where what writes the format is missing; only TensorRT's is imported for it.

    Raises UsageError for an opset of what has none.
    """
    from importlib.util import find_spec

    if opset is not None and format != "onnx":
        raise UsageError(f"--opset is for --format onnx; {format} has none.")
    if format == "onnx":
        missing = [n for n in ("onnx", "onnxscript", "onnxruntime") if find_spec(n) is None]
        if missing:
            raise PtoolsError(
                f"to export to ONNX {', '.join(missing)} must be installed: "
                "pip install 'ptools[export]'"
            )
    elif format == "tensorrt":
        from ptools_plugins.export import tensorrt

        tensorrt.check(out)


def onnx(source: Source, names: tuple[list[str], list[str]], opset: int | None = None) -> Made:
    """Export with torch.onnx (dynamo): batch dynamic, the metadata of the source inside.

    `opset` is the version of ONNX's operators; None: the exporter's choice.
    """
    import inspect

    import torch

    if "dynamic_shapes" not in inspect.signature(torch.onnx.export).parameters:
        raise PtoolsError(f"torch {torch.__version__} cannot do this: ONNX needs 2.5 or newer.")
    size = sum(t.nbytes for t in source.net.state_dict().values())
    if size > ONNX_MOST:
        raise PtoolsError(
            f"the weights are {size / 2**30:.1f} GiB and one ONNX file holds less than 2: "
            "use --format torch-export."
        )
    with quiet(), exporting(source.model):
        program: Any = torch.onnx.export(
            source.net,
            tuple(example(source)),
            dynamo=True,
            dynamic_shapes=dynamic(source),
            input_names=names[0],
            output_names=names[1],
            opset_version=opset,
            verbose=False,
        )
        proto = program.model_proto
        _describe(proto, source)
        _anonymous(proto)
        content: bytes = proto.SerializeToString()
    got = max(one.version for one in proto.opset_import if one.domain in ("", "ai.onnx"))
    if opset not in (None, got):
        raise PtoolsError(
            f"'{source.model}' cannot be written in opset {opset}, the exporter made {got} of it: "
            "leave --opset out."
        )
    return Made(content, _onnxruntime(content), *names, notes={"opset": got})


def described(content: bytes, source: Source) -> bytes:
    """Return an ONNX file with what is known of the network in its metadata."""
    from onnx import load_model_from_string

    proto = load_model_from_string(content)
    _describe(proto, source)
    described: bytes = proto.SerializeToString()
    return described


def _describe(proto: Any, source: Source) -> None:
    from onnx.helper import set_model_props

    kept = {entry.key: entry.value for entry in proto.metadata_props}
    set_model_props(proto, kept | source.metadata())


def _anonymous(proto: Any) -> None:
    """Remove the stack trace that the exporter gives every node: paths of this machine, and bulk."""
    for part in (proto.graph, *proto.functions):
        for node in part.node:
            kept = [entry for entry in node.metadata_props if "stack_trace" not in entry.key]
            del node.metadata_props[:]
            node.metadata_props.extend(kept)


def _onnxruntime(content: bytes) -> Callable[[list[Tensor]], list[Tensor]]:
    """Return what runs it, with as many threads as torch has: the times are compared."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise PtoolsError(
            f"onnxruntime does not take what the exporter made: {one_line(error, 200)}"
        ) from error
    names = [one.name for one in session.get_inputs()]

    def run(inputs: list[Tensor]) -> list[Tensor]:
        feed = {name: t.numpy() for name, t in zip(names, inputs, strict=True)}
        return [torch.from_numpy(array) for array in session.run(None, feed)]

    return run


def torch_export(source: Source, names: tuple[list[str], list[str]]) -> Made:
    """Export with torch.export: one .pt2 file, the metadata in `ptools.json` inside."""
    import torch

    buffer = io.BytesIO()
    with quiet(), exporting(source.model):
        program = exported(source)
        for module in program.graph_module.modules():
            for node in module.graph.nodes if hasattr(module, "graph") else ():
                node.meta.pop("stack_trace", None)  # paths of this machine
        torch.export.save(program, buffer, extra_files=about(source))
        again: Any = torch.export.load(io.BytesIO(buffer.getvalue())).module()
    return Made(buffer.getvalue(), runner(again), *names)


def about(source: Source) -> dict[str, str]:
    """Return the files that go into an ExportedProgram: what is known of the network."""
    import json

    return {"ptools.json": json.dumps(source.metadata())}


def exported(source: Source, device: str = "cpu", most: int | None = None) -> Any:
    """Return the ExportedProgram of the network, for batches up to `most`. It moves to `device`."""
    import torch

    inputs = tuple(t.to(device) for t in example(source))
    return torch.export.export(
        source.net.to(device), inputs, dynamic_shapes=dynamic(source, most), strict=False
    )


def runner(net: nn.Module) -> Callable[[list[Tensor]], list[Tensor]]:
    """Return a network as what takes and returns lists of tensors."""
    import torch

    def run(inputs: list[Tensor]) -> list[Tensor]:
        with torch.inference_mode():
            return flat(net(*inputs))

    return run


def flat(value: Any) -> list[Tensor]:
    """Return the tensors of an output, whatever they are in. Raises PtoolsError for none."""
    import torch
    from torch.utils import _pytree

    found = [leaf for leaf in _pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]
    if not found:
        raise PtoolsError(f"the network returns {type(value).__name__}: there is no tensor in it.")
    return found


def example(source: Source, batch: int = BATCH) -> list[Tensor]:
    """Return inputs to trace the network with."""
    from ptools_plugins.export.verify import noise

    return next(iter(noise(source.inputs, batch, 1)))[0]


def dynamic(source: Source, most: int | None = None) -> tuple[dict[int, Any], ...]:
    """Return which dimension of each input is the batch, of 1 to `most`."""
    import torch

    batch = torch.export.Dim("batch", min=1, max=most) if most else torch.export.Dim("batch")
    return tuple({0: batch} for _ in source.inputs)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what exporters print, log and warn of to themselves."""
    import contextlib
    import logging
    import warnings

    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stdout(io.StringIO()):
                yield
    finally:
        logging.disable(before)


@contextmanager
def exporting(model: str) -> Iterator[None]:
    """Make one line of an exporter's error: what the innermost cause says, and a way out."""
    try:
        yield
    except PtoolsError:
        raise
    except Exception as error:
        last: BaseException = error
        while last.__cause__ is not None:
            last = last.__cause__
        text = f"{type(last).__name__}: {last}"
        way = next((way for word, way in _WAYS if word in text), "")
        said = one_line(str(last).split("\n\n")[0], 200).rstrip(".") or type(last).__name__
        raise PtoolsError(f"'{model}' cannot be exported: {way or said}") from error


_WAYS = (
    ("DataDependent", "its forward decides by the values of a tensor (if x.sum() > 0:), and a file "
     "holds one way only; write it with torch.where."),
    ("Constraints violated", "its forward takes one batch size only; look for sizes written as "
     "numbers, as in x.view(2, -1)."),
)  # fmt: skip
