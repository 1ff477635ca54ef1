"""The perturbed weights as the model has them, and who else has their memory.

A call with other tensors in their place does not see them; a tensor that shares their memory does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from antifragile.errors import UsageError

PLAIN = (Tensor, nn.Parameter)
"""Types of tensors that have the memory they say, unlike wrappers."""


class OwnWeights:
    """The perturbed weights as parameters of the model.

    Args:
        model: The model; None where it is not known.
        weights: The perturbed weights.

    Raises:
        UsageError: The model has none of them, or an embedding of it writes one in its forward.
    """

    def __init__(self, model: nn.Module | None, weights: Sequence[Tensor]) -> None:
        self._place: tuple[nn.Module, str] | None = None
        if model is not None and weights:
            self._place = _place_of_one(model, weights)
            _refuse_written_in_forwards(model, weights)

    def are_called(self) -> bool:
        """Whether the model is not called with other tensors in the place of its parameters."""
        if self._place is None:
            return True
        module, name = self._place
        return isinstance(module._parameters.get(name), nn.Parameter)


def _place_of_one(model: nn.Module, weights: Sequence[Tensor]) -> tuple[nn.Module, str]:
    """Find a module that has one of the weights, and its name there."""
    wanted = {id(weight) for weight in weights}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if id(parameter) in wanted:
                return module, name
    raise UsageError(
        "model= has none of the optimizer's parameters, so that its forwards would not see "
        "their perturbation; give perturb() the model that is trained, and an optimizer of its "
        "own parameters, not of copies such as master weights."
    )


def _refuse_written_in_forwards(model: nn.Module, weights: Sequence[Tensor]) -> None:
    """Refuse embeddings that shorten the rows of a perturbed weight whenever they are called.

    Raises:
        UsageError: There is one.
    """
    perturbed = {id(weight) for weight in weights}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Embedding | nn.EmbeddingBag) or module.max_norm is None:
            continue
        if id(module.weight) in perturbed:
            which = f"{type(module).__name__} {name!r}" if name else type(module).__name__
            raise UsageError(
                f"{which} has max_norm={module.max_norm:g} and writes its "
                "weight in every forward, while a perturbation is in; leave the weight out by "
                "params=, or drop max_norm and clip the rows inside handle.clean()."
            )


def is_viewed(tensor: Tensor, owners: int) -> bool:
    """Whether anybody but so many owners holds a tensor's memory."""
    count = getattr(torch._C, "_storage_Use_Count", None)
    return count is not None and count(tensor.untyped_storage()._cdata) > owners


def is_shared(tensor: Tensor) -> bool:
    """Whether a tensor's memory is one that other processes can have."""
    return tensor.untyped_storage().is_shared()


def _is_alone(parameter: Tensor) -> bool:
    """Whether no other tensor at all has a parameter's memory, as far as torch can tell."""
    is_known = hasattr(torch._C, "_storage_Use_Count")
    is_torchs = parameter.untyped_storage().resizable()  # not an array's or a file's
    return is_known and is_torchs and not is_viewed(parameter, 2)


def have_memory_of_their_own(parameters: Sequence[Tensor], model: nn.Module) -> bool:
    """Whether no other tensor of the model has the memory of one of these, and none is on a GPU."""
    if not parameters or not all(p.is_cpu and type(p) in PLAIN for p in parameters):
        return False
    if all(map(_is_alone, parameters)):
        return True  # without a look at all that the modules keep, maybe a data set
    kept = [value for module in model.modules() for value in tree_leaves(vars(module).copy())]
    tensors = [value for value in kept if isinstance(value, Tensor)]  # parameters and buffers, too
    everywhere = dict.fromkeys((*parameters, *tensors))
    if not all(type(t) in PLAIN for t in everywhere):
        return False  # a wrapper, whose memory may be anywhere
    users = Counter(t.untyped_storage().data_ptr() for t in everywhere)
    return all(users[p.untyped_storage().data_ptr()] == 1 for p in parameters)
