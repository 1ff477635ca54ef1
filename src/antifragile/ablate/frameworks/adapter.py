"""A framework's models as certification and studies run them, in child processes only.

Values leave as NumPy arrays, so that comparison and files are the same for every framework; models,
inputs and outputs stay opaque.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import prod
from typing import Any, ClassVar

import numpy as np

from antifragile.ablate.frameworks import randomness
from antifragile.ablate.frameworks.arrays import Array, GradientArrays, Leaves, moved, whole_steps
from antifragile.ablate.frameworks.other_inputs import other_values
from antifragile.ablate.trace.calls import Call
from antifragile.ablate.trace.nested import Named, containers, flatten, names_of_each

_MOST_COUNTED = 16  # values of a tensor that may be a counter


class Adapter(ABC):
    """A framework's models: made ready, run in both modes, and read as arrays.

    Attributes:
        builds_late: Whether parameters appear at a layer's first call; uncalled ones never do.
        dict_is_one_input: Whether a dictionary of inputs is one positional input, not keywords.
        has_modes: Whether a model is in one of two modes; else each call names its mode.
    """

    builds_late: bool = False
    dict_is_one_input: ClassVar[bool] = False
    has_modes: ClassVar[bool] = True

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
    def prepare(self, model: Any, forward: Callable[[], object]) -> None:
        """Make the model create what it creates at its first call, which `forward` makes."""

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
                self.assign(tensor, np.asarray(value))  # without axes, NumPy computes scalars

    @abstractmethod
    def copy_tensor(self, tensor: Any) -> Any:
        """A copy of an input, which the model may change in place."""

    def copy_inputs(self, call: Call) -> Call:
        """Copies of the inputs, however deep they lie, which the model may change in place."""
        return call.changed(self.is_tensor, self.copy_tensor)

    def other_inputs(self, call: Call, choice: str) -> Call:
        """Inputs of the same shapes and types with other values; see `other_inputs`."""

        def change(tensor: Any) -> Any:
            old = self.array(tensor)
            new = other_values(old, choice)
            return tensor if new is old else self.like(tensor, new)

        return call.changed(self.is_tensor, change)

    def rounded_inputs(self, call: Call, salt: int) -> Call:
        """Inputs whose floating values are moved by one rounding unit."""
        generator = np.random.Generator(np.random.Philox(salt))

        def change(tensor: Any) -> Any:
            unit = self.unit(tensor) if self.is_dense(tensor) else 0.0
            return self.like(tensor, moved(self.array(tensor), unit, generator)) if unit else tensor

        return call.changed(self.is_tensor, change)

    def results_moved(self, salt: int) -> AbstractContextManager[None]:
        """Move results inside by one rounding unit each, where operations can be watched."""
        return nullcontext()

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
        ] + [f"{path or 'output'} {kind}" for path, kind in containers(value, self.is_tensor)]

    def rounding_unit(self, model: Any, output: Any) -> float:
        """Relative spacing of the coarsest floating type among parameters and outputs."""
        found = [*self.held(model), *self.flat(output)]
        return max((self.unit(item) for _, item in found), default=0.0)

    @abstractmethod
    def mode(
        self, model: Any, *, training: bool, with_gradients: bool
    ) -> AbstractContextManager[None]:
        """Put the model in a mode, if it has modes, and compute gradients inside or not."""

    def forward(self, model: Any, call: Call, *, training: bool, with_gradients: bool) -> Any:
        """Output of one call in a mode."""
        options = {} if self.has_modes else {"training": training}
        with self.mode(model, training=training, with_gradients=with_gradients):
            return call.output_of(model, **options)

    @contextmanager
    def watching_outputs(self, model: Any) -> Iterator[list[Any]]:
        """Collect what calls of the model itself return inside, where that can be seen."""
        yield []

    @contextmanager
    def counting(self, model: Any) -> Iterator[dict[str, int]]:
        """Count what is done inside: calls of modules, draws, whole steps of counters."""
        counts: dict[str, int] = {}
        draws, before = randomness.active_draws(), self._small(model)
        drawn = draws.count if draws else 0
        with self.counting_calls(model) as calls:
            yield counts
        counts |= {f"calls of {path}": number for path, number in calls.items()}
        counts["draws of random numbers"] = draws.count - drawn if draws else 0
        for path, array in self._small(model).items():
            if steps := whole_steps(before.get(path), array):
                counts[f"steps of {path}"] = steps

    @contextmanager
    def counting_calls(self, model: Any) -> Iterator[Mapping[str, int]]:
        """Count the calls of each module inside, by path, where they can be seen."""
        yield {}

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

    def _small(self, model: Any) -> Leaves:
        """Copies of the tensors that are small enough to be counters."""
        return {
            path: self.array(tensor).copy()
            for path, tensor in self._dense(model)
            if prod(tensor.shape) <= _MOST_COUNTED
        }

    def _dense(self, model: Any, *, learning: bool = False) -> list[Named]:
        held = self.held(model, learning=learning)
        return [(path, tensor) for path, tensor in held if self.is_dense(tensor)]
