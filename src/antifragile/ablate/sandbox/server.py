"""A clean server that runs others' code in processes of its own, one per job.

Model code that a user names may hang, crash, fill the memory, print or call `sys.exit`; none of
that may reach us. So a fresh Python is started that imports the framework and our own small job
modules and nothing else, and forks one child per job: a child costs milliseconds and starts from
the same clean state as every other. It has a time limit, a limit on how far its memory may grow, a
process group of its own, no terminal, and the folder it is to work in. Its answer is JSON data of
the type that the job's target declares; anything else is a failure in words (see `answers`).

The other end of the pipe, with the limits, is `process`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

from antifragile.ablate.sandbox.answers import (
    ANSWER,
    STAGE,
    WRITES,
    Answer,
    MalformedAnswer,
    read_answer,
    read_lines,
    read_words,
)
from antifragile.ablate.sandbox.cold import FreshPython
from antifragile.ablate.sandbox.home import known_caches, private_home
from antifragile.ablate.sandbox.job import Failure, Job, Limits, Outcome, outcome_of
from antifragile.errors import WorldError

_THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
)
_ONE_THREAD = dict.fromkeys(_THREADS, "1")


class Server:
    """The parent's end; use it as a context manager.

    Args:
        workers: Children that run at the same time.
        limits: Time and memory for each.
        preload: Modules the server imports before it forks.
        environment: Variables set besides one thread per library and a fixed hash seed.
        has_private_home: Whether a home of its own hides the user's from it and from its children.
        has_fresh_python: Whether `import_packages` also gets a fresh Python ready.

    Attributes:
        notes: Sentences about what the jobs did beside their answers, for the user.
        packages: Modules that `import_packages` has imported.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        limits: Limits | None = None,
        preload: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        has_private_home: bool = False,
        has_fresh_python: bool = False,
    ) -> None:
        self._limits = limits or Limits()
        self._answers = tempfile.TemporaryDirectory(prefix="antifragile-jobs-")
        self._home = Path(self._answers.name, "server") if has_private_home else None
        self.notes: list[str] = []
        self.packages: tuple[str, ...] = ()
        self._has_packages = False
        self._has_fresh_python = has_fresh_python
        self._fresh: FreshPython | None = None
        self._count = 0
        self._ended: dict[int, dict[str, Any]] = {}  # read, but not asked for yet
        self._environment = {**os.environ, **self._own_variables(), **(environment or {})}
        command = [sys.executable, "-P", "-m", "antifragile.ablate.sandbox.process"]
        self._process = subprocess.Popen(
            [*command, str(workers), *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )

    def _own_variables(self) -> dict[str, str]:
        found = {**_ONE_THREAD, "PYTHONHASHSEED": "0"}
        return found if self._home is None else found | known_caches() | private_home(self._home)

    def note(self, sentence: str) -> None:
        """Keep a sentence for the user; nothing if it is empty or kept already."""
        if sentence and sentence not in self.notes:
            self.notes.append(sentence)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def preload(self, *modules: str) -> None:
        """Import further modules in the server, so that later children need not; does not wait.

        A module is named as in "package.module", or with a name taken from it: "module:name".

        It happens when the jobs before it have started; no other starts until it is done.
        """
        self._send({"import": modules})

    def import_packages(self, names: Sequence[str], root: Path) -> None:
        """Import the packages of a project, so that no child need; waits until that is done.

        They are imported up to the first that does more than an import should (see `preload`);
        `packages` tells which. Nothing else may run.

        Args:
            names: As in `preload`.
            root: The project's root, of which no file may be loaded.
        """
        if self._has_fresh_python:
            self._start_fresh_python(names)
        folder, limit = self._answers.name, self._limits.timeout_s
        self._change_packages({"packages": [names, str(root), folder, limit]})

    def give_back_packages(self) -> bool:
        """Undo `import_packages` when all that runs has ended; returns whether there was any."""
        if self._has_packages:
            self._change_packages({"give_back": True})
            return True
        return False

    def fresh_python(self) -> FreshPython:
        """A Python that knows nothing of us, with the packages that did no harm."""
        if self._fresh is None or self._fresh.packages != self.packages:
            self._start_fresh_python(self.packages)
        assert self._fresh is not None
        return self._fresh

    def _start_fresh_python(self, packages: Sequence[str]) -> None:
        if self._fresh is not None:
            self._fresh.close()
        self._count += 1
        self._fresh = FreshPython(
            packages,
            folder=self._scratch(self._count),
            environment=self._environment,
            timeout_s=self._limits.timeout_s,
        )

    def _change_packages(self, request: dict[str, Any]) -> None:
        self._send(request)
        while "packages" not in (found := self._read()):
            self._ended[found["id"]] = found
        self.packages, self._has_packages = tuple(found["packages"]), found["is_successor"]

    def close(self) -> None:
        """End the server and whatever runs in it."""
        self._process.terminate()
        if self._fresh is not None:
            self._fresh.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._answers.cleanup()

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Outcome]]:
        """Run jobs, `workers` at a time; they start at once, behind those of earlier runs.

        Args:
            jobs: The calls; they are started in this order.

        Returns:
            Position in `jobs` and outcome, as they finish.

        Raises:
            WorldError: The server itself could not start, or died.
        """
        waiting = {self._submit(job): (place, job) for place, job in enumerate(jobs)}
        return self._endings(waiting)

    def _endings(self, waiting: dict[int, tuple[int, Job]]) -> Iterator[tuple[int, Outcome]]:
        while waiting:
            number = next((number for number in waiting if number in self._ended), None)
            if number is None:
                ended = self._read()  # perhaps of another run
                self._ended[ended["id"]] = ended
            else:
                position, job = waiting.pop(number)
                yield position, self._outcome(job, self._ended.pop(number))

    def run_one(self, job: Job) -> Outcome:
        """Run one job to its end."""
        [(_, outcome)] = self.run([job])
        return outcome

    def _submit(self, job: Job) -> int:
        self._count += 1
        request = {
            "id": self._count,
            "target": job.reference,
            "arguments": dict(job.arguments),
            "folder": job.folder,
            "paths": job.paths,
            "script": job.script,
            "copied_from": job.copied_from,
            "is_confined": job.is_confined,
            "writable": [*job.writable, *([str(self._home)] if self._home else [])],
            "scratch": str(self._scratch(self._count)),
            **asdict(self._limits),
        }
        self._scratch(self._count).mkdir()
        self._send(request)
        return self._count

    def _send(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._died() from error

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            ended: dict[str, Any] = json.loads(line)
        except ValueError as error:  # no line: it ended
            raise self._died() from error
        return ended

    def _died(self) -> WorldError:
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        why = f": {said[-1]}" if said else ""
        return WorldError(
            f"the process that runs model code ended{why}; "
            "mend that and run the same command again."
        )

    def _scratch(self, number: int) -> Path:
        return Path(self._answers.name) / str(number)

    def _outcome(self, job: Job, ended: dict[str, Any]) -> Outcome:
        scratch = self._scratch(ended["id"])
        try:
            answer = read_answer(scratch / ANSWER, get_type_hints(job.target)["return"])
        except MalformedAnswer as error:
            answer = Answer(failure=Failure.MALFORMED, reason=str(error))
        stage = read_words(scratch / STAGE)
        for line in read_lines(scratch / WRITES):
            self.note(_about_write(*line.split(" ", 1)))
        shutil.rmtree(scratch, ignore_errors=True)
        if job.copied_from:
            shutil.rmtree(job.folder, ignore_errors=True)
        return outcome_of(ended, answer, stage, self._limits)


def _about_write(where: str, path: str = "") -> str:
    if where == "outside":
        return f"the model tried to write to {path}, outside its copy, and was not let."
    return f"the model wrote to {path} in its copy; your own files are as they were."
