"""Hostile files: nothing in them is run, and what they claim is checked against what is there."""

from __future__ import annotations

import json
import pickle
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ptools import checkpoints
from ptools.errors import FileError


class Call:
    """Pickled, it is the call of a name with arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def rezip(path: Path, records: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {"version": b"3\n", **records}.items():
            archive.writestr(f"archive/{name}", data)


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def storage(numel: int, kind: str = "FloatStorage", key: str = "0") -> bytes:
    """The instructions that push a storage."""
    name = b"ctorch\n" + kind.encode() + b"\n"
    return b"(" + text("storage") + name + text(key) + text("cpu") + b"L%dL\nt" % numel + b"Q"


def tensor(numel: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """The instructions that push a tensor."""
    sizes = b"".join(
        b"(" + b"".join(b"L%dL\n" % n for n in part) + b"t" for part in (shape, stride)
    )
    rebuild = b"ctorch._utils\n_rebuild_tensor\n("
    return rebuild + storage(numel) + b"L%dL\n" % offset + sizes + b"tR"


def state(*instructions: bytes) -> bytes:
    """A pickle of {"w": what the instructions push}."""
    return b"\x80\x02}" + text("w") + b"".join(instructions) + b"s."


@pytest.mark.parametrize("new", [True, False], ids=["zip", "pickle"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_no_call_is_made(new: bool, protocol: int, tmp_path: Path) -> None:
    import os

    import torch

    trace = tmp_path / "was run"
    hostile = {
        "system": Call(os.system, f"touch '{trace}'"),
        "eval": Call(eval, f"open({str(trace)!r}, 'w')"),
        "getattr": Call(Call(getattr, os, "mkdir"), str(trace))
        if protocol == 4
        else Call(os.mkdir, str(trace)),
        "write": Call(Path.touch, trace),
    }
    if protocol == 4:
        del hostile["getattr"]  # a module cannot be pickled; below it is spelt out
    torch.save(
        {"state_dict": {"w": torch.ones(2)}, **hostile},
        tmp_path / "w.pt",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=new,
    )
    weights = checkpoints.read(tmp_path / "w.pt")
    assert weights.tensors["w"].tolist() == [1, 1]
    assert {"system", "eval"} <= set(weights.extras)
    checkpoints.write(weights.tensors, tmp_path / "copy.pt", like=weights)
    assert torch.load(tmp_path / "copy.pt", weights_only=True).keys() == {"state_dict"}
    assert not trace.exists()


# Programs that reach for code by every instruction there is. None may run; the tensor is still read.
TOUCH = text("touch {trace}")
REACH = {
    "reduce": b"cos\nsystem\n(" + TOUCH + b"tR",
    "inst": b"(" + TOUCH + b"ios\nsystem\n",
    "obj": b"(cos\nsystem\n" + TOUCH + b"o",
    "newobj": b"csubprocess\nPopen\n(" + TOUCH + b"t\x81",
    "newobj_ex": b"csubprocess\nPopen\n(" + TOUCH + b"t}\x92",
    "stack_global": text("os") + text("system") + b"\x93(" + TOUCH + b"tR",
    "getattr": b"cbuiltins\ngetattr\n(cos\npath\n" + text("os") + b"tR(" + TOUCH + b"tR",
    "dotted": text("torch") + text("os.system") + b"\x93(" + TOUCH + b"tR",
    "build": b"cos\nsystem\n)R}" + text("__setstate__") + b"cos\nsystem\nsb",
    "slots": b"cptools.checkpoints.made\nMade\nN}" + text("__init__") + b"cos\nsystem\ns\x86b",
    "rebuilder": b"ctorch._utils\n_rebuild_from_type_v2\n(cos\nsystem\nN(" + TOUCH + b"tNtR",
    "extension": b"\x82\x01",
    "import": b"cthis\nd\n",
}


@pytest.mark.parametrize("program", REACH.values(), ids=list(REACH))
def test_no_instruction_reaches_code(program: bytes, tmp_path: Path) -> None:
    trace = tmp_path / "was_run"
    target = f"touch {trace}"
    program = program.replace(TOUCH, text(target))
    rest = text("bad") + program + b"s"
    good = text("w") + tensor(2, 0, (2,), (1,)) + b"s"
    data = b"\x80\x02}" + text("state_dict") + b"}" + good + b"s" + rest + b"."
    rezip(tmp_path / "w.pt", {"data.pkl": data, "data/0": struct.pack("<2f", 1, 2)})
    weights = checkpoints.read(tmp_path / "w.pt")
    assert weights.tensors["w"].tolist() == [1, 2]
    assert not trace.exists()
    assert "this" not in sys.modules


def refused(path: Path, match: str) -> None:
    with pytest.raises(FileError, match=match) as caught:
        weights = checkpoints.read(path)
        list(weights.tensors.values())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("claim", "match"),
    [
        (tensor(1 << 40, 0, (2,), (1,)), "smaller than the pickle says"),
        (tensor(1 << 62, 0, (2,), (1,)), "does not have"),
        (tensor(-1, 0, (2,), (1,)), "does not have"),
        (tensor(2, 2, (2,), (1,)), "beyond its data"),
        (tensor(2, -1, (2,), (1,)), "impossible shape"),
        (tensor(2, 0, (3,), (1,)), "beyond its data"),
        (tensor(2, 0, (2,), (2,)), "beyond its data"),
        (tensor(2, 0, (2,), (-1,)), "impossible shape"),
        (tensor(2, 0, (-2,), (1,)), "impossible shape"),
        (tensor(2, 0, (2,), ()), "do not fit together"),
        (tensor(2, 0, (1 << 40,), (0,)), "far larger than its data"),
        (tensor(2, 0, (1,) * 65, (1,) * 65), "do not fit together"),
        (storage(2, key="../version") + b"0N", "is missing"),
    ],
    ids=str,
)
def test_claims_are_checked(claim: bytes, match: str, tmp_path: Path) -> None:
    rezip(tmp_path / "w.pt", {"data.pkl": state(claim), "data/0": bytes(8)})
    refused(tmp_path / "w.pt", match)


def test_claims_of_the_old_format_are_checked(tmp_path: Path) -> None:
    import torch

    torch.save({"w": torch.ones(4)}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "w.pt").read_bytes()
    numel = whole.rindex(struct.pack("<q", 4))
    (tmp_path / "w.pt").write_bytes(whole[:numel] + struct.pack("<q", 1 << 50) + whole[numel + 8 :])
    refused(tmp_path / "w.pt", "another size than its tensors say")
    (tmp_path / "w.pt").write_bytes(whole[:-4])
    refused(tmp_path / "w.pt", "ends within storage")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 1 << 60]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2, -1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": ["2"], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]},
        {"dtype": "F32", "data_offsets": [0, 8]},
        {"dtype": [], "shape": [2]},
        [],
    ],
    ids=str,
)
def test_claims_of_safetensors_are_checked(entry: Any, tmp_path: Path) -> None:
    header = json.dumps({"w": entry}).encode()
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    refused(tmp_path / "w", "damaged")
    deep = b'{"w":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    (tmp_path / "w").write_bytes(len(deep).to_bytes(8, "little") + deep)
    refused(tmp_path / "w", "no valid header")


BOMBS = {
    "nested tuples": b"N" + b"\x85" * 500_000,
    "nested lists": b"]" * 500_000 + b"a" * 499_999,
    "nested tuples as a key": b"}" + b"N" + b"\x85" * 500_000 + b"Ns",
    "nested tuples in a set": b"\x8f(" + b"N" + b"\x85" * 500_000 + b"\x90",
    "a list in itself": b"]q\x01h\x01a",
    "doubling": b"]q\x00" + b"".join(b"](h%ch%cq%c0e" % (i, i, i + 1) for i in range(1)),
    "the memo's end": b"Nr\xff\xff\xff\xff",
    "marks": b"(" * 100_000,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=list(BOMBS))
def test_bombs_do_nothing(bomb: bytes, tmp_path: Path) -> None:
    good = text("state_dict") + b"}" + text("w") + tensor(2, 0, (2,), (1,)) + b"ss"
    data = b"\x80\x02}" + good + text("bomb") + bomb + b"s."
    rezip(tmp_path / "w.pt", {"data.pkl": data, "data/0": bytes(8)})
    try:
        weights = checkpoints.read(tmp_path / "w.pt")
        checkpoints.write(weights.tensors, tmp_path / "copy.pt", like=weights)
    except FileError as error:
        assert "damaged" in str(error) or "holds no state_dict" in str(error)


def test_a_dict_of_dicts_that_are_one(tmp_path: Path) -> None:
    """Ten to the 40th paths lead to the weights; each mapping is looked at once."""
    import torch

    inner: dict[str, Any] = {"w": torch.ones(1)}
    for _ in range(40):
        inner = {f"key{i}": inner for i in range(10)}
    torch.save({"state_dict": {"w": torch.ones(2)}, "more": inner}, tmp_path / "w.pt")
    weights = checkpoints.read(tmp_path / "w.pt")
    assert weights.where == "state_dict"
    checkpoints.write(weights.tensors, tmp_path / "copy.pt", like=weights)


@pytest.mark.parametrize(
    "tail",
    [
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        b"\x8b\xff\xff\xff\x7fabc.",
        b"T\xff\xff\xff\xffabc.",
        b"cos" + b"x" * (1 << 21),
        b"\x97.",
        b"\x00",
        b"0000.",
        b"h\x09.",
        b"t.",
        b"R.",
        b"",
    ],
    ids=lambda tail: str(tail[:12]),
)
def test_programs_that_make_no_sense(tail: bytes, tmp_path: Path) -> None:
    rezip(tmp_path / "w.pt", {"data.pkl": b"\x80\x04" + tail})
    refused(tmp_path / "w.pt", "damaged|holds no state_dict")


def test_more_instructions_than_a_checkpoint_has() -> None:
    from ptools.checkpoints.inert import Cursor, load
    from ptools.checkpoints.stored import Damaged

    copies = b"\x80\x02](" + b"N" * 300 + b"eq\x00" + b"0cbuiltins\nset\nh\x00\x85R" * 40 + b"."
    for program in (b"\x80\x02" + b"N0" * 2000 + b"N.", copies):
        load(Cursor(program), lambda found: found)
        with pytest.raises(Damaged, match="too many instructions"):
            load(Cursor(program), lambda found: found, steps=2000)


def test_nothing_of_a_hostile_file_reaches_the_copy(tmp_path: Path) -> None:
    """A copy holds plain values only: what was a call is left out and named."""
    import os

    import torch

    content = {
        "model": {"w": torch.ones(2)},
        "list": [1, Call(os.system, "true"), 3],
        "inner": {"a": 1, "b": Call(os.getcwd)},
    }
    torch.save(content, tmp_path / "w.pt")
    weights = checkpoints.read(tmp_path / "w.pt")
    dropped = checkpoints.write(weights.tensors, tmp_path / "copy.pt", like=weights)
    assert dropped == ["list[1] (system)", "inner.b (getcwd)"]
    copy = torch.load(tmp_path / "copy.pt", weights_only=True)
    assert (copy["list"], copy["inner"]) == ([1, None, 3], {"a": 1})
    assert b"posix" not in (tmp_path / "copy.pt").read_bytes()


def test_a_pickle_read_by_hand_equals_python(tmp_path: Path) -> None:
    """Plain values of every protocol come out as pickle itself reads them."""
    from ptools.checkpoints.inert import Cursor, load

    values = [
        *(None, True, False, 0, -1, 255, 70_000, -(2**31), 2**70, 1.5, float("inf")),
        *("", "text", "gr\u00f6\u00dfer", "line\nbreak", b"", b"bytes" * 100, bytearray(b"ab")),
        *((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1, [2]], {}, {"a": {1: (2, 3)}}, {1, 2}),
    ]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for value in values:
            if isinstance(value, (bytearray, bytes)) and protocol < 5:
                continue
            data = pickle.dumps([value, value], protocol)
            assert load(Cursor(data), lambda found: found) == [value, value]
