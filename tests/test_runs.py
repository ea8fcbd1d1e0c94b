"""ptools runs: what it lists, in which order, what is damaged; two runs compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ptools.testing import Run
from ptools_plugins.runs import compare, listing, read

NAMES = ("loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds")


pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run that `train` has made, and what it said of it."""
    from ptools_plugins.train import train

    folder = tmp_path_factory.mktemp("real") / "runs" / "one"
    done = train(model="mlp", epochs=2, seed=3, out=folder)
    return folder, done


def config(**changed: Any) -> str:
    """Return config.toml as a training writes it, but for the settings that no test looks at."""
    settings = {"data": "digits", "model": "cnn", "epochs": 3, "lr": 0.05, "loss": "ce", "seed": 0}
    lines = [f"{name} = {json.dumps(value)}" for name, value in {**settings, **changed}.items()]
    return "\n".join([*lines, "[images]", "train = 70", "val = 10", "test = 20", ""])


def made(
    name: str,
    val: list[float | None],
    *,
    test: float | None = None,
    classes: dict[str, float] | None = None,
    age: float = 3600,
    **settings: Any,
) -> Path:
    """Write the folder of a run with an epoch per validation accuracy; finished if `test` is given."""
    folder = Path(name)
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(config(**settings))
    epochs = [
        {"epoch": number, **dict(zip(NAMES, (1.0, 0.5, accuracy and 1 - accuracy, accuracy, 0.1, 2.0),
                                     strict=True))}
        for number, accuracy in enumerate(val, 1)
    ]  # fmt: skip
    metrics: dict[str, Any] = {"epochs": epochs}
    if test is not None:
        best = max(range(len(val)), key=lambda i: val[i] or i) + 1
        metrics |= {"best_epoch": best, "measured_on": "test", "seconds": 2.5 * len(val)}
        metrics |= {"test_loss": 1 - test, "test_accuracy": test, "images": 20}
        metrics["per_class"] = [{"class": c, "accuracy": a} for c, a in (classes or {}).items()]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "last.ckpt").touch()
    for file in folder.iterdir():
        os.utime(file, (time.time() - age, time.time() - age))
    return folder


def names(folder: str = "runs", **kwargs: Any) -> list[str]:
    return [Path(run.run).name for run in listing([Path(folder)], **kwargs).runs]


def test_a_run_that_train_made(real: tuple[Path, Any], ptools: Run) -> None:
    folder, done = real
    (row,) = ptools("runs", str(folder.parent), "--json").document
    assert row["run"] == str(folder)
    assert (row["data"], row["model"], row["state"]) == ("digits", "mlp", "finished")
    assert (row["epochs"], row["wanted"]) == (2, 2)
    kept = done.epochs[done.best_epoch - 1]
    assert (row["best_epoch"], row["val_accuracy"]) == (kept.epoch, kept.val_accuracy)
    assert (row["test_accuracy"], row["test_loss"]) == (done.test_accuracy, done.test_loss)
    assert row["best"] == done.best
    assert row["settings"]["seed"] == 3
    assert ptools("runs", str(folder), "--json").document == [row]


def test_what_is_kept_so_far_is_what_train_would_keep() -> None:
    """The rule is written down twice: ptools.training takes long to import."""
    from ptools.training.history import Epoch, best

    cases: list[list[float | None]] = [[0.5, 0.7, 0.7, 0.6], [0.0, 0.0], [None, None], [0.9]]
    for accuracies in cases:
        found = read(made(f"runs/{len(list(Path().rglob('*')))}", accuracies))
        assert found.best_epoch == best([Epoch(**epoch) for epoch in found.history]).epoch


def test_nothing_heavy_is_imported(real: tuple[Path, Any]) -> None:
    code = (
        "import sys; from ptools.cli import main; code = main(['runs', *sys.argv[1:]]); "
        "print({'torch', 'numpy', 'ignite', 'rich', 'ptools.training'} & {*sys.modules}, code)"
    )
    folder = str(real[0])
    for args in ([folder], [folder, folder]):
        call = [sys.executable, "-c", code, *args]
        done = subprocess.run(call, capture_output=True, text=True)
        assert done.stdout.endswith("\nset() 0\n"), done.stdout + done.stderr


def test_the_table(ptools: Run) -> None:
    made("runs/a-1", [0.5, 0.75, 0.625], test=0.7, age=7300)
    made("runs/b-1", [0.5], model="net.py:Net(width=32, depth=5)", data="/some/where/bees", age=200)
    made("runs/c-1", [], age=5)
    done = ptools("runs")
    assert done.stdout.splitlines() == [
        "run       data    model                          epochs  best     val    test    loss  seconds"
        "    age  state",
        "runs/c-1  digits  cnn                               0/3     -       -       -       -      0.0"
        "    5 s  running?",
        "runs/b-1  bees    net.py:Net(width=32, depth=5)     1/3     1  50.00%       -  0.5000      2.0"
        "  3 min  unfinished",
        "runs/a-1  digits  cnn                               3/3     2  75.00%  70.00%  0.3000      7.5"
        "    2 h  finished",
    ]
    assert done.stderr.splitlines() == ["To go on with one: ptools train --resume runs/b-1"]


def drained(terminal: int) -> bytes:
    """Read what was written to a terminal until nobody has it open any more."""
    text = b""
    with open(terminal, "rb", buffering=0) as stream, suppress(OSError):  # EIO is its end
        while part := stream.read(65536):
            text += part
    return text


def test_the_table_is_as_wide_as_the_terminal() -> None:
    """On a terminal of 80 columns no row is longer; what says nothing is left out first."""
    import pty

    for number in range(3):
        made(f"runs/digits-cnn-bn-{number}", [0.5, 0.75], test=0.7, model="cnn-bn")
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
    command = [sys.executable, "-m", "ptools", "runs", "--sort", "name"]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=env):
        os.close(theirs)
        text = drained(ours)
    lines = text.decode().splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[2:]] == [f"runs/digits-cnn-bn-{n}" for n in range(3)]
    heads = lines[0].split()
    assert {"run", "epochs", "val", "test", "seconds", "age", "state"} == set(heads)


def test_the_orders(ptools: Run) -> None:
    made("runs/x-10", [0.5], test=0.9, age=100)
    made("runs/x-9", [0.75], test=0.7, age=300)
    made("runs/x-2", [None], test=0.6, age=200)
    made("runs/new", [], age=400)
    assert names() == ["x-10", "x-2", "x-9", "new"]
    assert names(sort="name") == ["new", "x-2", "x-9", "x-10"]
    assert names(sort="accuracy") == ["x-9", "x-2", "x-10", "new"]
    shown = ptools("runs", "--sort", "accuracy", "--json").document
    assert [Path(row["run"]).name for row in shown] == ["x-9", "x-2", "x-10", "new"]


def test_where_runs_are_found() -> None:
    made("all/one", [0.5])
    made("all/a/b/c/deep", [0.5])
    made("all/a/b/c/d/too-deep", [0.5])
    made("all/one/inside", [0.5])
    made("all/.hidden/no", [0.5])
    made("elsewhere/linked", [0.5])
    Path("all/link").symlink_to(Path("elsewhere").resolve())
    Path("all/a/loop").symlink_to(Path("all").resolve())
    Path("all/broken").symlink_to("nowhere")
    Path("all/itself").symlink_to("itself")
    assert sorted(names("all")) == ["deep", "inside", "linked", "one"]
    twice = listing([Path("all"), Path("all/one"), Path("all/link")])
    assert len(twice.runs) == 4


def test_a_config_of_another_program_is_no_run(ptools: Run) -> None:
    folder = Path("runs/site")
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('title = "My site"\n')
    done = ptools("runs")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "No runs in runs; this makes one: ptools train\n"


def test_without_runs(ptools: Run) -> None:
    done = ptools("runs")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "No runs in runs; this makes one: ptools train\n"
    assert ptools("runs", "--json").document == []
    wrong = ptools("runs", "nowhere")
    assert wrong.exit_code == 2
    assert "nowhere is no folder" in wrong.stderr


EPOCH = '{"epochs": [{"epoch": 1, "loss": 1, "accuracy": 1, "val_loss": 1, "val_accuracy": "x"}]}'


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("config.toml", "= 3", "config.toml is no TOML"),
        ("config.toml", None, "cannot read runs/bad/config.toml"),
        ("config.toml", "epochs = 3", "runs/bad is not as ptools leaves a run"),
        ("config.toml", 'data = "d"\nmodel = "m"\nepochs = "many"', "not as ptools leaves a run"),
        ("metrics.json", '{"epochs"', "metrics.json is no JSON"),
        ("metrics.json", "[" * 100_000, "metrics.json is no JSON"),
        ("metrics.json", "[]", "metrics.json is not what ptools writes"),
        ("metrics.json", "{}", "runs/bad is not as ptools leaves a run"),
        ("metrics.json", '{"epochs": 3}', "runs/bad is not as ptools leaves a run"),
        ("metrics.json", '{"epochs": [3]}', "runs/bad is not as ptools leaves a run"),
        ("metrics.json", EPOCH, "runs/bad is not as ptools leaves a run"),
        ("metrics.json", '{"epochs": [], "images": "x"}', "runs/bad is not as ptools leaves a run"),
        ("metrics.json", '{"epochs": [], "measured_on": []}', "runs/bad is not as ptools leaves"),
    ],
)
def test_a_damaged_run_is_named_and_the_others_are_listed(
    file: str, text: str | None, says: str, ptools: Run
) -> None:
    made("runs/good", [0.5])
    bad = made("runs/bad", [0.5], test=0.5)
    (bad / "best.pth").touch()
    if text is None:
        (bad / file).unlink()
    else:
        (bad / file).write_text(text)
    done = ptools("runs")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["run", "runs/good"]
    (note,) = [line for line in done.stderr.splitlines() if "bad" in line]
    assert note.startswith("left out: ")
    assert says in note
    assert len(ptools("runs", "--json").document) == 1
    assert ptools("runs", "runs/good", "runs/bad").exit_code == 1


def test_names_cannot_write_to_the_terminal(ptools: Run) -> None:
    made("runs/a", [0.5], model="\x1b[31mred\nline")
    assert "\x1b" not in ptools("runs").stdout
    assert len(ptools("runs").stdout.splitlines()) == 2


def two() -> tuple[str, str]:
    classes = {f"c{number:02}": 0.5 for number in range(14)}
    other = {name: 0.5 - number / 100 for number, name in enumerate(classes)} | {"c01": 0.9}
    one = made("runs/one", [0.5, 0.75, 0.875], test=0.75, classes=classes)
    made("runs/two", [0.625, 0.8], test=0.8, classes=other, lr=0.1, epochs=2, model="mlp")
    return str(one), "runs/two"


def test_two_runs_are_compared(ptools: Run) -> None:
    done = ptools("runs", *two())
    settings, results, classes = done.stdout.split("\n\n")
    assert settings.splitlines() == [
        "setting  runs/one  runs/two",
        "model    cnn       mlp",
        "epochs   3         2",
        "lr       0.05      0.1",
    ]
    assert results.splitlines() == [
        "result               runs/one        runs/two    difference",
        "state                finished        finished",
        "epochs                    3/3             2/2",
        "best epoch                  3               2",
        "val accuracy           87.50%          80.00%  -7.50 points",
        "val loss               0.1250          0.2000       +0.0750",
        "test accuracy          75.00%          80.00%  +5.00 points",
        "test loss              0.2500          0.2000       -0.0500",
        "seconds                   7.5             5.0          -2.5",
        "to 80.00% val  epoch 3, 6.0 s  epoch 2, 4.0 s",
    ]
    rows = classes.splitlines()
    assert rows[0].split() == ["class", "(test)", "runs/one", "runs/two", "difference"]
    assert rows[1].split() == ["c01", "50.00%", "90.00%", "+40.00", "points"]
    assert [row[:3] for row in rows[2:]] == [f"c{number:02}" for number in range(13, 4, -1)]
    assert done.stderr == "3 more classes differ less; --json has them.\n"


def test_the_comparison_as_json(ptools: Run) -> None:
    found = ptools("runs", *two(), "--json").document
    assert [run["run"] for run in found["runs"]] == ["runs/one", "runs/two"]
    assert found["settings"] == {"model": ["cnn", "mlp"], "epochs": [3, 2], "lr": [0.05, 0.1]}
    accuracy = found["results"]["test_accuracy"]
    assert accuracy == {"values": [0.75, 0.8], "difference": pytest.approx(0.05)}
    assert found["reached"] == {"val_accuracy": 0.8, "epochs": [3, 2], "seconds": [6.0, 4.0]}
    assert len(found["per_class"]) == 13
    assert found["per_class"][0]["accuracy"] == [0.5, 0.9]
    assert found["doubts"] == []


def test_what_is_listed_and_what_is_compared(ptools: Run) -> None:
    one, other = two()
    made("runs/three", [0.5])
    assert isinstance(ptools("runs", one, other, "--json").document, dict)
    assert len(ptools("runs", one, other, "--sort", "name", "--json").document) == 2
    assert len(ptools("runs", one, other, "runs/three", "--json").document) == 3
    assert len(ptools("runs", one, "runs", "--json").document) == 3


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"data": "mnist"}, "The data are others"),
        ({"loss": "mse"}, "The losses are of different kinds"),
        ({"data": "/photos/bees", "seed": 1}, "The seed splits a folder"),
    ],
)
def test_what_makes_a_comparison_doubtful(changed: dict[str, Any], says: str, ptools: Run) -> None:
    folder: dict[str, Any] = {"data": "/photos/bees"} if "seed" in changed else {}
    made("one", [0.5], test=0.5, **folder)
    made("two", [0.5], test=0.5, **changed)
    done = ptools("runs", "one", "two")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    found = ptools("runs", "one", "two", "--json").document
    assert (found["results"]["test_loss"]["difference"] is None) == ("loss" in changed)


def test_a_comparison_with_a_run_that_is_not_finished(ptools: Run) -> None:
    made("one", [0.5, 0.6], test=0.5, classes={"a": 0.5})
    made("two", [None])
    made("three", [0.25])
    (Path("three") / "config.toml").write_text(config().replace("test = 20", "test = 30"))
    found = compare(read(Path("one")), read(Path("two")))
    assert (found.target, found.reached, found.classes) == (None, None, {})
    assert found.doubts == ["two is not finished: its figures are those of the epochs so far."]
    done = ptools("runs", "one", "three")
    assert "The test images are others" in done.stderr
    assert "to 25.00% val  epoch 1, 2.0 s  epoch 1, 2.0 s" in done.stdout
    (test,) = [line for line in done.stdout.splitlines() if line.startswith("test accuracy")]
    assert test.split() == ["test", "accuracy", "50.00%", "-"]


def test_what_follows_from_other_settings_is_no_difference() -> None:
    """finetune keeps long tables; a list that TOML cannot hold stands as JSON."""
    made("one", [0.5], test=0.5, mean=[0.25], lr=0.01)
    path = made("two", [0.5], test=0.5, mean=[0.5], notes='json:[null, {"a": 1}]') / "config.toml"
    tables = (
        '[loaded]\nfile = "old.pth"\ntensors = 9\n[frozen]\nnames = ["0.weight"]\ntrainable = 650\n'
    )
    path.write_text(path.read_text() + tables)
    assert compare(read(Path("one")), read(Path("two"))).settings == {
        "lr": (0.01, 0.05),
        "notes": (None, [None, {"a": 1}]),
        "loaded.file": (None, "old.pth"),
        "frozen.trainable": (None, 650),
    }


def test_the_same_settings_and_long_names(ptools: Run) -> None:
    long = "a-name-that-is-too-long-for-the-head-of-a-column"
    made(long, [0.5], test=0.5)
    made("b", [0.5], test=0.5)
    shown = ptools("runs", long, "b").stdout
    assert shown.startswith(f"A  {long}\nB  b\n\nThe settings are the same.\n\nresult ")
