"""ptools quantize: the arithmetic is that of torch; numbers and networks side by side; bad input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver

from ptools.errors import UsageError
from ptools.testing import Run, assert_plugin_ok
from ptools_plugins.quantize import numbers
from ptools_plugins.quantize.arithmetic import (
    SCHEMES,
    Affine,
    Grid,
    dequantise,
    parameters,
    quantise,
)
from ptools_plugins.quantize.ranges import MINMAX, Rule, ends
from ptools_plugins.quantize.typed import looks_typed
from ptools_plugins.quantize.work import Settings, back, codes, study

pytestmark = [
    pytest.mark.usefixtures("place"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:DeprecationWarning"),
]

# -- the same as torch -----------------------------------------------------------------------------


def drawn(random: np.random.Generator) -> Any:
    """Return a random tensor (C, n): of any scale, off centre, with ties, zeros and far values."""
    shape = int(random.integers(1, 6)), int(random.integers(1, 120))
    x = random.standard_normal(shape) * 10.0 ** random.uniform(-4, 5) + random.choice([0, 0, 3, -3])
    kind = random.integers(0, 5)
    if kind == 0:
        x = np.abs(x)
    elif kind == 1:
        x[0, 0] *= 1000
    elif kind == 2:
        x = np.rint(x * 2) / 2
    elif kind == 3:
        x[0] = 0
    return x.astype(np.float32)


def grid_of(random: np.random.Generator, index: int) -> Grid:
    bits = 8 if index % 3 else int(random.integers(2, 8))
    return Grid(bits, SCHEMES[index % 2], bool(random.integers(0, 2)))


def assert_as_torch(x: Any, grid: Grid, per: str) -> None:
    """Compare scale and zero point, codes, values and fake quantisation, all to the bit."""
    channel = per == "channel"
    rows = x if channel else x.reshape(1, -1)
    affine = parameters(*ends(rows, MINMAX, grid), grid)
    found = quantise(rows, affine)
    values = dequantise(found, affine)
    scale, zero = torch.from_numpy(affine.scale), torch.from_numpy(affine.zero_point)
    tensor = torch.from_numpy(rows)
    dtype = torch.quint8 if grid.first == 0 else torch.qint8
    if channel:
        fake = torch.fake_quantize_per_channel_affine(tensor, scale, zero, 0, grid.first, grid.last)
        real = torch.quantize_per_channel(tensor, scale.double(), zero.long(), 0, dtype)
    else:
        one = (float(scale), int(zero))
        fake = torch.fake_quantize_per_tensor_affine(tensor, *one, grid.first, grid.last)
        real = torch.quantize_per_tensor(tensor, *one, dtype)
    assert np.array_equal(fake.numpy(), values)
    if grid.bits == 8 and not grid.symmetric:  # -128 is torch's own, and not ours where symmetric
        assert np.array_equal(real.int_repr().numpy(), found)
        assert np.array_equal(real.dequantize().numpy(), values)
    elif grid.bits == 8:
        inside = real.int_repr().numpy() != -128
        assert inside.all()
        assert np.array_equal(real.int_repr().numpy(), found)
    assert_as_observed(tensor, affine, grid, channel=channel)


def assert_as_observed(tensor: Any, affine: Affine, grid: Grid, *, channel: bool) -> None:
    """The observers of torch never go below a scale of eps."""
    how: dict[str, Any] = {
        "dtype": torch.quint8 if grid.first == 0 else torch.qint8,
        "quant_min": grid.first,
        "quant_max": grid.last,
    }
    name = f"per_{'channel' if channel else 'tensor'}_{grid.scheme}"
    observer = (PerChannelMinMaxObserver if channel else MinMaxObserver)(
        qscheme=getattr(torch, name), **how
    )
    observer(tensor)
    scale, zero = observer.calculate_qparams()
    large = scale.numpy() > 2e-7
    assert np.array_equal(scale.numpy()[large], affine.scale[large])
    assert np.array_equal(zero.numpy()[large], affine.zero_point[large])


def assert_many(count: int) -> None:
    random = np.random.default_rng(count)
    for index in range(count):
        x, grid = drawn(random), grid_of(random, index)
        assert_as_torch(x, grid, "channel" if index % 4 < 2 else "tensor")


def test_codes_and_values_are_those_of_torch() -> None:
    assert_many(400)


@pytest.mark.slow
def test_codes_and_values_are_those_of_torch_on_ten_thousand_tensors() -> None:
    assert_many(10_000)


def test_halves_are_rounded_to_even_as_torch_does() -> None:
    x = (np.arange(-20, 21, dtype=np.float32) + np.float32(0.5)) / 4
    grid = Grid(8, "affine")
    for zero in (-3, 0, 4):
        affine = Affine(grid, np.array([0.25], np.float32), np.array([zero], np.int32))
        found = quantise(x[None], affine)[0]
        real = torch.quantize_per_tensor(torch.from_numpy(x), 0.25, zero, torch.qint8)
        assert np.array_equal(found, real.int_repr().numpy())
        assert found.tolist() == [round(value * 4) + zero for value in x.tolist()]


def test_the_inverse_of_the_scale_is_multiplied_in_float32() -> None:
    """FBGEMM's own example: 127.5 by the inverse, 127.499992 by division; rounded 128 and 127."""
    scale, x = np.float32(0.00214854861), np.array([[0.273939937]], np.float32)
    affine = Affine(Grid(8, "affine", unsigned=True), np.array([scale]), np.zeros(1, np.int32))
    assert np.rint(x / scale) == 127
    assert quantise(x, affine).item() == 128
    real = torch.quantize_per_tensor(torch.from_numpy(x), float(scale), 0, torch.quint8)
    assert real.int_repr().item() == 128


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("value", [0.0, 1e-45, -1e-38, 3.4e38, -3.4e38])
def test_the_smallest_and_the_largest_numbers(scheme: str, value: float) -> None:
    """No warning, no nan, no inf in scale or codes."""
    x = np.array([[value, 0, value / 2]], np.float32)
    grid = Grid(8, scheme)
    affine = parameters(*ends(x, MINMAX, grid), grid)
    assert np.isfinite(affine.scale).all()
    assert (affine.scale > 0).all()
    found = quantise(x, affine)
    assert found[0, 1] == affine.zero_point[0]
    assert dequantise(found, affine)[0, 0] == pytest.approx(value, rel=0.01, abs=2**-126)


def test_the_very_largest_number_may_come_back_as_inf_as_it_does_in_torch(ptools: Run) -> None:
    """The scale is rounded up, and 127 of it are beyond float32."""
    x = torch.tensor([3.4028235e38])
    scale = float(x / 127)
    assert torch.quantize_per_tensor(x, scale, 0, torch.qint8).dequantize().isinf()
    done = ptools("quantize", "3.4028235e38", "--json")
    assert (done.exit_code, done.document["symmetric"]["sqnr_db"]) == (0, None)
    assert ptools("quantize", "3.4028235e38").exit_code == 0


def test_both_ends_of_float32_at_once() -> None:
    x = np.array([[-3e38, 3e38, 1e38]], np.float32)
    affine = parameters(*ends(x, MINMAX, Grid(8, "affine")), Grid(8, "affine"))
    values = dequantise(quantise(x, affine), affine)
    assert np.allclose(values, x, rtol=0.02)


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=40), st.integers(2, 8)
)
@settings(max_examples=60, deadline=None)
def test_zero_comes_back_and_no_error_is_over_a_step(values: list[float], bits: int) -> None:
    x = np.array([[0, *values]], np.float32)
    for scheme in SCHEMES:
        grid = Grid(bits, scheme)
        affine = parameters(*ends(x, MINMAX, grid), grid)
        found = quantise(x, affine)
        returned = dequantise(found, affine)
        assert returned[0, 0] == 0
        assert grid.first <= found.min() <= found.max() <= grid.last
        # half a step, and half another where the zero point was rounded
        assert np.abs(returned.astype(float) - x).max() <= 1.001 * affine.scale[0]


# -- ranges ----------------------------------------------------------------------------------------


def noise(x: Any, low: Any, high: Any, grid: Grid) -> float:
    affine = parameters(np.array([low], np.float32), np.array([high], np.float32), grid)
    returned = dequantise(quantise(x, affine), affine)
    return float(np.square(returned.astype(float) - x).sum())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kind", ["normal", "far", "one-sided"])
def test_mse_is_the_best_range_there_is(scheme: str, bits: int, kind: str) -> None:
    """Within 2 % of brute force over a fine grid of ranges, and never above min-max."""
    random = np.random.default_rng(bits)
    x = random.standard_normal((1, 600)).astype(np.float32)
    if kind == "far":
        x[0, 0] = 40
    elif kind == "one-sided":
        x = np.maximum(x, 0)
    grid = Grid(bits, scheme)
    low, high = ends(x, Rule("mse"), grid)
    found = noise(x, low[0], high[0], grid)
    least, most = min(float(x.min()), 0), max(float(x.max()), 0)
    assert found <= noise(x, least, most, grid)
    shares = np.geomspace(0.02, 1, 90)
    if grid.symmetric:
        top = max(-least, most)
        best = min(noise(x, -f * top, f * top, grid) for f in shares)
    else:
        best = min(noise(x, f * least, g * most, grid) for f in shares[::2] for g in shares[::2])
    assert found <= 1.02 * best


def test_mse_of_many_numbers_is_searched_on_some_and_never_worse() -> None:
    random = np.random.default_rng(0)
    x = random.standard_t(3, (2, 50_000)).astype(np.float32)
    for scheme in SCHEMES:
        grid = Grid(4, scheme)
        low, high = ends(x, Rule("mse"), grid)
        a, b = ends(x, MINMAX, grid)
        for row in range(2):
            one = x[row : row + 1]
            assert noise(one, low[row], high[row], grid) < 0.7 * noise(one, a[row], b[row], grid)


def test_a_percentile_leaves_that_many_outside() -> None:
    x = np.arange(-500, 1501, dtype=np.float32)[None] / 100
    low, high = ends(x, Rule.of("percentile:99"), Grid(8, "affine"))
    assert (x < low[0]).mean() == pytest.approx(0.005, abs=0.001)
    assert (x > high[0]).mean() == pytest.approx(0.005, abs=0.001)
    low, high = ends(x, Rule.of("percentile:90"), Grid(8, "symmetric"))
    assert low[0] == -high[0]
    assert (np.abs(x) > high[0]).mean() == pytest.approx(0.1, abs=0.001)
    found = study(x[0], Settings(per="tensor", rule=Rule.of("percentile:90")))
    half = found.halves["symmetric"]
    outside = np.abs(x) > half.high[0] + 0.5001 * half.affine.scale[0]
    assert half.whole.clipped == outside.sum() > 0


# -- numbers, as they are typed --------------------------------------------------------------------


def test_the_numbers_of_the_issue(ptools: Run) -> None:
    done = ptools("quantize", "0.1 -1.2 3.4", process=True)
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["range", "-3.4", "to", "3.4", "-1.2", "to", "3.4"] in lines
    assert ["zero_point", "0", "-61"] in lines
    assert ["0.1", "4", "0.107087", "+0.0071", "-55", "0.108235", "+0.0082"] in lines
    assert ["3.4", "127", "3.4", "0", "127", "3.39137", "-0.0086"] in lines
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    document = ptools("quantize", "0.1 -1.2 3.4", "--json").document
    assert document["codes"] == {"symmetric": [4, -45, 127], "affine": [-55, -128, 127]}
    assert document["symmetric"]["scale"] == [float(np.float32(3.4) / np.float32(127))]
    x = np.array([0.1, -1.2, 3.4], np.float32).astype(float)
    error = np.array(document["values"]["affine"]) - x
    sqnr = 10 * np.log10((x**2).sum() / (error**2).sum())
    assert document["affine"]["sqnr_db"] == pytest.approx(sqnr)
    assert document["affine"]["max_error"] == pytest.approx(np.abs(error).max())


def test_rows_and_channels(ptools: Run) -> None:
    args = ("quantize", "1 2 3; 10 20 30", "--per", "channel", "--json")
    document = ptools(*args).document
    wanted = [float(np.float32(top) / np.float32(127)) for top in (3, 30)]
    assert document["symmetric"]["scale"] == wanted
    assert document["codes"]["symmetric"][0] == document["codes"]["symmetric"][1] == [42, 85, 127]
    other = ptools(*args, "--axis", "1").document
    assert other["symmetric"]["scale"] == [
        float(np.float32(t) / np.float32(127)) for t in (10, 20, 30)
    ]
    assert ptools(*args, "--axis", "-1").document == other
    whole = ptools("quantize", "[[1, 2, 3], [10, 20, 30]]", "--json").document
    assert (whole["axis"], len(whole["symmetric"]["scale"])) == (None, 1)
    shown = ptools(*args[:-1]).stdout
    assert "±3" in shown
    assert "0..30" in shown


@pytest.mark.parametrize("bits", range(2, 9))
def test_bits_are_as_many_codes(ptools: Run, bits: int) -> None:
    even, text = (" ".join(map(str, range(-500, last + 1))) for last in (500, 700))
    found = ptools("quantize", even, "--bits", str(bits), "--json").document
    assert len(set(found["codes"]["symmetric"])) == 2**bits - 1
    found = ptools("quantize", text, "--bits", str(bits), "--json").document
    assert len(set(found["codes"]["affine"])) == 2**bits
    unsigned = ptools("quantize", text, "--bits", str(bits), "--unsigned", "--json").document
    assert min(unsigned["codes"]["affine"]) == 0
    assert unsigned["values"] == found["values"]


@pytest.mark.parametrize("text", ["-1.2 3", "-.5", "-1e-3,2", " - 1"])
def test_a_minus_is_no_option(ptools: Run, text: str) -> None:
    done = ptools("quantize", text, process=True)
    assert done.exit_code == (2 if text == " - 1" else 0), done.stderr


def test_what_is_exact_says_so(ptools: Run) -> None:
    assert "exact" in ptools("quantize", "0 127 -127").stdout
    document = ptools("quantize", "0 127 -127", "--json").document
    assert document["symmetric"]["sqnr_db"] is None
    assert document["symmetric"]["max_error"] == 0
    assert ptools("quantize", "0 0").exit_code == 0


def test_nothing_but_zeros_has_no_minus(ptools: Run) -> None:
    done = ptools("quantize", "0 0")
    assert done.exit_code == 0
    assert "-0 " not in done.stdout


def test_typed_numbers_are_told_from_names() -> None:
    assert all(
        map(looks_typed, ["1", "-1 2", "1,2", "1;2", ".5e-3", "[1]", "(1, 2)", "nan", "1 2;"])
    )
    assert not any(map(looks_typed, ["best.pth", "1.pth", "run 1", "1 x", "", "mine", "1-2", "e5"]))


@pytest.mark.parametrize(
    "text", ["[[1], [1, 2]]", "1 2; 3", "['1']", "[True]", "[1", "[]", "nan", "1e39", "[1e999]", "[{}]",
             "[__import__('os')]", "[" * 3000, "1;;2"]
)  # fmt: skip
def test_no_list_of_numbers(ptools: Run, text: str) -> None:
    done = ptools("quantize", text)
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_one_row_has_no_channels() -> None:
    with pytest.raises(UsageError, match="part rows by"):
        numbers("1 2 3", Settings(per="channel"))


def test_codes_have_the_shape_of_the_tensor() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 2)).astype(np.float32)
    for axis in range(4):
        found = study(x, Settings(axis=axis))
        half = found.halves["affine"]
        made, returned = codes(x, half, axis), back(x, half, axis)
        shape = [1] * 4
        shape[axis] = -1
        scale, zero = half.affine.scale.reshape(shape), half.affine.zero_point.reshape(shape)
        zero = zero.astype(np.float32)
        assert made.dtype == np.int8
        assert np.array_equal((made.astype(np.float32) - zero) * scale, returned)
        assert np.abs(returned - x).max() == pytest.approx(half.whole.worst)


def test_many_numbers_are_worked_on_in_parts() -> None:
    """Longer than a block: the parts make the same whole."""
    x = np.random.default_rng(0).standard_normal(2_500_001).astype(np.float32)
    found = study(x, Settings(per="tensor"))
    half = found.halves["affine"]
    returned = back(x, half, None)
    assert half.whole.count == x.size
    assert half.whole.noise == pytest.approx(np.square(returned.astype(float) - x).sum())
    assert np.array_equal(codes(x, half, None), quantise(x[None], half.affine)[0])


# -- what it imports, what it promises -------------------------------------------------------------


def modules(*args: str) -> set[str]:
    code = (
        "import sys; from ptools.cli import main; code = main(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_the_tables_need_numpy_only(tiny_checkpoint: Path) -> None:
    heavy = {"torch", "torchao", "PIL", "matplotlib", "scipy", "safetensors", "rich"}
    for args in (
        ["0.1 -1.2 3.4"],
        [str(tiny_checkpoint)],
        [str(tiny_checkpoint), "--range", "mse"],
    ):
        found = modules("quantize", *args)
        assert "numpy" in found
        assert not found & heavy
    assert "numpy" not in modules("quantize", "--help")


def test_the_promises(tiny_checkpoint: Path) -> None:
    assert_plugin_ok("quantize", "0.1 -1.2 3.4")
    assert_plugin_ok("quantize", str(tiny_checkpoint))
