"""Public names of a package that are imported when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 10 ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the functions ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: Name of the package.
        homes: Module of each public name, relative to the package.
    """

    def find(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    def names() -> list[str]:
        """List what a person may want: public names, modules of the package, and ``__...__``."""
        module = sys.modules[package]
        inside = {name for name in vars(module) if f"{package}.{name}" in sys.modules}
        public = {name for name in inside if not name.startswith("_")}
        special = {name for name in vars(module) if name.startswith("__")}
        return sorted({*homes, *public, *special})

    return find, names
