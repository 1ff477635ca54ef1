"""A framework's models as certification and studies run them, in child processes only.

Values leave as NumPy arrays, so that comparison and files are the same for every framework; models,
inputs and outputs stay opaque.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from antifragile.ablate.frameworks import randomness
from antifragile.ablate.frameworks.arrays import Array, GradientArrays, Leaves
from antifragile.ablate.frameworks.other_inputs import other_values, with_other_values
from antifragile.ablate.trace.nested import Named, flatten, names_of_each


class Adapter(ABC):
    """A framework's models: made ready, run in both modes, and read as arrays.

    Attributes:
        builds_late: Whether parameters appear at a layer's first call; uncalled ones never do.
    """

    builds_late: ClassVar[bool] = False

    @abstractmethod
    def check(self, model: Any, source: str) -> None:
        """Refuse what is not a model of this framework; `source` says where it came from."""

    @abstractmethod
    def seed(self, seed: int) -> None:
        """Seed every global stream."""

    def seed_run(self, seed: int) -> None:
        """Seed every global stream as a user would, for a training run."""
        self.seed(seed)

    def streams_untouched(self) -> AbstractContextManager[None]:
        """Keep draws inside from moving the draws that come after it."""
        return randomness.streams_untouched()

    def versions(self) -> str:
        """Versions of the framework and its back end, besides torch and NumPy; may be empty."""
        return ""

    def stream_digest(self) -> str:
        """Digest of the state of the global streams."""
        return randomness.stream_digest()

    def stream_independent(self, salt: int) -> AbstractContextManager[randomness.Draws]:
        """Let draws inside depend on what is drawn and the salt, not on earlier draws."""
        return randomness.stream_independent(salt)

    @abstractmethod
    def prepare(self, model: Any, inputs: Sequence[Any]) -> None:
        """Make the model create what it creates at its first call."""

    @abstractmethod
    def parameters(self, model: Any) -> dict[str, int]:
        """Number of elements of each trainable or frozen parameter, by name."""

    @abstractmethod
    def held(self, model: Any, *, learning: bool = False) -> Iterable[Named]:
        """All tensors the model holds, or its parameters alone, by path."""

    def is_dense(self, tensor: Any) -> bool:
        """Whether a tensor's values can be copied as an array; others are left alone."""
        return True

    @abstractmethod
    def assign(self, tensor: Any, value: Array) -> None:
        """Copy a value of the same shape into a tensor."""

    def tensors(self, model: Any) -> Leaves:
        """Copies of all tensors the model holds, by path."""
        return {path: self.array(tensor).copy() for path, tensor in self._dense(model)}

    def aliases(self, model: Any) -> dict[str, list[str]]:
        """All paths of each parameter, by the first of them: tied weights have several."""
        return names_of_each(self._dense(model, learning=True))

    def set_tensors(self, model: Any, values: Mapping[str, Array]) -> None:
        """Copy values into tensors of the same path and shape."""
        for path, tensor in self._dense(model):
            value = values.get(path)
            if value is not None and value.shape == tuple(tensor.shape):
                self.assign(tensor, value)

    @abstractmethod
    def copy_inputs(self, inputs: Sequence[Any]) -> list[Any]:
        """Copies of the inputs, which the model may change in place."""

    def other_inputs(self, inputs: Any, choice: str) -> Any:
        """Inputs of the same shapes and types with other values; see `other_inputs`."""

        def change(tensor: Any) -> Any:
            old = self.array(tensor)
            new = other_values(old, choice)
            return tensor if new is old else self.like(tensor, new)

        return with_other_values(inputs, self.is_tensor, change)

    @abstractmethod
    def like(self, tensor: Any, values: Array) -> Any:
        """Make a tensor of the type and place of another one."""

    @abstractmethod
    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor of the framework."""

    @abstractmethod
    def array(self, value: Any) -> Array:
        """A tensor, array or number as an array."""

    @abstractmethod
    def type_name(self, value: Any) -> str:
        """The type of a tensor's, array's or number's elements, as in "float32"."""

    @abstractmethod
    def unit(self, value: Any) -> float:
        """Relative spacing of a floating type; 0.0 for others."""

    def flat(self, value: Any) -> list[Named]:
        """The tensors, arrays and numbers in a nested value, by path."""
        return flatten(value, self.is_tensor)

    def leaves(self, value: Any) -> Leaves:
        """Arrays and numbers in a nested value, by path."""
        return {path: self.array(item) for path, item in self.flat(value)}

    def signature(self, value: Any) -> list[str]:
        """Structure, shapes and types of a nested value, a line each."""
        return [
            f"{path or 'output'} {self.array(item).shape} {self.type_name(item)}"
            for path, item in self.flat(value)
        ]

    def rounding_unit(self, model: Any, output: Any) -> float:
        """Relative spacing of the coarsest floating type among parameters and outputs."""
        found = [*self.held(model), *self.flat(output)]
        return max((self.unit(item) for _, item in found), default=0.0)

    @abstractmethod
    def evaluate(self, model: Any, inputs: Sequence[Any]) -> Any:
        """Output in evaluation mode."""

    @abstractmethod
    def forward_in_training(
        self, model: Any, inputs: Sequence[Any], *, with_gradients: bool
    ) -> Any:
        """Output in training mode."""

    def recording(self) -> AbstractContextManager[Any]:
        """Record operations inside; `gradients` takes the record that this yields."""
        return nullcontext()

    @abstractmethod
    def projection(self, output: Any) -> Any:
        """A loss without a training step: all floating outputs times fixed random weights."""

    @abstractmethod
    def check_loss(self, loss: Any, source: str) -> None:
        """Refuse what is not a loss; `source` says where it came from."""

    @abstractmethod
    def gradients(self, model: Any, loss: Any, recorded: Any) -> GradientArrays:
        """Gradients of a loss by path."""

    def _dense(self, model: Any, *, learning: bool = False) -> list[Named]:
        held = self.held(model, learning=learning)
        return [(path, tensor) for path, tensor in held if self.is_dense(tensor)]
