"""What is done to the layers of a network that is built: lazy ones filled, dropout, initialisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptools.errors import UsageError, cause

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

INITIALISATIONS = ("default", "xavier", "kaiming", "orthogonal")


def initialise(model: nn.Module, how: str) -> None:
    """Draw the weights of every linear, convolution and attention layer anew; set their biases to zero.

    xavier     uniform, Glorot & Bengio 2010
    kaiming    normal for ReLU, by fan-out, He et al. arXiv:1502.01852, as torchvision's ResNets
    orthogonal Saxe et al. arXiv:1312.6120
    default    leaves the model as it built itself

    Normalisations, embeddings and recurrent layers stay as they are. Uses torch's global random numbers.
    Raises UsageError for another word, and where the model has no such layer.
    """
    if how == "default":
        return
    if how not in INITIALISATIONS:
        raise UsageError(f"no initialisation is called '{how}': {', '.join(INITIALISATIONS)}.")
    drawn = set()
    for weight, bias in _weighted(model):
        if id(weight) not in drawn:  # tied weights are drawn once
            drawn.add(id(weight))
            _RECIPES()[how](weight)
        if bias is not None:
            bias.detach().zero_()
    if not drawn:
        raise UsageError(
            f"the model has no linear or convolution layer to initialise; drop --init {how}."
        )


def _RECIPES() -> dict[str, Callable[[Tensor], Any]]:
    from torch.nn import init

    return {
        "xavier": init.xavier_uniform_,
        "kaiming": lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
        "orthogonal": init.orthogonal_,
    }


def _weighted(model: nn.Module) -> list[tuple[Tensor, Tensor | None]]:
    """Return weight and bias of the layers that multiply; MultiheadAttention's projections are some."""
    from torch import nn
    from torch.nn.modules.conv import _ConvNd

    found: list[tuple[Tensor, Tensor | None]] = []
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Bilinear, _ConvNd)):
            found.append((module.weight, module.bias))
        elif isinstance(module, nn.MultiheadAttention):
            inside = [module.in_proj_weight, module.q_proj_weight, module.k_proj_weight]
            inside.append(module.v_proj_weight)
            weights = [w for w in inside if w is not None]
            found += [(weight, None) for weight in weights]
            if module.in_proj_bias is not None:
                found.append((weights[0], module.in_proj_bias))
    return found


def set_dropout(model: nn.Module, p: float) -> None:
    """Set the probability of every Dropout. Raises UsageError where there is none."""
    from torch.nn.modules.dropout import _DropoutNd

    found = [module for module in model.modules() if isinstance(module, _DropoutNd)]
    if not found:
        raise UsageError(
            "the model has no Dropout to set; drop --dropout, or choose --model convnet."
        )
    for module in found:
        module.p = p


def materialise(model: nn.Module, shape: tuple[int, int, int]) -> None:
    """Give lazy layers their weights, by two images of zeros. Other models are not called.

    Raises UsageError where the model does not take images of `shape`.
    """
    import torch
    from torch import nn

    if not any(nn.parameter.is_lazy(t) for t in (*model.parameters(), *model.buffers())):
        return
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(2, *shape))
    except Exception as error:  # the model is the user's code
        size = "x".join(map(str, shape))
        raise UsageError(f"the model does not take images of {size}: {cause(error)}") from error
    model.train(training)
