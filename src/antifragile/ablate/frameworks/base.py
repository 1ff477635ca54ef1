"""The two interfaces of a framework: its record in the registry, and its models as we run them.

Values cross as NumPy arrays; models, inputs and outputs stay opaque. An `Adapter` lives in child
processes only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from antifragile.ablate.records import Project
from antifragile.ablate.trace.records import Trace

if TYPE_CHECKING:  # commands ask for names of frameworks, and need no NumPy
    from antifragile.ablate.frameworks.arrays import Array, GradientArrays, Leaves


class DrawCount(Protocol):
    """Number of the random draws that were made."""

    count: int


class Adapter(Protocol):
    """A framework's models: made ready, run in both modes, and read as arrays."""

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
        """Keep draws inside from moving the draws that come after it."""
        ...

    def versions(self) -> str:
        """Versions of the framework and its back end, besides torch and NumPy; may be empty."""
        ...

    def stream_digest(self) -> str:
        """Digest of the state of the global streams."""
        ...

    def stream_independent(self, salt: int) -> AbstractContextManager[DrawCount]:
        """Let draws inside depend on what is drawn and the salt, not on earlier draws."""
        ...

    def prepare(self, model: Any, inputs: Sequence[Any]) -> None:
        """Make the model create what it creates at its first call."""
        ...

    def parameters(self, model: Any) -> dict[str, int]:
        """Number of elements of each trainable or frozen parameter, by name."""
        ...

    def tensors(self, model: Any) -> Leaves:
        """Copies of all tensors the model holds, by path."""
        ...

    def aliases(self, model: Any) -> dict[str, list[str]]:
        """All paths of each parameter, by the first of them."""
        ...

    def set_tensors(self, model: Any, values: Mapping[str, Array]) -> None:
        """Copy values into tensors of the same path and shape."""
        ...

    def copy_inputs(self, inputs: Sequence[Any]) -> list[Any]:
        """Copies of the inputs, which the model may change in place."""
        ...

    def leaves(self, value: Any) -> Leaves:
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

    def forward_in_training(
        self, model: Any, inputs: Sequence[Any], *, with_gradients: bool
    ) -> Any:
        """Output in training mode."""
        ...

    def recording(self) -> AbstractContextManager[Any]:
        """Record operations inside; `gradients` takes the record that this yields."""
        ...

    def projection(self, output: Any) -> Any:
        """A loss without a training step: all floating outputs times fixed random weights."""
        ...

    def check_loss(self, loss: Any, source: str) -> None:
        """Refuse what is not a loss; `source` says where it came from."""
        ...

    def gradients(self, model: Any, loss: Any, recorded: Any) -> GradientArrays:
        """Gradients of a loss by path."""
        ...


def nothing_more(texts: Sequence[str]) -> tuple[str, ...]:
    """Preload nothing, whatever the variants hold."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Framework:
    """A framework whose models can be ablated; imported without the framework itself.

    Args:
        name: Its name in commands, certificates and stores, and in `import NAME`.
        title: Its name in sentences.
        templates: The folder of its edit templates.
        trace: Runs a project once in this process and notes what every site did.
        open_models: Opens the adapter for models whose files lie in a folder.
        placeholders: The library names that templates write, from a file's own names for them.
        preload: Modules that a server imports before it forks.
        preload_for: Further ones that pay off for variants whose edited files hold these texts.
        preload_training: Further ones that training needs.
        environment: Environment variables of the server.
        extra: The extra of this package that installs the framework; None for a dependency.
        trains_data_sets: Whether the built-in experiment on our data sets trains its models.
    """

    name: str
    title: str
    templates: Path
    trace: Callable[[Project], Trace]
    open_models: Callable[[str], Adapter]
    placeholders: Callable[[Mapping[str, str]], dict[str, str]]
    preload: tuple[str, ...]
    preload_for: Callable[[Sequence[str]], tuple[str, ...]] = nothing_more
    preload_training: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    extra: str | None = None
    trains_data_sets: bool = False
