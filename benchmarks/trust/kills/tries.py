"""One try: a command that is killed up to six times, runs to its end, and is compared."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.trust.kills.comparison import (
    Contents,
    contents,
    differences,
    half_written,
    in_part,
    leftovers,
    set_of,
)
from benchmarks.trust.kills.verbs import PROGRAM, VERBS, Verb, copy_base, make_base

MARK = "ANTIFRAGILE_KILLS_TRY"  # an environment variable that all processes of a try inherit
SIGNALS = {
    "KILL": signal.SIGKILL,
    "TERM": signal.SIGTERM,
    "INT": signal.SIGINT,
    "HUP": signal.SIGHUP,
    "STOP": signal.SIGSTOP,
}
_TICKS = os.sysconf("SC_CLK_TCK")
_LEAVE_S, _END_S = 20.0, 180.0  # for others to leave after the first; for a command to end


@dataclass(frozen=True, kw_only=True)
class Blow:
    """A signal, whom it hits, and when, as a part of the processor time of the whole run."""

    signal: str
    is_group: bool
    moment: float


@dataclass(kw_only=True)
class Outcome:
    """What a try found; sentences, none where all was well.

    Args:
        verb: The killed command.
        seed: The seed that draws this try again.
        hits: The signals that hit a running command.
        faults: Sentences by kind: lost, changed, half-written, left processes, not finished.
    """

    verb: str
    seed: int
    hits: list[str] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, sentences: Sequence[str]) -> None:
        """Note faults of a kind."""
        if sentences:
            self.faults.setdefault(kind, []).extend(sentences)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a verb leaves when nobody kills it.

    Args:
        base: The folder in which it starts.
        contents: What it leaves.
        seconds: Its processor time, which other work on the machine does not change.
        sets: The variants before and after, of verbs that have some.
    """

    base: Path
    contents: Contents
    seconds: float
    sets: tuple[object, ...]


class Tries:
    """Tries of verbs in a scratch folder.

    Args:
        scratch: The scratch folder.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        (scratch / "home").mkdir(parents=True, exist_ok=True)

    def base(self, name: str) -> Path:
        """Make a folder that verbs start in, or find it."""
        folder = self.scratch / f"base-{name}"
        if not folder.exists():
            make_base(name, folder, self._environment("base", folder))
        return folder

    def reference(self, name: str) -> Reference:
        """Run a verb without a kill, twice, and check that both leave the same."""
        verb = VERBS[name]
        base = self.base(verb.base)
        left, seconds = [], []
        for number in range(2):
            folder = self.scratch / f"reference-{secrets.token_hex(4)}"
            copy_base(base, folder)
            before = _sets(folder)
            faults, spent_s = self._finish(verb, folder, f"reference-{number}")
            seconds.append(spent_s)
            if faults:
                raise RuntimeError(f"{name} does not run: {faults}")
            left.append(contents(folder))
            after = _sets(folder)
            shutil.rmtree(folder)
        lost, changed = differences(left[0], left[1])
        if lost or changed:
            raise RuntimeError(f"{name} leaves another result each time: {lost + changed}")
        return Reference(
            base=base,
            contents=left[0],
            seconds=min(seconds),
            sets=tuple({**before, **after}.items()),
        )

    def run(self, name: str, reference: Reference, seed: int) -> Outcome:
        """Kill a verb at a moment that the seed draws, and run it to its end."""
        rng = random.Random(seed)
        blows = [_draw(rng) for _ in range(rng.randint(1, 6))]
        outcome = Outcome(verb=name, seed=seed)
        mark, folder = f"{name}-{seed}-{secrets.token_hex(4)}", self.scratch / secrets.token_hex(6)
        copy_base(reference.base, folder)
        try:
            for blow in blows:
                self._strike(VERBS[name], folder, mark, blow, reference, outcome)
                broken = half_written(folder)
                outcome.add("half-written", broken or in_part(folder, reference.contents))
                _check_sets(folder, reference, outcome)
            outcome.add("not finished", self._finish(VERBS[name], folder, mark)[0])
            outcome.add("left processes", _left(mark))
            outcome.add("half-written", leftovers(folder))
            lost, changed = differences(contents(folder), reference.contents)
            outcome.add("lost", lost)
            outcome.add("changed", changed)
        finally:
            _end(mark)
            if not outcome.faults:
                shutil.rmtree(folder, ignore_errors=True)
                shutil.rmtree(folder.with_suffix(".tmpdir"), ignore_errors=True)
            else:
                outcome.faults["folder"] = [str(folder)]
        return outcome

    def _environment(self, mark: str, folder: Path) -> dict[str, str]:
        place = folder.with_suffix(".tmpdir")
        place.mkdir(exist_ok=True)
        own = {MARK: mark, "TMPDIR": str(place), "HOME": str(self.scratch / "home")}
        return {**os.environ, **own, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def _start(self, words: str, folder: Path, mark: str) -> subprocess.Popen[str]:
        environment = self._environment(mark, folder)
        with (folder.with_suffix(".tmpdir") / "stderr.txt").open("a") as errors:
            return subprocess.Popen(
                [*PROGRAM, *words.split()],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def _strike(
        self,
        verb: Verb,
        folder: Path,
        mark: str,
        blow: Blow,
        reference: Reference,
        outcome: Outcome,
    ) -> None:
        """Start the command, send the signal at its moment, and wait until all have left."""
        process = self._start(verb.words, folder, mark)
        _spend(process, blow.moment * reference.seconds)
        if process.poll() is None:
            outcome.hits.append(blow.signal)
            _send(process, blow)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            outcome.add("not finished", [f"it still ran {_END_S:.0f} s after SIG{blow.signal}"])
            process.kill()
            process.wait()
        outcome.add("left processes", _left(mark))
        _end(mark)

    def _finish(self, verb: Verb, folder: Path, mark: str) -> tuple[list[str], float]:
        """Run the command to its end; return what it said if that fails, and processor seconds."""
        process = self._start(verb.words, folder, mark)
        spent_s = _spend(process, float("inf"))
        if process.poll() is None:
            process.kill()
            process.wait()
            return [f"it did not end within {_END_S:.0f} s"], spent_s
        said = (folder.with_suffix(".tmpdir") / "stderr.txt").read_text().strip()
        last = said.splitlines()[-1] if said else ""
        if process.returncode == 0 or (process.returncode == 2 and "already has" in last):
            return [], spent_s
        return [f"exit code {process.returncode}: {last}"], spent_s


def _draw(rng: random.Random) -> Blow:
    """Draw a blow; most of them after the libraries have been imported."""
    name = rng.choices(list(SIGNALS), weights=[16, 1, 1, 1, 1])[0]
    moment = rng.uniform(0.0, 1.0) if rng.random() < 0.2 else rng.uniform(0.35, 1.0)
    return Blow(signal=name, is_group=rng.random() < 0.5, moment=moment)


def _spend(process: subprocess.Popen[str], at_most_s: float) -> float:
    """Let a command use so much processor time, or end; return what it has used."""
    used_s, until = 0.0, time.monotonic() + _END_S
    while process.poll() is None and used_s < at_most_s and time.monotonic() < until:
        time.sleep(0.01)
        used_s = max(used_s, _used_s(process.pid))
    return used_s


def _used_s(number: int) -> float:
    """Processor time of a process, of those it waited for, and of its living descendants."""
    place = Path("/proc", str(number))
    try:
        ticks = (place / "stat").read_text().rsplit(")", 1)[1].split()[11:15]
        tasks = [task / "children" for task in (place / "task").iterdir()]
        children = [child for task in tasks for child in task.read_text().split()]
    except OSError:
        return 0.0
    return sum(map(int, ticks)) / _TICKS + sum(_used_s(int(child)) for child in children)


def _send(process: subprocess.Popen[str], blow: Blow) -> None:
    send = os.killpg if blow.is_group else os.kill
    with suppress(ProcessLookupError):
        send(process.pid, SIGNALS[blow.signal])
        if blow.signal == "STOP":
            time.sleep(1.0)
            send(process.pid, signal.SIGCONT)


def _processes(mark: str) -> list[tuple[int, str]]:
    """Processes of a try that still run: their ids and command lines."""
    found, wanted = [], f"{MARK}={mark}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = wanted in (place / "environ").read_bytes().split(b"\0")
            state = (place / "stat").read_text().rsplit(")", 1)[1].split()[0]
            words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if is_ours and state not in "ZX":
            found.append((int(place.name), words.strip()))
    return found


def _left(mark: str) -> list[str]:
    """Wait for the processes of a try to leave; name those that do not."""
    until = time.monotonic() + _LEAVE_S
    while (there := _processes(mark)) and time.monotonic() < until:
        time.sleep(0.1)
    return [words[:200] for _, words in there]


def _end(mark: str) -> None:
    """End what was left, which only processes with this try's mark can be."""
    for number, _ in _processes(mark):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _sets(folder: Path) -> dict[str, object]:
    """The variants in a folder, by themselves."""
    return (
        {repr(found): found for found in [set_of(folder / "v")]} if (folder / "v").is_dir() else {}
    )


def _check_sets(folder: Path, reference: Reference, outcome: Outcome) -> None:
    for text in _sets(folder):
        if text not in dict(reference.sets):
            outcome.add("half-written", [f"neither the old nor the new set: {text[:300]}"])
