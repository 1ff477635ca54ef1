"""Clean weights where a model is evaluated or saved, perturbed ones where it is trained.

forward in training mode   perturbation in, input noise added
forward in eval mode       clean weights from here on, until the next forward in training mode
state_dict()               the same
load_state_dict()          the same, and what is loaded becomes the clean weights
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from antifragile.errors import UsageError

if TYPE_CHECKING:
    from antifragile.optim.attach.handle import Handle


class ModelHooks:
    """The hooks of one handle on one model."""

    def __init__(self, handle: Handle, model: nn.Module) -> None:
        self._link = _Link(handle)
        self._hooks = [model.register_forward_pre_hook(_BeforeForward(self._link))]
        for module in model.modules():
            register: list[Any] = [
                module.register_state_dict_pre_hook,
                module.register_load_state_dict_pre_hook,
            ]
            self._hooks += [add(_BeforeStateDict(self._link)) for add in register]

    def refuse_clean_gradients(self) -> None:
        """Complain when gradients come though the perturbation was never put back in."""
        if self._link.awaits_training:
            raise UsageError(
                "gradients came after an evaluation without a forward of the model in training "
                "mode, so they are of the clean weights; give perturb() the module that is called, "
                "and train in model.train()."
            )

    def remove(self) -> None:
        """Take the hooks away."""
        self._link.cut()
        for hook in self._hooks:
            hook.remove()


class _Link:
    """The way to the handle; copies of a model do not follow it.

    It keeps the handle alive: a model outlives its optimizer, and its weights are still to be
    cleaned then.
    """

    def __init__(self, handle: Handle | None) -> None:
        self.handle = handle
        self.awaits_training = False

    def cut(self) -> None:
        self.handle = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Link:
        return _Link(None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Link, (None,)

    def lift(self) -> None:
        """Clean weights until the next forward in training mode."""
        handle = self.handle
        if handle is not None and handle.weights.is_in:
            handle.lift()
            self.awaits_training = True


class _Hook:
    def __init__(self, link: _Link) -> None:
        self.link = link


class _BeforeForward(_Hook):
    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        handle = self.link.handle
        if handle is None:
            return None
        if not module.training:
            self.link.lift()
            return None
        self.link.awaits_training = False
        if handle.clean_depth:
            return None
        handle.put_in()
        return handle.perturb_inputs(inputs)


class _BeforeStateDict(_Hook):
    def __call__(self, *_: Any) -> None:
        self.link.lift()


@contextmanager
def frozen_statistics(model: nn.Module | None) -> Iterator[None]:
    """Batch norm layers use the batch's statistics inside but do not count it a second time."""
    layers = [
        module
        for module in (model.modules() if model is not None else ())
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
