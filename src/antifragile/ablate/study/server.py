"""The server in which a study's runs are made, and the environment that its numbers belong to.

The server has imported the framework and nothing of the user's; a run is a fork of it with one
thread.
"""

from __future__ import annotations

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


def open_study_server(
    request: AblationRequest,
    folder: AblationFolder,
    *,
    workers: int = 1,
    limits: Limits | None = None,
) -> Server:
    """Start the server of a study; arguments as `run_ablation`.

    Raises:
        MissingExtraError: The framework is not installed.
    """
    framework = installed_framework(folder.framework)
    own = PRELOAD_DATASET if request.experiment.dataset else ()
    return Server(
        workers=workers,
        limits=limits or Limits(timeout_s=3600),
        preload=(*training_modules(framework), *own),
        environment=framework.environment,
    )


def training_modules(framework: Framework) -> tuple[str, ...]:
    """Modules that a server imports before it forks runs of a framework's models."""
    return (*framework.preload, *framework.preload_training, job.__name__)


def describe_environment(folder: AblationFolder, server: Server) -> Environment:
    """What decides the bits of a study's runs; a child says which Keras and back end it is.

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
