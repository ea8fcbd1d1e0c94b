"""What stands for a name and for a call in a pickle that is read without running anything.

Global    a name: module and name, nothing imported
Made      a call that was written down instead of made
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Storing = Callable[[Any], Any]

# What people call these.
_WORDS = {
    "numpy.core.multiarray.scalar": "numpy scalar",
    "numpy._core.multiarray.scalar": "numpy scalar",
    "numpy.core.multiarray._reconstruct": "numpy array",
    "numpy._core.multiarray._reconstruct": "numpy array",
    "torch._utils._rebuild_tensor_v2": "conjugate or unknown tensor",
    "torch._utils._rebuild_tensor_v3": "conjugate or unknown tensor",
    "torch._utils._rebuild_qtensor": "quantized tensor",
    "torch._utils._rebuild_sparse_tensor": "sparse tensor",
    "torch._utils._rebuild_nested_tensor": "nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "meta tensor",
    "torch._utils._rebuild_wrapper_subclass": "tensor subclass",
}


@dataclass(eq=False, slots=True)
class Global:
    """A name in a pickle."""

    module: str
    name: str

    @property
    def short(self) -> str:
        """What to call it in a list."""
        full = f"{self.module}.{self.name}"
        return _WORDS.get(full, self.name.rpartition(".")[2])


@dataclass(eq=False, slots=True)
class Made:
    """An object that was not made: what would have been called, with what, and the state given to it."""

    of: Global
    args: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)

    @property
    def module(self) -> bool:
        """Whether it is a torch.nn.Module, by the state every module has."""
        return isinstance(self.state, dict) and {"_parameters", "_modules"} <= self.state.keys()
