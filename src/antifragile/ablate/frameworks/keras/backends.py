"""The two back ends of Keras 3 that models are certified on: seeds, gradients, own draws."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

import torch

from antifragile.ablate.frameworks import randomness, rounding
from antifragile.ablate.frameworks.keras.layers import keras
from antifragile.ablate.sandbox.loading import Refusal

_DRAWS = ("normal", "uniform", "truncated_normal", "gamma", "poisson", "shuffle")


def open_backend() -> Torch | TensorFlow:
    """The back end that Keras runs on.

    Raises:
        Refusal: It is another one.
    """
    name = keras.backend.backend()
    if name not in ("torch", "tensorflow"):
        raise Refusal(
            f"the Keras back end {name!r} cannot be certified; set KERAS_BACKEND to torch "
            "or tensorflow"
        )
    return Torch() if name == "torch" else TensorFlow()


class Torch:
    """The torch back end."""

    def __init__(self) -> None:
        random = importlib.import_module("keras.src.backend.torch.random")
        random.dropout = _from_own_generator(random.dropout)  # type: ignore[attr-defined]  # no stubs

    def seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def without_gradients(self) -> AbstractContextManager[None]:
        return torch.no_grad()

    def results_moved(self, salt: int) -> AbstractContextManager[None]:
        return rounding.results_moved(salt)

    def recording(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def gradients(self, tape: Any, loss: Any, variables: Sequence[Any]) -> list[Any]:
        torch.autograd.backward(loss)
        return [variable.value.grad for variable in variables]


class TensorFlow:
    """The TensorFlow back end."""

    def __init__(self) -> None:
        tensorflow = importlib.import_module("tensorflow")
        self._tensorflow = tensorflow
        random = tensorflow.random
        randomness.reseed_before(random, _DRAWS, random.set_seed, _words)
        randomness.reseed_before(tensorflow.nn, ("dropout",), random.set_seed, _words)

    def seed(self, seed: int) -> None:
        self._tensorflow.random.set_seed(seed)

    def without_gradients(self) -> AbstractContextManager[None]:
        return nullcontext()

    def results_moved(self, salt: int) -> AbstractContextManager[None]:
        return nullcontext()  # operations run in graphs

    def recording(self) -> AbstractContextManager[Any]:
        tape: AbstractContextManager[Any] = self._tensorflow.GradientTape()
        return tape

    def gradients(self, tape: Any, loss: Any, variables: Sequence[Any]) -> list[Any]:
        found = tape.gradient(loss, [variable.value for variable in variables])
        dense = self._tensorflow.convert_to_tensor
        return [None if item is None else dense(item) for item in found]


def _from_own_generator(dropout: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap Keras's dropout on torch, so that it draws from its layer's own generator.

    Without a seed given by the user it draws from torch's global stream, by which `fit` shuffles: a
    dropout less would change every later batch. With the shape of its noise given it does not.
    """

    @wraps(dropout)
    def drawn(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
        shape = tuple(inputs.shape) if noise_shape is None else noise_shape
        return dropout(inputs, rate, shape, seed)

    return drawn


def _words(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return f"tf {name} {[str(getattr(item, 'shape', item)) for item in args]}"
