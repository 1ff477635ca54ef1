"""Copies of perturbed parameters: `copy.deepcopy`, pickling and `torch.save` get clean weights.

Both look for ``__deepcopy__`` and ``__reduce_ex__`` at the object first, so a parameter that
carries its own is copied clean wherever it is met: in a model, a part of one, or an optimizer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from antifragile.optim.attach.perturbed_optimizer import PerturbedOptimizer

_OURS = ("__deepcopy__", "__reduce_ex__")


class CleanCopies:
    """The functions that copy the perturbed parameters of an optimizer clean.

    Args:
        core: The perturbed optimizer.
    """

    def __init__(self, core: PerturbedOptimizer) -> None:
        self._core = core
        self._parameters: list[nn.Parameter] = []
        self.follow()
        core.after_following = self.follow

    def follow(self) -> None:
        """Go by the parameters that the optimizer has now."""
        self.remove()
        weights = self._core.weights.parameters
        self._parameters = [p for p in weights if type(p) is nn.Parameter]
        for parameter in self._parameters:
            functions = (partial(self._deepcopy, parameter), partial(self._reduce, parameter))
            parameter.__dict__.update(zip(_OURS, functions, strict=True))

    def remove(self) -> None:
        """Leave the parameters as they were."""
        for parameter in self._parameters:
            for name in _OURS:
                parameter.__dict__.pop(name, None)

    def _deepcopy(self, parameter: nn.Parameter, memo: dict[int, Any]) -> Any:
        with self._core.clean():
            copied: Any = nn.Parameter.__deepcopy__(parameter, memo)  # type: ignore[no-untyped-call]
            return copied

    def _reduce(self, parameter: nn.Parameter, protocol: int) -> Any:
        is_in = self._core.weights.is_in
        with self._core.clean():
            value = parameter.detach()
            plain = nn.Parameter(value.clone() if is_in else value, parameter.requires_grad)
        others = {key: v for key, v in parameter.__dict__.items() if key not in _OURS}
        plain.__dict__.update(others)
        return plain.__reduce_ex__(protocol)  # type: ignore[no-untyped-call]
