"""PyTorch models as certification and studies run them.

Runs in child processes only. Values leave as NumPy arrays, so that comparison and files are the
same for every framework; another framework is another class with these methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from antifragile.ablate.frameworks import randomness
from antifragile.ablate.frameworks.arrays import Array, GradientArrays, Leaves
from antifragile.ablate.frameworks.torch import meta_shapes
from antifragile.ablate.frameworks.torch.reach import reachable_tensors
from antifragile.ablate.sandbox.loading import Refusal, kind_of, wrong_loss
from antifragile.ablate.trace.nested import flatten, names_of_each


class TorchModels:
    """PyTorch models: any `nn.Module`."""

    builds_late = False

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

    def seed_run(self, seed: int) -> None:
        """Seed the global streams."""
        randomness.seed_everything(seed)

    def streams_untouched(self) -> AbstractContextManager[None]:
        """Put the global streams back to where they were."""
        return randomness.streams_untouched()

    def versions(self) -> str:
        """Empty: torch itself is known."""
        return ""

    def stream_digest(self) -> str:
        """Digest of the state of the global streams."""
        return randomness.stream_digest()

    def stream_independent(self, salt: int) -> AbstractContextManager[randomness.Draws]:
        """Let draws inside depend on what is drawn, not on what was drawn before."""
        return randomness.stream_independent(salt)

    def prepare(self, model: Any, inputs: Sequence[Any]) -> None:
        """Let lazy modules see their first input."""
        if any(_is_lazy(tensor) for tensor in self._reached(model).values()):
            self.evaluate(model, self.copy_inputs(inputs))

    def parameters(self, model: Any) -> dict[str, int]:
        """Numbers of elements by name, each parameter once, hidden ones included."""
        named = {id(tensor): name for name, tensor in reversed(list(model.named_parameters()))}
        found = {
            id(tensor): (named.get(id(tensor), path), tensor.numel())
            for path, tensor in reversed(list(self._reached(model).items()))
            if isinstance(tensor, torch.nn.Parameter) and not tensor.is_meta
        }
        return dict(sorted(found.values()))

    def tensors(self, model: Any) -> Leaves:
        """Copies of every dense tensor the model holds, by path."""
        return {
            path: _array(tensor).copy()
            for path, tensor in self._reached(model).items()
            if _is_plain(tensor)
        }

    def aliases(self, model: Any) -> dict[str, list[str]]:
        """Paths of every parameter, the first as key: tied weights have several."""
        return names_of_each(
            (path, tensor)
            for path, tensor in self._reached(model).items()
            if isinstance(tensor, torch.nn.Parameter) and _is_plain(tensor)
        )

    def set_tensors(self, model: Any, values: Mapping[str, Array]) -> None:
        """Copy values into the tensors of the same path and shape."""
        with torch.no_grad():
            for path, tensor in self._reached(model).items():
                value = values.get(path)
                if value is None or not _is_plain(tensor) or value.shape != tuple(tensor.shape):
                    continue
                new = torch.from_numpy(value).to(tensor.dtype)
                if not torch.equal(tensor.detach(), new):
                    tensor.data.copy_(new)

    def copy_inputs(self, inputs: Sequence[Any]) -> list[Any]:
        """Copies of the inputs, which a forward pass may change in place."""
        return [
            item.detach().clone() if isinstance(item, torch.Tensor) else item for item in inputs
        ]

    def leaves(self, value: Any) -> Leaves:
        """Numbers and tensors in a nested value, by path."""
        return {path: _array(item) for path, item in _flatten(value)}

    def signature(self, value: Any) -> list[str]:
        """Structure, shapes and types of a nested value, in words."""
        return [
            f"{path or 'output'} {tuple(item.shape)} {str(item.dtype).removeprefix('torch.')}"
            for path, item in _flatten(value)
        ]

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

    def rounding_unit(self, model: Any, output: Any) -> float:
        """Relative spacing of the coarsest floating type among parameters and outputs."""
        tensors = [*self._reached(model).values(), *(item for _, item in _flatten(output))]
        types = {item.dtype for item in tensors if item.is_floating_point() or item.is_complex()}
        return max((float(torch.finfo(kind).eps) for kind in types), default=0.0)

    def recording(self) -> AbstractContextManager[None]:
        """Do nothing: torch records by itself."""
        return nullcontext()

    def projection(self, output: Any) -> torch.Tensor:
        """The sum of all differentiable outputs times fixed weights, of order one."""
        terms: list[torch.Tensor] = []
        for _, item in _flatten(output):
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
            path: None if tensor.grad is None else _array(tensor.grad)
            for path, tensor in self._reached(model).items()
            if isinstance(tensor, torch.nn.Parameter) and tensor.requires_grad
        }

    def _reached(self, model: Any) -> dict[str, torch.Tensor]:
        return reachable_tensors(model, folder=self._folder)


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_quantized and not _is_lazy(tensor)


def _is_lazy(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, (torch.nn.UninitializedParameter, torch.nn.UninitializedBuffer))


def _array(tensor: torch.Tensor) -> Array:
    plain = tensor.detach()
    if plain.layout is not torch.strided:
        plain = plain.to_dense()
    if plain.dtype is torch.bfloat16:  # NumPy has no such type; float32 holds it exactly
        plain = plain.float()
    return plain.cpu().resolve_conj().resolve_neg().numpy()


def _flatten(value: Any) -> list[tuple[str, torch.Tensor]]:
    """Tensors, numbers as 0-d tensors, of a nested output."""
    found = flatten(value, lambda item: isinstance(item, torch.Tensor))
    return [(where, torch.as_tensor(item)) for where, item in found]
