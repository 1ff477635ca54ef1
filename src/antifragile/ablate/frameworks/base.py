"""One small adapter per framework: everything certification must know about it.

Values cross as NumPy arrays; models, inputs and outputs stay opaque. Child-side only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


class Draws(Protocol):
    """What was drawn."""

    count: int


class Adapter(Protocol):
    """A framework as certification sees it."""

    name: str
    builds_late: bool  # parameters appear at a layer's first call; uncalled ones never do

    def check(self, model: Any, source: str) -> None:
        """Refuse what is not a model of this framework; `source` says where it came from."""
        ...

    def seed(self, seed: int) -> None:
        """Seed every global stream."""
        ...

    def seed_run(self, seed: int) -> None:
        """Seed every global stream as a user would, for a training run."""
        ...

    def streams_untouched(self) -> AbstractContextManager[None]:
        """What is drawn inside does not move what is drawn behind it."""
        ...

    def versions(self) -> str:
        """The framework and its back end, besides torch and NumPy, in words; may be empty."""
        ...

    def stream_digest(self) -> str:
        """Where the global streams stand."""
        ...

    def stream_independent(self, salt: int) -> AbstractContextManager[Draws]:
        """Inside, a draw depends on what is drawn and the salt, not on earlier draws."""
        ...

    def prepare(self, model: Any, inputs: Sequence[Any]) -> None:
        """Make the model create what it creates at its first call."""
        ...

    def parameters(self, model: Any) -> dict[str, int]:
        """Number of elements of each trainable or frozen parameter, by name."""
        ...

    def tensors(self, model: Any) -> dict[str, Array]:
        """Copies of all tensors the model holds, by path."""
        ...

    def aliases(self, model: Any) -> dict[str, list[str]]:
        """All paths of each parameter, by the first of them."""
        ...

    def set_tensors(self, model: Any, values: Mapping[str, Array]) -> None:
        """Copy values into tensors of the same path and shape."""
        ...

    def copy_inputs(self, inputs: Sequence[Any]) -> list[Any]:
        """Inputs that the model may change in place."""
        ...

    def leaves(self, value: Any) -> dict[str, Array]:
        """Arrays and numbers in a nested value, by path."""
        ...

    def signature(self, value: Any) -> list[str]:
        """Structure, shapes and types of a nested value, a line each."""
        ...

    def rounding_unit(self, model: Any, output: Any) -> float:
        """Relative spacing of the coarsest floating type among parameters and outputs."""
        ...

    def evaluate(self, model: Any, inputs: Sequence[Any]) -> Any:
        """Output in evaluation mode."""
        ...

    def forward_in_training(self, model: Any, inputs: Sequence[Any]) -> Any:
        """Output in training mode, without gradients."""
        ...

    def train(
        self,
        model: Any,
        inputs: Sequence[Any],
        step: Callable[..., Any] | None,
        step_name: str,
        *,
        backward: bool,
    ) -> tuple[Any, Any, dict[str, Array | None]]:
        """Output, loss and gradients in training mode; gradients where `backward` asks for them."""
        ...


def open_adapter(framework: str, *, folder: str) -> Adapter:
    """The adapter of a framework, for models whose files lie in the folder."""
    if framework == "torch":
        from antifragile.ablate.frameworks.torch.models import TorchModels

        return TorchModels(folder=folder)
    if framework == "keras":
        from antifragile.ablate.frameworks.keras.models import KerasModels

        return KerasModels()
    raise ValueError(f"no adapter for the framework {framework!r}")
