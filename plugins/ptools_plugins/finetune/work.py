"""The steps of a finetuning, from its options to a session that can run.

Wish                what is to be frozen, and for how long
check(...)          refuse what contradicts itself, before anything is read
prepared(...)       the session: images, and the network built for them
load(...)           somebody's weights into it
freeze(...)         what does not move; the loop's part of it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools.errors import FileError, UsageError

if TYPE_CHECKING:
    from ptools.checkpoints.freezing import Manifest
    from ptools.training.distributed import Team
    from ptools.training.finetuning import Plan
    from ptools.training.frozen import Frozen
    from ptools.training.session import Session
    from ptools.training.settings import DataOptions, Settings
    from ptools.training.tail import Tail
    from ptools.training.weights import Loaded
    from ptools_plugins.finetune.start import Start

LR = 0.01  # a fifth of train's


@dataclass(frozen=True)
class Wish:
    """What is to be frozen, and for how long."""

    patterns: tuple[str, ...] = ()
    manifest: Manifest | None = None
    unfreeze_at: int | None = None
    lr_backbone: float | None = None
    views: int | None = None

    @property
    def freezes(self) -> bool:
        return bool(self.patterns or self.manifest)


def wished(
    patterns: Sequence[str],
    manifest: Path | None,
    unfreeze_at: int | None,
    lr_backbone: float | None,
    views: int | None,
) -> Wish:
    """Return what the options say. Raises UsageError where they contradict each other, FileError."""
    from ptools.checkpoints.freezing import read_manifest
    from ptools.training.frozen import NONE

    chosen = tuple(pattern for pattern in patterns if pattern != NONE)
    if len(chosen) not in (0, len(patterns)):
        raise UsageError("--freeze none says that nothing is frozen; leave the others out.")
    if manifest and patterns:
        raise UsageError(
            "--freeze-manifest and --freeze both say what is frozen; give one of them."
        )
    read = read_manifest(manifest) if manifest else None
    wish = Wish(chosen, read, unfreeze_at, lr_backbone, views)
    if unfreeze_at and not wish.freezes:
        raise UsageError("--unfreeze-at needs something that is frozen: --freeze backbone.")
    if views and not wish.freezes:
        raise UsageError("--views caches what a frozen part computes: add --freeze backbone.")
    return wish


def check(start: Start, out: Path | None, force: bool, wish: Wish, settings: Settings) -> None:
    """Raise UsageError or FileError for what cannot be, before anything is downloaded or read."""
    if out and start.file and start.file.resolve() == (out / "best.pth").resolve():
        raise UsageError(f"--out {out} would replace {start.file} itself; choose another folder.")
    if out and not force and out.is_dir() and any(out.iterdir()):
        raise FileError(f"{out} is not empty; choose another folder or add --force.")
    if wish.lr_backbone is not None and settings.find_lr:
        raise UsageError("--lr-backbone needs an --lr that is known; try --find-lr of train first.")
    if wish.unfreeze_at and wish.unfreeze_at > settings.epochs:
        raise UsageError(
            f"--unfreeze-at {wish.unfreeze_at} is after the last of {settings.epochs} epochs; raise --epochs."
        )
    if wish.views and settings.augment == "none":
        raise UsageError("--views are of augmented images: add --augment flip-crop, or another.")


def parsed(options: dict[str, Any], start: Start) -> tuple[Settings, DataOptions]:
    """Return settings and data options; what was not given is as the weights had it."""
    from ptools.training.settings import parse

    given = {name: value for name, value in options.items() if value is not None}
    known: dict[str, Any] = {"lr": LR}
    if start.dropout is not None:
        known["dropout"] = start.dropout
    if start.shape is not None:
        known |= {"channels": start.shape[0], "size": start.shape[1:]}
    return parse(known | given)


def prepared(
    data: str, start: Start, settings: Settings, how: DataOptions, team: Team, wish: Wish
) -> Session:
    """Load the images and build the network for them. Raises UsageError, PluginError, FileError."""
    from ptools.training.session import prepare

    return prepare(
        data,
        start.model,
        settings,
        options=how,
        head=start.head,
        statistics=start.statistics,
        team=team,
        step=not wish.freezes,
    )


def load(
    session: Session, start: Start, key: str | None, *, accept_likely: bool, fresh: bool
) -> Loaded | None:
    """Fill the network. Its last layer stays new where it is to be `fresh`, or means other classes.

    Raises FileError, UsageError, PtoolsError; None where it starts from nothing.
    """
    from ptools.models import heads
    from ptools.training.weights import load_into

    session.about["loaded"] = None
    if start.file is None:
        return None
    shape, net = session.images.shape, session.net
    leave: tuple[str, ...] = ()
    if start.append:
        net = heads.without(net, shape)
    elif fresh or start.classes not in (None, session.images.classes):
        leave = heads.find(net, shape).names
    found = load_into(net, start.file, key=key, accept_likely=accept_likely, leave=leave)
    session.about["loaded"] = found.document()
    return found


def freeze(
    session: Session, start: Start, wish: Wish, loaded: Loaded | None, tell: Callable[[Any], object]
) -> tuple[Frozen | None, Plan]:
    """Freeze, decide what trains on features, and compute these. Raises UsageError."""
    from dataclasses import replace

    from ptools.training import check, finetuning, frozen

    end, still = _end(session, wish), None
    if wish.freezes:
        still = frozen.freeze(
            session.net,
            manifest=wish.manifest,
            patterns=wish.patterns,
            tail=end.names if end else (),
            loaded=_names(session, start, loaded),
        )
        tell(still)
    plan = finetuning.Plan(unfreeze_at=wish.unfreeze_at)
    if wish.lr_backbone is not None:
        plan = replace(plan, lr_backbone=wish.lr_backbone / session.settings.lr)
    if end is not None:
        plan = replace(plan, head=end.head)
    session.about["frozen"] = still.document() if still else None
    if wish.freezes:
        plan = _cached(session, plan, end, wish, tell)
    if not session.custom.batches:
        session.custom = finetuning.custom(session, plan)
        if wish.freezes:
            check(session.net, session.images, session.settings)  # does the rest get a gradient?
    session.about["finetune"] = plan.document()
    if (
        wish.lr_backbone is not None
        and len(session.custom.groups or ()) + bool(wish.unfreeze_at) < 2
    ):
        raise UsageError(
            "--lr-backbone has no effect: all but the last layer is frozen; add --unfreeze-at."
        )
    return still, plan


def _end(session: Session, wish: Wish) -> Tail | None:
    """Return the end of the network that `backbone` leaves out; None where only names are asked for."""
    from ptools.models import heads
    from ptools.training import frozen, tail

    if not wish.freezes and wish.lr_backbone is None:
        return None
    try:
        head = heads.find(session.net, session.images.shape).name
    except UsageError:
        if frozen.BACKBONE in wish.patterns or wish.lr_backbone is not None or wish.views:
            raise
        return None
    return tail.tail(session.net, head)


def _cached(
    session: Session, plan: Plan, end: Tail | None, wish: Wish, tell: Callable[[Any], object]
) -> Plan:
    """Compute the features of what is frozen, where that is exact; say so where it is not."""
    from dataclasses import replace

    import torch

    from ptools.training import finetuning, tail

    settings = session.settings
    if settings.augment != "none" and not wish.views:
        tell(
            "the frozen part runs in every epoch, for new augmentations; --views 5 caches 5 of each image"
        )
        return plan
    try:
        if end is None:
            raise tail.NotProven("the last layer was not found")
        dice = torch.Generator().manual_seed(0)
        images = torch.rand(2, *session.images.shape, generator=dice).to(settings.device)
        end = tail.proven(session.net, end, images)
        cached = replace(plan, tail=end.names, flat=end.flat, views=wish.views or 1)
        session.custom = finetuning.custom(session, cached)
    except tail.NotProven as reason:
        if wish.views:
            raise UsageError(f"--views cannot be cached: {reason}.") from reason
        tell(f"the frozen part runs in every epoch: {reason}")
        return plan
    return cached


def _names(session: Session, start: Start, loaded: Loaded | None) -> set[str]:
    """Return what was loaded, in the names of the network that is trained."""
    if loaded is None or not start.append:
        return set(loaded.names if loaded else ())
    from ptools.models import heads

    before: Any = heads.without(session.net, session.images.shape).state_dict(keep_vars=True)
    ids = {id(before[name]) for name in loaded.names}
    state: Any = session.net.state_dict(keep_vars=True)
    return {name for name, value in state.items() if id(value) in ids}
