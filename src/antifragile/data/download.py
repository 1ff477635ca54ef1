"""Downloads that fail quickly and leave nothing half-done behind.

``mirror by mirror: bytes into memory -> verified -> written atomically``. A file is only ever seen
under its final name with its final content.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pooch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from antifragile._files import check_folder_path, write_atomically
from antifragile.data.files import PublishedFile
from antifragile.errors import AntifragileError, DataError, WorldError

STALL_TIMEOUT_S = 10.0
_CHUNK_BYTES = 2**14
_REDRAW_S = 0.1


def download_file(
    file: PublishedFile,
    folder: Path,
    *,
    mirrors: Sequence[str],
    progress: Progress,
    timeout_s: float = STALL_TIMEOUT_S,
) -> np.ndarray:
    """Fetch one ``.gz`` file into a folder from the first mirror that has the right bytes.

    Args:
        file: The file to fetch; decides whether bytes are right.
        folder: The folder to keep it in; made if need be.
        mirrors: Base addresses, tried in order, once each.
        progress: The display to show a bar in.
        timeout_s: Seconds for which a mirror may stay silent before it is given up.

    Returns:
        The file's array, uint8.

    Raises:
        DataError: No mirror had it; the message has one clause per mirror.
        WorldError: The folder cannot be written to.
    """
    with _writing_to(folder):
        check_folder_path(folder)
    reasons = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{file.archive_name}"
        try:
            archive = _get(url, file.size_bytes + _CHUNK_BYTES, progress, timeout_s)
            array = file.read_archive(archive, source=url)
        except DataError as error:
            reasons.append(str(error).rstrip("."))
            continue
        with _writing_to(folder):
            write_atomically(folder / file.archive_name, archive, durable=False)
        return array
    raise DataError(f"cannot download {file.archive_name}: {'; '.join(reasons) or 'no mirrors'}.")


def progress_bars(enabled: bool) -> Progress:
    """Bars on stderr for the downloads inside a ``with`` block; never drawn unless enabled."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    return Progress(
        *columns,
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not (enabled and console.is_terminal),
    )


class _Inbox:
    """The growing bytes of one download: bounded, and knowing when it last grew."""

    def __init__(self, max_bytes: int) -> None:
        self.content = bytearray()
        self.last_growth_s = time.monotonic()
        self.is_closed = False
        self.response: Any = None
        self.total_bytes: int | None = None
        self._max_bytes = max_bytes

    def begin(self, response: Any, **_: object) -> None:
        self.response = response
        self.total_bytes = int(response.headers.get("Content-Length", 0)) or None

    def write(self, chunk: bytes) -> None:
        if self.is_closed:
            raise TimeoutError("given up")
        if len(self.content) + len(chunk) > self._max_bytes:
            raise OverflowError(f"more than the expected {self._max_bytes} bytes")
        self.content += chunk
        self.last_growth_s = time.monotonic()

    def flush(self) -> None: ...


def _get(url: str, max_bytes: int, progress: Progress, timeout_s: float) -> bytes:
    """Download into memory, or say in a DataError why this mirror failed.

    The transfer runs in a thread because the timeouts of sockets count per address of a host,
    and a host behind a silent firewall may have a dozen.
    """
    inbox, failures = _Inbox(max_bytes), list[Exception]()
    download = pooch.HTTPDownloader(
        chunk_size=_CHUNK_BYTES,
        timeout=timeout_s,
        headers={"Accept-Encoding": "identity"},  # or a server may unpack the .gz on the way
        hooks={"response": inbox.begin},
    )

    def work() -> None:
        try:
            download(url, inbox, None)
        except Exception as error:  # requests, urllib3 and ssl have a tree of errors each
            failures.append(error)
        finally:
            if inbox.response is not None:  # pooch leaves it open when the server says no
                inbox.response.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    _watch(thread, inbox, timeout_s, progress, url.rsplit("/", 1)[-1])
    if thread.is_alive():
        raise DataError(f"{url} was silent for {timeout_s:g} s.")
    if failures:
        raise DataError(f"{url} failed: {_brief(failures[0])}.") from failures[0]
    return bytes(inbox.content)


def _watch(
    thread: threading.Thread, inbox: _Inbox, timeout_s: float, progress: Progress, name: str
) -> None:
    """Wait until a download ends or has been silent for too long, drawing its progress."""
    task = progress.add_task(name, total=None)
    has_ended = False
    while not (has_ended or inbox.is_closed):
        thread.join(min(timeout_s, _REDRAW_S))
        has_ended = not thread.is_alive()  # looked at first: what is drawn then is all that came
        inbox.is_closed = time.monotonic() - inbox.last_growth_s > timeout_s
        progress.update(task, total=inbox.total_bytes, completed=len(inbox.content))
    progress.update(task, visible=False)


def _brief(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the server answered {status}"
    if isinstance(error, OverflowError):
        return f"it sent {error}"
    return type(error).__name__


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Say for every failure to write that a download can go elsewhere."""
    try:
        yield
    except AntifragileError as error:
        raise WorldError(
            f"cannot write the download to {folder}: {error} "
            "Another folder can be named with --data-dir."
        ) from error
