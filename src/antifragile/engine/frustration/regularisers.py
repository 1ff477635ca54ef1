"""The paper's two baselines around a user's own training: weight decay and dropout.

Both act while ``train_epoch`` runs, whatever optimizer it makes and whatever it calls.

Source: PSA paper, section II.F (decay, dropout).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from antifragile.errors import UsageError
from antifragile.model.units.records import UnitGroup

COMPILED = (
    "mode 'dropout' adds hooks, which torch.compile does not see; train without it, or put "
    "nn.Dropout into the model and use mode 'none'."
)


@contextmanager
def decaying(model: nn.Module, weight_decay: float) -> Iterator[None]:
    """Shrink the weights by ``learning rate * weight_decay`` before every step, as AdamW does."""
    own = {id(value) for value in model.parameters()}

    @torch.no_grad()
    def shrink(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            for value in group["params"]:
                if id(value) in own and value.grad is not None:
                    value.mul_(1 - float(group["lr"]) * weight_decay)

    hook = register_optimizer_step_pre_hook(shrink)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def dropping(
    whole: nn.Module, model: nn.Module, groups: Sequence[UnitGroup], p: float
) -> Iterator[None]:
    """Drop what the readers of hidden units read, in training mode.

    Args:
        whole: The model as it is called.
        model: The part of it that the groups' names are of.
        groups: Hidden units.
        p: Drop probability.

    Raises:
        UsageError: A layer that reads units is no module, whose input could be dropped, or the
            model is compiled.
    """
    if any(map(_is_compiled, whole.modules())):
        raise UsageError(COMPILED)
    readers = sorted({name for group in groups for name in group.readers})
    modules = dict(model.named_modules())
    if missing := [name for name in readers if name not in modules]:
        raise UsageError(
            f"mode 'dropout' cannot drop what {missing[0]!r} reads, since it is no module of its "
            "own; put nn.Dropout into the model instead, and use mode 'none'."
        )

    def drop(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        first = args[0]
        if isinstance(first, Tensor) and module.training:
            return (nn.functional.dropout(first, p), *args[1:])
        return args

    hooks = [modules[name].register_forward_pre_hook(drop) for name in readers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _is_compiled(module: nn.Module) -> bool:
    """Whether torch.compile wraps a module, its calls, or a LightningModule's steps."""
    is_wrapper = isinstance(getattr(module, "_orig_mod", None), nn.Module)
    calls = getattr(module, "_compiled_call_impl", None)
    return is_wrapper or calls is not None or getattr(module, "_compiler_ctx", None) is not None
