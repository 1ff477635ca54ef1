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
    """Shrink the weights by ``learning rate * weight_decay`` before every step, as AdamW does.

    Raises:
        UsageError: No optimizer of torch made a step inside.
    """
    own = {id(value) for value in model.parameters()}
    has_acted = False

    @torch.no_grad()
    def shrink(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        nonlocal has_acted
        for group in optimizer.param_groups:
            for value in group["params"]:
                if id(value) in own and value.grad is not None:
                    has_acted = True
                    value.mul_(1 - float(group["lr"]) * weight_decay)

    hook = register_optimizer_step_pre_hook(shrink)
    try:
        yield
    finally:
        hook.remove()
    if not has_acted:
        raise UsageError(
            "mode 'decay' acts at the steps of a torch optimizer, and the training made none; use "
            "mode 'none', and decay the weights there."
        )


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
        UsageError: A layer that reads units is no module, or is never called as one, so that its
            input cannot be dropped, or the model is compiled.
    """
    if any(map(_is_compiled, whole.modules())):
        raise UsageError(COMPILED)
    readers = sorted({name for group in groups for name in group.readers})
    modules = dict(model.named_modules())
    if missing := [name for name in readers if name not in modules]:
        raise _undroppable(missing[0], "it is no module of its own")
    called: set[nn.Module] = set()

    def drop(module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        called.add(module)
        if not module.training:
            return args, kwargs
        if args:
            return (_dropped(args[0], p), *args[1:]), kwargs
        first = next(iter(kwargs), None)
        changed = {} if first is None else {first: _dropped(kwargs[first], p)}
        return args, kwargs | changed

    hooks = [modules[name].register_forward_pre_hook(drop, with_kwargs=True) for name in readers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if silent := [name for name in readers if modules[name] not in called]:
        raise _undroppable(silent[0], "the model does not call it, but uses its weight")


def _dropped(value: object, p: float) -> object:
    return nn.functional.dropout(value, p) if isinstance(value, Tensor) else value


def _undroppable(name: str, why: str) -> UsageError:
    return UsageError(
        f"mode 'dropout' cannot drop what {name!r} reads, since {why}; put nn.Dropout into the "
        "model instead, and use mode 'none'."
    )


def _is_compiled(module: nn.Module) -> bool:
    """Whether torch.compile wraps a module, its calls, or a LightningModule's steps."""
    is_wrapper = isinstance(getattr(module, "_orig_mod", None), nn.Module)
    calls = getattr(module, "_compiled_call_impl", None)
    return is_wrapper or calls is not None or getattr(module, "_compiler_ctx", None) is not None
