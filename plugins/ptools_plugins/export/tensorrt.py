"""TensorRT: an engine for the NVIDIA GPU that is here, by torch-tensorrt or by onnxruntime.

suffix()      .ep, or .onnx where only onnxruntime can build an engine
check(out)    say before any work what is missing: the GPU, its driver, a package, a library
build(...)    an .onnx file: onnxruntime's TensorRT provider, the engine inside; any other: an
              ExportedProgram of torch-tensorrt

An engine runs on the kind of GPU and the release of TensorRT it was built with, and on no other.
https://docs.pytorch.org/TensorRT/ and
https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
"""

from __future__ import annotations

import ctypes
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools.errors import PtoolsError, one_line
from ptools.training import hardware

if TYPE_CHECKING:
    from torch import Tensor

    from ptools_plugins.export.formats import Made
    from ptools_plugins.export.source import Source

__all__ = ["build", "check", "suffix"]

_MOST = 32  # the largest batch that the engine takes
_PROVIDER = "TensorrtExecutionProvider"


def suffix() -> str:
    """Return how a file is called that can be made here."""
    return ".onnx" if find_spec("torch_tensorrt") is None and _provider() else ".ep"


# -- what is missing -------------------------------------------------------------------------------


def check(out: Path, root: Path = Path("/")) -> None:
    """Raise PtoolsError where no engine can be built for `out`. `root` is where the system's files are."""
    from ptools_plugins.export import formats

    if not _gpu(root):
        raise PtoolsError(
            "TensorRT needs an NVIDIA GPU and none is here: export with --format onnx, or run this "
            "on the machine that has one ('ptools device' says what is here)."
        )
    _driver()
    # Read when CUDA's libraries are loaded: numbers of 10 bits would be off by 1e-3.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    with formats.quiet():  # both packages print
        _needs_onnxruntime() if out.suffix.lower() == ".onnx" else _needs_torch_tensorrt()


def _gpu(root: Path) -> bool:
    """Look for the driver's device files: Linux, WSL; on Windows for its program."""
    import shutil

    if os.name == "nt":
        return shutil.which("nvidia-smi") is not None
    cards = any(path.name[6:].isdigit() for path in root.glob("dev/nvidia*"))
    return cards or any(root.glob("usr/lib/wsl/lib/libcuda.so*"))


def _driver() -> None:
    """Raise PtoolsError where the driver does not answer."""
    try:
        code = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1").cuInit(0)
        says = f"cuInit returns {code}" if code else ""
    except OSError as error:
        says = str(error)
    if says:
        raise PtoolsError(
            f"the driver of the NVIDIA GPU does not work ({one_line(says, 100)}): "
            "'ptools device' says what to do."
        )


def _needs_torch_tensorrt() -> None:
    if find_spec("torch_tensorrt") is None:
        raise PtoolsError(
            "TensorRT is not installed: pip install torch-tensorrt (or onnxruntime-gpu, and name "
            "the file with -o model.onnx)."
        )
    hardware.import_torch()
    import torch

    if not torch.cuda.is_available():
        raise PtoolsError("PyTorch cannot use the NVIDIA GPU: 'ptools device' says what to do.")
    try:
        import_module("torch_tensorrt")
    except Exception as error:  # it raises a plain one where TensorRT's libraries are missing
        raise PtoolsError(
            f"torch_tensorrt cannot be imported ({one_line(error, 120)}): install the release "
            f"for torch {torch.__version__}, with pip install torch-tensorrt."
        ) from error


def _needs_onnxruntime() -> None:
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise PtoolsError(f"an .onnx file needs more packages: pip install {' '.join(missing)}")
    provider = _provider()
    if provider is None:
        raise PtoolsError(
            "TensorRT in an .onnx file needs onnxruntime-gpu: pip uninstall onnxruntime, and "
            "pip install onnxruntime-gpu (or torch-tensorrt, and name the file with -o model.ep)."
        )
    hardware.import_torch()
    import_module("torch")  # loads CUDA's libraries, and the next line TensorRT's: no one else does
    with suppress(ImportError):
        import_module("tensorrt_libs")
    _libraries(provider)
    if _PROVIDER not in import_module("onnxruntime").get_available_providers():
        raise PtoolsError(
            "onnxruntime lies over onnxruntime-gpu: pip uninstall both, and "
            "pip install onnxruntime-gpu."
        )


def _provider() -> Path | None:
    """Return the library of onnxruntime-gpu that calls TensorRT."""
    found = find_spec("onnxruntime")
    folders = found.submodule_search_locations if found else None
    files = (Path(f).glob("capi/*onnxruntime_providers_tensorrt*") for f in folders or ())
    return next((file for some in files for file in some), None)


def _libraries(provider: Path) -> None:
    """Raise PtoolsError where a library is not here, in the release that the provider was built with."""
    named = rb"lib(?:cublas|cudart|cudnn|nvinfer|nvonnxparser)\.so\.\d+"
    names = sorted({name.decode() for name in re.findall(named, provider.read_bytes())})
    cuda = next((f"-cu{n.rpartition('.')[2]}" for n in names if n.startswith("libcudart")), "")
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError as error:
            release = int(name.rpartition(".")[2]) + 1
            package = "'onnxruntime-gpu[cuda,cudnn]'"
            if name.startswith("libnv"):
                package = f"'tensorrt{cuda}<{release}'"
            raise PtoolsError(
                f"onnxruntime-gpu needs {name}, which is not here: pip install {package}"
            ) from error


# -- an engine -------------------------------------------------------------------------------------


def build(source: Source, names: tuple[list[str], list[str]], out: Path) -> Made:
    """Build an engine of float32 for batches of 1 to 32."""
    if out.suffix.lower() == ".onnx":
        return _onnxruntime(source, names)
    return _torch_tensorrt(source, names)


def _torch_tensorrt(source: Source, names: tuple[list[str], list[str]]) -> Made:
    import torch
    import torch_tensorrt  # type: ignore[import-not-found,unused-ignore]

    from ptools_plugins.export import formats

    # TF32 is off by 1e-3; of less than 5 operators it makes no engine, unless it is told to
    options: dict[str, Any] = {"disable_tf32": True, "min_block_size": 1}
    with formats.quiet(), formats.exporting(source.model), tempfile.TemporaryDirectory() as folder:
        program = formats.exported(source, "cuda", _MOST)
        inputs = [
            torch_tensorrt.Input(
                min_shape=(1, *one.shape),
                opt_shape=(formats.BATCH, *one.shape),
                max_shape=(_MOST, *one.shape),
                dtype=getattr(torch, one.dtype or "float32"),
            )
            for one in source.inputs
        ]
        engine = torch_tensorrt.dynamo.compile(program, inputs=inputs, **options)
        file = Path(folder) / "engine.ep"
        torch_tensorrt.save(
            engine,
            str(file),
            arg_inputs=tuple(t.cuda() for t in formats.example(source)),
            dynamic_shapes=formats.dynamic(source, _MOST),  # else it takes the batch of the example
            extra_files=formats.about(source),
        )
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
    with formats.quiet(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "engine.onnx"
        options = onnxruntime.SessionOptions()
        for key, value in (("enable", "1"), ("embed_mode", "1"), ("file_path", str(file))):
            options.add_session_config_entry(f"ep.context_{key}", value)
        try:
            session = onnxruntime.InferenceSession(
                made.content, options, providers=[(_PROVIDER, _profile(source, names[0]))]
            )
        except Exception as error:
            raise PtoolsError(f"TensorRT builds no engine: {one_line(error, 200)}") from error
        if _PROVIDER not in session.get_providers() or not file.exists():
            raise PtoolsError(
                "onnxruntime built no engine and went to the CPU; 'ptools device' says what is here."
            )
        content = formats.described(file.read_bytes(), source)

    def run(inputs: list[Tensor]) -> list[Tensor]:
        feed = {name: t.numpy() for name, t in zip(names[0], inputs, strict=True)}
        return [torch.from_numpy(array) for array in session.run(None, feed)]

    return formats.Made(content, run, *names, notes=made.notes)


def _profile(source: Source, names: list[str]) -> dict[str, str]:
    """Return the provider's options: the smallest, usual and largest shape of each input."""
    return {
        f"trt_profile_{which}_shapes": ",".join(
            f"{name}:{'x'.join(map(str, (batch, *one.shape)))}"
            for name, one in zip(names, source.inputs, strict=True)
        )
        for which, batch in (("min", 1), ("opt", 2), ("max", _MOST))
    }
