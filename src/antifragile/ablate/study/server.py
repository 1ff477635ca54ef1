"""The server in which a study's runs are made, their copies, and the environment of its numbers.

The server has imported the framework and nothing of the user's; a run is a fork of it with one
thread. It works in a copy like that of certification: the variant's files over the model's folder
with its data. Where that folder is gone, or other than it was, the files of the variants are all.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from antifragile._files import sha256_of
from antifragile.ablate.command import launch
from antifragile.ablate.frameworks.base import Framework
from antifragile.ablate.frameworks.registry import framework_named, installed_framework
from antifragile.ablate.frameworks.subject import ModelCode
from antifragile.ablate.generation.emit import BASELINE
from antifragile.ablate.sandbox.copies import Copies, open_copies
from antifragile.ablate.sandbox.job import Job, Limits
from antifragile.ablate.sandbox.limits.mechanisms import NONE
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.study.child import run
from antifragile.ablate.study.folder import AblationFolder
from antifragile.ablate.study.request import AblationRequest
from antifragile.errors import StoreError, UsageError
from antifragile.store.records import Environment
from antifragile.study.machine import current_environment

logger = logging.getLogger(__name__)

PRELOAD_DATASET = ("antifragile.ablate.study.child.trainer", "sklearn.datasets")
_MISSING = (
    "FileNotFoundError",
    "No such file",
    "ModuleNotFoundError",
)  # in the reason of a failure


@dataclass(frozen=True, kw_only=True)
class StudyProcesses:
    """The processes in which a study's jobs run.

    Args:
        workers: Processes at a time, one thread each, of a server that is started.
        limits: Time and memory of one run, of a server that is started.
        server: Runs the jobs; None to start one for the study.
        certifier: Certifies combinations; None to start one if there are new ones.
        is_confined: Whether runs are held like probes: no network, no files but their own.
        fails_fast: Whether the first run that fails ends the study.
    """

    workers: int = 1
    limits: Limits | None = None
    server: Server | None = None
    certifier: Server | None = None
    is_confined: bool = False
    fails_fast: bool = False


@dataclass(frozen=True, kw_only=True)
class StudyCopies:
    """Copies in which a study's models are built and trained.

    Args:
        folder: The variants.
        copies: Copies of the model's folder, or of the baseline's where that one cannot be used.
        change: Why it cannot, as a clause; empty where it can.
    """

    folder: AblationFolder
    copies: Copies
    change: str

    def sources(self, place: Path) -> tuple[str, ...]:
        """The folders that a copy of a variant is made of, later ones over earlier ones.

        Of the variant's folder the files that its index lists are taken, once.
        """
        listed = self.copies.folder / "variants" / place.relative_to(self.folder.path)
        if not listed.exists():
            for file in self.folder.files:
                (listed / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(place / file, listed / file)
        return str(self.copies.original), str(listed)

    def code(self, place: Path) -> ModelCode:
        """The model's functions in a new copy of a variant.

        Args:
            place: The variant's folder, or the baseline's.
        """
        project, framework = self.folder.project, self.folder.framework
        code = ModelCode.in_folder(project, self.copies.new_place(), framework)
        return replace(code, copied_from=self.sources(place))

    def explained(self, reason: str) -> str:
        """A failure's reason, and what was missing if it may be that."""
        if not self.change or not any(word in reason for word in _MISSING):
            return reason
        return f"{reason}; the run had the variant's own files alone, as {self.change}"


@contextmanager
def open_study_copies(folder: AblationFolder) -> Iterator[StudyCopies]:
    """Take the model's folder as it is now, with what lies in the current folder.

    Raises:
        StoreError: A file of an installed package that the model imports was changed.
    """
    _check_installed(folder)
    change = changed_tree(folder)
    root = Path(folder.project.root) if not change else folder.path / BASELINE
    with open_copies(root.resolve(), folder.files, with_data=not change) as copies:
        copies.add_needed(Path(folder.project.root), folder.project.installed)
        copies.add_data(Path.cwd())
        yield StudyCopies(folder=folder, copies=copies, change=change)


def changed_tree(folder: AblationFolder) -> str:
    """Say, as a clause, which of the model's files is not as it was certified; empty if all are."""
    for file, path in ((file, Path(folder.project.root, file)) for file in folder.files):
        try:
            sha256 = sha256_of(path)
        except OSError:
            return f"{path} is not there"
        if sha256 != folder.digests[BASELINE].get(file):
            return f"{path} was changed after the variants were generated"
    return ""


def _check_installed(folder: AblationFolder) -> None:
    """Check the files that no variant's folder holds against the hashes of when they were made."""
    for file in folder.project.installed:
        path = Path(folder.project.root, file)
        if not path.is_file() or sha256_of(path) != folder.data.get(file):
            raise StoreError(
                f"{path}, of an installed package that the model imports, is no longer as it was "
                "when the variants were certified; install that version, or generate them again."
            )


def open_study_server(
    request: AblationRequest, folder: AblationFolder, processes: StudyProcesses
) -> Server:
    """Start the server of a study.

    Raises:
        MissingExtraError: The framework is not installed.
    """
    framework = installed_framework(folder.framework)
    own = PRELOAD_DATASET if request.experiment.dataset else ()
    preload = (*training_modules(framework), *own)
    if request.experiment.command is not None:
        preload = (launch.__name__,)
    return Server(
        workers=processes.workers,
        limits=processes.limits or Limits(timeout_s=3600),
        preload=preload,
        environment=framework.environment,
        has_private_home=processes.is_confined,
        mechanisms=None if processes.is_confined else NONE,
        ends_all=request.experiment.command is not None,
    )


def training_modules(framework: Framework) -> tuple[str, ...]:
    """Modules that a server imports before it forks runs of a framework's models."""
    return (*framework.preload, *framework.preload_training, run.__name__)


def describe_environment(
    folder: AblationFolder, server: Server, device: str = "cpu"
) -> Environment:
    """The environment that decides a study's numbers; a child says which Keras and back end it has.

    Args:
        folder: The variants.
        server: Runs the child.
        device: The device that trains.

    Raises:
        UsageError: They do not work.
    """
    kernel = "experiment"
    if framework_named(folder.framework).extra is not None:
        arguments = {"framework": folder.framework}
        outcome = server.run_one(
            Job(target=run.describe_framework, folder=".", arguments=arguments)
        )
        if outcome.failure is not None:
            raise UsageError(f"{folder.framework} does not work here: {outcome.reason}.")
        kernel = f"experiment, {outcome.value}"
        if folder.versions and outcome.value != folder.versions:
            logger.warning(
                "The variants were certified with %s; they train here with %s.",
                folder.versions,
                outcome.value,
            )
    return current_environment(kernel=kernel, device=device)
