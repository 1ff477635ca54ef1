"""PyTorch models as certification and studies run them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from antifragile.ablate.frameworks import randomness, rounding
from antifragile.ablate.frameworks.adapter import Adapter
from antifragile.ablate.frameworks.arrays import Array, GradientArrays
from antifragile.ablate.frameworks.torch import compiler
from antifragile.ablate.frameworks.torch.reach import is_lazy, reachable_tensors
from antifragile.ablate.sandbox.loading import Refusal, kind_of, wrong_loss

_NUMPY_TYPES = (torch.float16, torch.float32, torch.float64)


class TorchModels(Adapter):
    """PyTorch models: any `nn.Module`."""

    def __init__(self, *, folder: str) -> None:
        self._folder = folder
        self._may_be_lazy = True
        randomness.install()
        compiler.install()

    def check(self, model: Any, source: str) -> None:
        """Refuse what is not a model.

        Raises:
            Refusal: `model` is not an `nn.Module`.
        """
        if not isinstance(model, torch.nn.Module):
            raise Refusal(f"{source} must return a torch.nn.Module; got {kind_of(model)}")
        if any(kind.__module__.startswith("keras.") for kind in type(model).__mro__):
            raise Refusal(f"{source} returned a Keras model: give --framework keras")

    def seed(self, seed: int) -> None:
        """Seed the global streams."""
        randomness.seed_everything(seed)

    def prepare(self, model: Any, forward: Callable[[], object]) -> None:
        """Let lazy modules see their first input; modes and gradients stay as they are."""
        if self._may_be_lazy and any(is_lazy(tensor) for _, tensor in self.held(model)):
            self.builds_late = True
            modes = {module: module.training for module in model.modules()}
            forward()
            model.zero_grad(set_to_none=True)
            for module, is_training in modes.items():
                module.training = is_training
        self._may_be_lazy = self.builds_late  # the same code builds them all

    def parameters(self, model: Any) -> dict[str, int]:
        """Numbers of elements by name, each parameter once, hidden ones included."""
        named = {id(tensor): name for name, tensor in reversed(list(model.named_parameters()))}
        found = {
            id(tensor): (named.get(id(tensor), path), tensor.numel())
            for path, tensor in reversed(list(self.held(model, learning=True)))
            if not is_lazy(tensor)  # never called
        }
        return dict(sorted(found.values()))

    def held(self, model: Any, *, learning: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
        """All tensors that can be reached from the model, or the parameters among them."""
        for path, tensor in reachable_tensors(model, folder=self._folder).items():
            if not learning or isinstance(tensor, torch.nn.Parameter):
                yield path, tensor

    def is_dense(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is neither sparse nor quantized nor to be created yet."""
        return tensor.layout is torch.strided and not tensor.is_quantized and not is_lazy(tensor)

    def assign(self, tensor: torch.Tensor, value: Array) -> None:
        """Copy a value of the same shape into a tensor, where it is another."""
        new = torch.from_numpy(value).to(tensor.dtype)
        if not torch.equal(tensor.detach(), new):
            tensor.data.copy_(new)

    def copy_tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of an input, which a forward pass may change in place."""
        copied = tensor.detach().clone()
        return copied.requires_grad_() if tensor.requires_grad and tensor.is_leaf else copied

    def results_moved(self, salt: int) -> AbstractContextManager[None]:
        """Move results inside by one rounding unit each."""
        return rounding.results_moved(salt)

    def like(self, tensor: torch.Tensor, values: Array) -> torch.Tensor:
        """Make a tensor of the type and place of another one."""
        new = torch.from_numpy(values).to(tensor)
        return new if tensor.layout is torch.strided else tensor

    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor of torch."""
        return isinstance(value, torch.Tensor)

    def flat(self, value: Any) -> list[tuple[str, torch.Tensor]]:
        """Tensors, arrays and numbers as tensors, of a nested value; ragged ones in parts."""
        found = [(path, torch.as_tensor(item)) for path, item in super().flat(value)]
        return [
            (path + place, part)
            for path, item in found
            for place, part in (_parts_of(item) if item.is_nested else [("", item)])
        ]

    def array(self, value: torch.Tensor) -> Array:
        """A tensor as an array."""
        plain = value.detach()
        if plain.is_quantized:
            plain = plain.dequantize()
        if plain.layout is not torch.strided:
            plain = plain.to_dense()
        if plain.is_floating_point() and plain.dtype not in _NUMPY_TYPES:
            plain = plain.float()  # bfloat16 and smaller: float32 holds them exactly
        return plain.cpu().resolve_conj().resolve_neg().numpy()

    def type_name(self, value: torch.Tensor) -> str:
        """The type of a tensor's elements."""
        return str(value.dtype).removeprefix("torch.")

    def unit(self, value: torch.Tensor) -> float:
        """Relative spacing of a floating or complex type; 0.0 for others."""
        is_spaced = value.is_floating_point() or value.is_complex()
        return float(torch.finfo(value.dtype).eps) if is_spaced else 0.0

    @contextmanager
    def mode(self, model: Any, *, training: bool, with_gradients: bool) -> Iterator[None]:
        """Put the model in a mode, and compute gradients inside or not."""
        model.train(training)
        with nullcontext() if with_gradients else torch.no_grad():
            yield

    @contextmanager
    def watching_outputs(self, model: Any) -> Iterator[list[Any]]:
        """Collect what calls of the model itself return inside."""
        outputs: list[Any] = []
        hook = model.register_forward_hook(lambda _model, _given, output: outputs.append(output))
        try:
            yield outputs
        finally:
            hook.remove()

    @contextmanager
    def counting_calls(self, model: Any) -> Iterator[Counter[str]]:
        """Count the calls of each module inside, by path."""
        names = {id(module): path or "the model" for path, module in model.named_modules()}
        calls = Counter[str]()

        def count(module: torch.nn.Module, _given: object) -> None:
            if id(module) in names:
                calls[names[id(module)]] += 1

        hook = torch.nn.modules.module.register_module_forward_pre_hook(count)
        try:
            yield calls
        finally:
            hook.remove()

    def projection(self, output: Any) -> torch.Tensor:
        """The sum of all differentiable outputs times fixed weights, of order one."""
        terms: list[torch.Tensor] = []
        for _, item in self.flat(output):
            if item.requires_grad:
                weights = torch.from_numpy(randomness.directions(len(terms), item.numel()))
                dense = item if item.layout is torch.strided else item.to_dense()
                real = torch.view_as_real(dense).sum(-1) if item.is_complex() else dense
                terms.append((real.reshape(-1).to(torch.float64) * weights.to(item.device)).sum())
        if not terms:
            found = "" if self.flat(output) else f": it returned {kind_of(output)}, without tensors"
            raise Refusal(f"no output of the forward pass depends on a parameter{found}")
        return torch.stack(terms).sum()

    def check_loss(self, loss: Any, source: str) -> None:
        """Refuse what is not one number, or depends on no parameter."""
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            raise wrong_loss(source, loss)
        if not loss.requires_grad:
            raise Refusal(f"the loss that {source} returns depends on no parameter")

    def gradients(self, model: Any, loss: Any, recorded: None) -> GradientArrays:
        """Run backward; the gradients of all parameters that learn, by path."""
        torch.autograd.backward(loss)
        return {
            path: None if tensor.grad is None else self.array(tensor.grad)
            for path, tensor in self.held(model, learning=True)
            if tensor.requires_grad
        }


def _parts_of(ragged: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """The dense tensors in a ragged one."""
    parts = ragged.unbind()
    return [(f"[{place}]", part) for place, part in enumerate(parts)]
