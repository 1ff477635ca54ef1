"""The IDX files of published data sets: the folders to look in and the checksums they must have.

A file is looked for in ``data_dir``, then in ``$ANTIFRAGILE_DATA``, then in the user's cache; in
each as ``<place>/<data set>/FILE`` and ``<place>/FILE``. Whatever is found is verified before it
is used, and never overwritten.
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch

from antifragile.data.idx import gunzip, parse_idx
from antifragile.errors import DataError, WorldError

ENVIRONMENT_VARIABLE = "ANTIFRAGILE_DATA"
_REPLACE = "delete it or put a fresh copy in its place"


@dataclass(frozen=True, kw_only=True)
class Access:
    """The folders and mirrors to get the files of a data set from.

    Args:
        data_dir: The first place to look, and where downloads then go.
        download: Whether what is missing may be downloaded.
        progress: Whether downloads show a bar on stderr.
        mirrors: Base addresses to use instead of the publisher's, tried in order.
    """

    data_dir: Path | None = None
    download: bool = True
    progress: bool = False
    mirrors: tuple[str, ...] | None = None

    def places(self) -> tuple[Path, ...]:
        """The folders to look in, absolute, in order.

        Raises:
            DataError: A folder that was asked for is a file.
        """
        named = {"data_dir": self.data_dir, f"${ENVIRONMENT_VARIABLE}": _from_environment()}
        found = []
        for origin, place in named.items():
            if place is None:
                continue
            if os.path.isfile(place.expanduser()):
                raise DataError(f"{origin} is the file {place}; expected the folder of the files.")
            found.append(_absolute(place))
        return (*found, _absolute(user_cache()))

    def download_folder(self, dataset: str) -> Path:
        """The folder in which downloads of a data set are kept."""
        return _absolute(self.data_dir or user_cache()) / dataset


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One published IDX file and the checksum that identifies it.

    Gzip bytes differ between mirrors while the content does not, so the checksum is of the content.

    Args:
        name: Without the ending ``.gz``.
        shape: Shape that the header must give.
        content_sha256: Checksum of the uncompressed file.
    """

    name: str
    shape: tuple[int, ...]
    content_sha256: str

    @property
    def archive_name(self) -> str:
        """The name with the ending ``.gz``."""
        return f"{self.name}.gz"

    @property
    def size_bytes(self) -> int:
        """Size of the uncompressed file."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)

    @property
    def accepted_names(self) -> tuple[str, ...]:
        """Names of files that can be verified: compressed or plain."""
        return (self.archive_name, self.name)

    def read_path(self, path: Path) -> np.ndarray:
        """Read and verify a file.

        Returns:
            uint8 of `shape`.

        Raises:
            DataError: The file has the wrong content.
            WorldError: The file cannot be read.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise WorldError(
                f"cannot read {path}: {error.strerror or error}; check its permissions."
            ) from error
        if path.name == self.archive_name:
            return self.read_archive(content, source=str(path))
        return self.read_content(content, source=str(path))

    def read_archive(self, archive: bytes, *, source: str) -> np.ndarray:
        """Verify and read the bytes of the ``.gz`` file; `source` is for messages."""
        try:
            content = gunzip(archive, source=source, max_bytes=self.size_bytes)
        except DataError as error:
            raise DataError(
                f"{source} is corrupted: got an archive of sha256 {_sha256(archive)} that does "
                f"not unpack ({str(error).split(';')[0]}), expected content of sha256 "
                f"{self.content_sha256}; {_REPLACE}."
            ) from error
        return self.read_content(content, source=source)

    def read_content(self, content: bytes, *, source: str) -> np.ndarray:
        """Verify and read the bytes of the uncompressed file; `source` is for messages."""
        _check_sha256(content, self.content_sha256, source)
        array = parse_idx(content, source=source)
        if array.shape != self.shape:
            raise DataError(
                f"{source} holds an array of shape {array.shape}, expected {self.shape}; "
                f"{_REPLACE}."
            )
        return array


def candidates(file: PublishedFile, folder: Path) -> list[Path]:
    """The paths in a folder that exist under an accepted name, in order."""
    paths = [folder / name for name in file.accepted_names]
    return [path for path in paths if os.path.isfile(path)]  # unlike Path.is_file, never raises


def user_cache() -> Path:
    """The folder for downloads of this user."""
    return Path(pooch.os_cache("antifragile"))


def _from_environment() -> Path | None:
    text = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    return Path(text) if text else None


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _check_sha256(content: bytes, expected: str, source: str) -> None:
    got = _sha256(content)
    if got != expected:
        raise DataError(
            f"{source} is corrupted or another file: got sha256 {got}, expected {expected}; "
            f"{_REPLACE}."
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
