"""PyTorch models as certification and studies run them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from antifragile.ablate.frameworks import randomness
from antifragile.ablate.frameworks.adapter import Adapter
from antifragile.ablate.frameworks.arrays import Array, GradientArrays
from antifragile.ablate.frameworks.torch import meta_shapes
from antifragile.ablate.frameworks.torch.reach import reachable_tensors
from antifragile.ablate.sandbox.loading import Refusal, kind_of, wrong_loss


class TorchModels(Adapter):
    """PyTorch models: any `nn.Module`."""

    def __init__(self, *, folder: str) -> None:
        self._folder = folder
        randomness.install()
        meta_shapes.install()

    def check(self, model: Any, source: str) -> None:
        """Refuse what is not a model.

        Raises:
            Refusal: `model` is not an `nn.Module`.
        """
        if not isinstance(model, torch.nn.Module):
            raise Refusal(f"{source} must return a torch.nn.Module; got {kind_of(model)}")

    def seed(self, seed: int) -> None:
        """Seed the global streams."""
        randomness.seed_everything(seed)

    def prepare(self, model: Any, inputs: Sequence[Any]) -> None:
        """Let lazy modules see their first input."""
        if any(_is_lazy(tensor) for _, tensor in self.held(model)):
            self.evaluate(model, self.copy_inputs(inputs))

    def parameters(self, model: Any) -> dict[str, int]:
        """Numbers of elements by name, each parameter once, hidden ones included."""
        named = {id(tensor): name for name, tensor in reversed(list(model.named_parameters()))}
        found = {
            id(tensor): (named.get(id(tensor), path), tensor.numel())
            for path, tensor in reversed(list(self.held(model, learning=True)))
        }
        return dict(sorted(found.values()))

    def held(self, model: Any, *, learning: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
        """All tensors that can be reached from the model, or the parameters among them."""
        for path, tensor in reachable_tensors(model, folder=self._folder).items():
            if not learning or isinstance(tensor, torch.nn.Parameter):
                yield path, tensor

    def is_dense(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is neither sparse nor quantized nor to be created yet."""
        return tensor.layout is torch.strided and not tensor.is_quantized and not _is_lazy(tensor)

    def assign(self, tensor: torch.Tensor, value: Array) -> None:
        """Copy a value of the same shape into a tensor, where it is another."""
        new = torch.from_numpy(value).to(tensor.dtype)
        if not torch.equal(tensor.detach(), new):
            tensor.data.copy_(new)

    def copy_inputs(self, inputs: Sequence[Any]) -> list[Any]:
        """Copies of the inputs, which a forward pass may change in place."""
        return [
            item.detach().clone() if isinstance(item, torch.Tensor) else item for item in inputs
        ]

    def like(self, tensor: torch.Tensor, values: Array) -> torch.Tensor:
        """Make a tensor of the type and place of another one."""
        new = torch.from_numpy(values).to(tensor)
        return new if tensor.layout is torch.strided else tensor

    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor of torch."""
        return isinstance(value, torch.Tensor)

    def flat(self, value: Any) -> list[tuple[str, torch.Tensor]]:
        """Tensors, arrays and numbers as tensors, of a nested value."""
        return [(path, torch.as_tensor(item)) for path, item in super().flat(value)]

    def array(self, value: torch.Tensor) -> Array:
        """A tensor as an array."""
        plain = value.detach()
        if plain.layout is not torch.strided:
            plain = plain.to_dense()
        if plain.dtype is torch.bfloat16:  # NumPy has no such type; float32 holds it exactly
            plain = plain.float()
        return plain.cpu().resolve_conj().resolve_neg().numpy()

    def type_name(self, value: torch.Tensor) -> str:
        """The type of a tensor's elements."""
        return str(value.dtype).removeprefix("torch.")

    def unit(self, value: torch.Tensor) -> float:
        """Relative spacing of a floating or complex type; 0.0 for others."""
        is_spaced = value.is_floating_point() or value.is_complex()
        return float(torch.finfo(value.dtype).eps) if is_spaced else 0.0

    def evaluate(self, model: Any, inputs: Sequence[Any]) -> Any:
        """Output in evaluation mode."""
        model.eval()
        with torch.no_grad():
            return model(*inputs)

    def forward_in_training(
        self, model: Any, inputs: Sequence[Any], *, with_gradients: bool
    ) -> Any:
        """Output in training mode."""
        model.train()
        with nullcontext() if with_gradients else torch.no_grad():
            return model(*inputs)

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
            raise Refusal("no output of the forward pass depends on a parameter")
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


def _is_lazy(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, (torch.nn.UninitializedParameter, torch.nn.UninitializedBuffer))
