"""The server in which a study's runs are made, and the environment that its numbers belong to.

The server has imported the framework and nothing of the user's; a run is a fork of it with one
thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from antifragile.ablate.frameworks.base import Framework
from antifragile.ablate.frameworks.registry import framework_named, installed_framework
from antifragile.ablate.sandbox.job import Job
from antifragile.ablate.sandbox.server import Limits, Server
from antifragile.ablate.study import job
from antifragile.ablate.study.folder import AblationFolder
from antifragile.ablate.study.request import AblationRequest
from antifragile.errors import UsageError
from antifragile.store.records import Environment
from antifragile.study.machine import current_environment

PRELOAD_DATASET = ("antifragile.ablate.study.trainer", "sklearn.datasets")


@dataclass(frozen=True, kw_only=True)
class StudyProcesses:
    """The processes in which a study's jobs run.

    Args:
        workers: Processes at a time, one thread each, of a server that is started.
        limits: Time and memory of one run, of a server that is started.
        server: Runs the jobs; None to start one for the study.
        certifier: Certifies combinations; None to start one if there are new ones.
    """

    workers: int = 1
    limits: Limits | None = None
    server: Server | None = None
    certifier: Server | None = None


def open_study_server(
    request: AblationRequest, folder: AblationFolder, processes: StudyProcesses
) -> Server:
    """Start the server of a study.

    Raises:
        MissingExtraError: The framework is not installed.
    """
    framework = installed_framework(folder.framework)
    own = PRELOAD_DATASET if request.experiment.dataset else ()
    return Server(
        workers=processes.workers,
        limits=processes.limits or Limits(timeout_s=3600),
        preload=(*training_modules(framework), *own),
        environment=framework.environment,
    )


def training_modules(framework: Framework) -> tuple[str, ...]:
    """Modules that a server imports before it forks runs of a framework's models."""
    return (*framework.preload, *framework.preload_training, job.__name__)


def describe_environment(folder: AblationFolder, server: Server) -> Environment:
    """The environment that decides a study's numbers; a child says which Keras and back end it has.

    Raises:
        UsageError: They do not work.
    """
    kernel = "experiment"
    if framework_named(folder.framework).extra is not None:
        arguments = {"framework": folder.framework}
        outcome = server.run_one(
            Job(target=job.describe_framework, folder=".", arguments=arguments)
        )
        if outcome.failure is not None:
            raise UsageError(f"{folder.framework} does not work here: {outcome.reason}.")
        kernel = f"experiment, {outcome.value}"
    return current_environment(kernel=kernel)
