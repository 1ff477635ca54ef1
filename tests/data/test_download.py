"""Downloads from real servers on this machine: good, bad, missing, truncated, silent."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

from antifragile.data.download import download_file, progress_bars
from antifragile.errors import DataError, WorldError
from tests.data.data_fakes import Mini, Server

Serve = Callable[..., Server]
NAME = "train-images.gz"


def truncated(content: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Promise all of the content and send half."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: len(content) // 2])
        request.close_connection = True

    return answer


def without_length(content: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(content)

    return answer


def fetch(mini: Mini, folder: Path, *mirrors: str, **options: object) -> np.ndarray:
    options = {"progress": progress_bars(False), **options}
    return download_file(mini.image_set.files[0], folder, mirrors=mirrors, **options)


def test_a_good_mirror_gives_the_verified_file(mini: Mini, serve: Serve, tmp_path: Path) -> None:
    server, folder = serve(mini.archives), tmp_path / "new" / "folder"
    assert np.array_equal(fetch(mini, folder, server.url + "/"), mini.arrays["train-images"])
    assert (folder / NAME).read_bytes() == mini.archives[NAME]
    assert os.listdir(folder) == [NAME]
    assert server.asked == [f"/{NAME}"]


def test_a_mirror_that_names_no_length_is_fine(mini: Mini, serve: Serve, tmp_path: Path) -> None:
    server = serve({NAME: without_length(mini.archives[NAME])})
    assert fetch(mini, tmp_path / "x", server.url).shape == (60, 2, 3)


def test_the_second_mirror_is_tried_when_the_first_fails(
    mini: Mini, serve: Serve, tmp_path: Path
) -> None:
    first, second = serve({NAME: 503}), serve(mini.archives)
    fetch(mini, tmp_path, first.url, second.url)
    assert (len(first.asked), len(second.asked)) == (1, 1)


@pytest.mark.parametrize(
    ("make_answer", "reason"),
    [
        (lambda good: 404, r"failed: the server answered 404"),
        (lambda good: 500, r"failed: the server answered 500"),
        (lambda good: b"<html>log in</html>", r"is corrupted: got an archive of sha256 \w{64} .*"),
        (
            lambda good: good[:-9],
            r"is corrupted: got .* does not unpack \(.*truncated gzip.*\), expected content of",
        ),
        (truncated, r"failed: ChunkedEncodingError"),
        (lambda good: good + bytes(10**6), r"failed: it sent more than the expected \d+ bytes"),
    ],
)
def test_a_bad_mirror_leaves_nothing_behind(
    make_answer: Callable[[bytes], object],
    reason: str,
    mini: Mini,
    serve: Serve,
    tmp_path: Path,
) -> None:
    server, folder = serve({NAME: make_answer(mini.archives[NAME])}), tmp_path / "folder"
    with pytest.raises(DataError, match=rf"cannot download {NAME}: {server.url}/{NAME} {reason}"):
        fetch(mini, folder, server.url)
    assert not folder.exists()


def test_intact_files_of_other_content_are_refused(
    mini: Mini, serve: Serve, tmp_path: Path
) -> None:
    server = serve(Mini(seed=1).archives)
    with pytest.raises(DataError, match=r"got sha256 \w{64}, expected \w{64}"):
        fetch(mini, tmp_path / "folder", server.url)
    assert not (tmp_path / "folder").exists()


def test_a_silent_mirror_is_given_up_quickly(mini: Mini, serve: Serve, tmp_path: Path) -> None:
    server = serve({NAME: lambda request: server.released.wait(20)})
    good = serve(mini.archives)
    started = time.monotonic()
    fetch(mini, tmp_path, server.url, good.url, timeout_s=0.3)
    assert time.monotonic() - started < 5


def test_every_reason_is_told_when_all_mirrors_fail(
    mini: Mini, serve: Serve, tmp_path: Path
) -> None:
    gone = serve({})
    with pytest.raises(DataError, match=r"answered 404; http://127.0.0.1:9/.* failed: Connection"):
        fetch(mini, tmp_path, gone.url, "http://127.0.0.1:9/")
    with pytest.raises(DataError, match="no mirrors"):
        fetch(mini, tmp_path)
    with pytest.raises(DataError, match="failed: InvalidURL"):
        fetch(mini, tmp_path, "not an address")


def test_a_folder_that_cannot_be_written_is_the_worlds_fault(
    mini: Mini, serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    server = serve(mini.archives)
    with pytest.raises(WorldError, match=r"cannot write the download to .*file.*--data-dir"):
        fetch(mini, tmp_path / "file" / "folder", server.url)
    assert server.asked == []
    (tmp_path / NAME).mkdir()
    with pytest.raises(WorldError, match=r"cannot write the download to .*is a folder"):
        fetch(mini, tmp_path, server.url)
    assert sorted(os.listdir(tmp_path)) == ["file", NAME]


def test_a_full_disk_is_the_worlds_fault_and_leaves_nothing(
    mini: Mini, serve: Serve, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    server, folder = serve(mini.archives), tmp_path / "folder"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))  # files of at most 10 bytes
    try:
        with pytest.raises(WorldError, match=r"cannot write the download to .*free space"):
            fetch(mini, folder, server.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(folder) == []


def test_progress_is_drawn_where_it_was_asked_for(
    mini: Mini, serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = io.StringIO()
    with Progress(console=Console(file=screen, force_terminal=True)) as progress:
        fetch(mini, tmp_path, serve(mini.archives).url, progress=progress)
        assert [(task.completed, task.total) for task in progress.tasks] == [
            (len(mini.archives[NAME]),) * 2
        ]
    for enabled in (False, True):  # stderr is no terminal here
        with progress_bars(enabled) as bars:
            fetch(mini, tmp_path, serve(mini.archives).url, progress=bars)
        assert capsys.readouterr() == ("", "")
