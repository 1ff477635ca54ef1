"""Torch's compiler kept out of child processes: models run as they are written.

`torch.compile` promises the same function, faster. A child that runs a model a few times only pays
for it: seconds for the import, more for each part and each variant, and a compiled forward hides
its parts from the recorder. So here a compiled module or function is the original, as it is with
torch's own TORCHDYNAMO_DISABLE=1; `_orig_mod` leads to the module itself, and saved weights whose
names hold `_orig_mod.` load. A scripted function is the original too. `checkpoint` promises the
same function in less memory, and needs the compiler's package to compute it: here it calls its
function, except where `use_reentrant` decides which parameters learn.

Variants that keep a layer's output shape ask the layer for it on the meta device. For `addmm`, the
product in every linear layer with a bias, torch answers by a reference written in Python that
imports SymPy and torch._dynamo: 1.2 s in each child. Here the same answer is given directly.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import Any

import torch
import torch.utils.checkpoint
from torch import nn

_CHECKPOINT_OPTIONS = (
    *("use_reentrant", "preserve_rng_state", "context_fn", "determinism_check", "debug"),
    "early_stop",
)
_checkpoint, _script = torch.utils.checkpoint.checkpoint, torch.jit.script
_library: Any = None  # registered as long as it lives


def install(*, tracing: bool = False) -> None:
    """Do without the compiler from now on, in this process.

    Args:
        tracing: Never recompute, so that the gradient graph shows what a checkpoint calls.
    """
    torch.compile = uncompiled
    nn.Module.compile = _stay_uncompiled  # type: ignore[method-assign,assignment]
    torch.compiler.disable = _undecorated
    torch.jit.script = _unscripted
    torch.utils.checkpoint.checkpoint = _call if tracing else _call_or_recompute
    _answer_for_addmm()


def uncompiled(model: Any = None, **options: Any) -> Any:
    """Return what `torch.compile` is given, or a decorator that does; the options are ignored."""
    if model is None:
        return partial(uncompiled, **options)
    if isinstance(model, nn.Module) and "_orig_mod" not in vars(model):
        vars(model)["_orig_mod"] = model  # not registered: it would be its own child
        model.register_load_state_dict_pre_hook(_without_compiled_names)  # type: ignore[no-untyped-call]
    return model


def _stay_uncompiled(module: nn.Module, *args: Any, **options: Any) -> None:
    """Take the place of `nn.Module.compile`, which compiles a module in place."""


def _undecorated(function: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Take the place of `torch.compiler.disable`: nothing is compiled anyway."""
    return uncompiled if function is None else function


def _unscripted(obj: Any, *args: Any, **options: Any) -> Any:
    """Return a user's function as it is; let torch script modules and what these call."""
    is_called_by_scripted = "_rcb" in options
    is_own = isinstance(obj, FunctionType) and not is_called_by_scripted
    return obj if is_own else _script(obj, *args, **options)


def _call(function: Any, *args: Any, **options: Any) -> Any:
    """Call what a checkpoint would call and call again in the backward pass."""
    given = {name: item for name, item in options.items() if name not in _CHECKPOINT_OPTIONS}
    return function(*args, **given)


def _call_or_recompute(function: Any, *args: Any, **options: Any) -> Any:
    """Call the function, or torch's own checkpoint where its reentrant form is asked for."""
    is_plain = options.get("use_reentrant") is False
    return (_call if is_plain else _checkpoint)(function, *args, **options)


def _without_compiled_names(
    module: nn.Module, state: dict[str, Any], prefix: str, *_: object
) -> None:
    """Give saved values of a compiled module the names of the original."""
    compiled = f"{prefix}_orig_mod."
    for name in [name for name in state if name.startswith(compiled)]:
        state[prefix + name.removeprefix(compiled)] = state.pop(name)


def _answer_for_addmm() -> None:
    """Tell the shape of `addmm` on the meta device; without effect where torch forbids it."""
    global _library
    if _library is None:
        _library = torch.library.Library("aten", "IMPL", "Meta")  # type: ignore[no-untyped-call]
        with suppress(RuntimeError):  # before 2.6 its own answer cannot be replaced
            _library.impl("addmm", _addmm)


def _addmm(
    bias: torch.Tensor,
    one: torch.Tensor,
    other: torch.Tensor,
    *,
    beta: complex = 1,
    alpha: complex = 1,
) -> torch.Tensor:
    rows, columns = one.shape[0], other.shape[1]
    if one.shape[1] != other.shape[0]:
        raise RuntimeError(f"shapes {tuple(one.shape)} and {tuple(other.shape)} do not multiply")
    return one.new_empty((rows, columns))
