"""The functions that a user gives, and checks of what they do and return."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from antifragile.errors import UsageError
from antifragile.model.units.watching.prepare import Inputs

TrainEpoch = Callable[..., object]
"""Trains the model for one epoch: ``train_epoch(model)``, or ``train_epoch(model, optimizer)``."""

Evaluate = Callable[[nn.Module], float]
"""Measures the model on validation data; the same model gives the same number."""


def checked_score(value: object, source: str = "evaluate returned") -> float:
    """Return what ``evaluate`` returned as a finite number.

    Args:
        value: The returned thing.
        source: The beginning of a message about it.

    Raises:
        UsageError: It is a tensor, no number, or not finite.
    """
    if isinstance(value, Tensor):
        raise UsageError(
            f"{source} a tensor of shape {tuple(value.shape)}; return a float, as with "
            "value.item()."
        )
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise UsageError(f"{source} {value!r:.60}, expected a number such as 0.93.")
    score = float(value)
    if not math.isfinite(score):
        raise UsageError(
            f"{source} {score}, which cannot be compared; the last known good state is "
            "kept. Return a finite number, or a very bad one for a model that diverged."
        )
    return score


def checked_loss(value: object) -> float | None:
    """Return what ``train_epoch`` returned as a loss, if it is a number; else None."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value.detach())
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return float(value) if is_number and isinstance(value, numbers.Real) else None


class UserClock:
    """Seconds spent in the user's functions, to tell them from the engine's own."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started


class SameModel:
    """Notices a function that replaces the model's parameters instead of training them.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._before = self._seen()

    def check(self, function: str) -> None:
        """Compare the parameters with those at the start.

        Raises:
            UsageError: A parameter is another object, or has another shape.
        """
        now = self._seen()
        if now == self._before:
            return
        names = [
            name for name in {**self._before, **now} if self._before.get(name) != now.get(name)
        ]
        raise UsageError(
            f"{function} replaced {names[0]!r} of the model; train the model that it is given in "
            "place: no new parameters, layers or copies of it."
        )

    def _seen(self) -> dict[str, tuple[int, tuple[int, ...]]]:
        return {
            name: (id(value), tuple(value.shape)) for name, value in self._model.named_parameters()
        }


@contextmanager
def captured_inputs(model: nn.Module, found: list[Inputs]) -> Iterator[None]:
    """Keep a copy of the arguments of the model's first call inside.

    Args:
        model: The model as the user calls it.
        found: List that the arguments are added to.
    """

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not found:
            found.append(Inputs(args, kwargs).copied())

    hook = model.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
