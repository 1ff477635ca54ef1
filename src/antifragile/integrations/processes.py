"""Agreement between the processes of a distributed training; alone, nothing is to be agreed."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils._pytree import tree_map

from antifragile.errors import UsageError
from antifragile.model.units.watching.prepare import Inputs

_ROUNDING = 1e-6  # relative; more is another number, not another order of additions


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def one_score(score: object, name: str) -> object:
    """Return the score that all processes measured, as the first one has it.

    Args:
        score: A number or a tensor of one number; anything else is returned as it is.
        name: Its name, for the message.

    Raises:
        UsageError: The processes measured different scores.
    """
    if isinstance(score, Tensor) and score.numel() == 1:
        score = score.item()
    if not _is_distributed() or not isinstance(score, int | float):
        return score
    scores: list[float] = [math.nan] * dist.get_world_size()
    dist.all_gather_object(scores, float(score))
    if max(scores) - min(scores) > _ROUNDING * max(1.0, *map(abs, scores)):
        raise UsageError(
            f"metric {name!r} differs between processes ({min(scores):.6g} to {max(scores):.6g}), "
            "which would keep different states; reduce it over all of them, as with "
            f"self.log({name!r}, ..., sync_dist=True)."
        )
    return scores[0]


def of_the_first(inputs: Inputs) -> Inputs:
    """Return the first process's inputs, on this process's device."""
    if not _is_distributed():
        return inputs
    places = [item.device for item in _tensors(inputs)]
    device = places[0] if places else torch.device("cpu")
    sent = [_moved(inputs, torch.device("cpu"))]
    dist.broadcast_object_list(sent, src=0)
    return _moved(sent[0], device)


def _tensors(inputs: Inputs) -> list[Tensor]:
    found: list[Tensor] = []
    tree_map(
        lambda item: found.append(item) if isinstance(item, Tensor) else None,
        (inputs.args, dict(inputs.kwargs)),
    )
    return found


def _moved(inputs: Inputs, device: torch.device) -> Inputs:
    args, kwargs = tree_map(
        lambda item: item.to(device) if isinstance(item, Tensor) else item,
        (inputs.args, dict(inputs.kwargs)),
    )
    return Inputs(args, kwargs)
