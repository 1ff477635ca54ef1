"""Keras 3 models as certification and studies run them, on the torch or TensorFlow back end.

Variables appear at the first call, hence `prepare`. Random layers keep their own generators, whose
states are variables and are copied like weights; draws without a seed use one global generator.
"""

from __future__ import annotations

import importlib
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from antifragile.ablate.frameworks import randomness
from antifragile.ablate.frameworks.adapter import Adapter
from antifragile.ablate.frameworks.arrays import Array, GradientArrays
from antifragile.ablate.frameworks.keras.backends import open_backend
from antifragile.ablate.frameworks.keras.layers import (
    is_floating,
    keras,
    type_of,
    variables_by_path,
)
from antifragile.ablate.frameworks.keras.order import count_layers, start_anew
from antifragile.ablate.sandbox.loading import Refusal, kind_of, wrong_loss
from antifragile.ablate.trace.nested import NUMBERS, Named

_UNITS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
_GENERATORS = "keras.src.random.seed_generator"


class KerasModels(Adapter):
    """Keras models: Sequential, functional and subclassed."""

    builds_late = True
    dict_is_one_input = True  # as functional models take it
    has_modes = False

    def __init__(self) -> None:
        self._backend = open_backend()
        self._run_seed = 0
        randomness.install()
        count_layers()
        module = importlib.import_module(_GENERATORS)
        module.global_seed_generator = _global_generator(  # type: ignore[attr-defined]  # no stubs
            module.global_seed_generator
        )

    def check(self, model: Any, source: str) -> None:
        """Refuse what is not a Keras layer or model."""
        if not isinstance(model, keras.Layer):
            raise Refusal(f"{source} must return a keras.Model; got {kind_of(model)}")

    def seed(self, seed: int) -> None:
        """Seed the global streams, and let Keras number names from one again."""
        keras.backend.clear_session(free_memory=False)
        start_anew()
        random.seed(seed)
        np.random.seed(seed)
        keras.src.backend.common.global_state.set_global_attribute("global_random_seed", seed)
        self._backend.seed(seed)

    def seed_run(self, seed: int) -> None:
        """Seed the global streams by Keras's own function."""
        self._run_seed = seed
        start_anew()
        keras.utils.set_random_seed(seed % 2**31)

    @contextmanager
    def streams_untouched(self) -> Iterator[None]:
        """Put Python's, NumPy's and torch's streams back; seed Keras's and TensorFlow's anew."""
        anew = self._run_seed + 1
        with randomness.streams_untouched():
            yield
            self.seed_run(anew)

    def versions(self) -> str:
        """Versions of Keras and its back end."""
        backend = importlib.import_module(keras.backend.backend())
        return f"keras {keras.__version__} on {backend.__name__} {backend.__version__}"

    def prepare(self, model: Any, forward: Callable[[], object]) -> None:
        """Call the model once: Keras creates weights then."""
        forward()

    def parameters(self, model: Any) -> dict[str, int]:
        """Number of elements of each trainable or frozen parameter, by path."""
        every = reversed(list(self.held(model, learning=True)))
        found = {id(v): (path, v) for path, v in every}
        return {path: int(np.prod(v.shape)) for path, v in found.values()}

    def held(self, model: Any, *, learning: bool = False) -> Iterator[Named]:
        """All variables below the model, or those that are parameters."""
        for path, variable, learns in variables_by_path(model):
            if learns or not learning:
                yield path, variable

    def assign(self, tensor: Any, value: Array) -> None:
        """Copy a value of the same shape into a variable."""
        tensor.assign(value)

    def copy_tensor(self, tensor: Any) -> Any:
        """A copy of an input, which a forward pass may change in place."""
        return keras.ops.copy(tensor)

    def results_moved(self, salt: int) -> AbstractContextManager[None]:
        """Move results inside by one rounding unit each, on a back end that can be watched."""
        return self._backend.results_moved(salt)

    def like(self, tensor: Any, values: Array) -> Any:
        """Make a tensor of the type of another one."""
        return keras.ops.convert_to_tensor(values, dtype=self.type_name(tensor))

    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor of Keras's back end."""
        return bool(keras.ops.is_tensor(value))

    def array(self, value: Any) -> Array:
        """A tensor, variable, array or number as an array."""
        if isinstance(value, (np.ndarray, np.generic, *NUMBERS)):
            return np.asarray(value)
        array = np.asarray(keras.ops.convert_to_numpy(value))
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array

    def type_name(self, value: Any) -> str:
        """The type of the elements; of a number, Python's."""
        return type(value).__name__ if isinstance(value, NUMBERS) else type_of(value)

    def unit(self, value: Any) -> float:
        """Relative spacing of a floating type; 0.0 for others."""
        return _UNITS.get(self.type_name(value), 0.0)

    def mode(
        self, model: Any, *, training: bool, with_gradients: bool
    ) -> AbstractContextManager[None]:
        """Compute gradients inside or not; each call names its mode."""
        return nullcontext() if with_gradients else self._backend.without_gradients()

    def recording(self) -> AbstractContextManager[Any]:
        """Record on the back end's tape, if it has one."""
        return self._backend.recording()

    def projection(self, output: Any) -> Any:
        """The sum of all floating outputs times fixed weights, of order one."""
        terms: list[Any] = []
        for _, item in self.flat(output):
            if self.is_tensor(item) and is_floating(item):
                size = int(np.prod(item.shape))
                weights = randomness.directions(len(terms), size).astype("float32")
                flat = keras.ops.reshape(keras.ops.cast(item, "float32"), (-1,))
                terms.append(keras.ops.sum(flat * keras.ops.convert_to_tensor(weights)))
        if not terms:
            raise Refusal("no output of the forward pass is a floating tensor")
        return sum(terms[1:], start=terms[0])

    def check_loss(self, loss: Any, source: str) -> None:
        """Refuse what is not one number."""
        if not keras.ops.is_tensor(loss) or int(np.prod(loss.shape)) != 1:
            raise wrong_loss(source, loss)

    def gradients(self, model: Any, loss: Any, recorded: Any) -> GradientArrays:
        """Gradients of all variables that learn, by path."""
        trained = {id(variable) for variable in model.trainable_variables}
        named = [(path, v) for path, v in self.held(model) if id(v) in trained]
        found = self._backend.gradients(recorded, loss, [variable for _, variable in named])
        arrays = [None if item is None else self.array(item).copy() for item in found]
        penalty = [self.array(item).copy() for item in model.losses]  # what `fit` adds to the loss
        added: GradientArrays = {"added to the loss": np.sum(penalty)} if penalty else {}
        return dict(zip((path for path, _ in named), arrays, strict=True)) | added


def _global_generator(original: Callable[[], Any]) -> Callable[[], Any]:
    """Wrap Keras's generator of unseeded draws: independent draws get a new one each time."""

    def generator() -> Any:
        draws = randomness.active_draws()
        if draws is None:
            return original()
        return keras.random.SeedGenerator(seed=zlib.crc32(f"{draws.seed('keras')}".encode()))

    return generator
