"""Importing the public names of a package when they are first used (PEP 562).

Torch takes a second to import and statsmodels two; a command that needs neither should not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def importer(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """A module's ``__getattr__``.

    Args:
        package: The package's ``__name__``.
        homes: Public names by the submodule they live in. None may be called like a submodule,
            which takes its place in the package as soon as it is imported.
    """
    assert not homes.keys() & {name for names in homes.values() for name in names}
    where = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> object:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{where[name]}"), name)

    return get
