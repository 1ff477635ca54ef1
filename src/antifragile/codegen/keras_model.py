"""What certification needs to know about Keras 3, on the torch and the TensorFlow back end.

Layers are found by the attributes that hold them, or by their place in a Sequential or functional
model, never by their names: Keras numbers names globally, one layer less would rename the others.
Variables appear at the first call, hence `prepare`. Random layers keep their own generators, whose
states are variables and are copied like weights; draws without a seed use one global generator.
"""

from __future__ import annotations

import importlib
import random
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any

import numpy as np

from antifragile._optional import require
from antifragile.codegen import randomness
from antifragile.codegen.loading import Refusal, stage
from antifragile.codegen.nested import directions, flatten

Leaves = dict[str, np.ndarray[Any, Any]]

_UNNAMED = re.compile(r"variable(_\d+)?")
_UNITS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
_GENERATORS = "keras.src.random.seed_generator"
_TENSORFLOW_DRAWS = ("normal", "uniform", "truncated_normal", "gamma", "poisson", "shuffle")


class _Keras:
    """The package, imported when first used."""

    def __getattr__(self, name: str) -> Any:
        return getattr(require("keras", extra="keras", purpose="ablating a Keras model"), name)


keras: Any = _Keras()


class KerasModels:
    """Keras models: Sequential, functional and subclassed."""

    name = "keras"
    builds_late = True

    def __init__(self) -> None:
        backend = keras.backend.backend()
        if backend not in ("torch", "tensorflow"):
            raise Refusal(
                f"the Keras back end {backend!r} cannot be certified; set KERAS_BACKEND to torch "
                "or tensorflow"
            )
        self._backend: _Torch | _TensorFlow = _Torch() if backend == "torch" else _TensorFlow()
        randomness.install()
        module = importlib.import_module(_GENERATORS)
        module.global_seed_generator = _global_generator(  # type: ignore[attr-defined]  # no stubs
            module.global_seed_generator
        )

    def check(self, model: Any, source: str) -> None:
        """Refuse what is not a Keras layer or model."""
        if not isinstance(model, keras.Layer):
            raise Refusal(f"{source} must return a keras.Model; got a {type(model).__name__}")

    def seed(self, seed: int) -> None:
        """Seed the global streams; names start from one again."""
        keras.backend.clear_session(free_memory=False)
        random.seed(seed)
        np.random.seed(seed)
        keras.src.backend.common.global_state.set_global_attribute("global_random_seed", seed)
        self._backend.seed(seed)

    def stream_digest(self) -> str:
        """Where the global streams stand."""
        return randomness.stream_digest()

    @contextmanager
    def stream_independent(self, salt: int) -> Iterator[randomness.Draws]:
        """Draws inside depend on what is drawn, not on what was drawn before."""
        with randomness.stream_independent(salt) as draws, self._backend.reseeding(draws):
            yield draws

    def prepare(self, model: Any, inputs: Sequence[Any]) -> None:
        """Call the model once: Keras creates weights then."""
        self.evaluate(model, inputs)

    def parameters(self, model: Any) -> dict[str, int]:
        """Numbers of elements of what is trained, or would be if it were not frozen."""
        every = reversed(list(variables_by_path(model)))
        found = {id(v): (path, v) for path, v, learns in every if learns}
        return {path: int(np.prod(v.shape)) for path, v in found.values()}

    def tensors(self, model: Any) -> Leaves:
        """Copies of all variables by path."""
        return {path: np.array(_array(value)) for path, value, _ in variables_by_path(model)}

    def aliases(self, model: Any) -> dict[str, list[str]]:
        """Paths of every parameter, the first as key."""
        paths: dict[int, list[str]] = {}
        for path, variable, learns in variables_by_path(model):
            if learns:
                paths.setdefault(id(variable), []).append(path)
        return {names[0]: names for names in paths.values()}

    def set_tensors(self, model: Any, values: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Copy values into the variables of the same path and shape."""
        for path, variable, _ in variables_by_path(model):
            value = values.get(path)
            if value is not None and value.shape == tuple(variable.shape):
                variable.assign(value)

    def copy_inputs(self, inputs: Sequence[Any]) -> list[Any]:
        """Inputs that a forward pass may change in place."""
        return [_copied(item) for item in inputs]

    def leaves(self, value: Any) -> Leaves:
        """Numbers and tensors in a nested value, by path."""
        return {path: _array(item) for path, item in flatten("", value, keras.ops.is_tensor)}

    def signature(self, value: Any) -> list[str]:
        """Structure, shapes and types of a nested value, in words."""
        found = flatten("", value, keras.ops.is_tensor)
        return [f"{path or 'output'} {np.shape(_array(v))} {_dtype(v)}" for path, v in found]

    def rounding_unit(self, model: Any, output: Any) -> float:
        """Relative spacing of the coarsest floating type among parameters and outputs."""
        types = {_dtype(variable) for _, variable, _ in variables_by_path(model)}
        types |= {_dtype(item) for _, item in flatten("", output, keras.ops.is_tensor)}
        return max((_UNITS.get(kind, 0.0) for kind in types), default=0.0)

    def evaluate(self, model: Any, inputs: Sequence[Any]) -> Any:
        """The output in evaluation mode."""
        with self._backend.without_gradients():
            return model(*inputs, training=False)

    def forward_in_training(self, model: Any, inputs: Sequence[Any]) -> Any:
        """The output in training mode, without gradients."""
        with self._backend.without_gradients():
            return model(*inputs, training=True)

    def train(
        self, model: Any, inputs: Sequence[Any], step: Callable[..., Any] | None, step_name: str
    ) -> tuple[Any, Any, dict[str, np.ndarray[Any, Any] | None]]:
        """Output, loss and gradients of a forward and a backward pass in training mode."""
        trained = {id(variable) for variable in model.trainable_variables}
        named = [(path, v) for path, v, _ in variables_by_path(model) if id(v) in trained]
        with self._backend.recording() as tape:
            with stage("the forward pass in training mode"):
                output = model(*self.copy_inputs(inputs), training=True)
            if step is None:
                loss = _projection(output)
            else:
                with stage(step_name):
                    loss = step(model, *self.copy_inputs(inputs))
                _check_loss(loss, step_name)
        with stage("the backward pass"):
            gradients = self._backend.gradients(tape, loss, [variable for _, variable in named])
        arrays = [None if item is None else np.array(_array(item)) for item in gradients]
        return output, loss, dict(zip((path for path, _ in named), arrays, strict=True))


class _Torch:
    """The torch back end."""

    def __init__(self) -> None:
        import torch

        self._torch = torch

    def seed(self, seed: int) -> None:
        self._torch.manual_seed(seed)

    def reseeding(self, draws: randomness.Draws) -> Any:
        return nullcontext()

    def without_gradients(self) -> Any:
        return self._torch.no_grad()

    def recording(self) -> Any:
        return nullcontext()

    def gradients(self, tape: Any, loss: Any, variables: Sequence[Any]) -> list[Any]:
        self._torch.autograd.backward(loss)
        return [variable.value.grad for variable in variables]


class _TensorFlow:
    """The TensorFlow back end."""

    def __init__(self) -> None:
        tensorflow = importlib.import_module("tensorflow")
        self._tensorflow = tensorflow
        self._draws: randomness.Draws | None = None
        for module, names in (
            (tensorflow.random, _TENSORFLOW_DRAWS),
            (tensorflow.nn, ("dropout",)),
        ):
            for name in names:
                setattr(module, name, self._wrapped(module, name))

    def seed(self, seed: int) -> None:
        self._tensorflow.random.set_seed(seed)

    @contextmanager
    def reseeding(self, draws: randomness.Draws) -> Iterator[None]:
        self._draws = draws
        try:
            yield
        finally:
            self._draws = None

    def without_gradients(self) -> Any:
        return nullcontext()

    def recording(self) -> Any:
        return self._tensorflow.GradientTape()

    def gradients(self, tape: Any, loss: Any, variables: Sequence[Any]) -> list[Any]:
        found = tape.gradient(loss, [variable.value for variable in variables])
        dense = self._tensorflow.convert_to_tensor
        return [None if item is None else dense(item) for item in found]

    def _wrapped(self, module: ModuleType, name: str) -> Callable[..., Any]:
        draw = getattr(module, name)

        def drawn(*args: Any, **kwargs: Any) -> Any:
            if self._draws is not None:
                shapes = [str(getattr(item, "shape", item)) for item in args]
                self._tensorflow.random.set_seed(self._draws.seed(f"tf {name} {shapes}"))
            return draw(*args, **kwargs)

        return drawn


def _global_generator(original: Callable[[], Any]) -> Callable[[], Any]:
    """Where draws are to be independent, the generator of unseeded draws starts anew each time."""

    def generator() -> Any:
        draws = randomness.active_draws()
        if draws is None:
            return original()
        return keras.random.SeedGenerator(seed=zlib.crc32(f"{draws.seed('keras')}".encode()))

    return generator


def layers_by_path(model: Any) -> Iterator[tuple[str, Any]]:
    """Every layer below a model, itself first as ""; one with several names comes several times."""
    yield from _layers_below("", model, frozenset())


def _layers_below(path: str, layer: Any, above: frozenset[int]) -> Iterator[tuple[str, Any]]:
    if id(layer) in above:
        return
    yield path, layer
    for name, child in children_of(layer):
        yield from _layers_below(f"{path}.{name}" if path else name, child, above | {id(layer)})


def children_of(layer: Any) -> list[tuple[str, Any]]:
    """The layers that a layer holds: by place in a graph or stack, by attribute, or hidden."""
    found: list[tuple[str, Any]] = []
    if isinstance(layer, keras.Sequential | keras.src.models.Functional):
        found += [(f"layers[{index}]", item) for index, item in enumerate(layer.layers)]
    known = {id(item) for _, item in found}
    attributes = vars(layer) | vars(layer).get("_modules", {})  # the torch back end's own table
    for name, value in attributes.items():
        if not name.startswith("_"):
            found += [pair for pair in _held(name, value) if id(pair[1]) not in known]
    known = {id(item) for _, item in found}
    if isinstance(layer, keras.Sequential):  # it also holds itself as a functional model
        return found
    hidden = enumerate(getattr(layer, "_layers", ()))
    return found + [(f"_layers[{n}]", item) for n, item in hidden if id(item) not in known]


def _held(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, keras.Layer):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _held(f"{name}[{key!r}]", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _held(f"{name}[{index}]", item)


def own_variables(layer: Any) -> Iterator[tuple[str, Any, bool]]:
    """A layer's own variables: name, variable, whether it is a parameter (frozen or not)."""
    own = [(variable, True) for variable in layer._trainable_variables]
    own += [(variable, False) for variable in layer._non_trainable_variables]
    own += [(generator.state, False) for generator in layer._seed_generators]
    seen: set[str] = set()
    for number, (variable, learns) in enumerate(own):
        is_unclear = _UNNAMED.fullmatch(variable.name) or variable.name in seen
        seen.add(variable.name)
        yield (f"weight_{number}" if is_unclear else variable.name), variable, learns


def variables_by_path(model: Any) -> Iterator[tuple[str, Any, bool]]:
    """Every variable below a model: path, variable, whether it is a parameter."""
    for path, layer in layers_by_path(model):
        for name, variable, learns in own_variables(layer):
            yield (f"{path}.{name}" if path else name), variable, learns


def _array(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ndarray | bool | int | float | complex):
        return np.asarray(value)
    array = np.asarray(keras.ops.convert_to_numpy(value))
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _dtype(value: Any) -> str:
    if isinstance(value, bool | int | float | complex):
        return type(value).__name__
    return str(keras.backend.standardize_dtype(value.dtype))


def _copied(item: Any) -> Any:
    if isinstance(item, list | tuple):
        return type(item)(map(_copied, item))
    return keras.ops.copy(item) if keras.ops.is_tensor(item) else item


def _projection(output: Any) -> Any:
    """The sum of all floating outputs times fixed weights, of order one."""
    terms: list[Any] = []
    for _, item in flatten("", output, keras.ops.is_tensor):
        if keras.ops.is_tensor(item) and "float" in _dtype(item):
            size = int(np.prod(item.shape))
            weights = directions(len(terms), size).astype("float32")
            flat = keras.ops.reshape(keras.ops.cast(item, "float32"), (-1,))
            terms.append(keras.ops.sum(flat * keras.ops.convert_to_tensor(weights)))
    if not terms:
        raise Refusal("no output of the forward pass is a floating tensor")
    return sum(terms[1:], start=terms[0])


def _check_loss(loss: Any, source: str) -> None:
    if not keras.ops.is_tensor(loss) or int(np.prod(loss.shape)) != 1:
        kind = type(loss).__name__
        raise Refusal(f"{source} must return the loss, a tensor with one element; got a {kind}")
