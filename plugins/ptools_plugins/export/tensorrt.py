"""TensorRT: an engine for the NVIDIA GPU that is here, by torch-tensorrt or by onnxruntime.

check()       say at once whether there is a GPU and a package; nothing is imported for it
build(...)    torch-tensorrt where it is installed (an ExportedProgram, .ep), else onnxruntime's
              TensorRT provider (an ONNX file with the engine inside)

An engine runs on the kind of GPU and the release of TensorRT it was built with, and on no other.
https://docs.pytorch.org/TensorRT/ and
https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools.errors import PtoolsError, one_line

if TYPE_CHECKING:
    from torch import Tensor

    from ptools_plugins.export.formats import Made
    from ptools_plugins.export.source import Source

__all__ = ["build", "check"]

_MOST = 32  # the largest batch that the engine takes
_PROVIDER = "TensorrtExecutionProvider"


def check(root: Path = Path("/")) -> None:
    """Raise PtoolsError where an engine cannot be built. `root` is where the system's files are."""
    if not _gpu(root):
        raise PtoolsError(
            "TensorRT needs an NVIDIA GPU and none is here: export with --format onnx, or run this "
            "on the machine that has one ('ptools device' says what is here)."
        )
    if find_spec("torch_tensorrt") is None and not _in_onnxruntime():
        raise PtoolsError(
            "TensorRT is not installed: pip install torch-tensorrt, "
            "or pip install onnxruntime-gpu tensorrt"
        )


def _gpu(root: Path) -> bool:
    """Look for the driver's device files: Linux, WSL; on Windows for its program."""
    import os
    import shutil

    if os.name == "nt":
        return shutil.which("nvidia-smi") is not None
    cards = any(path.name[6:].isdigit() for path in root.glob("dev/nvidia*"))
    return cards or any(root.glob("usr/lib/wsl/lib/libcuda.so*"))


def _in_onnxruntime() -> bool:
    """Return whether this onnxruntime was built with the provider and its library is here."""
    found = find_spec("onnxruntime")
    folders = found.submodule_search_locations if found else None
    built = any(
        any(Path(folder, "capi").glob("*onnxruntime_providers_tensorrt*"))
        for folder in folders or ()
    )
    return built and any(find_spec(name) for name in ("tensorrt", "tensorrt_libs"))


def build(source: Source, names: tuple[list[str], list[str]]) -> Made:
    """Build an engine of float32 for batches of 1 to 32."""
    if find_spec("torch_tensorrt") is not None:
        return _torch_tensorrt(source, names)
    return _onnxruntime(source, names)


def _torch_tensorrt(source: Source, names: tuple[list[str], list[str]]) -> Made:
    import torch
    import torch_tensorrt  # type: ignore[import-not-found,unused-ignore]

    from ptools_plugins.export import formats

    with formats.quiet(), formats.exporting(source.model), tempfile.TemporaryDirectory() as folder:
        program = formats.exported(source, "cuda")
        inputs = [
            torch_tensorrt.Input(
                min_shape=(1, *one.shape),
                opt_shape=(formats.BATCH, *one.shape),
                max_shape=(_MOST, *one.shape),
                dtype=getattr(torch, one.dtype or "float32"),
            )
            for one in source.inputs
        ]
        options: dict[str, Any] = {"disable_tf32": True}  # it would be off by 1e-3
        engine = torch_tensorrt.dynamo.compile(program, inputs=inputs, **options)
        file = Path(folder) / "engine.ep"
        example = [t.cuda() for t in formats.example(source)]
        torch_tensorrt.save(engine, str(file), arg_inputs=example)
        again: Any = torch.export.load(str(file)).module()
        content = file.read_bytes()
        source.net.cpu()
    return formats.Made(content, _on_gpu(formats.runner(again)), *names)


def _on_gpu(
    run: Callable[[list[Tensor]], list[Tensor]],
) -> Callable[[list[Tensor]], list[Tensor]]:
    return lambda inputs: [t.cpu() for t in run([t.cuda() for t in inputs])]


def _onnxruntime(source: Source, names: tuple[list[str], list[str]]) -> Made:
    import onnxruntime
    import torch

    from ptools_plugins.export import formats

    made = formats.onnx(source, names)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "engine.onnx"
        options = onnxruntime.SessionOptions()
        for key, value in (("enable", "1"), ("embed_mode", "1"), ("file_path", str(file))):
            options.add_session_config_entry(f"ep.context_{key}", value)
        shapes = {
            f"trt_profile_{which}_shapes": ",".join(
                f"{name}:{'x'.join(map(str, (batch, *one.shape)))}"
                for name, one in zip(names[0], source.inputs, strict=True)
            )
            for which, batch in (("min", 1), ("opt", formats.BATCH), ("max", _MOST))
        }
        try:
            session = onnxruntime.InferenceSession(
                made.content, options, providers=[(_PROVIDER, shapes)]
            )
        except Exception as error:
            raise PtoolsError(f"TensorRT builds no engine: {one_line(error, 200)}") from error
        if _PROVIDER not in session.get_providers() or not file.exists():
            raise PtoolsError(
                "onnxruntime could not load TensorRT and went to the CPU: check that its release "
                "fits the installed tensorrt."
            )
        content = file.read_bytes()

    def run(inputs: list[Tensor]) -> list[Tensor]:
        feed = {name: t.numpy() for name, t in zip(names[0], inputs, strict=True)}
        return [torch.from_numpy(array) for array in session.run(None, feed)]

    return formats.Made(content, run, *names, notes=made.notes)
