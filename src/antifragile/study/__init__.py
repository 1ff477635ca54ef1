"""Stage 9: executors, and the runner that resumes."""

from antifragile.study.executor import Executor, ProcessExecutor, SerialExecutor
from antifragile.study.machine import current_environment
from antifragile.study.runner import (
    Progress,
    StudyOutcome,
    data_facts,
    default_files,
    extend_study,
    load_study_data,
    run_study,
)

__all__ = [
    "Executor",
    "ProcessExecutor",
    "Progress",
    "SerialExecutor",
    "StudyOutcome",
    "current_environment",
    "data_facts",
    "default_files",
    "extend_study",
    "load_study_data",
    "run_study",
]
