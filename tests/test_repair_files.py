"""The diagnosis and the user's files: several of them, other encodings, side effects, shared classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ptools.testing import Run

HEAD = "import torch\nfrom torch import nn\n\n\n"


def failure(ptools: Run, folder: Path, spec: str, *inputs: str) -> Any:
    args = [word for one in inputs for word in ("--in", one)]
    return ptools("shapes", "--model", f"{folder}/{spec}", *args, "--json").document["failure"]


@pytest.mark.slow
def test_faults_in_two_files_are_repaired_by_what_is_told_or_not_at_all(
    tmp_path: Path, ptools: Run
) -> None:
    for name, sizes in (("a", "(9, 16)"), ("b", "(17, 4)")):
        (tmp_path / f"part_{name}.py").write_text(
            f"from torch import nn\n\n\nclass {name.upper()}(nn.Module):\n"
            f"    def __init__(self):\n        super().__init__()\n        self.l = nn.Linear{sizes}\n\n"
            "    def forward(self, x):\n        return self.l(x)\n"
        )
    (tmp_path / "twofiles.py").write_text(
        "from torch import nn\nfrom part_a import A\nfrom part_b import B\n\n\n"
        "def net():\n    return nn.Sequential(A(), B())\n"
    )
    found = failure(ptools, tmp_path, "twofiles.py:net", "8")
    assert found["layer"] == "0.l"
    if found["fix"] is not None:
        file = Path(found["fix"]["file"])
        file.write_text(file.read_text().replace(found["fix"]["old"], found["fix"]["new"]))
        args = ("shapes", "--model", f"{tmp_path}/twofiles.py:net", "--in", "8")
        assert ptools(*args, process=True).exit_code == 0


def test_a_class_with_many_uses_is_not_changed_for_one(tmp_path: Path, ptools: Run) -> None:
    (tmp_path / "shared_class.py").write_text(
        HEAD + "class E(nn.Module):\n    def __init__(self, i, o):\n        super().__init__()\n"
        "        self.l = nn.Linear(i, o)\n\n    def forward(self, x):\n        return self.l(x).relu()\n\n\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.e1 = E(16, 32)\n        self.e2 = E(32, 64)\n        self.h = E(32, 7)\n\n"
        "    def forward(self, x):\n        return self.h(self.e2(self.e1(x)))\n"
    )
    found = failure(ptools, tmp_path, "shared_class.py:Net", "16")
    assert (found["fix"]["old"], found["fix"]["new"]) == ("E(32, 7)", "E(64, 7)") or (
        "E(64, 7)" in found["fix"]["new"]
    )
    assert found["output"] == [1, 7]


@pytest.mark.parametrize("kind", ["bom", "latin-1", "crlf", "form feed"])
def test_files_as_python_reads_them(kind: str, tmp_path: Path, ptools: Run) -> None:
    code = (
        "# größe\n" + HEAD + "class Net(nn.Module):\n    def __init__(self):\n"
        "        self.fc = nn.Linear(9, 3)\n\n    def forward(self, x):\n        return self.fc(x)\n"
    )
    data = {
        "bom": b"\xef\xbb\xbf" + code.encode(),
        "latin-1": ("# -*- coding: latin-1 -*-\n" + code).encode("latin-1"),
        "crlf": code.replace("\n", "\r\n").encode(),
        "form feed": code.replace("class Net", "\x0cclass Net").encode(),
    }[kind]
    file = tmp_path / f"read_{kind.replace(' ', '_').replace('-', '_')}.py"
    file.write_bytes(data)
    found = failure(ptools, tmp_path, f"{file.name}:Net", "9")
    encoding = "latin-1" if kind == "latin-1" else "utf-8"
    old, new = (found["fix"][key].encode(encoding) for key in ("old", "new"))
    assert data.count(old) == 1
    file.write_bytes(data.replace(old, new))
    if kind == "crlf":
        assert b"\n" not in file.read_bytes().replace(b"\r\n", b"")
    assert failure(ptools, tmp_path, f"{file.name}:Net", "9") is None


def test_a_file_is_imported_once_for_a_sound_model(tmp_path: Path, ptools: Run) -> None:
    (tmp_path / "counted.py").write_text(
        f"{HEAD}with open({str(tmp_path / 'runs')!r}, 'a') as file:\n    file.write('x')\n\n\n"
        "class Net(nn.Linear):\n    pass\n"
    )
    assert failure(ptools, tmp_path, "counted.py:Net(3, 4)", "3") is None
    assert (tmp_path / "runs").read_text() == "x"


def test_a_file_of_a_package_with_relative_imports(tmp_path: Path, ptools: Run) -> None:
    package = tmp_path / "relative_nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sizes.py").write_text("WIDTH = 5\n")
    (package / "net.py").write_text(
        "from torch import nn\n\nfrom .sizes import WIDTH\n\n\ndef make():\n    return nn.Linear(3, WIDTH)\n"
    )
    assert failure(ptools, package, "net.py:make", "3") is None


def test_a_layer_is_not_called_twice_by_its_repair(tmp_path: Path, ptools: Run) -> None:
    (tmp_path / "twice.py").write_text(
        HEAD + "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.b = nn.Conv2d(1, 2, 3)\n        self.fc = nn.Linear(72, 4)\n\n"
        "    def forward(self, x):\n        return self.fc(self.b(x).view(-1))\n"
    )
    args = ("shapes", "--model", f"{tmp_path}/twice.py:Net", "--in", "1x8x8", "--batch", "4")
    found = ptools(*args, "--json").document["failure"]
    assert found["fix"]["new"].count("self.b(x)") <= 1
    assert found["output"] == [4, 4]


def test_sys_exit_and_odd_exceptions_are_failures(tmp_path: Path, ptools: Run) -> None:
    (tmp_path / "odd.py").write_text(
        HEAD + "class Odd(Exception):\n    def __str__(self):\n        raise ValueError\n\n\n"
        "class Exits(nn.Module):\n    def forward(self, x):\n        raise SystemExit(3)\n\n\n"
        "class Raises(nn.Module):\n    def forward(self, x):\n        raise Odd\n"
    )
    for name in ("Exits", "Raises"):
        done = ptools("shapes", "--model", f"{tmp_path}/odd.py:{name}", "--in", "3")
        assert (done.exit_code, done.stderr) == (1, ""), name
        assert done.stdout.startswith("x ")


def test_the_dice_are_the_same_in_every_run(tmp_path: Path, ptools: Run) -> None:
    (tmp_path / "dice.py").write_text(
        "import random\n" + HEAD + "class Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.a = nn.Linear(3, 4)\n        self.b = nn.Linear(5, 6)\n\n"
        "    def forward(self, x):\n        x = self.a(x)\n"
        "        return self.b(x) if torch.rand(1).item() + random.random() < 3 else x\n"
    )
    first = failure(ptools, tmp_path, "dice.py:Net", "3")
    assert first == failure(ptools, tmp_path, "dice.py:Net", "3")
    assert first["layer"] == "b"


@pytest.mark.parametrize("values", ["x.sum().item()", "x.tolist()", "torch.nonzero(x)"])
def test_a_model_too_large_for_a_run_with_values_says_so(
    values: str, tmp_path: Path, ptools: Run
) -> None:
    """4 TB of weights: no machine could allocate them, and what meta cannot do is not the reason."""
    (tmp_path / "giant.py").write_text(
        HEAD + "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = nn.Linear(8, 4)\n        self.b = nn.Linear(10**6, 10**6, bias=False)\n\n"
        f"    def forward(self, x):\n        x = self.a(x)\n        return {values}\n"
    )
    found = failure(ptools, tmp_path, "giant.py:Net", "8")
    words = "decides by its data, and 3725.3 GiB of weights are too many to run it"
    assert (found["message"], found["cause"]) == (f"Net {words}", words)
    assert found["got"] == "a decision by the values of a tensor"
    assert "no .item()" in found["expected"]
    assert (found["stage"], found["fix"], found["data_fix"]) == ("forward", None, None)
