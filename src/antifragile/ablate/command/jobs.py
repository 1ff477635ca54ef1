"""The jobs of a study whose experiment is the user's command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from antifragile._files import sha256_of
from antifragile.ablate.command.command import SEEDS, Command
from antifragile.ablate.command.launch import LaunchArguments, launch_job, preview_job
from antifragile.ablate.command.metrics import MetricSource
from antifragile.ablate.sandbox.job import Job


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One run of a command.

    Args:
        command: The command.
        metrics: Where its metrics are.
        root: Folder that the files' paths are relative to, absolute.
        files: Files that some arm of the study edits.
        place: The folder with the files of this run's variant, or of the baseline.
        seeds: Handed to the command, by their places.
        stream: Seed of the global streams once the models are built; None for the baseline's.
        run: Folder of the run's output; made anew.
        scratch: Folder for the overlay, which exists.
        mounts: See `overlay.enter`.
        starts: File of the baseline's initial values; None for the baseline.
        keeps: File to keep the initial values in; None to keep none.
        opened: File for the names of opened files.
        own_values: Parameters that start from the variant's own values.
        like: Notes of the run that a fork is to be like; None to start a Python.
    """

    command: Command
    metrics: Sequence[MetricSource]
    root: Path
    files: Sequence[str]
    place: Path
    seeds: Mapping[str, int]
    stream: int | None
    run: Path
    scratch: Path
    mounts: bool
    starts: Path | None
    keeps: Path | None
    opened: Path
    own_values: Sequence[str]
    like: Path | None = None

    def job(self) -> Job:
        """Prepare the job."""
        pairs = {
            str((self.root / file).resolve()): str((self.place / file).resolve())
            for file in self.files
        }
        hashes = {path: sha256_of(Path(content)) for path, content in pairs.items()}
        edited = {p: content for p, content in pairs.items() if sha256_of(Path(p)) != hashes[p]}
        arguments = LaunchArguments(
            command=asdict(self.command),
            metrics=[asdict(source) for source in self.metrics],
            edited=edited,
            hashes=hashes,
            roots=[self.command.repository, *sorted({_package_folder(path) for path in pairs})],
            seeds=self.seeds,
            stream=self.stream,
            run=str(self.run),
            scratch=str(self.scratch),
            mounts=self.mounts,
            starts=None if self.starts is None else str(self.starts),
            keeps=None if self.keeps is None else str(self.keeps),
            opened=str(self.opened),
            own_values=list(self.own_values),
            like=None if self.like is None else str(self.like),
        )
        return _job(launch_job, arguments, self.command)


def job_of_preview(command: Command, *, run: Path, scratch: Path, mounts: bool, steps: int) -> Job:
    """Prepare a preview of a command.

    Args:
        command: The command.
        run: Folder of its output, which exists.
        scratch: Folder for what it shows, which exists.
        mounts: See `overlay.enter`.
        steps: Steps after which it ends.
    """
    arguments = LaunchArguments(
        command=asdict(command),
        metrics=(),
        edited={},
        hashes={},
        roots=[command.repository],
        seeds=dict.fromkeys(SEEDS, 1),
        stream=None,
        run=str(run),
        scratch=str(scratch),
        mounts=mounts,
        starts=None,
        keeps=None,
        opened=str(scratch / "opened"),
        preview_steps=steps,
    )
    return _job(preview_job, arguments, command)


def _package_folder(file: str) -> str:
    """The folder of the package that a file is of, or the file's own."""
    folder = Path(file).parent
    while (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    return str(folder)


def _job(target: Callable[..., object], arguments: LaunchArguments, command: Command) -> Job:
    return Job(
        target=target,
        folder=arguments.run,
        arguments={"run": asdict(arguments)},
        script=command.words[0],
        is_confined=False,
    )
