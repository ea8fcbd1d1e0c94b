"""Two functions to try it on: one that is right, one that is wrong on purpose."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["Exp", "GradReverse"]


class Exp(torch.autograd.Function):
    """e to the power of x, whose derivative is its own output.

    The example of https://docs.pytorch.org/docs/stable/autograd.html#function
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        result = x.exp()
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        result: Tensor = ctx.saved_tensors[0]
        return grad * result


class GradReverse(torch.autograd.Function):
    """x itself; backward turns the gradient round, and makes it `scale` times as long.

    It is no derivative and is not meant to be one: the layers below learn to make the loss above
    worse, as in domain-adversarial training (Ganin and Lempitsky, 2015, arXiv:1409.7495).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float = 1.0) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * grad, None
