"""A clean server that runs others' code in processes of its own, one per job.

Model code that a user names may hang, crash, fill the memory, print or call `sys.exit`; none of
that may reach us. So a fresh Python is started that imports the framework and our own small job
modules and nothing else, and forks one child per job: a child costs milliseconds and starts from
the same clean state as every other. It has a time limit, limits on what it and all that it starts
may take (see `limits`), no terminal, and the folder it is to work in. Its answer is JSON data of
the type that the job's target declares; anything else is a failure in words (see `answers`).

The other end of the pipe is `process`. Should it say nothing for longer than a job may take, or be
stopped, all of it is ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

from antifragile.ablate.sandbox import cold
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
from antifragile.ablate.sandbox.home import known_caches, private_home, without_secrets
from antifragile.ablate.sandbox.job import Failure, Job, Limits, Outcome, outcome_of
from antifragile.ablate.sandbox.limits.mechanisms import Mechanisms
from antifragile.ablate.sandbox.limits.pipe import ServerPipe
from antifragile.ablate.sandbox.limits.trees import remove_tree, scratch_folder
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
        has_private_home: Whether a home of its own hides the user's from it and from its children,
            and the secrets of the user's environment are left out.
        has_fresh_python: Whether `import_packages` also gets a fresh Python ready.
        mechanisms: Those of the kernel that may hold the jobs; all where None is given.
        ends_all: Whether what jobs leave running ends with the server, also where no mechanism
            holds them.

    Attributes:
        limits: Time and memory of each job.
        notes: Sentences about what the jobs did beside their answers, for the user.
        packages: Modules that `import_packages` has imported.
        held: The mechanisms in force, once the first job has ended.
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
        mechanisms: Mechanisms | None = None,
        ends_all: bool = False,
    ) -> None:
        self.limits, self._given = limits or Limits(), dict(environment or {})
        self._mechanisms = mechanisms or Mechanisms()
        self._open = ExitStack()
        self._answers = self._open.enter_context(scratch_folder("antifragile-jobs-"))
        self._home = self._answers / "server" if has_private_home else None
        self.notes: list[str] = []
        self.packages: tuple[str, ...] = ()
        self.held: Mechanisms | None = None
        self._has_packages = False
        self._has_fresh_python = has_fresh_python
        self._fresh: Server | None = None
        self._count = 0
        self._imports = 1  # requests under way that take as long as they take; 1 is the start
        self._changes = 0  # of packages, asked for and not yet answered
        self._running: set[int] = set()
        self._ended: dict[int, dict[str, Any]] = {}  # read, but not asked for yet
        start = {"workers": workers, "mechanisms": asdict(self._mechanisms), "preload": preload}
        self._pipe = ServerPipe(
            "antifragile.ablate.sandbox.process",
            start,
            environment={**self._user_variables(), **self._own_variables(), **self._given},
            mark=str(self._answers),
            timeout_s=self.limits.timeout_s,
            ends_all=ends_all or self._mechanisms.holds_group,
        )

    def _user_variables(self) -> Mapping[str, str]:
        return os.environ if self._home is None else without_secrets(os.environ)

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
        self._imports += 1
        self._pipe.send({"import": modules})

    def import_packages(self, names: Sequence[str], root: Path) -> None:
        """Import the packages of a project, so that no child need; waits until that is done.

        They are imported up to the first that does more than an import should (see `preload`);
        `packages` tells which. Nothing else may run.

        Args:
            names: As in `preload`.
            root: The project's root, of which no file may be loaded.
        """
        if self._has_fresh_python:
            self.fresh_python()._ask_for_packages(names, root)
        self._ask_for_packages(names, root)
        self._settle()

    def give_back_packages(self) -> bool:
        """Undo `import_packages` when all that runs has ended; returns whether there was any."""
        self._settle()
        if self._fresh is not None:
            self._fresh.give_back_packages()
        if self._has_packages:
            self._changes += 1
            self._pipe.send({"give_back": True})
            self._settle()
            return True
        return False

    def fresh_python(self) -> Server:
        """A server that has imported no framework, with the packages that did no harm."""
        if self._fresh is None:
            self._fresh = Server(
                limits=self.limits,
                preload=(cold.__name__,),
                environment=self._given,
                has_private_home=self._home is not None,
                mechanisms=self._mechanisms,
            )
        return self._fresh

    def _ask_for_packages(self, names: Sequence[str], root: Path) -> None:
        self._changes += 1
        self._pipe.send({"packages": [names, str(root), str(self._answers), self.limits.timeout_s]})

    def _settle(self) -> None:
        """Wait until the packages are those that were asked for last."""
        while self._changes:
            self._keep(self._read())

    def _keep(self, found: dict[str, Any]) -> None:
        """Take note of what the server says: how a job ended, or something of itself."""
        if "id" in found:
            self._running.discard(found["id"])
            self._ended[found["id"]] = found
        elif "packages" in found:
            self._changes -= 1
            self.packages, self._has_packages = tuple(found["packages"]), found["is_successor"]
        else:
            self._imports -= 1
            self.held = Mechanisms(**found["held"]) if "held" in found else self.held

    def close(self) -> None:
        """End the server and whatever runs in it."""
        if self._fresh is not None:
            self._fresh.close()
        self._pipe.close()
        self._open.close()

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
                self._keep(self._read())  # perhaps of another run
            else:
                position, job = waiting.pop(number)
                yield position, self._outcome(job, self._ended.pop(number))

    def run_one(self, job: Job) -> Outcome:
        """Run one job to its end."""
        [(_, outcome)] = self.run([job])
        return outcome

    @contextmanager
    def stopping_jobs(self) -> Iterator[None]:
        """End the jobs that still run when what is inside has failed, before their files go."""
        try:
            yield
        except BaseException:
            with suppress(WorldError):
                self.stop_jobs()
            raise

    def stop_jobs(self) -> None:
        """End all jobs that run or wait; their outcomes are failures that nobody needs."""
        if self._fresh is not None:
            self._fresh.stop_jobs()
        if self._running:
            self._pipe.send({"stop": True})
        while self._running:
            self._keep(self._read())

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
            "most_written": self.limits.most_written,
            **asdict(self.limits),
        }
        self._scratch(self._count).mkdir()
        self._pipe.send(request)
        self._running.add(self._count)
        return self._count

    def _read(self) -> dict[str, Any]:
        return self._pipe.read(takes_long=self._imports + self._changes > 0)

    def _scratch(self, number: int) -> Path:
        return self._answers / str(number)

    def _outcome(self, job: Job, ended: dict[str, Any]) -> Outcome:
        scratch = self._scratch(ended["id"])
        try:
            answer = read_answer(scratch / ANSWER, get_type_hints(job.target)["return"])
        except MalformedAnswer as error:
            answer = Answer(failure=Failure.MALFORMED, reason=str(error))
        stage = read_words(scratch / STAGE)
        for line in read_lines(scratch / WRITES):
            self.note(_about_try(*line.split(" ", 1)))
        remove_tree(scratch)
        if job.copied_from:
            remove_tree(job.folder)
        return outcome_of(ended, answer, stage, self.limits)


def _about_try(where: str, path: str = "") -> str:
    if where == "signal":
        return f"the model tried to send {path} to the process that runs it, and was not let."
    if where == "outside":
        return f"the model tried to write to {path}, outside its copy, and was not let."
    return f"the model wrote to {path} in its copy; your own files are as they were."
