"""Ways out of the processes that run a model's code, tried one by one.

    python -m benchmarks.trust.children --out children.json [--without process_namespace ...]

Each way is a model (see `escapes`) for which a command like ``antifragile ablate discover`` runs
with 8 s and 512 MiB. "Stopped": the world outside is as it was, nothing is left, and no limit was
passed by more than its half; "noticed": it was reached, and the command said so; "not": else. What
the file of results holds is not tried again. Run it as the user whose limits you want to know;
`--without` switches mechanisms of the kernel off.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from antifragile._files import write_atomically
from antifragile.ablate.certify.certificate import open_server
from antifragile.ablate.pipeline import find_components
from antifragile.ablate.sandbox.job import Limits
from antifragile.ablate.sandbox.limits.group import memory_of, nameless_bytes
from antifragile.ablate.sandbox.limits.mechanisms import Mechanisms
from antifragile.ablate.sandbox.limits.trees import remove_tree
from antifragile.ablate.source.project import load_project
from antifragile.errors import AntifragileError
from benchmarks.trust.escapes import ESCAPES, PRELUDE, Escape

MIB = 2**20
TIMEOUT_S, MEMORY_BYTES, FILES_BYTES = 8.0, 512 * MIB, 1024 * MIB
_SLACK_S = 12.0  # imports of torch, and the end
_MARK = "ANTIFRAGILE_ESCAPE"


@dataclass(frozen=True, kw_only=True)
class Result:
    """The end of one try.

    Args:
        name: The escape.
        verdict: "stopped", "noticed" or "not".
        expected: The verdict that it should have.
        seen: What it reached, or the sentence in which the command ended.
        seconds: Wall time.
    """

    name: str
    verdict: str
    expected: str
    seen: str
    seconds: float


@dataclass(kw_only=True)
class Scene:
    """Things that a model must not reach, in a folder of their own.

    Args:
        folder: The folder.
        mark: A name that nothing else has.
    """

    folder: Path
    mark: str

    @property
    def facts(self) -> dict[str, object]:
        """What the model is told."""
        return {
            "file": str(self.folder / "precious.txt"),
            "new": str(self.folder / "new.txt"),
            "home": str(self.folder / "home"),
            "temporary": str(self.folder / "tmp"),
            "socket": str(self.folder / "service"),
            "relative socket": str(self.folder / "relative"),
            "address": [_own_address(), self._tcp.getsockname()[1]],
            "victim": self._victim.pid,
            "mark": self.mark,
            "nap": self.nap,
        }

    @property
    def nap(self) -> str:
        """Seconds that no other process sleeps."""
        return f"60.{os.getpid()}{self._victim.pid}"

    def open(self) -> None:
        """Put everything there."""
        for name in ("home", "tmp", "model"):
            (self.folder / name).mkdir()
        (self.folder / "precious.txt").write_text("precious")
        self._before = (self.folder / "precious.txt").stat()
        self._victim = subprocess.Popen(["sleep", "300"])
        self._tcp = socket.create_server((_own_address(), 0))
        self._udp = socket.socket(type=socket.SOCK_DGRAM)
        self._udp.bind(self._tcp.getsockname())
        self._service = socket.socket(socket.AF_UNIX)
        self._service.bind(str(self.folder / "service"))
        self._relative = socket.socket(socket.AF_UNIX)
        with chdir(self.folder):
            self._relative.bind("relative")
        self._abstract = socket.socket(socket.AF_UNIX)
        self._abstract.bind("\0" + self.mark)
        for door in (self._service, self._relative, self._abstract):
            door.listen()
        for door in (self._tcp, self._udp, self._service, self._relative, self._abstract):
            door.settimeout(0.01)

    def reached(self) -> list[str]:
        """Say what is not as it was."""
        file, found = self.folder / "precious.txt", []
        now = file.stat()
        if file.read_text() != "precious":
            found.append("the file was written")
        if now.st_mode != self._before.st_mode or now.st_mtime_ns != self._before.st_mtime_ns:
            found.append("the file's mode or time was changed")
        if (self.folder / "new.txt").exists() or any((self.folder / "home").iterdir()):
            found.append("a file was made")
        if self._victim.poll() is not None:
            found.append("another process was killed")
        doors = {"TCP": self._tcp, "service": self._service, "abstract socket": self._abstract}
        doors["socket that no list names"] = self._relative
        for name, door in doors.items():
            with suppress(TimeoutError):
                door.accept()[0].close()
                found.append(f"{name} was reached")
        with suppress(TimeoutError):
            self._udp.recv(1)
            found.append("UDP was reached")
        return found

    def close(self) -> None:
        """Take everything away."""
        self._victim.kill()
        self._victim.wait()
        for door in (self._tcp, self._udp, self._service, self._relative, self._abstract):
            door.close()


@contextmanager
def open_scene() -> Iterator[Scene]:
    """Set a scene up; it is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="escape-"))
    scene = Scene(folder=folder, mark=folder.name)
    scene.open()
    try:
        yield scene
    finally:
        scene.close()
        remove_tree(folder)
        for path in Path("/dev/shm").glob(f"{scene.mark}*"):
            path.unlink()


def _own_address() -> str:
    """An address of this machine that is not its loopback; 127.0.0.1 where it has none."""
    with suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as door:
        door.connect(("192.0.2.1", 9))  # sends nothing
        return str(door.getsockname()[0])
    return "127.0.0.1"


class Peak:
    """The most memory and files that the processes of a command take, looked at in a thread."""

    def __init__(self, scene: Scene, pid: int) -> None:
        self.memory, self.files, self._pid = 0, 0, pid
        self._folder, self._scene, self._is_over = scene.folder / "tmp", scene, False
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._is_over:
            pids = [pid for pid in marked(self._scene) if pid != self._pid]
            in_memory, on_disk = nameless_bytes(pids)
            self.memory = max(self.memory, memory_of(pids, in_memory, shares=True))
            self.files = max(self.files, on_disk + _bytes_in(self._folder))
            time.sleep(0.05)

    def close(self) -> None:
        """Look no more."""
        self._is_over = True
        self._thread.join()


def _bytes_in(folder: Path) -> int:
    """Bytes that a folder takes, however deep."""
    done = subprocess.run(["du", "-sB1", str(folder)], capture_output=True, text=True)
    return int(done.stdout.split()[0]) if done.stdout else 0


def marked(scene: Scene) -> list[int]:
    """List living processes that were started with the variable of a scene, or take its nap."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            state = (path / "stat").read_text().rsplit(")", 1)[1].split()[0]
            is_ours = f"{_MARK}={scene.mark}".encode() in (path / "environ").read_bytes().split(
                b"\0"
            )
            is_bare = scene.nap.encode() in (path / "cmdline").read_bytes()
            if state not in "ZX" and (is_ours or is_bare):
                found.append(int(path.name))
    return found


def run_escape(escape: Escape, without: Sequence[str]) -> Result:
    """Try one way out by a command of its own."""
    with open_scene() as scene:
        model = scene.folder / "model" / "model.py"
        model.write_text(PRELUDE + textwrap.indent(escape.code.strip("\n"), "    ") + "\n")
        (model.parent / "scene.json").write_text(json.dumps(scene.facts))
        variables = {
            _MARK: scene.mark,
            "HOME": str(scene.folder / "home"),
            "TMPDIR": str(scene.folder / "tmp"),
        }
        command = [sys.executable, "-m", __spec__.name if __spec__ else "", "--model", str(model)]
        began = time.monotonic()
        process = subprocess.Popen(
            [*command, "--without", *without],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        peak = Peak(scene, process.pid)
        is_late = False
        try:
            said = process.communicate(timeout=TIMEOUT_S + _SLACK_S)[0]
        except subprocess.TimeoutExpired:
            is_late = True
            process.kill()
            said = process.communicate()[0]
        seconds = time.monotonic() - began
        peak.close()
        left = marked(scene)
        reached = _reached(scene, peak, said, left, is_late=is_late)
        if process.returncode != 0 and not is_late:  # a model that is refused ends with 0
            reached.append("the command itself failed")
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return _judged(escape, without, reached, said.strip(), seconds)


def _reached(
    scene: Scene, peak: Peak, said: str, left: Sequence[int], *, is_late: bool
) -> list[str]:
    found = scene.reached()
    found += [f"{len(left)} processes are left"] if left else []
    found += ["the command did not end in time"] if is_late else []
    found += [said.partition("ESCAPED: ")[2].strip()] if "ESCAPED: " in said else []
    if peak.memory > 2.5 * MEMORY_BYTES:
        found.append(f"{peak.memory / MIB:.0f} MiB of memory were taken")
    if peak.files > 2.5 * FILES_BYTES:
        found.append(f"{peak.files / MIB:.0f} MiB of files were written")
    left_files = sorted(path.name for path in (scene.folder / "tmp").rglob("*"))
    if left_files:
        found.append(f"temporary files are left: {', '.join(left_files[:3])}")
    return found


def _judged(
    escape: Escape, without: Sequence[str], reached: Sequence[str], said: str, seconds: float
) -> Result:
    verdict = "stopped" if not reached else "noticed" if said != "fine" else "not"
    seen = "; ".join(reached) or said
    expected = "stopped" if not set(escape.weak) & set(without) else "not"
    return Result(
        name=escape.name,
        verdict=verdict,
        expected=expected,
        seen=" ".join(seen.split())[:300],
        seconds=round(seconds, 2),
    )


def discover(model: str, without: Sequence[str]) -> str:
    """Run a model as ``ablate discover`` does; "fine", or the sentence in which it ended."""
    off = {name: 0 if name == "landlock" else False for name in without}
    limits = Limits(timeout_s=TIMEOUT_S, memory_bytes=MEMORY_BYTES, files_bytes=FILES_BYTES)
    project = load_project([Path(model)], f"{model}:build", f"{model}:inputs")
    try:
        with open_server(limits=limits, mechanisms=replace(Mechanisms(), **off)) as server:
            find_components(project, server=server)
    except AntifragileError as error:
        return str(error)
    return "fine"


def main() -> None:
    """Try all ways out that the file of results does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("children.json"))
    names = [one.name for one in fields(Mechanisms)]
    parser.add_argument(
        "--without", nargs="*", default=[], choices=names, help="mechanisms to switch off"
    )
    parser.add_argument("--only", nargs="*", help="names of escapes")
    parser.add_argument("--model", help="run this model and print how that ended")
    options = parser.parse_args()
    if options.model:
        print(discover(options.model, options.without))
        return
    key = " ".join([platform.node(), f"user {os.geteuid()}", *options.without])
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    results = known.setdefault(key, {})
    for escape in ESCAPES:
        if escape.name not in results and (not options.only or escape.name in options.only):
            results[escape.name] = asdict(run_escape(escape, options.without))
            write_atomically(options.out, json.dumps(known, indent=1).encode() + b"\n")
        if escape.name in results:
            print(_row(Result(**results[escape.name])), flush=True)
    verdicts = [one["verdict"] for one in results.values()]
    print(", ".join(f"{verdicts.count(v)} {v}" for v in ("stopped", "noticed", "not")))


def _row(result: Result) -> str:
    wrong = "" if result.verdict == result.expected else f" (expected {result.expected})"
    return f"{result.name:32} {result.verdict:8} {result.seconds:6.1f} s  {result.seen}{wrong}"


if __name__ == "__main__":
    main()
