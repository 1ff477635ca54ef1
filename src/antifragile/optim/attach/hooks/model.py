"""Hooks of the model: perturbed weights where it is trained, clean ones elsewhere.

forward in training mode   perturbation in the weights, noise added to the inputs
an embedding inside it     noise added to what it has read for integers among the inputs
forward in eval mode       clean weights from here on, until the next forward in training mode
state_dict()               the same
load_state_dict()          the same, and the loaded weights become the clean weights
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.utils.hooks import RemovableHandle

from antifragile.errors import UsageError
from antifragile.optim.attach.perturbed_optimizer import PerturbedOptimizer


def hook_model(
    core: PerturbedOptimizer, model: nn.Module, called: Sequence[nn.Module] = ()
) -> list[RemovableHandle | _Link]:
    """Register the hooks of one perturbed optimizer on the model it trains.

    Args:
        core: The perturbed optimizer.
        model: The model.
        called: Modules whose calls are its forwards, where those of the model itself are not all.
    """
    link = _Link(core)
    called = called or (model,)
    hooks: list[RemovableHandle | _Link] = [link]
    for module in called:
        if any(part in called for part in module.modules() if part is not module):
            hooks.append(module.register_forward_pre_hook(link.enter))
            hooks.append(module.register_forward_hook(link.leave, always_call=True))
        hooks.append(module.register_forward_pre_hook(link.before_forward, with_kwargs=True))
    if core.inputs.rules:
        hooks += [
            module.register_forward_hook(link.after_embedding, with_kwargs=True)
            for module in model.modules()
            if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        ]
    _forget_compiled_code()
    for module in model.modules():
        register: list[Any] = [  # Any: torch has no types for these two
            module.register_state_dict_pre_hook,
            module.register_load_state_dict_pre_hook,
        ]
        hooks += [add(link.before_state_dict) for add in register]
    return hooks


def _forget_compiled_code() -> None:
    """Let `torch.compile` compile anew what it compiled without our hooks."""
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is not None and dynamo.utils.counters["stats"]["unique_graphs"]:
        dynamo.reset()


class _Link:
    """The hook functions of a model, with the core; a copy of the model gets them without it.

    The model keeps the core alive: it may outlive its optimizer, and its weights must still be
    cleaned then.
    """

    def __init__(self, core: PerturbedOptimizer | None) -> None:
        self.core = core
        self._awaits_embeddings = False
        self._running: list[nn.Module] = []  # called modules that call others of them
        self._entry: weakref.ref[nn.Module] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Link:
        return _Link(None)

    def __reduce__(self) -> tuple[type[_Link], tuple[None]]:
        return _Link, (None,)

    def remove(self) -> None:
        self.core = None

    @_disable_dynamo  # one graph break; what torch.compiler offers imports it at once
    def before_forward(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        core, is_inside = self.core, any(m is not module for m in self._running)
        if core is None or is_inside or is_redirected(module):
            return None
        if getattr(module, "_is_replica", False):
            raise UsageError(
                "nn.DataParallel copies the weights before the model is called, so that no forward "
                "would see a perturbation; give perturb() the DataParallel module itself as "
                "model=, or use DistributedDataParallel."
            )
        if not module.training:
            self._awaits_embeddings = False
            core.enter_evaluation()
            return None
        if self._entry is None:
            self._entry = weakref.ref(module)
        reads_input = self._entry() is module
        changed = core.enter_training(module, args, kwargs, reads_input=reads_input)
        self._awaits_embeddings = core.awaits_embeddings
        return changed

    @_disable_dynamo
    def enter(self, module: nn.Module, args: object) -> None:
        """Note that a module runs whose parts' calls are not forwards of the model."""
        if not is_redirected(module):
            self._running.append(module)

    @_disable_dynamo
    def leave(self, module: nn.Module, *_: object) -> None:
        """Note that it has run."""
        if module in self._running:
            self._running.remove(module)

    def after_embedding(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> Tensor | None:
        if not self._awaits_embeddings:  # compiled code stays whole where there is nothing to do
            return None
        return self._perturb_embedded(module, args[0] if args else kwargs["input"], output)

    @_disable_dynamo
    def _perturb_embedded(self, module: nn.Module, read: Tensor, output: Tensor) -> Tensor | None:
        return (
            None if self.core is None else self.core.inputs.perturb_embedded(module, read, output)
        )

    def before_state_dict(self, *_: object) -> None:
        if self.core is not None:
            self.core.enter_evaluation()


def is_redirected(module: nn.Module) -> bool:
    """Whether Lightning runs a training or validation step through the module's forward."""
    return getattr(module.forward, "__qualname__", "").startswith("_ForwardRedirection")


@contextmanager
def frozen_statistics(model: nn.Module | None) -> Iterator[None]:
    """Let norm layers see a batch inside without counting it a second time."""
    kept = [
        (buffer, buffer.clone())
        for module in (model.modules() if model is not None else ())
        if isinstance(module, nn.modules.batchnorm._NormBase)
        for buffer in module.buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for buffer, before in kept:
            buffer.copy_(before)
