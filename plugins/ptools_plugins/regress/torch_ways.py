"""The same steps with PyTorch: autograd, and an nn.Module with an optimizer of torch.optim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ptools_plugins.regress import formulas
from ptools_plugins.regress.formulas import RULES
from ptools_plugins.regress.models import Model

if TYPE_CHECKING:
    from ptools_plugins.regress.descent import Problem, Recipe

__all__ = ["Autograd", "Module"]

_CRITERIA = {"mse": nn.MSELoss, "l1": nn.L1Loss}


class _Torch:
    """What both have in common: the data as tensors, and the loss."""

    def __init__(self, problem: Problem, recipe: Recipe) -> None:
        self.model, self.recipe = problem.model, recipe
        self.phi, self.y = torch.from_numpy(problem.phi), torch.from_numpy(problem.y)
        self.near = formulas.near(problem.y.dtype)
        huber = recipe.loss == "huber"
        self.criterion = nn.HuberLoss(delta=recipe.delta) if huber else _CRITERIA[recipe.loss]()

    def predict(self, phi: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def of(self, rows: slice) -> torch.Tensor:
        """Return the loss of a batch."""
        y = self.y[rows]
        prediction = self.predict(self.phi[rows])
        if self.recipe.loss == "l1":  # a residual that is only rounding has no sign: formulas.near
            small = self.near * (prediction.detach().abs() + y.abs())
            prediction = torch.where((prediction.detach() - y).abs() <= small, y, prediction)
        loss: torch.Tensor = self.criterion(prediction, y)
        return loss

    def loss(self) -> float:
        with torch.no_grad():
            return self.of(slice(None)).item()


class Autograd(_Torch):
    """The gradient by loss.backward(), the optimizer by hand."""

    def __init__(self, problem: Problem, recipe: Recipe) -> None:
        super().__init__(problem, recipe)
        self.at = torch.tensor(problem.start, requires_grad=True)
        self.taken, self.state = 0, dict[str, Any]()

    def predict(self, phi: torch.Tensor) -> torch.Tensor:
        prediction: torch.Tensor = self.model.predict(self.at, phi, torch.tanh)
        return prediction

    def step(self, rows: slice) -> float:
        self.at.grad = None
        loss = self.of(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        self.taken += 1
        recipe = self.recipe
        with torch.no_grad():
            rule = RULES[recipe.optimizer]
            self.at -= rule(self.at.grad, self.state, self.taken, recipe.lr, recipe.momentum)
        return loss.item()

    def theta(self) -> Any:
        return self.at.detach().numpy().copy()


class Module(_Torch):
    """An nn.Module, a criterion of torch.nn and an optimizer of torch.optim."""

    def __init__(self, problem: Problem, recipe: Recipe) -> None:
        super().__init__(problem, recipe)
        self.net = _network(self.model).to(self.y.dtype)
        values = torch.tensor(problem.start)
        nn.utils.vector_to_parameters(values, self.net.parameters())
        self.optimizer = _optimizer(self.net.parameters(), recipe)

    def predict(self, phi: torch.Tensor) -> torch.Tensor:
        prediction: torch.Tensor = self.net(phi)
        return prediction.squeeze(1)

    def step(self, rows: slice) -> float:
        self.optimizer.zero_grad()
        loss = self.of(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.item()

    def theta(self) -> Any:
        return nn.utils.parameters_to_vector(self.net.parameters()).detach().numpy().copy()


def _network(model: Model) -> nn.Module:
    if model.kind != "mlp":
        return nn.Linear(model.inputs, 1, bias=model.bias)
    return nn.Sequential(
        nn.Linear(model.inputs, model.hidden), nn.Tanh(), nn.Linear(model.hidden, 1)
    )


def _optimizer(parameters: Iterator[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.lr)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=recipe.lr)
    momentum = recipe.momentum if recipe.optimizer == "momentum" else 0
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=momentum)
