"""The perturbed weights where the model has them: a call with other tensors does not see them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from antifragile.errors import UsageError


class OwnWeights:
    """The perturbed weights as parameters of the model.

    Args:
        model: The model; None where it is not known.
        weights: The perturbed weights.

    Raises:
        UsageError: The model has none of them.
    """

    def __init__(self, model: nn.Module | None, weights: Sequence[Tensor]) -> None:
        self._place: tuple[nn.Module, str] | None = None
        if model is not None and weights:
            self._place = _place_of_one(model, weights)

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
