"""Seeds of a run: they reach random, NumPy and torch, and constants of the script are noted.

A script that seeds itself afterwards does so as it likes; which numbers it seeds with is noted, and
with ``reseeds`` the run's seed is mixed into them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from antifragile.ablate.command.startup.notes import WatchedRun

_BITS = 32
_MOST_NOTED = 100


def mixed(value: int, seed: int) -> int:
    """Mix a run's seed into a number that a script seeds with: 32 bits."""
    digest = hashlib.blake2b(f"{value} {seed}".encode(), digest_size=_BITS // 8)
    return int.from_bytes(digest.digest(), "little")


def of_python(run: WatchedRun, module: Any) -> None:
    """Seed ``random``, and watch its ``seed``."""
    module.seed(run.seed)
    module.seed = _watched(run, "random.seed", module.seed)


def of_numpy(run: WatchedRun, module: Any) -> None:
    """Seed NumPy's global stream, and watch its ``seed`` and ``default_rng``."""
    module.random.seed(run.seed % 2**_BITS)
    for name in ("seed", "default_rng"):
        watched = _watched(run, f"numpy.random.{name}", getattr(module.random, name))
        setattr(module.random, name, watched)


def of_torch(run: WatchedRun, module: Any) -> None:
    """Seed torch's global streams, and watch ``manual_seed`` and generators."""
    module.manual_seed(run.seed)
    watched = _watched(run, "torch.manual_seed", module.manual_seed)
    module.manual_seed = module.random.manual_seed = watched
    plain = module.Generator

    class AlsoPlain(type(plain)):  # type: ignore[misc]
        """Lets torch's own generators count as instances."""

        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, plain)

    class Generator(plain, metaclass=AlsoPlain):  # type: ignore[misc, valid-type]
        """torch's own, whose seed is noted."""

        def manual_seed(self, seed: int) -> Any:
            return super().manual_seed(_taken(run, "torch.Generator.manual_seed", seed))

    if run.reseeds:
        Generator.__name__, Generator.__qualname__ = plain.__name__, plain.__qualname__
        Generator.__module__ = plain.__module__
        module.Generator = Generator


def _watched(run: WatchedRun, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def seed(*arguments: Any, **named: Any) -> Any:
        if arguments:
            arguments = (_taken(run, name, arguments[0]), *arguments[1:])
        elif named:
            first = next(iter(named))
            named[first] = _taken(run, name, named[first])
        return function(*arguments, **named)

    seed.__name__, seed.__doc__ = name.rpartition(".")[2], function.__doc__
    return seed


_noted: set[tuple[str, int]] = set()


def _taken(run: WatchedRun, name: str, value: Any) -> Any:
    """Note a number that is seeded with; return the one to take."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        return value  # None, an array, a text: not a plain constant
    if (name, number) not in _noted and len(_noted) < _MOST_NOTED:
        _noted.add((name, number))
        run.note("seeded", function=name, value=number)
    return mixed(number, run.seed) if run.reseeds else value
