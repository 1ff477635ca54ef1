"""The base class of all callbacks: ours, and at run time one of a trainer's as well.

A callback must be an instance of its package's own class, which is there only once the package is
imported; so the class that joins both is made when the first instance is.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from antifragile._optional import require


class JoinedCallback:
    """A callback whose instances are also of the class that its trainer expects."""

    _package: ClassVar[str]  # module that has the trainer's class of callbacks
    _base: ClassVar[str]  # name of that class
    _extra: ClassVar[str]  # extra of this package that installs it

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Make an instance that is one of the trainer's callbacks, too."""
        made: Self = object.__new__(_joined(cls))
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Name the class that can be imported, for processes that are started by pickling."""
        return _blank, (type(self).__mro__[1],), self._kept_by_copies()

    def _kept_by_copies(self) -> dict[str, Any]:
        """Return the attributes that a copy has."""
        return self.__dict__


_JOINED: dict[type[JoinedCallback], type[Any]] = {}


def _joined(cls: type[JoinedCallback]) -> type[Any]:
    """Return the class that is a trainer's callback as well."""
    if cls not in _JOINED:
        purpose = f"the callback {cls.__name__}"
        base = getattr(require(cls._package, extra=cls._extra, purpose=purpose), cls._base)
        _JOINED[cls] = type(cls.__name__, (cls, base), {"__module__": cls.__module__})
    return _JOINED[cls]


def _blank(cls: type[JoinedCallback]) -> JoinedCallback:
    return cls.__new__(cls)
