"""ptools partial-load: steps that lose or invent values are done when they are asked for, and said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptools.testing import Run
from tests.test_partial_load_names import place, refused, run, state  # noqa: F401  (a fixture)

pytestmark = pytest.mark.usefixtures("place")


def test_steps_that_invent_values_are_done_when_they_are_said(ptools: Run) -> None:
    torch.save(state(1, conv__weight=(4, 3, 3, 3), pos=(1, 5, 8), fc__weight=(4, 8)), "old.pth")
    torch.save(state(2, conv__weight=(4, 1, 3, 3), pos=(1, 17, 8), fc__weight=(3, 8)), "new.pth")
    Path("old.txt").write_text("cat\ndog\nemu\nfox\n")
    Path("new.txt").write_text("fox\nape\ncat\n")
    maps = [
        "--map=conv.weight=channels(conv.weight)",
        "--map=pos=resize(pos)",
        "--map=fc.weight=rows(fc.weight)",
    ]
    refused(run(ptools, *maps), "--classes OLD.txt NEW.txt")
    done = run(ptools, *maps, "--classes", "old.txt", "new.txt", "--save-map", "map.json")
    assert done.exit_code == 0, done.stderr
    for text in ("channels 3->1", "resize 1x5x8", "rows 2 of 3"):
        assert text in done.stdout
    names = ("old.pth", "new.pth", "new.loaded.pth")
    old, new, found = (torch.load(name, weights_only=True) for name in names)
    assert torch.equal(found["conv.weight"], old["conv.weight"].sum(1, keepdim=True))
    assert torch.equal(found["pos"][:, 0], old["pos"][:, 0])
    rows = torch.stack([old["fc.weight"][3], new["fc.weight"][1], old["fc.weight"][0]])
    assert torch.equal(found["fc.weight"], rows)
    before = Path("new.loaded.pth").read_bytes()
    assert run(ptools, "--map-file", "map.json").exit_code == 0
    assert Path("new.loaded.pth").read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("a\nb\nc\n", "x\ny\nz\n", "3 names, but fc.weight has 4 rows in OLD"),
        ("a\nb\nc\nd\n", "x\ny\n", "2 names, but fc.weight has 3 rows in the target"),
        ("a\nb\nc\na\n", "x\ny\na\n", "'a' is there twice"),
        ("a\nb\nc\nd\n", "x\ny\nz\n", "no class in common"),
    ],
)
def test_classes_that_cannot_be(old: str, new: str, says: str, ptools: Run) -> None:
    torch.save(state(1, fc__weight=(4, 8)), "old.pth")
    torch.save(state(2, fc__weight=(3, 8)), "new.pth")
    Path("old.txt").write_text(old)
    Path("new.txt").write_text(new)
    args = ("--map", "fc.weight=rows(fc.weight)", "--classes", "old.txt", "new.txt")
    refused(run(ptools, *args), says)


def test_classes_that_the_files_carry(ptools: Run) -> None:
    torch.save({"model": state(1, fc__weight=(2, 8)), "classes": ["cat", "dog"]}, "old.pth")
    torch.save({"model": state(2, fc__weight=(3, 8)), "classes": ["ape", "dog", "emu"]}, "new.pth")
    done = run(ptools, "--map", "fc.weight=rows(fc.weight)")
    assert done.exit_code == 0, done.stderr
    found = torch.load("new.loaded.pth", weights_only=True)
    assert found["classes"] == ["ape", "dog", "emu"]
    assert torch.equal(found["model"]["fc.weight"][1], state(1, fc__weight=(2, 8))["fc.weight"][1])
