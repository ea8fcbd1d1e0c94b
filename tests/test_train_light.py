"""A training imports no machinery of torch.compile; what asks for it gets the real one."""

import subprocess
import sys
from pathlib import Path

import pytest


def python(code: str, *args: object) -> str:
    command = [sys.executable, "-c", code, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_training_imports_neither_the_compiler_nor_what_it_needs(tmp_path: Path) -> None:
    code = """
import gc, sys
from ptools.cli import main
assert main(["train", "--epochs", "1", "--limit", "64", "--out", sys.argv[1]]) == 0
asked = ("torch._dynamo", "sympy", "torchvision", "torch.distributed.optim", "pandas")
assert "ignite.engine" in sys.modules and "matplotlib.figure" in sys.modules
assert gc.get_freeze_count() and gc.isenabled()
assert [name for name in asked if name in sys.modules] == []
"""
    python(code, tmp_path / "run")


def test_a_program_that_calls_us_keeps_its_garbage_collector() -> None:
    python("""
import gc, sys
from ptools.training import hardware
hardware.import_torch()
assert "torch" in sys.modules and gc.isenabled() and not gc.get_freeze_count()
""")


@pytest.mark.slow
def test_a_model_that_compiles_itself_is_compiled(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("""
import torch
from torch import nn
built = []
def backend(graph, inputs):
    built.append(graph)
    return graph
class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.fc = nn.Linear(64, classes)
    def forward(self, x):
        if self.training and torch.is_grad_enabled():
            return torch.compile(self.fc, backend=backend)(x.flatten(1))
        return self.fc(x.flatten(1))
""")
    code = """
import pathlib, sys
from ptools_plugins.train import train
run = train(model=sys.argv[1], epochs=1, limit=128, out=pathlib.Path(sys.argv[2]))
assert len(run.epochs) == 1 and run.epochs[0].loss > 0
assert sys.modules["torch._dynamo"].__file__
assert [m for n, m in sys.modules.items() if getattr(m, "built", None)]
"""
    python(code, f"{tmp_path / 'net.py'}:Net", tmp_path / "run")


@pytest.mark.slow
def test_ignite_still_knows_a_sharded_optimiser() -> None:
    python("""
import sys, torch
from ptools.training.light import ignite
Engine, Events = ignite()
from ignite.handlers import checkpoint
assert "torch.distributed.optim" not in sys.modules
plain = torch.optim.SGD(torch.nn.Linear(3, 3).parameters(), lr=1.0)
assert not isinstance(plain, checkpoint.ZeroRedundancyOptimizer)
from torch.distributed.optim import ZeroRedundancyOptimizer
made = ZeroRedundancyOptimizer.__new__(ZeroRedundancyOptimizer)
assert isinstance(made, checkpoint.ZeroRedundancyOptimizer)
assert not isinstance(plain, checkpoint.ZeroRedundancyOptimizer)
assert ignite() == (Engine, Events)
""")


def test_the_stand_in_answers_and_makes_way() -> None:
    python("""
import random, sys, torch
from ptools.training import Settings, light
with light.uncompiled(Settings(compile=True)):
    assert "torch._dynamo" not in sys.modules
with light.uncompiled(Settings()), light.uncompiled(Settings()):
    made = torch.optim.Adam(torch.nn.Linear(3, 3).parameters())
    made.step()
    @torch.compiler.disable(recursive=False)
    def one(x): return x
    assert one(3) == 3
    assert not hasattr(sys.modules["torch._dynamo"], "__file__")
    before = random.getstate(), torch.get_rng_state()
    import torch._dynamo.config
    assert torch._dynamo.config.__file__ and torch._dynamo.__file__
    from torch._dynamo import symbolic_convert
    assert symbolic_convert.config is torch._dynamo.config  # it is there once
    assert before[0] == random.getstate() and before[1].equal(torch.get_rng_state())
    made.step()
real = sys.modules["torch._dynamo"]
torch.optim.SGD(torch.nn.Linear(3, 3).parameters(), lr=1.0)
assert hasattr(torch.optim.SGD.add_param_group.__wrapped__, "__dynamo_disable")
assert torch.compile(torch.nn.Linear(3, 3), backend="eager")(torch.ones(2, 3)).shape == (2, 3)
with light.uncompiled(Settings()):
    assert sys.modules["torch._dynamo"] is real
""")


def test_what_somebody_keeps_of_the_stand_in_asks_the_real_module() -> None:
    python("""
import sys, torch
from ptools.training import Settings, light
found = list(sys.meta_path)
with light.uncompiled(Settings()):
    import torch._dynamo as kept
    disable = kept.disable
    assert disable(abs) is abs and not hasattr(kept, "__file__")
assert "torch._dynamo" not in sys.modules and sys.meta_path == found
def one(x): return x
assert disable(one) is not one and kept.disable(one) is not one
assert kept.disable is sys.modules["torch._dynamo"].disable
""")


@pytest.mark.parametrize(
    "name", ["torch._dynamo.utils", "torch.distributed.optim.zero_redundancy_optimizer"]
)
def test_a_module_below_a_stand_in_is_imported_once(name: str) -> None:
    python(
        """
import sys, torch
from importlib import import_module
from ptools.tracing import lazy
name = sys.argv[1]
above, _, leaf = name.rpartition(".")
with lazy.standing_in(above, {"__path__": []} if "optim" in above else {}):
    below = import_module(name)
    assert getattr(sys.modules[above], leaf) is below is sys.modules[name]
    assert below.__spec__.origin == below.__file__ and lazy._Below is not type(below.__spec__.loader)
    kinds = [k for k in vars(below).values() if isinstance(k, type) and k.__module__ == name]
    shared = [(k, m) for k in kinds for m in list(sys.modules.values()) if k.__name__ in vars(m)]
    theirs = {id(vars(m)[k.__name__]) for k, m in shared if vars(m)[k.__name__].__module__ == name}
    assert kinds and theirs <= set(map(id, kinds))  # what its neighbours took from it is what it has
""",
        name,
    )
