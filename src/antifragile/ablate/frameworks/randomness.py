"""Random numbers in a child process: seeds, and draws that do not depend on earlier draws.

A variant that draws one number less shifts every later draw of a global stream, and so changes the
output without changing the function. While `stream_independent` is active, each draw is seeded anew
from what is drawn (operation, shapes, arguments) and a salt: two dropouts of the same shape get the
same mask, and a draw that disappears moves no other. Baseline and variant then differ in training
mode only if the function differs. It covers torch's operators (by dispatch, whatever called them)
and the functions of `random` and `numpy.random`; a model's own generators of these two run on.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from antifragile.ablate.frameworks.arrays import Array

_PYTHON = (
    *("random", "randint", "randrange", "uniform", "choice", "choices", "sample", "shuffle"),
    *("gauss", "normalvariate", "triangular", "betavariate", "expovariate", "getrandbits"),
)
_NUMPY = (
    *("rand", "randn", "randint", "random", "random_sample", "uniform", "normal", "choice"),
    *("standard_normal", "shuffle", "permutation", "binomial", "beta", "gamma", "poisson"),
)


Words = Callable[[str, tuple[Any, ...], dict[str, Any]], str]


class Draws:
    """Seeds and count of the draws inside `stream_independent`.

    Args:
        salt: Enters every seed.
    """

    def __init__(self, salt: int) -> None:
        self.salt = salt
        self.count = 0

    def seed(self, words: str) -> int:
        """Seed of one draw, described in words."""
        self.count += 1
        return zlib.crc32(f"{self.salt} {words}".encode())


_draws: Draws | None = None  # None: streams run on as usual


def active_draws() -> Draws | None:
    """Draws of the `stream_independent` that is active, if any."""
    return _draws


def seed_everything(seed: int) -> None:
    """Seed torch's, NumPy's and Python's global streams."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if _has_accelerator():
        torch.manual_seed(seed)
    else:  # the same without a stack trace for every kind of device that is not there
        torch.default_generator.manual_seed(seed)


def _has_accelerator() -> bool:
    """Whether torch may compute elsewhere; asking a CUDA build would start CUDA."""
    if torch.version.cuda or torch.version.hip or not hasattr(torch, "accelerator"):  # before 2.6
        return True
    return torch.accelerator.is_available()


@contextmanager
def streams_untouched() -> Iterator[None]:
    """Put the three global streams back to where they were."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])


def stream_digest() -> str:
    """Digest of the state of the three global streams."""
    digest = hashlib.blake2b(torch.get_rng_state().numpy().tobytes(), digest_size=16)
    digest.update(repr(random.getstate()).encode())
    name, words, *rest = np.random.get_state(legacy=True)
    digest.update(np.asarray(words).tobytes() + repr((name, rest)).encode())
    return digest.hexdigest()


def install() -> None:
    """Wrap Python's and NumPy's functions; call before the user's code is imported."""
    reseed_before(random, _PYTHON, random.seed)
    reseed_before(np.random, _NUMPY, np.random.seed)


def reseed_before(
    module: ModuleType, names: Iterable[str], seed: Callable[[int], Any], words: Words | None = None
) -> None:
    """Wrap functions that draw: while `stream_independent` is active, each draw is seeded anew.

    Args:
        module: The functions' module; it gets the wrapped ones.
        names: Their names.
        seed: Seeds the stream they draw from.
        words: Describes one draw, from the function's name and arguments.
    """
    for name in names:
        setattr(module, name, _wrapped(module, name, seed, words or _words))


def directions(number: int, size: int) -> Array:
    """Fixed random numbers of length about one, drawn apart from every stream of a model.

    Args:
        number: Another number gives other directions.
        size: Their count.
    """
    generator = np.random.Generator(np.random.Philox(number + 1))
    return np.asarray(generator.standard_normal(size) / max(size, 1) ** 0.5)


@contextmanager
def stream_independent(salt: int) -> Iterator[Draws]:
    """Seed every draw by what is drawn.

    Args:
        salt: Another salt gives other draws.

    Returns:
        A counter of the draws.
    """
    global _draws
    _draws = draws = Draws(salt)
    try:
        with _Reseeding(draws):
            yield draws
    finally:
        _draws = None


def _wrapped(
    module: ModuleType, name: str, seed: Callable[[int], Any], words: Words
) -> Callable[..., Any]:
    draw = getattr(module, name)

    def drawn(*args: Any, **kwargs: Any) -> Any:
        if _draws is not None:
            seed(_draws.seed(words(name, args, kwargs)))
        return draw(*args, **kwargs)

    return drawn


def _words(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return f"{name} {_shape_of(args)} {_shape_of(kwargs)}"


def _shape_of(value: Any) -> str:
    """Arguments in words: sizes of containers and arrays, values of numbers."""
    if isinstance(value, (int, float, str, bool, type(None))):
        return repr(value)
    if isinstance(value, dict):
        return str({key: _shape_of(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)) and len(value) < 16:
        return str([_shape_of(item) for item in value])
    return str(getattr(value, "shape", None) or type(value).__name__)


class _Reseeding(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own lacks types
    """Seeds the generator before every operator that draws from one."""

    def __init__(self, draws: Draws) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own lacks types
        self._draws = draws

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would import its compiler, two seconds, to keep it away from this class."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _draws_numbers(func):
            given = [
                item for item in (*args, *kwargs.values()) if isinstance(item, torch.Generator)
            ]
            generator = given[0] if given else torch.default_generator
            generator.manual_seed(self._draws.seed(f"{func} {_sizes(args)}"))
        return func(*args, **kwargs)


@cache
def _draws_numbers(func: Any) -> bool:
    """Whether an operator draws from a generator; torch makes its list of tags anew each time."""
    return torch.Tag.nondeterministic_seeded in func.tags


def _sizes(args: Any) -> list[str]:
    return [
        str(tuple(item.shape)) if isinstance(item, torch.Tensor) else repr(item)
        for item in args
        if not isinstance(item, torch.Generator)
    ]
