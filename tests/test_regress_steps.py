"""ptools regress: the steps by hand, with autograd, and of nn.Module with torch.optim are the same."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from ptools.testing import Run
from ptools_plugins.regress import data, formulas
from ptools_plugins.regress.models import parse
from ptools_plugins.regress.work import Settings, compare, prepare

MODELS = ("linear", "linear-no-bias", "poly:3", "mlp")
OPTIMIZERS = ("sgd", "momentum", "adam", "rmsprop")
BATCHES = (None, 1, 5)
LOSSES = ("mse", "l1", "huber")

POINTS = {
    "y = 2x": data.given([[1, 2, 3]], [2, 4, 6]),
    "outlier": data.given([[1, 2, 3, 4, 5]], [2, 1000, 6, 8, 10]),
    "noise": data.line(2, 0.5, points=12, noise=1, seed=3),
    "two columns": data.given([[1, 2, 3, 4, 0], [2, 0, 1, 5, 1]], [1, 3, 2, 5, 0]),
}


def assert_equal(points: data.Points, settings: Settings) -> None:
    """Theta is the same to 1e-6 after each step, and so is the loss at every epoch."""
    for one in compare(prepare(points, settings)):
        steps = settings.epochs * -(-points.size // one.plan.recipe.batch)
        assert len(one.differences) == steps + 1
        assert one.worst <= 1e-6, (one.plan, one.worst)
        for theirs in one.losses.values():
            assert theirs == pytest.approx(one.losses["manual"], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("batch", BATCHES)
def test_three_ways_are_equal_step_by_step(model: str, batch: int | None) -> None:
    settings = Settings(
        model=model, batch=batch, optimizers=OPTIMIZERS, losses=("mse", "huber"), epochs=8
    )
    assert_equal(POINTS["noise"], settings)


@pytest.mark.parametrize("init", [[0.0], [1.0]])
def test_l1_is_equal_where_the_residual_becomes_zero(init: list[float]) -> None:
    """w goes 0, 0.02, ... to 2: there r is 0, or 1e-16 of either sign."""
    settings = Settings(
        model="linear-no-bias", losses=["l1"], lrs=[0.01], init=init, epochs=150, batch=1
    )
    assert_equal(POINTS["y = 2x"], settings)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "model", "loss"), list(product(POINTS, MODELS, LOSSES)))
def test_all_of_them_are_equal(name: str, model: str, loss: str) -> None:
    points = POINTS[name]
    if model == "poly:3" and name in ("y = 2x", "two columns"):
        model = "poly:2" if name == "y = 2x" else "poly:1"  # they have too few points for more
    for batch in BATCHES:
        settings = Settings(
            model=model, losses=[loss], optimizers=OPTIMIZERS, batch=batch, epochs=40
        )
        assert_equal(points, settings)


@pytest.mark.parametrize("model", ["linear", "linear-no-bias", "poly:3", "mlp:5"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_by_hand_is_that_of_differences(model: str, loss: str) -> None:
    draw = np.random.default_rng(2)
    known = parse(model)._replace(columns=2)
    phi = known.features(draw.normal(size=(7, 2)))
    y, theta = 3 * draw.normal(size=7), known.first(1)

    def at(theta: object) -> float:
        return formulas.value(known.predict(theta, phi) - y, loss, 1.0)

    slope = formulas.slope(known.predict(theta, phi) - y, loss, 1.0)
    step = 1e-6 * np.eye(known.size)
    expected = [(at(theta + one) - at(theta - one)) / 2e-6 for one in step]
    assert known.gradient(theta, phi, slope) == pytest.approx(expected, abs=1e-6)


def test_they_start_where_nn_linear_would() -> None:
    """Uniform between +-1/sqrt(inputs), as nn.Linear; the same for the same seed."""
    model = parse("mlp:50")._replace(columns=4)
    first = model.first(0)
    assert (first == model.first(0)).all()
    assert (first != model.first(1)).any()
    w1, b1, w2, _ = model.parts(first)
    for part, bound in ((w1, 0.5), (b1, 0.5), (w2, 50**-0.5)):
        assert abs(part).max() <= bound
        assert abs(part).max() > 0.8 * bound


def test_side_by_side(ptools: Run) -> None:
    done = ptools("regress", "--compare", "--epochs", "3", "--optimizer", "sgd,adam")
    assert done.exit_code == 0
    assert done.stdout.count("w manual    w autograd      w module    apart") == 2
    assert done.stdout.count("equal to 1e-06 at each of 3 steps: w, b are at most") == 2
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("    3 ")]
    assert len(rows) == 2
    for _, manual, autograd, module, apart in rows:
        assert float(manual) == pytest.approx(float(autograd), rel=1e-9)
        assert float(manual) == pytest.approx(float(module), rel=1e-9)
        assert float(apart) < 1e-12


def test_ways_that_differ_are_a_failure(ptools: Run) -> None:
    """RMSprop on a network, sample by sample with long steps, is chaotic: rounding errors grow."""
    done = ptools("regress", "--compare", "--model", "mlp", "--optimizer", "rmsprop", "--lr", "0.1",
                  "--line", "2,0.5", "--points", "12", "--noise", "1", "--batch", "1",
                  "--epochs", "100")  # fmt: skip
    assert done.exit_code == 1
    assert "NOT equal to 1e-06" in done.stdout
    assert "multiplies rounding errors" in done.stderr


@pytest.mark.parametrize("how", ["manual", "autograd", "module"])
def test_every_way_alone(ptools: Run, how: str) -> None:
    done = ptools("regress", "--how", how, "--epochs", "20", "--optimizer", "adam", "--json")
    manual = ptools("regress", "--epochs", "20", "--optimizer", "adam", "--json")
    (ours,), (theirs,) = manual.document["descents"], done.document["descents"]
    assert theirs["result"] == pytest.approx(ours["result"], rel=1e-9)
    assert done.document["how"] == how


@pytest.mark.parametrize("how", ["manual", "autograd", "module"])
def test_every_way_notices_inf(ptools: Run, how: str) -> None:
    done = ptools("regress", "--how", how, "--lr", "1", "--epochs", "500", "--json")
    assert done.exit_code == 1
    (descent,) = done.document["descents"]
    assert descent["became"] == "inf"
    assert descent["diverged_step"] == pytest.approx(descent["predicted_step"], rel=0.1)
