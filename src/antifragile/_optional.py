"""Optional packages: imported at the point of use, with a line that says what to install."""

from __future__ import annotations

import importlib
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from types import ModuleType

from antifragile.errors import MissingExtraError


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module`` or say which extra provides it.

    Args:
        module: The importable name, for example ``"pyarrow"``.
        extra: The extra of this package that installs it.
        purpose: The task it is needed for, as in "parquet export".

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs the package {module!r}, which is not installed; "
            f"run: pip install 'antifragile[{extra}]'"
        ) from error


@dataclass(frozen=True, kw_only=True)
class OptionalExtra:
    """Packages that are not always needed.

    Args:
        name: The extra's name.
        missing: Its packages that are not installed.
    """

    name: str
    missing: tuple[str, ...]

    @property
    def command(self) -> str:
        """The line that installs it."""
        return f"pip install 'antifragile[{self.name}]'"


def optional_extras() -> tuple[OptionalExtra, ...]:
    """List the extras of this installation, but for those of its tests."""
    packages: dict[str, list[str]] = {}
    for line in requires("antifragile") or ():
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        if extra and not extra[1].startswith("test"):
            packages.setdefault(extra[1], []).append(re.split(r"[^\w.-]", line, maxsplit=1)[0])
    return tuple(
        OptionalExtra(name=name, missing=tuple(p for p in found if not _is_installed(p)))
        for name, found in packages.items()
    )


def _is_installed(package: str) -> bool:
    """Whether a package is, or the larger one it is a variant of: tensorflow of tensorflow-cpu."""
    for name in (package, package.partition("-")[0]):
        with suppress(PackageNotFoundError):
            return bool(version(name))
    return False
