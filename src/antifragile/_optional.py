"""Import of optional packages at the point of use, with a line that says what to install."""

from __future__ import annotations

import importlib
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
