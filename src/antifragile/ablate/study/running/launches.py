"""The runs of a study whose experiment is the user's command: their folders, jobs and pairing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from antifragile._files import make_folder, safe_name
from antifragile.ablate.command.launch import NOTES, SERIES, Launch
from antifragile.ablate.command.notes import RunNotes, read_notes
from antifragile.ablate.command.overlay import can_mount
from antifragile.ablate.command.program import path_of_fork
from antifragile.ablate.command.proof import WatchedFiles, unpaired
from antifragile.ablate.designs.base import BASELINE
from antifragile.ablate.sandbox.job import Job
from antifragile.ablate.sandbox.limits.trees import bytes_below, remove_tree, scratch_folder
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import installed_package
from antifragile.ablate.study.child.run import KEPT, OPENED
from antifragile.ablate.study.experiment import CommandExperiment
from antifragile.ablate.study.folder import AblationFolder
from antifragile.ablate.study.request import PlannedRun, Role
from antifragile.ablate.study.running.keys import RunKeys

_MOST_MEASURED = 2**42  # bytes of one run's folder
_FEW_MODULES = 20  # which a Python imports in a moment
_LONG_RUN_S = 120.0  # of longer ones the start is a small part, and one more run a large one


class CommandRuns:
    """The runs of a command.

    Args:
        experiment: The command.
        folder: The variants.
        arms: Those of the study.
        keys: Keys of the study's runs.
        place: Folder that holds a folder for each run.
    """

    def __init__(
        self,
        experiment: CommandExperiment,
        folder: AblationFolder,
        arms: Sequence[str],
        keys: RunKeys,
        place: Path,
    ) -> None:
        self._experiment, self._folder, self._keys = experiment, folder, keys
        self._place, self._edited = place, folder.edited_by(arms)
        self._mounts: bool | None = None  # not tried yet
        self._like: Path | None = None  # notes of the run that forks are like
        self._is_ready = False  # or was tried
        self._said: set[str] = set()

    def folder_of(self, plan: PlannedRun) -> Path:
        """The folder of a run: its output, what it printed, and its notes."""
        name = f"{safe_name(plan.label)}-seed-{plan.seed}-{self._keys.first[plan][:8]}"
        return self._place / name

    def notes_of(self, plan: PlannedRun) -> RunNotes:
        """The notes of a run."""
        return read_notes(self.folder_of(plan) / NOTES)

    def bytes_of(self, plan: PlannedRun) -> int:
        """The bytes that a run's folder takes."""
        return bytes_below([str(self.folder_of(plan))], _MOST_MEASURED)

    def get_ready(self, plan: PlannedRun, seconds: float, server: Server) -> None:
        """Let later runs fork from the server instead of starting a Python, where that is the same.

        The server imports the packages that a run has imported, and runs it once more by a fork: it
        must give the same numbers, from the same values at the first step.

        Args:
            plan: A baseline's run that has ended.
            seconds: Its wall time.
            server: The server.
        """
        command, place = self._experiment.command, self.folder_of(plan)
        if self._is_ready or seconds > _LONG_RUN_S or not (place / SERIES).is_file():
            return
        notes = self.notes_of(plan)
        can_fork = self._mounts and command.threads == 1 and path_of_fork(notes)
        if not can_fork or len(notes.modules) <= _FEW_MODULES:
            return
        self._is_ready = True
        files = [Path(self._folder.project.root, file).resolve() for file in self._edited]
        edited = {package: file for file in files if (package := installed_package(file))}
        names = [name for name in notes.modules if name.partition(".")[0] not in edited]
        root = Path(command.repository)
        for package, file in edited.items():
            above = (folder for folder in file.parents if folder.name == package)
            root = next(above, file.parent)  # of a package that is one file, all packages
        server.import_packages(names, root)
        if not server.packages:
            return
        with scratch_folder("antifragile-fork-") as scratch:
            again, self._like = scratch / "run", (place / NOTES).resolve()
            outcome = server.run_one(self.job(plan, scratch, None, keeps=False, run=again))
            fork = read_notes(again / NOTES)
            is_same = (
                outcome.failure is None
                and fork.is_forked
                and fork.first_step == notes.first_step
                and (again / SERIES).read_bytes() == (place / SERIES).read_bytes()
            )
        if not is_same:
            self._like = None
            server.give_back_packages()

    def job(
        self,
        plan: PlannedRun,
        scratch: Path,
        start: str | None,
        *,
        keeps: bool,
        run: Path | None = None,
    ) -> Job:
        """Prepare a run, and make the folder of its output anew.

        Args:
            plan: The run.
            scratch: Its scratch folder.
            start: File of the baseline's initial values; None where there is none.
            keeps: Whether to keep its own.
            run: The folder of its output, if it is not its own.
        """
        command, names, seeds = self._experiment.command, sorted(plan.ablated), plan.seeds()
        if self._mounts is None:
            self._mounts = can_mount(command.repository, scratch / "tried")
        run = run or self.folder_of(plan)
        remove_tree(run)
        make_folder(run)
        return Launch(
            command=command,
            metrics=self._experiment.metrics,
            files=WatchedFiles.of(
                Path(self._folder.project.root), self._edited, self._folder.place(names)
            ),
            seeds=seeds,
            stream=seeds["stream"] if plan.role is Role.PLACEBO else None,
            run=str(run.resolve()),
            scratch=str(scratch),
            mounts=self._mounts,
            starts=start,
            keeps=str(scratch / KEPT) if keeps else None,
            opened=str(scratch / OPENED),
            own_values=self._folder.own_values(names),
            like=None if self._like is None else str(self._like),
        ).job()

    def unpaired_note(self, plan: PlannedRun) -> str:
        """Say, once for each arm, that a run did not start from the baseline's values."""
        baseline = PlannedRun(ablated=BASELINE, seed=plan.seed)
        own_values = self._folder.own_values(sorted(plan.ablated))
        clause = unpaired(self.notes_of(baseline), self.notes_of(plan), own_values)
        if not clause or plan.label in self._said:
            return ""
        self._said.add(plan.label)
        return f"{plan.label} is not paired by initial values: {clause}."
