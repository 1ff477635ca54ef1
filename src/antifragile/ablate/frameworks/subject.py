"""The user's functions in one folder, brought to life in a child, and one run of their model.

A run builds the model anew, copies given values in, and goes forward in both modes and backward;
what came out is an `Observation` in plain arrays. Child-side only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from antifragile.ablate.certify.compare import Leaves, is_finite
from antifragile.ablate.frameworks.base import Adapter, open_adapter
from antifragile.ablate.sandbox.loading import Refusal, hide, load_function, stage

MODES = ("evaluation", "training")
SEED, OTHER_SEED = 20, 21  # of what build draws
_INPUT_SEED, _RUN_SEED = 22, 23


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One model on one set of weights: what came out, by mode.

    Args:
        outputs: By mode; "loss" where the user named a step.
        gradients: By name, None where there is none; empty where no backward pass was asked for.
        stream_digest: Where the streams stood after build.
        unit: Relative spacing of the coarsest floating type.
    """

    outputs: dict[str, Leaves]
    signature: list[str]
    gradients: dict[str, np.ndarray[Any, Any] | None]
    inputs: Leaves
    parameters: dict[str, int]
    stream_digest: str
    unit: float

    @property
    def parts(self) -> dict[str, Leaves]:
        """Everything in it that can be compared, by part."""
        gradients = {name: value for name, value in self.gradients.items() if value is not None}
        return {**self.outputs, "inputs": self.inputs, "gradients": gradients}

    @property
    def without_gradient(self) -> list[str]:
        """Parameters that the backward pass did not reach."""
        return sorted(name for name in self.parameters if self.gradients.get(name) is None)

    @property
    def is_finite(self) -> bool:
        """Whether no output holds an infinity or NaN."""
        return all(map(is_finite, self.outputs.values()))


class Subject:
    """The user's functions in one folder, and runs of the model they make."""

    def __init__(
        self, folder: str, entries: Mapping[str, Any], framework: str, hidden: Sequence[str]
    ) -> None:
        self.adapter: Adapter = open_adapter(framework, folder=folder)
        hide(hidden)
        self._names = {
            key: f"{entry[1]}() of {entry[0]}" for key, entry in entries.items() if entry
        }
        self._functions = {key: load_function(*entry) for key, entry in entries.items() if entry}
        self.is_random = True  # until a run has shown that nothing is drawn
        self.draws = 0

    @contextmanager
    def drawing(self, salt: int = 0) -> Iterator[None]:
        """Draws inside do not depend on earlier ones."""
        if not self.is_random:
            yield
            return
        with self.adapter.stream_independent(salt) as draws:
            yield
        self.draws += draws.count

    def build(self, seed: int = SEED) -> Any:
        """A new model."""
        self.adapter.seed(seed)
        with stage(self._names["build"]):
            model = self._functions["build"]()
        self.adapter.check(model, self._names["build"])
        return model

    def inputs(self) -> list[Any]:
        """The positional inputs."""
        name = self._names["inputs"]
        self.adapter.seed(_INPUT_SEED)
        with stage(name):
            found = self._functions["inputs"]()
        if not isinstance(found, (tuple, list)):
            kind = type(found).__name__
            raise Refusal(f"{name} must return the tuple of positional inputs; got a {kind}")
        return list(found)

    def ready(self, seed: int = SEED) -> tuple[Any, str, list[Any]]:
        """A new model with all its parameters, where the streams stand behind it, and inputs."""
        model = self.build(seed)
        stream = self.adapter.stream_digest()
        inputs = self.inputs()
        self.adapter.seed(seed)
        with stage("the first forward pass"):
            self.adapter.prepare(model, inputs)
        self.adapter.seed(_RUN_SEED)
        return model, stream, inputs

    def observe(
        self, values: Mapping[str, np.ndarray[Any, Any]], seed: int = SEED, *, backward: bool = True
    ) -> Observation:
        """Build, copy values in, run forward in both modes, and backward where asked to."""
        adapter = self.adapter
        model, stream, inputs = self.ready(seed)
        adapter.set_tensors(model, values)
        with self.drawing():
            with stage("the forward pass in evaluation mode"):
                evaluated = adapter.evaluate(model, adapter.copy_inputs(inputs))
            step, name = self._functions.get("step"), self._names.get("step", "")
            trained, loss, gradients = adapter.train(model, inputs, step, name, backward=backward)
        outputs = {MODES[0]: adapter.leaves(evaluated), MODES[1]: adapter.leaves(trained)}
        if step is not None:
            outputs["loss"] = adapter.leaves(loss)
        return Observation(
            outputs=outputs,
            signature=adapter.signature((evaluated, trained)),
            gradients=gradients,
            inputs=adapter.leaves(inputs),
            parameters=adapter.parameters(model),
            stream_digest=stream,
            unit=adapter.rounding_unit(model, (evaluated, trained)),
        )

    def draw_again(self, values: Mapping[str, np.ndarray[Any, Any]], salt: int) -> Leaves:
        """The training-mode output with other draws."""
        model, _, inputs = self.ready()
        self.adapter.set_tensors(model, values)
        with self.drawing(salt):
            return self.adapter.leaves(self.adapter.forward_in_training(model, inputs))
