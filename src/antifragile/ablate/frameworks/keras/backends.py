"""The two back ends of Keras 3 that models are certified on: seeds, gradients, own draws."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import Any

from antifragile.ablate.frameworks import randomness
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
        import torch

        self._torch = torch

    def seed(self, seed: int) -> None:
        self._torch.manual_seed(seed)

    def reseeding(self, draws: randomness.Draws) -> AbstractContextManager[None]:
        return nullcontext()

    def without_gradients(self) -> AbstractContextManager[None]:
        return self._torch.no_grad()

    def recording(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def gradients(self, tape: Any, loss: Any, variables: Sequence[Any]) -> list[Any]:
        self._torch.autograd.backward(loss)
        return [variable.value.grad for variable in variables]


class TensorFlow:
    """The TensorFlow back end."""

    def __init__(self) -> None:
        tensorflow = importlib.import_module("tensorflow")
        self._tensorflow = tensorflow
        self._draws: randomness.Draws | None = None
        for module, names in (
            (tensorflow.random, _DRAWS),
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

    def without_gradients(self) -> AbstractContextManager[None]:
        return nullcontext()

    def recording(self) -> AbstractContextManager[Any]:
        tape: AbstractContextManager[Any] = self._tensorflow.GradientTape()
        return tape

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
