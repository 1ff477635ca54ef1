"""Downloads that are quick to fail and leave nothing half-done behind.

``mirror by mirror: bytes into memory -> verified -> temporary file -> renamed``. A file is only
ever seen under its final name with its final content.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pooch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from antifragile.data.files import SourceFile
from antifragile.errors import DataError, WorldError

STALL_TIMEOUT_S = 10.0
_CHUNK_BYTES = 2**14


def download_file(
    file: SourceFile,
    folder: Path,
    *,
    mirrors: Sequence[str],
    progress: Progress | None = None,
    timeout_s: float = STALL_TIMEOUT_S,
) -> np.ndarray:
    """Fetch one ``.gz`` file into a folder from the first mirror that has the right bytes.

    Args:
        file: What to fetch; decides whether bytes are right.
        folder: Where to keep it; made if need be.
        mirrors: Base addresses, tried in order, once each.
        progress: Where to show a bar.
        timeout_s: How long a mirror may stay silent before it is given up.

    Returns:
        The file's array, uint8.

    Raises:
        DataError: No mirror had it; the message has one clause per mirror.
        WorldError: The folder cannot be written to.
    """
    made = _make_folder(folder)
    reasons = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{file.archive_name}"
        try:
            archive = _get(url, file.size_bytes + _CHUNK_BYTES, progress, timeout_s)
            array = file.read_archive(archive, source=url)
        except DataError as error:
            reasons.append(str(error).rstrip("."))
            continue
        _write(folder / file.archive_name, archive)
        return array
    for empty in made:
        with suppress(OSError):
            empty.rmdir()
    raise DataError(f"cannot download {file.archive_name}: {'; '.join(reasons) or 'no mirrors'}.")


@contextmanager
def progress_bars(enabled: bool) -> Iterator[Progress | None]:
    """Bars on stderr for the downloads inside the block, or none."""
    if not enabled:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    with Progress(
        *columns,
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        yield progress


class _Inbox:
    """The growing bytes of one download: bounded, and knowing when it last grew."""

    def __init__(self, max_bytes: int) -> None:
        self.content = bytearray()
        self.last_growth_s = time.monotonic()
        self.is_closed = False
        self._max_bytes = max_bytes

    def write(self, chunk: bytes) -> None:
        if self.is_closed:
            raise TimeoutError("given up")
        if len(self.content) + len(chunk) > self._max_bytes:
            raise OverflowError(f"more than the expected {self._max_bytes} bytes")
        self.content += chunk
        self.last_growth_s = time.monotonic()

    def flush(self) -> None: ...


class _Bar:
    """What pooch wants of a progress bar, drawn by rich."""

    def __init__(self, progress: Progress, description: str) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=None)
        self._total = 0

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, size_bytes: int) -> None:
        self._total = size_bytes
        self._progress.update(self._task, total=size_bytes or None)

    def update(self, size_bytes: int) -> None:
        self._progress.update(self._task, advance=size_bytes)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        self._progress.update(self._task, visible=False)


def _get(url: str, max_bytes: int, progress: Progress | None, timeout_s: float) -> bytes:
    """Download into memory, or say in a DataError why this mirror failed.

    The transfer runs in a thread because the timeouts of sockets count per address of a host,
    and a host behind a silent firewall may have a dozen.
    """
    inbox, failures, responses = _Inbox(max_bytes), list[Exception](), list[Any]()
    bar = _Bar(progress, url.rsplit("/", 1)[-1]) if progress is not None else None
    download = pooch.HTTPDownloader(
        progressbar=bar or False,
        chunk_size=_CHUNK_BYTES,
        timeout=timeout_s,
        headers={"Accept-Encoding": "identity"},  # or a server may unpack the .gz on the way
        hooks={"response": lambda response, **_: responses.append(response)},
    )

    def work() -> None:
        try:
            download(url, inbox, None)
        except Exception as error:  # requests, urllib3 and ssl have a tree of errors each
            failures.append(error)
        finally:
            for response in responses:  # pooch leaves them open when the server says no
                response.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive() and not inbox.is_closed:
        silent_s = time.monotonic() - inbox.last_growth_s
        thread.join(max(timeout_s - silent_s, 0.01))
        inbox.is_closed = time.monotonic() - inbox.last_growth_s > timeout_s
    if bar is not None:
        bar.close()
    if thread.is_alive():
        raise DataError(f"{url} was silent for {timeout_s:g} s.")
    if failures:
        raise DataError(f"{url} failed: {_brief(failures[0])}.") from failures[0]
    return bytes(inbox.content)


def _brief(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the server answered {status}"
    if isinstance(error, OverflowError):
        return f"it sent {error}"
    return type(error).__name__


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder and its parents; returns those that were not there, deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return missing


def _write(path: Path, content: bytes) -> None:
    """Write under a temporary name, then rename."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _cannot_write(path.parent, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide a shared folder's files
        os.replace(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> WorldError:
    return WorldError(
        f"cannot write the download to {path}: {error.strerror or error}; free some space, mend "
        "the permissions, or name another folder with --data-dir."
    )
