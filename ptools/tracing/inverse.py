"""Which kernel, stride, padding and dilation turn one size into another. Whole numbers, no torch.

What is given is held fixed. What is not is searched within these bounds:

    kernel          1 to KERNEL; larger: in/out (out/in of `transpose`) rounded down or up, as a
                    patch: stride = kernel, no padding, no dilation unless given
    stride          1 to STRIDE, the kernel, or in/out (out/in) rounded down or up; not above both
                    the dilated kernel and in/out rounded up. Where one window is all there is the
                    stride changes nothing: the layer's default, or else the smallest that leaves
                    one window (and in several dimensions in/out of the other dimensions)
    padding         0 to half the dilated kernel (pooling: the kernel); with the given stride, or a
                    stride of 1, up to the dilated kernel less 1 where half is too little for the
                    size (not in pooling); at most PADDING, or what centres the kernel
    dilation        1 to DILATION; 1 for a kernel of 1 and where the layer has none
    output_padding  0 to the stride less 1, at most STRIDE; `transpose` only

Every solution within the bounds is found. In several dimensions these are the settings that fit
all of them. Where there are none, each dimension has its own: all combinations, or where these are
more than COMBINATIONS, those of every dimension's simplest settings. Dimensions that ask the same
get the same.

Simplest first means, in this order:

    1. at least half of the longer side is touched by a window
    2. a small dilation
    3. no gaps between the windows
    4. a small output padding
    5. the same value in every dimension
    6. the form practitioners write. conv: centred (k=3 p=1) for a stride of 1 or 2, no padding for
       stride 1; patches for a stride above 2. All others: patches, centred (transpose: the size
       times the stride), no padding. Patches tile the input: k = s = in/out without padding
    7. the kernels of habit, HABIT, then the smaller one
    8. a small stride, a small padding
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import NamedTuple

from ptools.errors import UsageError
from ptools.tracing import sizes
from ptools.tracing.sizes import POOLING, UNDILATED, Window

KERNEL = 11
STRIDE = 11
PADDING = 64
DILATION = 4
COMBINATIONS = 2000
HABIT = (3, 1, 5, 7, 2, 4)

Given = Sequence[int] | None


class Answer(NamedTuple):
    """The solutions, simplest first, a window per dimension; `complete`: no combination left out."""

    solutions: list[tuple[Window, ...]]
    complete: bool


@dataclass(frozen=True)
class _Task:
    """The question along one dimension; None is free. `ratios`: in/out of the dimensions."""

    op: str
    size: int
    wanted: int
    kernel: int | None
    stride: int | None
    padding: int | str | None
    dilation: int | None
    output_padding: int | None
    ceil: bool
    dims: int
    ratios: tuple[int, ...] = ()  # of all dimensions: strides and patches
    steady: tuple[int, ...] = ()  # of those with more than one window

    @property
    def ends(self) -> tuple[int, int]:
        """(how many windows, along how many elements); a transposed one runs the other way."""
        return (self.size, self.wanted) if self.op == "transpose" else (self.wanted, self.size)


def solve(
    size: Sequence[int],
    wanted: Sequence[int],
    op: str = "conv",
    kernel: Given = None,
    stride: Given = None,
    padding: Sequence[int] | str | None = None,
    dilation: Given = None,
    ceil: bool = False,
    output_padding: Given = None,
) -> Answer:
    """Return the layers that turn `size` into `wanted`; one value per dimension in every argument.

    No solutions: no layer within the bounds gives the size. Raises UsageError where PyTorch has no
    such layer.
    """
    dims = len(size)
    free: tuple[None, ...] = (None,) * dims
    tasks = [
        _Task(
            op,
            size[i],
            wanted[i],
            (kernel or free)[i],
            (stride or free)[i],
            padding if isinstance(padding, str) else (padding or free)[i],
            (dilation or free)[i],
            (output_padding or free)[i],
            ceil,
            dims,
        )
        for i in range(dims)
    ]
    tasks = _with_ratios(tasks)
    found = {task: _along(task) for task in tasks}
    return _together(tasks, found) if all(found.values()) else Answer([], True)


def _with_ratios(tasks: list[_Task]) -> list[_Task]:
    """Check what was given, and tell every dimension the ratios of all. Raises UsageError."""
    every, steady = set(), set()
    for task in tasks:
        _check_given(task)
        windows, elements = task.ends
        ratios = {elements // windows, -(-elements // windows)} - {0}
        every |= ratios
        steady |= ratios if windows > 1 else set()
    return [replace(t, ratios=tuple(sorted(every)), steady=tuple(sorted(steady))) for t in tasks]


def _check_given(task: _Task) -> None:
    if task.padding == "same" and (task.op != "conv" or task.stride not in (None, 1)):
        raise UsageError("--p same is for conv with stride 1, as in PyTorch; give a number.")
    p = task.padding if isinstance(task.padding, int) else 0
    window = Window(1, 1, (p, p), task.dilation or 1, task.ceil, task.output_padding or 0)
    sizes.check_options(task.op, window)


# -- one dimension -----------------------------------------------------------------------------------


def _along(task: _Task) -> list[Window]:
    """Return every solution of one dimension, simplest first."""
    found = [
        window
        for kernel in _kernels(task)
        for dilation in _dilations(task, kernel)
        for window in _windows(task, kernel, dilation)
        if _fits(task, window)
    ]
    return sorted(found, key=lambda window: _rank(task, window))


def _is_patch(task: _Task, kernel: int) -> bool:
    return task.kernel is None and kernel > KERNEL


def _kernels(task: _Task) -> list[int]:
    if task.kernel is not None:
        return [task.kernel]
    return [*range(1, KERNEL + 1), *(ratio for ratio in task.ratios if ratio > KERNEL)]


def _dilations(task: _Task, kernel: int) -> Iterable[int]:
    if task.dilation is not None:
        return (task.dilation,)
    plain = kernel == 1 or task.op in UNDILATED or _is_patch(task, kernel)
    return (1,) if plain else range(1, DILATION + 1)


def _windows(task: _Task, kernel: int, dilation: int) -> Iterator[Window]:
    """Yield the windows within the bounds that may give the size; few of them do not."""
    span = dilation * (kernel - 1) + 1
    half = (kernel if task.op in POOLING else span) // 2
    paddings = _paddings(task, kernel, span, half)
    for stride, padding, more in _moves(task, kernel, dilation, paddings):
        # more than half is for the smallest stride alone
        if padding <= half or stride == (task.stride or 1) or task.padding is not None:
            window = Window(kernel, stride, (padding, padding), dilation, task.ceil, more)
            same = task.padding == "same"
            yield replace(window, padding=sizes.same_padding(window)) if same else window


def _moves(
    task: _Task, kernel: int, dilation: int, paddings: list[int]
) -> Iterator[tuple[int, int, int]]:
    """Yield stride, padding and output padding."""
    span = dilation * (kernel - 1) + 1
    if task.op == "transpose":
        held = task.output_padding or 0
        for stride in _strides(task, kernel, span, held + 1 if held >= dilation else 1):
            for more in _output_paddings(task, stride):
                twice = (task.size - 1) * stride + span + more - task.wanted
                if twice % 2 == 0 and twice // 2 in paddings:
                    yield stride, twice // 2, more
        return
    for padding in paddings:
        last = task.size + (span - 1 if task.padding == "same" else 2 * padding) - span
        low, high = _stride_range(task, last, padding)
        for stride in _strides(task, kernel, span, low):
            if low <= stride <= high:
                yield stride, padding, 0


def _paddings(task: _Task, kernel: int, span: int, half: int) -> list[int]:
    if task.padding is not None:
        return [task.padding if isinstance(task.padding, int) else 0]
    if task.op == "lppool" or _is_patch(task, kernel):
        return [0]
    most, stride = half, task.stride or 1
    if task.op == "transpose":
        too_little = (task.size - 1) * stride + span - 2 * half > task.wanted
    else:
        too_little = (task.size + 2 * half - span) // stride + 1 < task.wanted
    if too_little and task.op not in POOLING:
        most = span - 1
    centre = [(span - 1) // 2] if PADDING < (span - 1) // 2 <= most and span % 2 else []
    return [*range(min(most, PADDING) + 1), *centre]


def _stride_range(task: _Task, last: int, padding: int) -> tuple[int, int]:
    """Return the strides that may give the size, where the last window could start at `last`."""
    jumps, any_more = task.wanted - 1, 2**63
    if not task.ceil:  # last // stride is what is wanted less 1
        low = last // (jumps + 1) + 1
        return (low, last // jumps if jumps else any_more) if last >= 0 else (1, 0)
    if not jumps:  # a second window is dropped where it would start in the right padding
        return (
            1 - last if last < 0 else 1 if not last else max(last, task.size + padding)
        ), any_more
    # ceil(last / stride) is that, or 1 more where a window is dropped
    return max(-(-last // (jumps + 1)), 1), (last - 1) // (jumps - 1) if jumps > 1 else any_more


def _strides(task: _Task, kernel: int, span: int, low: int = 1) -> list[int]:
    """Return the strides within the bounds; `low`: the smallest that can give the size."""
    if task.stride is not None:
        return [task.stride]
    if task.padding == "same":
        return [1]
    windows, elements = task.ends
    if windows == 1:
        usual = sizes.default_stride(task.op, kernel)
        return sorted({usual if usual >= low else low, *task.steady})
    if _is_patch(task, kernel):
        return [kernel]
    most = max(span, -(-elements // windows))
    return sorted({s for s in (*range(1, STRIDE + 1), kernel, *task.ratios) if s <= most})


def _output_paddings(task: _Task, stride: int) -> Iterable[int]:
    if task.output_padding is not None:
        return (task.output_padding,)
    return range(min(stride, STRIDE + 1))


def _fits(task: _Task, window: Window) -> bool:
    """Return whether PyTorch takes the layer and gives the size: the judge of every candidate."""
    try:
        sizes.check(task.op, [task.size] * task.dims, [window] * task.dims)
        return sizes.output_size(task.op, task.size, window) == task.wanted
    except UsageError:
        return False


def _rank(task: _Task, window: Window) -> tuple[int, ...]:
    """Return what the order compares; the head of this file explains it."""
    windows, elements = task.ends
    k, s, p, span = window.kernel, window.stride, sum(window.padding), window.span
    touched = min(elements, (windows - 1) * min(s, span) + span - window.padding[0])
    habit = HABIT.index(k) if k in HABIT else len(HABIT) + k
    return (
        int(2 * touched < elements),
        window.dilation - 1,
        int(s > span and windows > 1),
        window.output_padding,
        _form(task, window),
        habit,
        s,
        p,
    )


def _form(task: _Task, window: Window) -> int:
    windows, elements = task.ends
    k, s, p = window.kernel, window.stride, sum(window.padding)
    tile = -(-elements // windows) if task.ceil else elements // windows
    patch = 1 < k == tile and not p and (k == s or windows == 1)
    centred = p == window.span - 1 or (task.op == "transpose" and elements == windows * s)
    if task.op != "conv":
        return 0 if patch else 3 if k == 1 else 1 if centred else 2 if not p else 3
    if s > 2:
        return 0 if patch else 1 if centred or not p else 2
    return 0 if centred or (not p and s == 1) else 1 if not p else 2


# -- several dimensions ------------------------------------------------------------------------------


def _together(tasks: list[_Task], found: dict[_Task, list[Window]]) -> Answer:
    """Return the settings that fit every dimension; where none does, combinations of settings."""
    free = _free(tasks[0])
    lists = {task: {_values(w, free): w for w in found[task]} for task in found}
    common = set.intersection(*(set(windows) for windows in lists.values()))
    complete = True
    if common:
        combined = [tuple(lists[task][values] for task in tasks) for values in common]
    else:
        kinds = list(found)  # equal questions get equal answers
        best = [found[kind][:] for kind in kinds]
        while prod(map(len, best)) > COMBINATIONS:
            max(best, key=len).pop()
            complete = False
        places = [kinds.index(task) for task in tasks]
        combined = [tuple(choice[i] for i in places) for choice in product(*best)]
    ranks = {(task, w): _rank(task, w) for task in found for w in found[task]}

    def key(solution: tuple[Window, ...]) -> tuple[int, ...]:
        each = [ranks[pair] for pair in zip(tasks, solution, strict=True)]
        sums = [sum(column) for column in zip(*each, strict=True)]
        differing = sum(
            len(set(v)) > 1 for v in zip(*(_values(w, free) for w in solution), strict=True)
        )
        return (*sums[:4], differing, *sums[4:], *(w.kernel for w in solution))

    return Answer(sorted(combined, key=key), complete)


_FIELDS = ("kernel", "stride", "padding", "dilation", "output_padding")


def _free(task: _Task) -> tuple[str, ...]:
    """Return what may be chosen: the same options in every dimension."""
    return tuple(name for name in _FIELDS if getattr(task, name) is None)


def _values(window: Window, names: tuple[str, ...]) -> tuple[object, ...]:
    return tuple(getattr(window, name) for name in names)
