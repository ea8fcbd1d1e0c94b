"""The benchmark of `ptools shapes`: what it compares with is right, and it sees errors as such."""

from __future__ import annotations

import pytest

from benchmarks import llama, shapes

LIMITS = (60, 8)


def test_the_formulas_are_what_ptools_counts() -> None:
    for one in llama.known()[-len(shapes.FORMULAS) :]:
        job = shapes.Job(*one)
        found = shapes.count("ptools", job, LIMITS)
        assert (found["macs"], found["params"]) == (job.macs, job.params), job.group


def test_what_torchvision_publishes_is_all_there() -> None:
    groups = [one[0] for one in llama.known()]
    assert [groups.count(name) for name in shapes.GROUPS] == [86, 9, 6]
    assert tuple(groups[101:]) == shapes.FORMULAS


def test_a_summary_has_the_rows_that_the_readme_is_held_to() -> None:
    jobs = [shapes.Job(*one) for one in llama.known()]
    right = [{"macs": job.macs, "params": job.params} for job in jobs]
    cells = shapes.summary(list(zip(jobs, right, strict=True)))
    assert [*cells, *shapes.COSTS] == shapes.cases()
    assert cells["classification, MACs"] == "86/86"
    wrong = [{"error": "none"} for _ in jobs]
    cells = shapes.summary(list(zip(jobs, wrong, strict=True)))
    assert (cells["video, MACs"], cells["failed"], cells["LSTM"]) == ("0/9", "101", "-")


@pytest.mark.parametrize(("macs", "right"), [(1_814_499_999, True), (1_814_600_000, False)])
def test_published_figures_have_three_decimals(macs: int, right: bool) -> None:
    job = shapes.Job("classification", "resnet18", "3x224x224", 1.814e9, 11_689_512)
    assert shapes.is_exact(job, {"macs": macs}) is right
    assert not shapes.is_exact(job._replace(group="LSTM"), {"macs": macs})


def test_a_model_has_a_process_of_its_own() -> None:
    assert shapes.forked(lambda: {"macs": 1}, LIMITS) == {"macs": 1}
    assert "ZeroDivisionError" in shapes.forked(lambda: 1 // 0, LIMITS)["error"]
