"""Values by which units are ranked: magnitude, activation, gradient; an array for each layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from antifragile.errors import UsageError
from antifragile.model.units.records import Part, Unit
from antifragile.model.units.watching.activity import Sizes, measure_activity
from antifragile.model.units.watching.prepare import Inputs, quiet

Layers = Sequence[Sequence[Unit]]


def magnitudes(layers: Layers, tensors: Mapping[str, Tensor]) -> list[np.ndarray]:
    """Measure the Euclidean norm of all entries that write each unit.

    Args:
        layers: Units, layer by layer.
        tensors: The model's parameters by name, or their gradients.
    """
    return [np.array([_norm(unit, tensors) for unit in units]) for units in layers]


def gradients(
    layers: Layers,
    parameters: Mapping[str, nn.Parameter],
    model: nn.Module,
    loss: Callable[[nn.Module], Tensor],
) -> list[np.ndarray]:
    """Measure the norm of the gradient of all entries that write each unit.

    Args:
        layers: Units, layer by layer.
        parameters: The parameters that they are made of.
        model: The model as ``loss`` takes it, in evaluation mode inside.
        loss: Returns a scalar tensor.

    Raises:
        UsageError: It returns something else, or what is not finite.
    """
    with quiet(model), torch.enable_grad():
        value = loss(model)
        if not isinstance(value, Tensor) or value.numel() != 1 or value.grad_fn is None:
            raise UsageError(
                "loss returned no scalar tensor with a gradient; return the loss of a few training "
                "samples, as before backward()."
            )
        if not value.isfinite().all():
            raise UsageError(
                f"loss returned {value.item()}, which ranks no unit; return the loss of samples "
                "that the model can read."
            )
        trained = {name: item for name, item in parameters.items() if item.requires_grad}
        found = torch.autograd.grad(value, list(trained.values()), allow_unused=True)
    zero = {name: torch.zeros_like(item) for name, item in parameters.items()}
    known = {name: item for name, item in zip(trained, found, strict=True) if item is not None}
    return magnitudes(layers, zero | known)


def activations(layers: Layers, model: nn.Module, inputs: Inputs) -> list[np.ndarray]:
    """Measure the mean absolute activation of each unit, as the layers behind it read it.

    That of an output is the mean absolute result of its layer; that of a unit of several channels
    the mean over them.

    Args:
        layers: Units, layer by layer.
        model: The model that they are of.
        inputs: Arguments of one call.

    Raises:
        UsageError: A unit is read through a weight that is computed from others.
    """
    read, written = measure_activity(model, inputs)
    return [np.array([_activation(unit, read, written) for unit in units]) for units in layers]


def _norm(unit: Unit, tensors: Mapping[str, Tensor]) -> float:
    parts = [part.values(tensors[part.view.parameter]) for part in unit.incoming]
    return math.sqrt(sum(float(values.double().square().sum()) for values in parts))


def _activation(unit: Unit, read: Sizes, written: Sizes) -> float:
    found = _sizes(unit.outgoing, read) if unit.outgoing else _sizes(unit.incoming, written)
    if not found:
        raise UsageError(
            f"the activation of unit {unit.name} cannot be measured, since the weight that reads "
            "it is computed from others; rank by least-magnitude or most-magnitude."
        )
    return float(np.mean(found))


def _sizes(parts: Sequence[Part], known: Sizes) -> list[float]:
    views = [(part, known[part.view]) for part in parts if part.view in known]
    return [float(sizes[number]) for part, sizes in views for number in part.numbers]
