"""What finetune does differently from train, in a form that a run can be gone on with.

Plan                     which end of the network trains, from when on all of it, at which rates
custom(session, plan)    the loop's Custom: features computed once, groups of the optimiser, --unfreeze-at
again(session)           the same for a run that goes on
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ptools import output
from ptools.training.loop import Custom, Training

if TYPE_CHECKING:
    from torch import nn

    from ptools.training.session import Session

__all__ = ["Plan", "again", "custom"]


@dataclass(frozen=True)
class Plan:
    """What config.toml keeps as `finetune`.

    head         the last layer, which trains at the whole learning rate; "" where nobody asked
    tail         the modules that train on features, and `flat`: whether their output is flattened
    views        how often the training images' features are computed; 0: not at all
    unfreeze_at  the epoch from which on everything trains
    lr_backbone  factor of the learning rate of all but the head
    """

    head: str = ""
    tail: tuple[str, ...] = ()
    flat: bool = False
    views: int = 0
    unfreeze_at: int | None = None
    lr_backbone: float | None = None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Plan:
        """Return what `document` describes."""
        return cls(**{**document, "tail": tuple(document["tail"])})


def again(session: Session) -> Custom:
    """Return what finetune did differently in the run that this session goes on with."""
    from ptools.checkpoints.freezing import Manifest, apply_freeze

    plan = Plan.of(session.about["finetune"]) if session.about.get("finetune") else Plan()
    frozen = session.about.get("frozen") or {"names": [], "eval": []}
    if not _thawed(session, plan):
        apply_freeze(session.net, Manifest(frozen["names"], frozen["eval"]))
    return custom(session, plan)


def _thawed(session: Session, plan: Plan) -> bool:
    """Whether the run that goes on had begun to train what was frozen: its optimiser has that group."""
    if session.resumed is None or not plan.unfreeze_at:
        return False
    before = 2 if plan.lr_backbone and _split(session.net, plan.head, _frozen(session))[1] else 1
    return len(session.resumed["optimizer"]["param_groups"]) > before


def custom(session: Session, plan: Plan) -> Custom:
    """Return what the loop is to do differently; the features are computed here, with a bar.

    What is frozen must be so already. Raises NotProven where the features cannot be kept.
    """
    from ptools.checkpoints.freezing import trainable

    frozen = _frozen(session)
    factor = 1.0 if plan.lr_backbone is None else plan.lr_backbone
    groups: list[dict[str, Any]] | None = None
    if plan.lr_backbone is not None:
        head, rest = _split(session.net, plan.head, frozen)
        groups = [{"params": head}] + ([{"params": rest, "factor": factor}] if rest else [])
    if _thawed(session, plan):
        known = dict(session.net.named_parameters(remove_duplicate=False))
        late = list({id(known[name]): known[name] for name in frozen}.values())
        ids = {id(parameter) for parameter in late}
        first = [p for p in trainable(session.net) if id(p) not in ids]
        return Custom(groups=[*(groups or [{"params": first}]), {"params": late, "factor": factor}])
    found = Custom(groups=groups)
    if plan.unfreeze_at:
        found.on_epoch_start = _Thaw(session, plan.unfreeze_at, factor)
    begun = session.resumed["epoch"] if session.resumed else 1
    if plan.views and not (plan.unfreeze_at and begun >= plan.unfreeze_at):
        found.step_net, found.batches = _on_features(session, plan)
    return found


def _frozen(session: Session) -> list[str]:
    return list((session.about.get("frozen") or {"names": []})["names"])


def _split(net: nn.Module, head: str, frozen: list[str]) -> tuple[list[Any], list[Any]]:
    """Return the parameters of the head and the others that train from the beginning."""
    inside = {id(p) for p in net.get_submodule(head).parameters()}
    still = set(frozen)
    named = ((name, p) for name, p in net.named_parameters() if name not in still)
    moving = [p for _, p in named]
    return [p for p in moving if id(p) in inside], [p for p in moving if id(p) not in inside]


class _Thaw:
    """Lets the frozen part train from an epoch on: the whole network, on images again."""

    def __init__(self, session: Session, epoch: int, factor: float) -> None:
        self.session, self.epoch, self.factor, self.done = session, epoch, factor, False

    def __call__(self, epoch: int, training: Training) -> None:
        if self.done or epoch < self.epoch:
            return
        from ptools.training.frozen import thaw

        self.done = True
        frozen = self.session.about["frozen"]
        late = thaw(self.session.net, frozen["names"], frozen["eval"])
        training.widen([{"params": late, "factor": self.factor}])


def _on_features(session: Session, plan: Plan) -> tuple[nn.Module, tuple[Any, Any, Any]]:
    """Compute the features; say how many there are, and how long that took."""
    from ptools.training.features import parts
    from ptools.training.tail import Tail

    tail = Tail(plan.tail, plan.head, plan.flat)
    began = perf_counter()
    with _Bar() as tell:
        found = parts(session, tail, views=plan.views, tell=tell)
    if session.team.main:
        views = f", {plan.views} views of each" if plan.views > 1 else ""
        output.note(
            f"features of {tell.done} images computed once in {perf_counter() - began:.1f} s{views}; the "
            f"epochs train {plan.head} on them"
        )
    return tail.module(session.net), found


class _Bar:
    """A bar on stderr, where that is a terminal, drawn at most 10 times a second."""

    done = 0

    def __enter__(self) -> _Bar:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        text = TextColumn("features")
        self.bar = output.progress(text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.task, self.drawn = self.bar.add_task("", total=None), 0.0
        self.bar.start()
        return self

    def __call__(self, done: int, total: int) -> None:
        self.done = done
        now = perf_counter()
        if not self.bar.disable and (now - self.drawn > 0.1 or done == total):
            self.drawn = now
            self.bar.update(self.task, completed=done, total=total, refresh=True)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
