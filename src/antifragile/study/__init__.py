"""Stage 9: executors, and the runner that resumes."""

from antifragile.study.agreement import data_facts, load_study_data
from antifragile.study.executor import Executor, ProcessExecutor, SerialExecutor
from antifragile.study.folder import default_files
from antifragile.study.machine import current_environment
from antifragile.study.options import Progress, RunOptions
from antifragile.study.prediction import PlanRow, StudyPlan
from antifragile.study.runner import (
    StudyOutcome,
    extend_study,
    preview_study,
    run_study,
)
from antifragile.study.trainers import EngineName

__all__ = [
    "EngineName",
    "Executor",
    "PlanRow",
    "ProcessExecutor",
    "Progress",
    "RunOptions",
    "SerialExecutor",
    "StudyOutcome",
    "StudyPlan",
    "current_environment",
    "data_facts",
    "default_files",
    "extend_study",
    "load_study_data",
    "preview_study",
    "run_study",
]
