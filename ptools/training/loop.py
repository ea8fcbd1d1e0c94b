"""The loop: pytorch-ignite's Engine over our own batches, and what happens between two of them.

Training          one training that can be saved and gone on with; run() trains, state() is all of it
Diverged          the loss is no longer finite
fit(...)          a Training in one call, for a model of your own

ignite is imported here and only when a training runs: `--help` and other commands never pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ptools.data import ImageSet
from ptools.errors import PtoolsError
from ptools.training import light, parallel, state
from ptools.training.distributed import ALONE, Team
from ptools.training.hardware import seed
from ptools.training.history import Epoch, best, losses, tired
from ptools.training.scoring import Measured, Stopped, measure
from ptools.training.settings import Settings
from ptools.training.signals import Stop
from ptools.training.sources import Custom, Statistics, class_weights, parts
from ptools.training.step import Running, Step, autocast

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Custom", "Diverged", "Training", "fit"]

_LOOK = 50  # batches between two looks whether the losses are finite, or half a second
_AGREE = 10  # steps between two agreements of several processes: each costs a round trip
_SHARE = 20  # of the time at most one 20th goes into saving: epochs on cached features take 10 ms


class Diverged(PtoolsError):
    """The loss is no longer finite."""


class Training:
    """The training of `net` on `data`. What is trained so far is in `history`, `epoch`, `step`.

    ended   None, or why there are no more epochs: "patience", "time"
    """

    def __init__(
        self,
        net: nn.Module,
        data: ImageSet,
        settings: Settings,
        *,
        statistics: Statistics | None = None,
        custom: Custom | None = None,
        team: Team = ALONE,
        stop: Stop | None = None,
    ) -> None:
        self.net, self.data, self.settings, self.team = net, data, settings, team
        self.stop = stop or Stop()
        self.custom = custom or Custom()
        self.trained = self.custom.step_net or net
        self.statistics = statistics or data.statistics()
        self.train: Any  # None once they are released
        self.train, self.val, self.test = self.custom.batches or parts(
            data, settings, self.statistics, team
        )
        call = parallel.wrapped(self.trained, settings, team)
        self.step = Step(
            call,
            settings,
            batches=len(self.train),
            class_weights=class_weights(data, settings),
            groups=self.custom.groups,
        )
        self.history: list[Epoch] = []
        self.epoch = 1
        self.ended: str | None = None
        self.seconds = self.epoch_seconds = 0.0
        self.random: Any = None  # the random numbers to begin with; None once it has begun
        self.began = self.step.lr  # the learning rate at the epoch's beginning

    def widen(self, groups: Sequence[dict[str, Any]]) -> None:
        """Train the whole network from now on, on images, and `groups` of its parameters as well."""
        self.trained = self.net
        self.train, self.val, self.test = parts(
            self.data, self.settings, self.statistics, self.team
        )
        step = self.step
        for group in groups:
            step.optimizer.add_param_group({"factor": 1.0, **group})
            step.parameters += group["params"]
        step.model = parallel.wrapped(self.trained, self.settings, self.team)
        step.lr_now()

    # -- running -----------------------------------------------------------------------------------

    def run(
        self,
        *,
        on_batch: Callable[[Running], object] = lambda _: None,
        on_epoch: Callable[[Epoch], object] = lambda _: None,
        save: Callable[[dict[str, Any]], object] | None = None,
    ) -> bool:
        """Train to the end, from where it is; return whether it came there, and was not stopped.

        `save` is called with the whole state after every epoch, every `save_every` seconds between
        steps, and when it stops. Raises Diverged.
        """
        self.on_batch, self.on_epoch, self.save = on_batch, on_epoch, save
        self.now = self.looked = perf_counter()
        budget, self.saved = self.settings.time_budget, self.now
        self.deadline = self.now + budget - self.seconds if budget else float("inf")
        self.stopped, self.cost = False, 0.0
        if self.random is None:
            seed(self.settings.seed + 1_000_003 * self.team.rank)
            self.random = state.random_state(self.settings.device)
            self._save()  # from here on it can be gone on with
        try:
            if self.step.batch == self.step.batches:  # all but the scores of an epoch was done
                self._finish(None)
            if self.epoch <= self.settings.epochs and not self.ended:
                self._run()
            if self.ended == "time" and self.step.batch:
                self._conclude()
        except Stopped:
            self._save()
            self.stopped = True
        return not self.stopped

    def _run(self) -> None:
        Engine, Events = light.ignite()
        engine = Engine(self.step)
        engine.logger.disabled = True  # it repeats our errors on stderr
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)
        length, epochs = self.step.batches, self.settings.epochs
        done = (self.epoch - 1) * length + self.step.batch
        engine.load_state_dict({"epoch_length": length, "max_epochs": epochs, "iteration": done})
        engine.run(_Source(self), max_epochs=epochs)

    def _begin(self, engine: Any) -> None:
        self.custom.on_epoch_start(self.epoch, self)
        self.trained.train()
        if self.random:  # here, and not before: imports and a first drawing take some
            state.restore_random(self.random, self.settings.device)
            self.random = None
        if not self.step.batch:
            self.began = self.step.lr_now()

    def _after(self, engine: Any) -> None:
        """Between two batches: look at the losses, hear signals, save when it is time."""
        step = self.step
        self.on_batch(step.running)
        if not step.at_a_step:
            return
        now = perf_counter()
        alone = self.team.ranks == 1
        if step.running.unseen >= _LOOK or (alone and now - self.looked > 0.5):
            self._look()
        wishes = [
            self.stop.asked,
            self.save is not None and now - self.saved >= self.settings.save_every,
            now >= self.deadline,
        ]
        if not alone:
            if step.step % _AGREE and step.batch != step.batches:
                return
            wishes = [bool(wish) for wish in self.team.highest([float(w) for w in wishes])]
        stop, due, late = wishes
        if late:
            self.ended = "time"
        if stop or due or late:
            self._save()
        if stop or late:
            self.stopped = stop
            engine.terminate()

    def _finish(self, engine: Any) -> None:
        """At the end of an epoch: measure it, say so, save."""
        with state.undisturbed(self.settings.device):
            self._finish_epoch()
        if self.ended and engine is not None:
            engine.terminate()

    def _finish_epoch(self) -> None:
        self.history.append(self._measure())
        self.on_epoch(self.history[-1])
        self.epoch, self.epoch_seconds, self.step.batch = self.epoch + 1, 0.0, 0
        self.step.losses = losses(self.history)
        self.step.running.reset()
        if tired(self.history, self.settings):
            self.ended = "patience"
        last = self.ended or self.epoch > self.settings.epochs
        due = last or perf_counter() - self.saved >= _SHARE * self.cost
        if any(self.team.highest([float(bool(due))])):
            self._save()

    def _conclude(self) -> None:
        """Measure an epoch that the time budget cut; last.ckpt knows it as one that can go on."""
        self.history.append(self._measure())
        self.on_epoch(self.history[-1])

    def _measure(self) -> Epoch:
        self._look()
        running = self.step.running
        sums = [running.loss_sum, float(running.right_sum), float(running.count)]
        loss, right, count = self.team.sum(sums)
        parallel.agree(self.net, self.team)
        val = self.score(self.val, casting=autocast(self.settings)) if self.val else None
        self._tick()
        return Epoch(
            self.epoch,
            loss / count,
            right / count,
            val.loss if val else None,
            val.accuracy if val else None,
            self.began,
            self.epoch_seconds,
        )

    def score(self, batches: Any, **options: Any) -> Measured:
        """Return what the network is worth on `batches`. Raises Stopped."""
        team = ALONE if self.settings.shard else self.team
        stop = self.stop if self.team.ranks == 1 else None  # several end together, or not at all
        loss = self.settings.loss
        return measure(self.trained, batches, loss=loss, team=team, stop=stop, **options)

    def _look(self) -> None:
        """Raise Diverged where a loss is not finite, with the step that had it."""
        self.looked = perf_counter()
        bad = self.step.first_bad()
        if not any(self.team.highest([float(bad is not None)])):
            return
        step, lr, loss = next(found for found in self.team.gather(bad) if found is not None)
        raise Diverged(f"the loss became {loss} {self._advice(step, lr)}")

    def _advice(self, step: int, lr: float | None = None) -> str:
        """Return where it was, and what to try."""
        settings, per_epoch = self.settings, -(-self.step.batches // self.settings.accumulate)
        within = step - (self.epoch - 1) * per_epoch
        return (
            f"at step {step} (epoch {self.epoch}, step {within} of {per_epoch}), at the learning rate "
            f"{lr or self.step.lr:.3g}; try --lr {settings.lr / 10:g}, not {settings.lr:g}, or --grad-clip 1."
        )

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights are kept."""
        return best(self.history).epoch if self.history else None

    # -- what it takes to go on --------------------------------------------------------------------

    def _save(self) -> None:
        if self.save is None:
            return
        self._tick()
        self._look()
        self._check_weights()
        began = perf_counter()
        found = self.state()
        if self.team.main:
            with state.undisturbed(self.settings.device):
                self.save(found)
        self.saved = perf_counter()
        (self.cost,) = self.team.highest([self.saved - began])

    def _check_weights(self) -> None:
        """Raise Diverged rather than save weights that are not finite."""
        import torch

        sums = [p.detach().sum() for p in self.trained.parameters()]
        whole = not sums or bool(torch.stack([s.float() for s in sums]).sum().isfinite())
        if not whole:
            raise Diverged(f"the weights are no longer finite {self._advice(self.step.step)}")

    def _tick(self) -> None:
        now = perf_counter()
        self.seconds += now - self.now
        self.epoch_seconds += now - self.now
        self.now = now

    def state(self) -> dict[str, Any]:
        """Return all that it takes to go on to the same weights; all processes take part."""
        return state.captured(self)

    def load(self, found: Mapping[str, Any]) -> None:
        """Go on from what `state` returned. Raises PtoolsError where it does not fit."""
        state.restore(self, found)

    def weights(self) -> dict[str, Any]:
        """Return the whole state_dict; all processes take part."""
        return parallel.weights(self.net, self.settings)

    def still(self) -> set[str]:
        """Return the keys of `weights` that no step changes: all but the tail's, on cached features."""
        if self.trained is self.net or self.settings.shard:
            return set()
        moving = {value.data_ptr() for value in self.trained.state_dict().values()}
        whole = self.net.state_dict()
        return {key for key, value in whole.items() if value.data_ptr() not in moving}

    def release(self) -> None:
        """Let the workers that decode go now: collected later, as a part of a circle, each costs 5 s."""
        self.train = self.val = self.test = None

    def forget(self) -> None:
        """Free what lies on the device beside the model."""
        self.step.optimizer.zero_grad(set_to_none=True)
        self.step.optimizer.state.clear()
        self.step.running.waiting.clear()


class _Source:
    """The batches of the epoch that is running, from the one that comes next."""

    def __init__(self, training: Training) -> None:
        self.training = training

    def __len__(self) -> int:
        return self.training.step.batches

    def __iter__(self) -> Iterator[Any]:
        training = self.training
        found: Iterator[Any] = training.train.epoch(training.epoch, training.step.batch)
        return found


def fit(
    model: nn.Module,
    data: ImageSet,
    settings: Settings,
    *,
    on_batch: Callable[[Running], object] = lambda _: None,
    on_epoch: Callable[[Epoch], object] = lambda _: None,
    custom: Custom | None = None,
) -> list[Epoch]:
    """Train `model` in place on `data.train` and return what every epoch measured. Raises Diverged."""
    with light.uncompiled(settings):
        training = Training(model, data, settings, custom=custom)
        try:
            training.run(on_batch=on_batch, on_epoch=on_epoch)
        finally:
            training.release()
    return training.history
