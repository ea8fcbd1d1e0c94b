"""ptools predict: the answers of a network on picture files, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ptools.data import Geometry
from ptools.errors import FileError
from ptools.models import Blueprint
from ptools.testing import Run, assert_plugin_ok
from ptools_plugins.predict import predict
from ptools_plugins.predict.pictures import batches, find

CLASSES = ["ant", "bee", "cat"]


pytestmark = pytest.mark.usefixtures("place")


def content(blueprint: Blueprint, **other: Any) -> dict[str, Any]:
    """Return what a training leaves in best.pth, for 4x4 pictures in colour."""
    torch.manual_seed(0)
    return {
        "state_dict": blueprint.build().state_dict(),
        "blueprint": blueprint.document(),
        "model": blueprint.model,
        "classes": CLASSES,
        "shape": list(blueprint.shape),
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.25, 0.3],
        "geometry": Geometry(*blueprint.shape, resize="exact").document(),
        "data": "pets",
        "loss": "ce",
        "epoch": 3,
        "val_accuracy": 0.9,
        **other,
    }


def saved(path: str = "run/best.pth", model: str = "mlp", **other: Any) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    torch.save(content(Blueprint(model, 3, (3, 4, 4))) | other, path)
    return Path(path)


def pictures(folder: str = "photos", *, per_class: int = 3, size: int = 4) -> list[Path]:
    """Write random PNG pictures, a folder per class, and return them in their order."""
    random = np.random.default_rng(1)
    for name in CLASSES:
        Path(folder, name).mkdir(parents=True)
        for index in range(per_class):
            pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path(folder, name, f"{index}.png"))
    return sorted(Path(folder).rglob("*.png"))


def outputs(run: Path, paths: list[Path]) -> Tensor:
    """Return what torch and Pillow make of the pictures, without ptools' own reading."""
    kept = torch.load(run, weights_only=True)
    net = Blueprint.of(kept["blueprint"]).build().eval()
    net.load_state_dict(kept["state_dict"])
    mean, std = (torch.tensor(kept[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    pixels = [torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in paths]
    with torch.no_grad():
        found: Tensor = net((torch.stack(pixels).float() / 255 - mean) / std)
    return found


# -- the answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 32])
def test_probabilities_are_those_of_torch(size: int) -> None:
    run, paths = saved(), pictures()
    wanted = outputs(run, paths).softmax(1).sort(descending=True)
    done = predict(Path("run"), [Path("photos")], top=9, batch_size=size)
    assert done.images == [str(path) for path in paths]
    assert done.top.equal(wanted.indices)
    assert torch.allclose(done.values, wanted.values, atol=1e-6)
    assert (done.classes, done.measure, done.skipped) == (tuple(CLASSES), "probability", [])


@pytest.mark.parametrize(("loss", "measure"), [("bce", "probability"), ("l1", "score")])
def test_other_losses_have_other_answers(loss: str, measure: str) -> None:
    run, paths = saved(loss=loss), pictures()
    wanted = outputs(run, paths)
    wanted = wanted.sigmoid() if loss == "bce" else wanted
    done = predict(Path("run"), [Path("photos")], top=1)
    assert done.measure == measure
    assert torch.allclose(done.values[:, 0], wanted.max(1).values, atol=1e-6)


def test_labels_give_accuracy_and_confusion() -> None:
    saved()
    paths = pictures(per_class=7)
    done = predict(Path("run"), [Path("photos")])
    answers = {a.image: a.top[0][0] for a in done.answers()}
    pairs = Counter((path.parent.name, answers[str(path)]) for path in paths)
    assert done.accuracy == sum(pairs[name, name] for name in CLASSES) / 21
    assert done.confusion
    for row, label in enumerate(done.confusion.classes):
        for column, answer in enumerate(done.confusion.classes):
            assert done.confusion.counts[row, column] == pairs[label, answer]
    assert done.confusion.counts.sum() == 21


def test_which_folder_is_the_label() -> None:
    """The innermost one that is called after a class; a file named alone, or elsewhere, has none."""
    index = {"bee/ant/1.png": 0, "val/bee/2.png": 1, "other/3.png": None, "4.png": None}
    for name in index:
        Path("all", name).parent.mkdir(parents=True, exist_ok=True)
        Path("all", name).touch()
    found = {p.path: p.label for p in find([Path("all"), Path("all/bee/ant/1.png")], CLASSES)}
    assert found == {Path("all", name): label for name, label in index.items()} | {
        Path("all/bee/ant/1.png"): None
    }


def test_without_labels_there_is_no_accuracy(ptools: Run) -> None:
    saved()
    one = pictures()[0]
    done = predict(Path("run"), [one])
    assert (done.labelled, done.accuracy, done.confusion) == (0, None, None)
    shown = ptools("predict", "run", str(one), "--top", "1").stdout.splitlines()
    assert [line.split() for line in shown] == [
        ["image", "class", "probability"],
        [str(one), done.classes[done.top[0, 0]], f"{done.values[0, 0]:.1%}"],
    ]


def test_no_more_than_two_batches_are_decoded() -> None:
    """What is behind the next batch is not looked at yet: it may still change."""
    paths = pictures(per_class=10)
    found = find([Path("photos")], CLASSES)
    reading = batches(found, Geometry(3, 4, 4), 10)
    first = next(reading)
    for path in paths[20:]:
        path.write_bytes(b"")
    second, third = reading
    assert [len(batch.images) for batch in (first, second, third)] == [10, 10, 0]
    assert [one.reason for one in third.skipped] == ["zero bytes"] * 10


# -- what is printed -------------------------------------------------------------------------------


def test_the_table_and_the_matrix(ptools: Run) -> None:
    saved()
    pictures()
    done = ptools("predict", "run", "photos")
    assert (done.exit_code, done.stderr) == (0, "")
    rows, accuracy, matrix = (part.splitlines() for part in done.stdout.strip().split("\n\n"))
    assert rows[0].split() == ["image", "label", "class", "probability", "then"]
    assert len(rows) == 10
    document = ptools("predict", "run", "photos", "--json").document
    assert accuracy[0].startswith(f"accuracy  {document['accuracy']:.2%}  (")
    confusion = document["confusion"]
    assert matrix[0].split() == ["label", *confusion["classes"], "right"]
    counts = [[int(cell) for cell in line.split()[1:-1]] for line in matrix[1:]]
    assert counts == confusion["counts"]


def test_many_classes_show_the_worst_confusions(ptools: Run) -> None:
    names = [f"c{index:02d}" for index in range(20)]
    blueprint = Blueprint("mlp", 20, (3, 4, 4))
    torch.save(content(blueprint, classes=names), "best.pth")
    for name in names[:16]:
        Path("all", name).mkdir(parents=True)
        Image.new("RGB", (4, 4), (200, 30, 99)).save(Path("all", name, "1.png"))
    done = ptools("predict", "best.pth", "all")
    answer = predict(Path("best.pth"), [Path("all")]).top[0, 0]
    lines = [line.split() for line in done.stdout.split("\n\n")[2].strip().splitlines()]
    assert lines[0] == ["label", "taken", "for", "times", "of"]
    wrong = [name for name in names[:16] if name != names[answer]]
    assert lines[1:] == [[name, names[answer], "1", "1"] for name in wrong[:10]]


def test_json_and_csv(ptools: Run) -> None:
    saved()
    paths = pictures()
    document = ptools("predict", "run", "photos", "--json").document
    assert list(document) == ["file", "model", "classes", "images", "skipped", "labelled",
                              "accuracy", "confusion"]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(ptools("predict", "run", "photos", "--csv").stdout)))
    assert [row["image"] for row in rows] == [str(path) for path in paths]
    for row, image in zip(rows, document["images"], strict=True):
        assert (row["image"], row["label"]) == (image["image"], image["label"])
        for rank, top in enumerate(image["top"], 1):
            assert row[f"class_{rank}"] == top["class"]
            assert float(row[f"probability_{rank}"]) == pytest.approx(top["probability"], rel=1e-5)
    both = ptools("predict", "run", "photos", "--csv", "--json")
    assert (both.exit_code, both.stdout) == (2, "")


def test_the_promises_of_every_command() -> None:
    saved()
    pictures()
    assert_plugin_ok("predict", "run", "photos")


# -- pictures that are none ------------------------------------------------------------------------


def test_bad_pictures_are_named_and_skipped(ptools: Run) -> None:
    saved()
    good = pictures(size=64)
    good[0].write_bytes(b"")
    good[1].write_bytes(good[2].read_bytes()[:200])
    Path("photos/notes.png").write_text("remember the milk")
    done = ptools("predict", "run", "photos", "gone.heic")
    assert done.exit_code == 2
    Path("gone.heic").write_text("")
    done = ptools("predict", "run", "photos", "gone.heic")
    assert done.exit_code == 0
    said = [line.partition(": skipped ")[2] for line in done.stderr.splitlines()]
    assert said == [f"{good[0]}: zero bytes", f"{good[1]}: truncated",
                    "photos/notes.png: not an image", "gone.heic: zero bytes"]  # fmt: skip
    assert "(7 of" not in done.stdout
    assert ptools("predict", "run", "photos", "--json").document["labelled"] == 7


def test_many_bad_pictures_are_counted(ptools: Run) -> None:
    saved()
    pictures()
    for index in range(15):
        Path(f"photos/{index}.jpg").write_text("no")
    said = ptools("predict", "run", "photos").stderr.splitlines()
    assert said[-1] == "Warning: skipped 5 more; --json names them all"
    assert len(said) == 11
    assert len(ptools("predict", "run", "photos", "--json").document["skipped"]) == 15


def test_nothing_to_look_at(ptools: Run) -> None:
    saved()
    Path("empty").mkdir()
    Path("one.png").write_bytes(b"")
    Path("two.png").write_text("no")
    none = ptools("predict", "run", "one.png", "two.png")
    assert (none.exit_code, none.stdout) == (1, "")
    assert none.stderr == (
        "Error: one.png cannot be read (zero bytes), nor can 1 more; give other pictures.\n"
    )
    with pytest.raises(FileError, match="empty has no pictures in it"):
        predict(Path("run"), [Path("empty")])


def test_a_network_of_nan_is_told(ptools: Run) -> None:
    state = content(Blueprint("mlp", 3, (3, 4, 4)))["state_dict"]
    saved(state_dict={key: value * float("nan") for key, value in state.items()})
    pictures(per_class=1)
    done = ptools("predict", "run", "photos", "--json")
    assert done.document["images"][0]["top"][0]["probability"] is None
    assert done.stderr == (
        "Warning: the network returned nan or inf for 3 pictures; was it trained?\n"
    )


# -- a whole process -------------------------------------------------------------------------------


def test_it_gives_the_accuracy_that_training_measured(ptools: Run) -> None:
    """On the test images as PNG files, in a process that imports no more than it needs."""
    from ptools import data

    run = ptools("train", "--epochs", "2", "--out", "run", "--json").document
    test = data.load("digits").test
    assert isinstance(test, data.Split)
    for index, (image, label) in enumerate(zip(test.images, test.labels.tolist(), strict=True)):
        Path("digits", str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(Path("digits", str(label), f"{index}.png"))
    code = (
        "import sys; from ptools.cli import main; code = main(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", "run", "digits", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["accuracy"] == pytest.approx(run["test_accuracy"], abs=1e-9)
    assert sum(map(sum, document["confusion"]["counts"])) == len(test)
    heavy = {"torch._dynamo", "ignite", "torchvision", "sympy", "tensorboard", "matplotlib",
             "ptools.data.digits", "sklearn", "rich"}  # fmt: skip
    assert not heavy & set(done.stderr.split())
    assert "torch" in done.stderr.split()
