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
