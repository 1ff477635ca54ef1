"""Imports that read sources alone: a compiled copy beside a file may be of other code.

Files whose hashes are known are checked as they are read, so that what runs is what was hashed.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from functools import partial
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path
from typing import Any

_LIBRARIES = ("site-packages", "dist-packages")


class SourceChanged(Exception):
    """A file is not as it was when it was hashed; the message is a clause."""


class SourceLoader(SourceFileLoader):
    """Compiles a file at each import.

    Args:
        fullname: Name of the module.
        path: Its file.
        sha256: Known hashes by absolute path.
    """

    def __init__(self, fullname: str, path: str, sha256: Mapping[str, str] | None = None) -> None:
        super().__init__(fullname, path)
        self._sha256 = sha256 or {}

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Refuse to look for a compiled copy."""
        raise OSError("compiled copies are not read")

    def get_data(self, path: str) -> bytes:
        """Read a file.

        Raises:
            SourceChanged: It is not as it was hashed.
        """
        content = super().get_data(path)
        known = self._sha256.get(str(Path(path).resolve()))
        if known is not None and hashlib.sha256(content).hexdigest() != known:
            raise SourceChanged(f"{path} was changed after the study began")
        return content


def read_sources_alone(base: Path, sha256: Mapping[str, str] | None = None) -> None:
    """Let imports from a folder read its sources, never compiled copies of them.

    Args:
        base: The folder; installed packages below it are imported as ever.
        sha256: Known hashes by absolute path.
    """

    def is_below(path: str) -> bool:
        found = Path(path)
        if not found.is_relative_to(base):
            return False
        return not any(part in _LIBRARIES for part in found.relative_to(base).parts)

    def finder(path: str) -> FileFinder:
        if not is_below(path):
            raise ImportError("not in that folder")
        extensions = (ExtensionFileLoader, EXTENSION_SUFFIXES)
        loader = partial(SourceLoader, sha256=sha256)
        return FileFinder(path, extensions, (loader, SOURCE_SUFFIXES))  # type: ignore[arg-type]  # a call like a class's

    sys.path_hooks.insert(0, finder)
    for path in [path for path in sys.path_importer_cache if is_below(path)]:
        del sys.path_importer_cache[path]
