"""A network in an ONNX file of 'ptools export', run by onnxruntime.

load(file, ...)   the same Network as of a checkpoint: pictures become numbers in the same way, to the bit

Classes, normalisation and size come from the file's metadata; nothing in the file is run but its graph.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ptools.data.pictures import Geometry
from ptools.errors import FileError, PtoolsError, UsageError, one_line
from ptools.models import Blueprint
from ptools_plugins.predict.network import Network

__all__ = ["load"]

_JSON = ("classes", "mean", "std", "geometry")
_CUDA = "CUDAExecutionProvider"


def load(
    file: Path, *, model: str | None = None, device: str = "auto", trust: bool = False
) -> Network:
    """Read an ONNX file. Raises UsageError, FileError, and PtoolsError without onnxruntime."""
    if model or trust:
        given = "--model" if model else "--trust"
        raise UsageError(
            f"{given} is for checkpoints; {file} has its network inside: leave it out."
        )
    if find_spec("onnxruntime") is None:
        raise PtoolsError(f"to run {file} install onnxruntime: pip install 'ptools[export]'")
    session = _session(file, _providers(device))
    about = _about(file, session)
    geometry: Geometry = about["geometry"]
    shape = (geometry.channels, geometry.height, geometry.width)
    inputs = session.get_inputs()
    if (
        len(inputs) != 1
        or inputs[0].type != "tensor(float)"
        or list(inputs[0].shape[1:]) != [*shape]
    ):
        takes = ", ".join(f"{one.name} {one.shape}" for one in inputs)
        raise FileError(
            f"{file} takes {one_line(takes, 120)}, not pictures {shape}; export it again."
        )
    classes, found = about["classes"], list(session.get_outputs()[0].shape)
    if len(found) != 2 or (isinstance(found[1], int) and found[1] != len(classes)):
        raise FileError(
            f"{file} names {len(classes)} classes for outputs {one_line(found, 80)}; export it again."
        )
    return Network(
        file=file,
        net=_Graph(file, session),
        blueprint=Blueprint(one_line(about.get("model", "onnx")), len(classes), shape),
        classes=classes,
        geometry=geometry,
        mean=about["mean"],
        std=about["std"],
        loss=str(about.get("loss", "ce")),
        device="cpu",  # of what goes in and comes out
    )


class _Graph(nn.Module):
    """The session as a module: normalised images (B, C, H, W) -> logits (B, classes), on the CPU."""

    def __init__(self, file: Path, session: Any) -> None:
        super().__init__()
        self.file, self.session = file, session
        self.input = session.get_inputs()[0].name

    def forward(self, images: Tensor) -> Tensor:
        try:
            found = self.session.run(None, {self.input: images.contiguous().numpy()})
        except Exception as error:  # onnxruntime has a class for each kind, none of them public
            raise PtoolsError(f"{self.file} does not run: {one_line(error, 200)}") from error
        return torch.from_numpy(found[0])


def _providers(device: str) -> list[str]:
    import onnxruntime

    there = _CUDA in onnxruntime.get_available_providers()
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device} is not for ONNX files; choose cpu or cuda.")
    if device == "cuda" and not there:
        raise UsageError(
            "this onnxruntime cannot use CUDA: pip install onnxruntime-gpu, or choose --device cpu."
        )
    return [*[_CUDA] * (there and device != "cpu"), "CPUExecutionProvider"]


def _session(file: Path, providers: list[str]) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what fails is raised, too
    try:
        return onnxruntime.InferenceSession(file, options, providers=providers)
    except Exception as error:
        raise FileError(
            f"{file} is no ONNX file that onnxruntime takes: {one_line(error, 160)}; "
            "write one with 'ptools export'."
        ) from error


def _about(file: Path, session: Any) -> dict[str, Any]:
    """Return the metadata, checked. Raises FileError where something is missing or damaged."""
    found: dict[str, Any] = dict(session.get_modelmeta().custom_metadata_map)
    missing = [key for key in _JSON if key not in found]
    if missing:
        raise FileError(
            f"{file} does not say its {', '.join(missing)}: export it from a run of 'ptools train' or "
            "'ptools finetune'."
        )
    try:
        about = found | {key: json.loads(found[key]) for key in _JSON}
    except (ValueError, RecursionError) as error:
        raise FileError(f"{file}: its metadata are damaged; export it again.") from error
    try:
        about["geometry"] = Geometry.of(about["geometry"])
    except FileError as error:
        raise FileError(f"{file}: {error}") from error
    names, channels = about["classes"], about["geometry"].channels
    if not isinstance(names, list) or not names:
        raise FileError(f"{file} names no classes; export it again.")
    about["classes"] = tuple(one_line(name) for name in names)
    for key, least in (("mean", -1e6), ("std", 1e-9)):
        values = about[key]
        if (
            not isinstance(values, list)
            or len(values) != channels
            or not all(isinstance(v, (int, float)) and least <= v <= 1e6 for v in values)
        ):
            raise FileError(f"{file} has no usable {key} for {channels} channels; export it again.")
    return about
