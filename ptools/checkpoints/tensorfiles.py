"""safetensors files, and the index files of models that were split over several files.

read_safetensors(path)   (tensors, metadata), in the order of their bytes
read_index(path)         the file of each tensor
find_index(folder)       the index in a folder, or the only weights there
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ptools.checkpoints.stored import SIZES, Damaged, Source, Storage, Stored, contiguous
from ptools.errors import FileError, one_line

# The format's own limit: https://github.com/huggingface/safetensors#format
LARGEST_HEADER = 100_000_000
LARGEST_INDEX = 200_000_000

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "C64": "complex64",
}


def read_safetensors(path: Path) -> tuple[dict[str, Stored], dict[str, str], list[str]]:
    """Return the tensors, the metadata and the entries of types PyTorch lacks. Raises Damaged."""
    source = Source(path)
    length = int.from_bytes(source.map[:8], "little")
    if not 2 <= length <= LARGEST_HEADER:
        raise Damaged("its safetensors header claims an impossible size")
    if 8 + length > source.size:
        raise Damaged("it ends within its header")
    try:
        header = json.loads(source.map[8 : 8 + length])
        metadata = header.pop("__metadata__", None) or {}
        ordered = sorted(header.items(), key=lambda item: item[1]["data_offsets"][0])
        entries = [
            (name, str(entry["dtype"]), tuple(entry["shape"]), *_pair(entry["data_offsets"]))
            for name, entry in ordered
        ]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise Damaged("its safetensors header is no valid header") from error
    tensors, others = {}, []
    for name, dtype, shape, start, end in entries:
        if dtype in DTYPES:
            tensors[name] = _stored(source, name, DTYPES[dtype], shape, start, end, 8 + length)
        else:
            others.append(one_line(f"{name} ({dtype})", 120))
    return tensors, {str(k): str(v) for k, v in dict(metadata).items()}, others


def _pair(offsets: Any) -> tuple[Any, Any]:
    start, end = offsets
    return start, end


def _stored(
    source: Source, name: str, dtype: str, shape: tuple[Any, ...], start: Any, end: Any, base: int
) -> Stored:
    if type(start) is not int or type(end) is not int or not 0 <= start <= end:
        raise Damaged(f"its safetensors header gives {name} an impossible place")
    storage = Storage(name, dtype, end - start)
    if base + end > source.size:
        raise Damaged(f"it ends within {name}")
    storage.place(source, base + start)
    if not all(type(size) is int and size >= 0 for size in shape):
        raise Damaged(f"its safetensors header gives {name} an impossible shape")
    stored = Stored(storage, dtype, 0, shape, contiguous(shape))
    if stored.numel * SIZES[dtype] != storage.nbytes:
        raise Damaged(f"its safetensors header gives {name} a shape that does not fit its bytes")
    return stored


def read_index(path: Path) -> dict[str, Path]:
    """Return the file of each tensor that an index names. Raises FileError."""
    try:
        if path.stat().st_size > LARGEST_INDEX:
            raise ValueError
        content = json.loads(path.read_bytes())
        names = content["weight_map"]
        if not all(isinstance(part, str) for part in (*names.keys(), *names.values())):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FileError(
            f"{path} is JSON, but no index of weights (no weight_map); give the weights themselves."
        ) from error
    shards = {name: _beside(path, name) for name in set(names.values())}
    return {name: shards[shard] for name, shard in names.items()}


def _beside(index: Path, name: str) -> Path:
    """Return a shard's path. Raises FileError where it is missing or outside the index's folder."""
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or "\\" in name or "\0" in name:
        raise FileError(
            f"{index} points outside its folder ({one_line(name)!r}); do not use it unless you know why."
        )
    shard = index.parent / name
    if not shard.exists():
        raise FileError(
            f"{index} names {one_line(name)}, which is missing beside it; download that file too."
        )
    return shard


def find_index(folder: Path) -> Path:
    """Return the index in a folder, or its only file of weights. Raises FileError."""
    indexes = sorted(folder.glob("*.index.json"))
    weights = [
        *sorted(folder.glob("*.safetensors")),
        *(
            p
            for end in ("bin", "pt", "pth", "ckpt", "tar", "th")
            for p in sorted(folder.glob(f"*.{end}"))
        ),
    ]
    known = [p for p in weights if p.name in ("model.safetensors", "pytorch_model.bin")][:1]
    for found in (_safe_first(indexes), [] if indexes else known or weights):
        if len(found) == 1:
            return found[0]
    if (folder / "saved_model.pb").exists():
        raise FileError(f"{folder} is a TensorFlow model; give a PyTorch checkpoint.")
    if (folder / ".metadata").exists():
        raise FileError(
            f"{folder} is a torch.distributed checkpoint; make one file of it first: "
            f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} weights.pt"
        )
    if (folder / "data.pkl").exists():
        raise FileError(f"{folder} is an unpacked checkpoint; give the file it was unpacked from.")
    some = ", ".join(p.name for p in (*indexes, *weights)[:4])
    raise FileError(
        f"{folder} is a folder with {f'several checkpoints ({some})' if some else 'no checkpoint'}; "
        "give the file itself."
    )


def _safe_first(indexes: Iterable[Path]) -> list[Path]:
    """Return the safetensors indexes where there is one, else all."""
    indexes = list(indexes)
    return [p for p in indexes if "safetensors" in p.name] or indexes
