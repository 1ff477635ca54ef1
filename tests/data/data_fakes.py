"""A miniature image set, and a mirror on this machine to download it from."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from antifragile.data.files import PublishedFile
from antifragile.data.image_sets import ImageSet

Answer = bytes | int | Callable[[BaseHTTPRequestHandler], None]


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim])
    return header + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


class Mini:
    """60 + 10 images of 2x3 pixels as four published files, and their contents."""

    def __init__(self, *, seed: int = 0, name: str = "mini") -> None:
        random = np.random.default_rng(seed)
        self.arrays = {
            "train-images": random.integers(0, 256, (60, 2, 3), dtype=np.uint8),
            "train-labels": np.arange(60, dtype=np.uint8) % 10,
            "test-images": random.integers(0, 256, (10, 2, 3), dtype=np.uint8),
            "test-labels": np.arange(10, dtype=np.uint8),
        }
        self.contents = {key: idx_bytes(array) for key, array in self.arrays.items()}
        self.archives = {
            f"{key}.gz": gzip.compress(content, mtime=0) for key, content in self.contents.items()
        }
        self.image_set = ImageSet(
            name=name,
            summary="a miniature",
            files=tuple(self._file(key) for key in self.arrays),
            n_validation=10,
            mean_sd=(0.5, 0.25),
            mirrors=(),
            is_default_owner=True,
        )

    def _file(self, key: str) -> PublishedFile:
        sha256 = hashlib.sha256(self.contents[key]).hexdigest()
        return PublishedFile(name=key, shape=self.arrays[key].shape, content_sha256=sha256)

    def write(self, folder: Path, *, leave_out: tuple[str, ...] = ()) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, archive in self.archives.items():
            if name not in leave_out:
                (folder / name).write_bytes(archive)
        return folder


class Server:
    """A mirror on this machine: what each path answers, and what was asked."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                answer = answers.get(self.path.lstrip("/"), 404)
                if isinstance(answer, bytes):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                elif isinstance(answer, int):
                    self.send_response(answer)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                else:
                    answer(self)

            def log_message(self, format: str, *args: object) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def stop(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
