"""The calls in a pickle that are carried out: those that make tensors and plain containers.

call(what, arguments, spend, key)   the value, or a Made that only notes the call
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ptools.checkpoints.made import Global, Made
from ptools.checkpoints.stored import SIZES, Storage, Stored

Spend = Callable[[int], None]
Key = Callable[[Any], Any]

# Python 2's names for these.
_OLD = {"__builtin__": "builtins", "copy_reg": "copyreg", "torch.tensor": "torch._tensor"}

STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
}


def storage_dtype(what: Any) -> str | None:
    """Return the dtype of a storage class such as torch.FloatStorage, of any device."""
    if isinstance(what, Global) and what.module.partition(".")[0] == "torch":
        return STORAGES.get(what.name)
    return None


def call(what: Any, arguments: tuple[Any, ...], spend: Spend, key: Key) -> Any:
    """Return what the call gives where it makes a tensor or a plain container, else a Made."""
    if not isinstance(what, Global):
        of = what.of if isinstance(what, Made) else Global("", type(what).__name__)
        return Made(of, arguments)
    module = _OLD.get(what.module, what.module)
    if module == "copyreg" and what.name == "_reconstructor" and arguments:
        what = arguments[0] if isinstance(arguments[0], Global) else what
        return Made(what, arguments)
    made = None
    if (module, what.name) in _TENSORS:
        made = _TENSORS[module, what.name](arguments)
    elif (module, what.name) in _PLAIN:
        made = _PLAIN[module, what.name](arguments, spend, key)
    return Made(what, arguments) if made is None else made


def _strided(storage: Any, offset: Any, shape: Any, stride: Any, dtype: Any = None) -> Any:
    """torch._utils._rebuild_tensor, _v2 and _v3."""
    if not isinstance(storage, Storage):
        return None
    name = dtype.name if isinstance(dtype, Global) else storage.dtype
    if name not in SIZES:
        return None
    return Stored(storage, name, offset, tuple(shape), tuple(stride))


def _v2(args: tuple[Any, ...]) -> Any:
    metadata = args[6] if len(args) > 6 else None
    return None if metadata else _strided(*args[:4])  # conjugate views: too rare to carry along


def _v3(args: tuple[Any, ...]) -> Any:
    metadata = args[7] if len(args) > 7 else None
    return None if metadata else _strided(args[0], args[1], args[2], args[3], args[6])


def _inner(args: tuple[Any, ...]) -> Any:
    """A parameter of a tensor: the tensor."""
    return args[0] if args and isinstance(args[0], Stored) else None


def _of_type(args: tuple[Any, ...]) -> Any:
    """A subclass of Tensor, of which only the tensor is read: (function, type, arguments, state)."""
    what = args[0] if len(args) > 2 else None
    if isinstance(what, Global) and isinstance(args[2], tuple):
        rebuild = _TENSORS.get((what.module, what.name))
        if rebuild is not None and rebuild is not _of_type:
            return rebuild(args[2])
    return None


_TENSORS: dict[tuple[str, str], Callable[[tuple[Any, ...]], Any]] = {
    ("torch._utils", "_rebuild_tensor"): lambda args: _strided(*args[:4]),
    ("torch._utils", "_rebuild_tensor_v2"): _v2,
    ("torch._utils", "_rebuild_tensor_v3"): _v3,
    ("torch._utils", "_rebuild_parameter"): _inner,
    ("torch._utils", "_rebuild_parameter_with_state"): _inner,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _inner,
    ("torch.nn.parameter", "Parameter"): _inner,
    ("torch.nn.parameter", "Buffer"): _inner,
    ("torch._tensor", "_rebuild_from_type"): _of_type,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
}


def _ordered(args: tuple[Any, ...], spend: Spend, key: Key) -> Any:
    """OrderedDict(), or OrderedDict([[key, value], ...]) as Python 2 wrote it."""
    made: OrderedDict[Any, Any] = OrderedDict()
    pairs = args[0] if args else []
    if isinstance(pairs, list):
        spend(len(pairs))
        made.update((key(name), value) for name, value in pairs)
    return made


def _counted(args: tuple[Any, ...], spend: Spend, key: Key) -> Any:
    counts = args[0] if args and isinstance(args[0], dict) else {}
    spend(len(counts))
    return dict(counts)


def _set(args: tuple[Any, ...], spend: Spend, key: Key) -> Any:
    values = args[0] if args and isinstance(args[0], (list, tuple)) else []
    spend(len(values))
    return {key(value) for value in values}


def _size(args: tuple[Any, ...], spend: Spend, key: Key) -> Any:
    return args[0] if args and isinstance(args[0], tuple) else ()


def _bytes(args: tuple[Any, ...], spend: Spend, key: Key) -> Any:
    """bytes as protocol 2 writes them: _codecs.encode(text, "latin1")."""
    text = args[0] if args else None
    if not isinstance(text, str):
        return None
    spend(len(text) // 64 + 1)
    return text.encode("latin-1")


def _mapping(args: tuple[Any, ...], spend: Spend, key: Key) -> Any:
    return {}


_PLAIN: dict[tuple[str, str], Callable[[tuple[Any, ...], Spend, Key], Any]] = {
    ("collections", "OrderedDict"): _ordered,
    ("collections", "defaultdict"): _mapping,
    ("collections", "Counter"): _counted,
    ("builtins", "set"): _set,
    ("torch", "Size"): _size,
    ("_codecs", "encode"): _bytes,
}
