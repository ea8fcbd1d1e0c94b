"""ptools regress: the table, what is said beforehand, why it diverged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ptools.testing import Run
from ptools_plugins.regress import data, regress
from ptools_plugins.regress.quadratic import batched, limits

pytestmark = pytest.mark.usefixtures("place")

NOTES = data.given([[1, 2, 3]], [2, 4, 6])  # y = 2x


def test_without_arguments_it_fits_y_2x_epoch_by_epoch(ptools: Run) -> None:
    done = ptools("regress")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    start = next(place for place, line in enumerate(lines) if line.split()[:1] == ["epoch"])
    assert lines[start].split() == ["epoch", "w", "b", "dL/dw", "dL/db", "loss"]
    epochs = [int(line.split()[0]) for line in lines[start + 1 : lines.index("", start)]]
    assert epochs[:6] == [0, 1, 2, 3, 4, 5]
    assert epochs[-1] == 200
    assert 20 <= len(epochs) <= 30
    assert "--every 1 shows all" in done.stderr
    result = next(line for line in lines if line.startswith("sgd  "))
    w, b, loss = map(float, result.split()[1:])
    assert w == pytest.approx(2, abs=0.01)
    assert b == pytest.approx(0, abs=0.01)
    assert loss < 1e-5
    assert lines[-1].split() == ["least", "squares,", "closed", "form", "2", "0", "0"]


@pytest.mark.parametrize(("every", "rows"), [("1", 31), ("10", 4), ("7", 6)])
def test_every_so_many_epochs(ptools: Run, every: str, rows: int) -> None:
    lines = ptools("regress", "--epochs", "30", "--every", every).stdout.splitlines()
    table = [line for line in lines if line.strip()[:1].isdigit()]
    assert len(table) == rows
    assert table[-1].split()[0] == "30"


def test_the_table_says_what_the_descent_computed(ptools: Run) -> None:
    """The gradient of the tutorials: mean of 2x(wx - y), at the w of the same row."""
    done = ptools("regress", "--model", "linear-no-bias", "--init", "1", "--lr", "0.01",
                  "--epochs", "2", "--every", "1")  # fmt: skip
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()[:1].isdigit()]
    w = 1.0
    for number, row in enumerate(rows):
        gradient = float(np.mean([2 * x * (w * x - 2 * x) for x in (1, 2, 3)]))
        loss = float(np.mean([(w * x - 2 * x) ** 2 for x in (1, 2, 3)]))
        assert row[0] == str(number)
        assert [float(cell) for cell in row[1:]] == pytest.approx([w, gradient, loss], rel=1e-4)
        w -= 0.01 * gradient


def test_per_sample_descent_of_the_notes(ptools: Run) -> None:
    """for x, y in zip(...): w = w - 0.01 * 2x(wx - y), in the order of the points."""
    done = ptools("regress", "--model", "linear-no-bias", "--init", "1", "--lr", "0.01",
                  "--batch", "1", "--epochs", "10", "--json")  # fmt: skip
    w = 1.0
    expected = [w]
    for _ in range(10):
        for x, y in zip((1, 2, 3), (2, 4, 6), strict=True):
            w -= 0.01 * 2 * x * (w * x - y)
        expected.append(w)
    (descent,) = done.document["descents"]
    assert [theta[0] for theta in descent["thetas"]] == pytest.approx(expected, rel=1e-12)
    assert descent["steps"] == 30


# -- before the first step -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "critical", "best", "condition"),
    [("linear-no-bias", 0.2143, 0.1071, 1.0), ("linear", 0.1803, 0.1765, 46.14)],
)
def test_critical_and_best_lr_of_the_reference(
    ptools: Run, model: str, critical: float, best: float, condition: float
) -> None:
    curve = ptools("regress", "--model", model, "--json").document["curvature"]
    assert curve["critical_lr"] == pytest.approx(critical, rel=1e-3)
    assert curve["best_lr"] == pytest.approx(best, rel=1e-3)
    assert curve["condition"] == pytest.approx(condition, rel=1e-3)
    said = ptools("regress", "--model", model).stdout
    assert f"critical lr {curve['critical_lr']:.5g} = 2/lambda_max" in said
    assert f"best lr     {curve['best_lr']:.5g} = 2/(lambda_min + lambda_max)" in said
    assert said.index("critical lr") < said.index("epoch ")


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
@pytest.mark.parametrize("batch", [None, 1, 4])
def test_below_the_critical_lr_it_arrives_and_above_it_does_not(
    optimizer: str, batch: int | None
) -> None:
    points = data.line(2, 0.5, points=6, noise=0, seed=1)
    asked = {"optimizers": [optimizer], "batch": batch}
    known = regress(points, epochs=1, **asked).descents[0].plan.limits
    assert known is not None
    for share, arrives in ((0.98, True), (1.02, False)):
        lr = share * known.critical_lr
        (descent,) = regress(points, lrs=[lr], epochs=1500, **asked).descents
        assert (descent.failure is None) == arrives
        assert (descent.losses[-1] < descent.losses[0]) == arrives


def test_the_best_lr_is_the_fastest_from_the_worst_start() -> None:
    def worst(share: float) -> float:
        lefts = []
        for angle in np.linspace(0, np.pi, 9):
            init = [2 + np.cos(angle), np.sin(angle)]
            (descent,) = regress(NOTES, lrs=[share * best], epochs=100, init=init).descents
            lefts.append(float(np.hypot(*(descent.theta - [2, 0]))))
        return max(lefts)

    best = float(regress(NOTES, lrs=["best"], epochs=1).descents[0].plan.recipe.lr)
    assert all(worst(1) < worst(share) for share in (0.8, 0.95, 1.01, 1.02))


def test_momentum_of_0_has_the_limits_of_sgd_and_one_batch_those_of_all_points() -> None:
    study = regress(NOTES, optimizers=["sgd", "momentum"], momentum=0.0, epochs=1)
    sgd, momentum = (descent.plan for descent in study.descents)
    assert sgd.limits is not None and momentum.limits is not None
    assert momentum.limits == pytest.approx(sgd.limits, rel=1e-5)
    for plan in (sgd, momentum._replace(recipe=momentum.recipe._replace(momentum=0.1))):
        by_map = batched(study.prepared.problem, plan.recipe)
        assert study.prepared.curve is not None
        by_eigenvalues = limits(study.prepared.problem, plan.recipe, study.prepared.curve)
        assert by_map == pytest.approx(by_eigenvalues, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("share", [1.05, 1.5, 1000])
@pytest.mark.parametrize(("optimizer", "batch"), [("sgd", None), ("momentum", None), ("sgd", 1)])
def test_the_step_of_inf_is_known_beforehand(
    dtype: str, share: float, optimizer: str, batch: int | None
) -> None:
    """Within 10 %; with all points at once to the step."""
    asked = {"dtype": dtype, "optimizers": [optimizer], "batch": batch}
    known = regress(NOTES, epochs=1, **asked).descents[0].plan.limits
    assert known is not None
    (descent,) = regress(NOTES, lrs=[share * known.critical_lr], epochs=10_000, **asked).descents
    predicted, ended = descent.plan.blow_up, descent.path.ended
    assert predicted is not None and ended is not None
    assert descent.path.became == "inf"
    assert predicted == pytest.approx(ended, rel=0.0 if batch is None else 0.1)
    assert not np.isfinite(descent.losses[-1])
    assert np.isfinite(descent.losses[-2])


def test_a_descent_that_diverges_says_when_why_and_what_to_do(ptools: Run) -> None:
    done = ptools("regress", "--lr", "0.2", "--epochs", "3000", "--dtype", "float32")
    assert done.exit_code == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    document = ptools("regress", "--lr", "0.2", "--epochs", "3000", "--dtype", "float32", "--json")
    assert document.exit_code == 1
    (descent,) = document.document["descents"]
    step = descent["diverged_step"]
    assert f"became inf at step {step}" in error
    assert f"(predicted: {descent['predicted_step']})" in error
    assert "in float32" in error
    assert "lr 0.2 is above the critical 0.1803" in error
    assert "multiplies the error by 1.219" in error
    lr = error.rpartition("--lr ")[2].rstrip(".")
    assert ptools("regress", "--lr", lr).exit_code == 0
    said = done.stdout
    assert f"the loss will be inf at step {descent['predicted_step']}" in said
    assert said.index("will be inf") < said.index("epoch ")
    assert f"\n  {step}" in said
    assert descent["final_loss"] is None


def test_a_loss_that_grows_without_being_inf_yet_is_a_failure(ptools: Run) -> None:
    done = ptools("regress", "--lr", "0.2", "--epochs", "50")
    assert done.exit_code == 1
    assert "the loss grew from" in done.stderr
    assert "would be inf at step 1,786 in float64" in done.stderr


def test_a_network_that_diverges_gets_an_lr_that_was_tried(ptools: Run) -> None:
    done = ptools("regress", "--model", "mlp", "--lr", "10")
    assert done.exit_code == 1
    lr = done.stderr.rpartition("use --lr ")[2].partition(" (tried)")[0]
    assert ptools("regress", "--model", "mlp", "--lr", lr).exit_code == 0


@pytest.mark.parametrize("loss", ["l1", "huber"])
def test_other_losses_have_no_critical_lr(ptools: Run, loss: str) -> None:
    done = ptools("regress", "--loss", loss, "--json")
    assert done.document["curvature"] is None
    assert f"{loss} is not quadratic" in ptools("regress", "--loss", loss).stdout


def test_columns_that_depend_on_each_other(ptools: Run) -> None:
    done = ptools("regress", "--x", "1,2,3,4", "--x", "2,4,6,8", "--y", "1,2,3,5")
    assert done.exit_code == 0
    assert "condition number inf" in done.stdout
    assert "Columns depend on each other" in done.stdout


def test_the_closed_form_is_that_of_numpy() -> None:
    points = data.line(-3, 7, points=40, noise=2, seed=5)
    study = regress(points)
    assert study.closed == pytest.approx(np.polyfit(points.x[:, 0], points.y, 1), rel=1e-9)
    cubic = regress(points, model="poly:3", standardize=True)
    from ptools_plugins.regress.work import in_your_units

    *powers, b = in_your_units(cubic.prepared, cubic.closed)
    expected = np.polyfit(points.x[:, 0], points.y, 3)[::-1]
    assert [b, *powers] == pytest.approx(expected, rel=1e-6)


def test_outliers_pull_a_square_and_not_an_absolute_value(ptools: Run) -> None:
    done = ptools("regress", "--x", "1,2,3,4,5", "--y", "2,1000,6,8,10", "--loss", "mse,l1,huber",
                  "--epochs", "500", "--json")  # fmt: skip
    found = {one["loss"]: one["result"][0] for one in done.document["descents"]}
    assert found["mse"] == pytest.approx(-97.6, abs=0.5)
    assert found["l1"] == pytest.approx(2, abs=0.05)
    assert found["huber"] == pytest.approx(2, abs=0.2)


def test_standardizing_helps_and_is_undone(ptools: Run) -> None:
    Path("far.csv").write_text("x,y\n" + "".join(f"{x},{2 * x - 100}\n" for x in range(1000, 1010)))
    plain = ptools("regress", "--csv", "far.csv", "--json").document
    done = ptools("regress", "--csv", "far.csv", "--standardize", "--json").document
    assert plain["curvature"]["condition"] > 1e9
    assert done["curvature"]["condition"] == pytest.approx(1)
    assert done["descents"][0]["in_your_units"] == pytest.approx([2, -100], rel=1e-6)
    shown = ptools("regress", "--csv", "far.csv", "--standardize").stdout
    assert "sgd  w = 2  b = -100" in shown


# -- processes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [["--plot", "--scan", "--logdir", "logs"], ["--json"]])
def test_manual_mode_needs_no_torch(more: list[str]) -> None:
    code = (
        "import sys; from ptools.cli import main; code = main(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "regress",
            "--how",
            "manual",
            "--optimizer",
            "sgd,adam",
            *more,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    modules = set(done.stderr.split())
    assert "numpy" in modules
    assert not modules & {"torch", "torchvision", "matplotlib", "PIL", "scipy", "pandas", "sklearn"}


def test_a_long_valley_is_told_with_its_cure(ptools: Run) -> None:
    years = ("regress", "--x", "1990,1995,2000,2010", "--y", "1,2,3,5")
    told = "A long valley: with --standardize the condition number is 1.\n"
    assert told in ptools(*years).stdout
    assert ptools(*years, "--json").document["condition_standardized"] == pytest.approx(1)
    assert told not in ptools(*years, "--standardize").stdout
    cured = ptools(*years, "--standardize", "--json").document
    assert cured["curvature"]["condition"] == pytest.approx(1)
    assert ptools("regress", "--json").document["condition_standardized"] is None


def test_one_document_for_everything(ptools: Run) -> None:
    done = ptools("regress", "--optimizer", "sgd,adam", "--compare", "--scan", "--json")
    document = json.loads(done.stdout)
    assert [one["label"] for one in document["descents"]] == ["sgd", "adam"]
    assert len(document["compared"]) == 2
    assert document["scan"]["best"] == {"w": 2.0, "b": 0.0, "loss": 0.0}
    assert len(document["descents"][0]["losses"]) == 201
