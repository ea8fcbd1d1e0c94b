"""How exact `ptools shapes` is and what it costs, beside other tools where they are installed.

    python -m benchmarks.shapes [--repeats 7] [--quick]

Exact means: equal to what torchvision publishes of its weights, at all three decimals of its GMACs, or
to a formula (llama.py), to the last MAC. Every tool meets every model in a process of its own, forked
from one that has only imported both, so that nothing is left behind by another, or by an exception.

Cost: CPU time and peak memory of whole processes over `python -c "import torch, torchvision"`, medians
of interleaved repeats (at most 3 of the other tools), models built as their users build them. The
process that measures must not import torch: the peak of a child is at least its parent's memory.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from functools import partial
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

Limits = tuple[int, int]  # CPU seconds and GiB that one model may take
Counter = Callable[[Any, Any], tuple[float, int]]  # a model and its input -> MACs, parameters
BASE = "import torch, torchvision"
INSIDE = "ptools, torch loaded"  # the same command in a process that has torch already
GROUPS = ("classification", "video", "segmentation")
FORMULAS = ("LSTM", "GRU", "transformer encoder", "functional model", "LLaMA-like stack")
COSTS = {
    "resnet152 at 224": "resnet152",
    "vit_h_14 at 518": "vit_h_14(image_size=518)",
    "LLaMA-like stack, 128 tokens": "LLaMA-like stack",
}
QUICK = (
    "alexnet", "googlenet", "regnet_y_400mf", "swin_t", "vit_b_16", "r3d_18", "lraspp_mobilenet_v3_large",
)  # fmt: skip


class Job(NamedTuple):
    """A model of known cost: see llama.py."""

    group: str
    model: str
    input: str
    macs: float
    params: int


def cases() -> list[str]:
    """Return the first cells of the rows that are printed, whatever tools are installed."""
    figures = [f"{group}, {what}" for group in GROUPS for what in ("MACs", "parameters")]
    return [*figures, "within 1 %", "failed", *FORMULAS, *COSTS]


def ptools(model: str, given: str) -> Any:
    """Return what the command `ptools shapes` prints, run in this process."""
    from ptools.cli import main

    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as errors:
        main(["shapes", "--model", model, "--in", given, "--json"])
    if not out.getvalue():
        raise RuntimeError(errors.getvalue())
    return json.loads(out.getvalue())


def torchinfo(model: Any, x: Any) -> tuple[float, int]:
    from torchinfo import summary  # type: ignore[import-not-found, import-untyped, unused-ignore]

    found = summary(model, input_data=x, verbose=0, device=x.device)
    return found.total_mult_adds, found.total_params


def fvcore(model: Any, x: Any) -> tuple[float, int]:
    import fvcore.nn as tool  # type: ignore[import-not-found, import-untyped, unused-ignore]

    return tool.FlopCountAnalysis(model, x).total(), tool.parameter_count(model)[""]


def ptflops(model: Any, x: Any) -> tuple[float, int]:
    """Its backend `aten`: that comes closer than the default one."""
    import ptflops as tool  # type: ignore[import-not-found, import-untyped, unused-ignore]

    found = tool.get_model_complexity_info(
        model, tuple(x.shape[1:]), as_strings=False, print_per_layer_stat=False, backend="aten",
        input_constructor=lambda _: x,
    )  # fmt: skip
    if found[0] is None:
        raise RuntimeError("it printed an error and returned None")
    return found[0], found[1]


def thop(model: Any, x: Any) -> tuple[float, int]:
    from thop import profile  # type: ignore[import-not-found, import-untyped, unused-ignore]

    macs, params = profile(model, inputs=(x,), verbose=False)
    return macs, int(params)


def calflops(model: Any, x: Any) -> tuple[float, int]:
    import calflops as tool  # type: ignore[import-not-found, import-untyped, unused-ignore]

    found = tool.calculate_flops(model, args=[x], print_results=False, output_as_string=False)
    return found[1], found[2]


OTHERS: dict[str, Counter] = {
    "torchinfo": torchinfo,
    "torchinfo on meta": torchinfo,  # not its default: the user builds the model there
    "fvcore": fvcore, "ptflops": ptflops, "thop": thop, "calflops": calflops,
}  # fmt: skip


def count(tool: str, job: Job, limits: Limits, *, build: bool = True) -> dict[str, Any]:
    """Return MACs and parameters as `tool` sees them; without `build` weights are zeros."""
    if tool == "ptools":
        found = ptools(job.model, job.input)
        return {"macs": found["macs"], "params": found["params"], "auxiliary": _auxiliary(found)}
    import torch

    from ptools import models
    from ptools.tracing.inputs import parse

    meta = tool.endswith("on meta")
    if not meta and 4 * job.params > limits[1] * 2**30:
        raise MemoryError
    if not build:
        _skip_initialisation()
    with torch.device("meta") if meta else nullcontext():
        model = models.build(job.model).eval()
        for parameter in [] if build else model.parameters():
            parameter.data.zero_()
        x = parse(job.input).batched(1).tensor("meta" if meta else "cpu", torch.float32)
        macs, params = OTHERS[tool](model, x)
    return {"macs": macs, "params": params}


def _auxiliary(found: dict[str, Any]) -> int:
    """Return the parameters of the modules that `ptools shapes` says run in train mode only."""
    inside = tuple(f"{name}." for name in found["train_only"])
    rows = found["layers"]
    return sum(row["params"] for row in rows if inside and f"{row['name']}.".startswith(inside))


def _skip_initialisation() -> None:
    from torch.nn import init

    for name in ("uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_",
                 "xavier_uniform_", "xavier_normal_"):  # fmt: skip
        setattr(init, name, lambda tensor, *_, **__: tensor)


def forked(work: Callable[[], object], limits: Limits) -> Any:
    """Return what `work` returns in a process of its own; {"error": why} where it does not."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            confine(limits)
            answer = work()
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answers:
        text = answers.read()
    os.waitpid(pid, 0)
    return json.loads(text or '{"error": "killed: out of time or memory"}')


def confine(limits: Limits) -> None:
    """Bound what this process may take, and send what is printed nowhere."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds, gib = limits
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (gib * 2**30, gib * 2**30))
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def child(task: str, tool: str, jobs: Sequence[Job], limits: Limits) -> Any:
    """Do `task` in this process; return what the parent gets to know."""
    import torch  # noqa: F401  (what is forked need not import them again)
    import torchvision  # noqa: F401

    if task == "known":
        from benchmarks.llama import known

        return known()
    if task == "all":
        importlib.import_module(tool.split()[0])
        return [forked(partial(count, tool, job, limits, build=False), limits) for job in jobs]
    confine(limits)
    if tool != INSIDE:
        return count(tool, jobs[0], limits)
    usage, begun = partial(resource.getrusage, resource.RUSAGE_SELF), process_time()
    before = usage().ru_maxrss
    ptools(jobs[0].model, jobs[0].input)
    return {"cpu": process_time() - begun, "mib": (usage().ru_maxrss - before) / 1024}


class Spent(NamedTuple):
    """What a process took, and its answer: None where it failed."""

    cpu: float  # seconds
    mib: float
    answer: Any


def run(command: Sequence[str]) -> Spent:
    """Run a process that may answer with JSON."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    answer = json.loads(text) if text and not status else None
    return Spent(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, answer)


def ask(task: str, tool: str, jobs: Sequence[Job], limits: Limits) -> Spent:
    """Run a child of this file; where the cost of ptools is asked for, its own command line."""
    if task == "one" and tool == "ptools":
        ptools = str(Path(sys.executable).with_name("ptools"))
        return run([ptools, "shapes", "--model", jobs[0].model, "--in", jobs[0].input, "--json"])
    more = [json.dumps(jobs), *map(str, limits)]
    return run([sys.executable, "-m", "benchmarks.shapes", "--child", task, tool, *more])


def exactness(tools: Sequence[str], jobs: Sequence[Job], limits: Limits) -> None:
    """Print how many figures of every tool are exact, then what failed."""
    columns, failures = {}, []
    for tool in tools:
        pairs = list(zip(jobs, ask("all", tool, jobs, limits).answer, strict=True))
        columns[tool] = summary(pairs)
        wrong = [(job, answer["error"]) for job, answer in pairs if "error" in answer]
        failures += [f"{tool}, {job.model.rpartition('/')[2]}: {error}" for job, error in wrong]
    table("exact", columns, list(columns["ptools"]))
    print("", *failures, "", sep="\n")


def summary(pairs: Sequence[tuple[Job, dict[str, Any]]]) -> dict[str, str]:
    """Return row -> cell for the answers of one tool."""
    cells = {}
    for group in GROUPS:
        mine = [(job, answer) for job, answer in pairs if job.group == group]
        right = sum(is_exact(job, answer) for job, answer in mine)
        cells[f"{group}, MACs"] = f"{right}/{len(mine)}"
        over = [answer.get("params", 0) - job.params for job, answer in mine]
        heads = [answer.get("auxiliary") for _, answer in mine]
        named = sum(bool(o) and o == h for o, h in zip(over, heads, strict=True))
        extra = f" + {named} without auxiliary heads" if named else ""
        cells[f"{group}, parameters"] = f"{over.count(0)}/{len(mine)}{extra}"
    public = [pair for pair in pairs if pair[0].group in GROUPS]
    near = sum(abs(a.get("macs", 0) / j.macs - 1) <= 0.01 or is_exact(j, a) for j, a in public)
    cells["within 1 %"] = f"{near}/{len(public)}"
    cells["failed"] = str(sum("error" in answer for _, answer in public))
    for job, answer in pairs[len(public) :]:
        ratio = f"{answer['macs'] / job.macs:.4f} x" if "macs" in answer else "-"
        cells[job.group] = "exact" if is_exact(job, answer) else ratio
    return cells


def is_exact(job: Job, answer: dict[str, Any]) -> bool:
    """Return whether the MACs are those that are known, to the decimals of GMACs that are."""
    known, macs = job.macs / 1e9, answer.get("macs", -1) / 1e9
    decimals = 3 if job.group in GROUPS else 9
    return bool(round(macs, decimals) == round(known, decimals))


def costs(tools: Sequence[str], jobs: Sequence[Job], limits: Limits, repeats: int) -> None:
    """Print what every tool costs over importing torch and torchvision."""
    found: dict[tuple[str, str], list[Spent]] = defaultdict(list)
    for turn in range(repeats + 1):
        for label, model in COSTS.items():
            base = run([sys.executable, "-c", BASE])
            (job,) = (job for job in jobs if model in (job.group, job.model))
            for tool in tools:
                if tool in OTHERS and not 0 < turn < 4:
                    continue
                spent = ask("one", tool, [job], limits)
                if turn:  # the first one warms up
                    found[tool, label].append(_over(spent, base, tool))
    columns = {tool: {label: _cost(found[tool, label]) for label in COSTS} for tool in tools}
    table("CPU seconds, peak MiB", columns, list(COSTS))


def _over(spent: Spent, base: Spent, tool: str) -> Spent:
    if tool == INSIDE and spent.answer:
        return Spent(**spent.answer, answer=True)
    return Spent(spent.cpu - base.cpu, spent.mib - base.mib, spent.answer)


def _cost(every: Sequence[Spent]) -> str:
    cpu, mib = (statistics.median(spent[i] for spent in every) for i in (0, 1))
    return f"{cpu:.2f} s, {mib:.0f} MiB" if all(spent.answer for spent in every) else "-"


def table(title: str, columns: dict[str, dict[str, str]], rows: Sequence[str]) -> None:
    """Print a table as the README has it."""
    heads = [f"{t} {version(t)}" if t in OTHERS and " " not in t else t for t in columns]
    print(f"| {title} |", " | ".join(heads), "|")
    print("|---" * (len(columns) + 1) + "|")
    for row in rows:
        print(f"| {row} |", " | ".join(cells[row] for cells in columns.values()), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="Of the measurements of cost.")
    parser.add_argument("--quick", action="store_true", help="Few models, others 20 seconds each.")
    parser.add_argument("--gib", type=int, default=16, help="Memory that another tool may take.")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        task, tool, jobs, *bounds = args.child
        with os.fdopen(os.dup(1), "w") as answer:
            some = [Job(*one) for one in json.loads(jobs)]
            json.dump(child(task, tool, some, (int(bounds[0]), int(bounds[1]))), answer)
    else:
        for package in ("ptools", "plugins/ptools_plugins"):
            compileall.compile_dir(Path(__file__).parents[1] / package, quiet=1)
        compare(args.repeats, args.quick, args.gib)


def compare(repeats: int, quick: bool, gib: int) -> None:
    """Print the tables of the README."""
    limits = (20 if quick else 300, gib)
    others = [tool for tool in OTHERS if importlib.util.find_spec(tool.split()[0])]
    jobs = [Job(*one) for one in ask("known", "", [], limits).answer]
    few = [j for j in jobs if j.group not in GROUPS or j.model.partition("(")[0] in QUICK]
    exactness(["ptools", *others], few if quick else jobs, limits)
    costs(["ptools", INSIDE, *others], jobs, limits, 1 if quick else repeats)


if __name__ == "__main__":
    main()
