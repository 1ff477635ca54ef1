"""The server in which a study's runs are made, and the environment that its numbers belong to.

The server has imported the framework and nothing of the user's; a run is a fork of it with one
thread.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from antifragile._optional import require
from antifragile.ablate.certify import certificate as certify
from antifragile.ablate.sandbox.server import Job, Limits, Server
from antifragile.ablate.study.folder import AblationFolder
from antifragile.ablate.study.request import AblationRequest
from antifragile.errors import UsageError
from antifragile.store.records import Environment
from antifragile.study.machine import current_environment

JOB = "antifragile.ablate.study.job"
# Optimizers import torch._dynamo when first used, a second of work; here it is done once.
PRELOAD = {
    "torch": ("torch", "torch._dynamo", "antifragile.ablate.frameworks.torch.models", JOB),
    "keras": (*certify.PRELOAD["keras"], "torch._dynamo", JOB),
}
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
    if folder.framework == "keras" and importlib.util.find_spec("keras") is None:
        require("keras", extra="keras", purpose="training a Keras model")
    own = PRELOAD_DATASET if request.experiment.dataset else ()
    if folder.framework == "keras" and importlib.util.find_spec("tensorflow") is not None:
        own = (*own, "tensorflow")  # keras.utils.set_random_seed imports it on every back end: 3 s
    return Server(
        workers=processes.workers,
        limits=processes.limits or Limits(timeout_s=3600),
        preload=(*PRELOAD[folder.framework], *own),
        environment=certify.QUIET_AND_SINGLE,
    )


def describe_environment(folder: AblationFolder, server: Server) -> Environment:
    """The environment that decides a study's numbers; a child says which Keras and back end it has.

    Raises:
        UsageError: They do not work.
    """
    kernel = "experiment"
    if folder.framework != "torch":
        arguments = {"framework": folder.framework}
        job = Job(target=f"{JOB}:describe_framework", folder=".", arguments=arguments)
        outcome = server.run_one(job)
        if outcome.failure is not None:
            raise UsageError(f"{folder.framework} does not work here: {outcome.reason}.")
        kernel = f"experiment, {outcome.value}"
    return current_environment(kernel=kernel)
