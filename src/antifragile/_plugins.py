"""Additions by other packages: modes, presets, data sets and executors found by entry points.

A package adds a mode by declaring, in its own ``pyproject.toml``::

    [project.entry-points."antifragile.modes"]
    first_layer = "their_package.modes:FIRST_LAYER"

The name left of ``=`` is what users write; the object on the right is what the registry of that
group holds. Plug-ins are imported only when a name is not a built-in one, or all are listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from antifragile.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

_added: set[str] = set()


def add_plugins(group: str, kind: type[T], registry: dict[str, T]) -> None:
    """Add to a registry what installed packages declare for it, once per process.

    Args:
        group: Group of entry points, for example ``"antifragile.modes"``.
        kind: Class that every object of the group must be an instance of.
        registry: Objects by name, built-in ones first; the plug-ins are added to it.

    Raises:
        PluginError: One cannot be imported, is no ``kind``, or has a name that is taken; nothing
            is added then.
    """
    if group in _added:
        return
    from importlib.metadata import entry_points  # takes longer to import than the package

    _added.add(group)  # first: a plug-in may look up names while it is imported
    found: dict[str, T] = {}
    try:
        for entry in entry_points(group=group):
            if entry.name in registry or entry.name in found:
                raise PluginError(f"{_shown(entry)} has a name that is taken; rename it there.")
            found[entry.name] = _load(entry, kind)
    except PluginError:
        _added.discard(group)
        raise
    registry.update(found)


def _load(entry: EntryPoint, kind: type[T]) -> T:
    try:
        loaded = entry.load()
    except Exception as error:  # importing another package's module can raise anything
        raise PluginError(
            f"{_shown(entry)} cannot be imported ({type(error).__name__}: {error}); repair or "
            "uninstall its package."
        ) from error
    if not isinstance(loaded, kind) or getattr(loaded, "name", entry.name) != entry.name:
        raise PluginError(
            f"{_shown(entry)} is {loaded!r:.80}, expected a {kind.__name__} named {entry.name!r}; "
            "repair or uninstall its package."
        )
    return loaded


def _shown(entry: EntryPoint) -> str:
    package = f" of package {entry.dist.name!r}" if entry.dist else ""
    return f"the plug-in {entry.name!r}{package} ({entry.group}: {entry.value})"
