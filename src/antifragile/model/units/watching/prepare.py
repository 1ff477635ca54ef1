"""Running a user's model quietly: unwrapped, in evaluation mode, on a few samples, repeatable."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from antifragile.errors import UsageError

_INTERNAL_OUTPUTS = ("past_key_values", "hidden_states", "attentions", "cross_att", "encoder_")
_WRAPPERS = ("DistributedDataParallel", "DataParallel")


@dataclass(frozen=True)
class Inputs:
    """The arguments of one call of a model."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, given: object) -> Inputs:
        """Take a tensor, a sequence of positional arguments, or a mapping of keywords."""
        if isinstance(given, Inputs):
            return given
        if isinstance(given, Mapping):
            return cls((), dict(given))
        if isinstance(given, list | tuple):
            return cls(tuple(given), {})
        return cls((given,), {})

    def copied(self) -> Inputs:
        """Return the same arguments with tensors of their own, outside any graph."""

        def own(item: object) -> object:
            with torch.inference_mode(False):  # a tensor made in inference mode stays of it
                return item.detach().clone() if isinstance(item, Tensor) else item

        return Inputs(*tree_map(own, (self.args, dict(self.kwargs))))


def unwrap(model: nn.Module) -> nn.Module:
    """Return the module inside ``torch.compile`` and data-parallel wrappers.

    Raises:
        UsageError: Its parameters are sharded over processes, or it is TorchScript.
    """
    while True:
        name = type(model).__name__
        if isinstance(model, torch.jit.ScriptModule):
            raise UsageError("the model is TorchScript; give the torch.nn.Module it was made of.")
        if name.startswith("FullyShardedDataParallel") or name.startswith("FSDP"):
            raise UsageError(
                "the model is sharded over processes (FSDP), where no process holds a neuron "
                "whole; use DistributedDataParallel, or a single process."
            )
        inner = getattr(model, "_orig_mod", None)
        if inner is None and name in _WRAPPERS:
            inner = getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def few_samples(model: nn.Module, inputs: Inputs, most: int) -> Inputs:
    """Cut the inputs to a few samples where the model takes them; else return them as they are."""
    tensors = [item for item in tree_flatten((inputs.args, dict(inputs.kwargs)))[0] if _sized(item)]
    n_samples = tensors[0].shape[0] if tensors else 0
    if n_samples <= most:
        return inputs

    def cut(item: Any) -> Any:
        return item[:most] if _sized(item) and item.shape[0] == n_samples else item

    args, kwargs = tree_map(cut, (inputs.args, dict(inputs.kwargs)))
    fewer = Inputs(args, kwargs)
    try:
        run_quietly(model, fewer)
    except Exception:  # the model may need its whole batch; the full inputs say if it fails at all
        return inputs
    return fewer


def _sized(item: object) -> bool:
    return isinstance(item, Tensor) and item.dim() > 0


def run_quietly(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """Run the model once in evaluation mode and return its output tensors.

    Its training flags, buffers and all random generators are afterwards as before.
    """
    with quiet(model):
        return outputs_of(model(*inputs.args, **inputs.kwargs))


def outputs_of(result: Any) -> list[Tensor]:
    """List the tensors of a result, in whatever containers and objects they are.

    Of a ``ModelOutput`` of transformers, those without the caches and hidden states that its models
    also hand out, which are no outputs of the task.
    """
    return _tensors_in(result, set())


def _tensors_in(result: Any, seen: set[int]) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    if id(result) in seen or isinstance(result, str | bytes | type | nn.Module):
        return []
    seen.add(id(result))
    if any(kind.__name__ == "ModelOutput" for kind in type(result).__mro__):
        parts = [part for name, part in result.items() if not name.startswith(_INTERNAL_OUTPUTS)]
    elif isinstance(result, Mapping):
        parts = list(result.values())
    elif isinstance(result, list | tuple | set | frozenset):
        parts = list(result)
    else:  # a dataclass, a distribution, an object of the user's
        parts = list(getattr(result, "__dict__", {}).values())
    return [tensor for part in parts for tensor in _tensors_in(part, seen)]


def seed_generators() -> None:
    """Set the generators of torch, NumPy and Python to the same state before every run."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


@contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, no fused or compiled paths, fixed random numbers."""
    training = {module: module.training for module in model.modules()}
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    others = random.getstate(), np.random.get_state()
    recurrent = any(isinstance(module, nn.RNNBase) for module in training)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.random.fork_rng(devices=_cuda_devices(model)))
        stack.enter_context(_one_by_one(recurrent))
        seed_generators()
        model.eval()
        try:
            yield
        finally:
            random.setstate(others[0])
            np.random.set_state(others[1])
            for module, flag in training.items():
                module.training = flag
            for name, value in model.named_buffers():
                if name in buffers and not torch.equal(value, buffers[name]):
                    value.copy_(buffers[name])


@contextmanager
def _one_by_one(recurrent: bool) -> Iterator[None]:
    """Keep PyTorch from fused paths, in which the weights' use cannot be seen."""
    mha = torch.backends.mha
    before = mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        if recurrent:
            stack.enter_context(_without_onednn())
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            mha.set_fastpath_enabled(before)


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Switch oneDNN off; its public switch warns about hardware that is not there."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def _cuda_devices(model: nn.Module) -> Sequence[int]:
    devices = {value.device for value in model.parameters() if value.device.type == "cuda"}
    return [device.index or 0 for device in devices]


Runner = Callable[[], list[Tensor]]
"""Runs a model on its inputs and returns its output tensors."""
