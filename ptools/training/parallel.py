"""One network in several processes: the same in each of them (DDP), or a part in each (FSDP).

wrapped(model, ...)   what is called instead of the model
agree(model, team)    the buffers of rank 0 for all: DDP and FSDP only look after parameters
weights, optimizer    the whole state_dict of either, as one process would have it
put, load             the same, put back

Where the network is in parts, weights and optimizer return something on rank 0 only, and all take part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptools.errors import UsageError
from ptools.training.distributed import Team

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from ptools.training.settings import Settings

__all__ = ["agree", "load", "optimizer", "put", "weights", "wrapped"]


def wrapped(model: nn.Module, settings: Settings, team: Team) -> nn.Module:
    """Return `model`, made one of several or a part of one, and compiled if asked."""
    import torch

    call: Any = model
    if settings.shard:
        _shard(model, settings, team)
    elif team.ranks > 1:
        devices = [torch.device(settings.device)] if settings.device.startswith("cuda") else None
        call = torch.nn.parallel.DistributedDataParallel(model, device_ids=devices)
    if settings.compile:
        call = torch.compile(call)
    return call  # type: ignore[no-any-return]


def _shard(model: nn.Module, settings: Settings, team: Team) -> None:
    """Give every process a part of every layer; what is computed with is gathered block by block."""
    import torch
    from torch import nn
    from torch.distributed.device_mesh import init_device_mesh

    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise UsageError("--shard needs torch 2.6 or newer: pip install -U torch.") from error
    if team.ranks == 1:
        raise UsageError(
            "--shard needs several processes: torchrun --nproc-per-node=2 -m ptools train ... --shard"
        )
    mesh = init_device_mesh(torch.device(settings.device).type, (team.ranks,))
    blocks = [*model.children()]
    for inside in blocks:  # grows: what lies in containers is a block of its own
        if isinstance(inside, (nn.Sequential, nn.ModuleList)):
            blocks.extend(inside.children())
    for block in reversed(blocks):
        called = not isinstance(block, (nn.ModuleList, nn.ModuleDict))
        if called and any(True for _ in block.parameters()):
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def agree(model: nn.Module, team: Team) -> None:
    """Give every process the buffers of rank 0: BatchNorm's statistics differ with the images."""
    if team.ranks == 1:
        return
    from torch import distributed

    for buffer in model.buffers():
        distributed.broadcast(buffer, 0)


def weights(net: nn.Module, settings: Settings) -> dict[str, Any]:
    """Return the state_dict of the whole network."""
    if not settings.shard:
        return dict(net.state_dict())
    from torch.distributed.checkpoint.state_dict import get_model_state_dict

    return get_model_state_dict(net, options=_whole())


def optimizer(net: nn.Module, optimizer: Optimizer, settings: Settings) -> dict[str, Any] | None:
    """Return the state_dict of the optimiser; None where it is in parts and has not stepped yet."""
    if not settings.shard:
        return optimizer.state_dict()
    if not optimizer.state:  # asked now, torch would make a step to have one
        return None
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    return dict(get_optimizer_state_dict(net, optimizer, options=_whole()))


def put(net: nn.Module, found: Mapping[str, Any] | None, settings: Settings, team: Team) -> None:
    """Put back what `weights` returned, which only rank 0 needs to have."""
    if not settings.shard:
        net.load_state_dict(team.shared(found))
        return
    from torch.distributed.checkpoint.state_dict import set_model_state_dict

    set_model_state_dict(net, dict(found or {}), options=_whole(from_main=True))


def load(
    net: nn.Module, optimizer: Optimizer, found: Mapping[str, Any], settings: Settings
) -> None:
    """Put back weights and optimiser of a whole state that every process has."""
    if not settings.shard:
        net.load_state_dict(found["state_dict"])
        optimizer.load_state_dict(found["optimizer"])
        return
    from torch.distributed.checkpoint.state_dict import (
        set_model_state_dict,
        set_optimizer_state_dict,
    )

    set_model_state_dict(net, dict(found["state_dict"]), options=_whole(from_main=True))
    if found["optimizer"] is not None:
        state = dict(found["optimizer"])
        set_optimizer_state_dict(net, optimizer, state, options=_whole(from_main=True))


def _whole(*, from_main: bool = False) -> Any:
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    if from_main:
        return StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    return StateDictOptions(full_state_dict=True, cpu_offload=True)
