"""Damage neural networks on purpose and measure what comes back.

The public names are imported when first used, so that ``import antifragile`` is instant.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from antifragile._lazy import importer

if TYPE_CHECKING:
    from antifragile.config import (
        Architecture,
        StudySpec,
        TrainingOptions,
        TrialSpec,
        matched_width,
    )
    from antifragile.data import Dataset, load_dataset
    from antifragile.engine import MetaLoopRecord, TrialResult, finish, meta_loops
    from antifragile.optim import perturb
    from antifragile.store import Store
    from antifragile.study import StudyOutcome, extend_study, run_study

__version__ = version("antifragile")

__all__ = [
    "Architecture",
    "Dataset",
    "MetaLoopRecord",
    "Store",
    "StudyOutcome",
    "StudySpec",
    "TrainingOptions",
    "TrialResult",
    "TrialSpec",
    "__version__",
    "extend_study",
    "finish",
    "load_dataset",
    "matched_width",
    "meta_loops",
    "perturb",
    "run_study",
]


__getattr__ = importer(
    __name__,
    {
        "config": ("Architecture", "StudySpec", "TrainingOptions", "TrialSpec", "matched_width"),
        "data": ("Dataset", "load_dataset"),
        "engine": ("MetaLoopRecord", "TrialResult", "finish", "meta_loops"),
        "optim": ("perturb",),
        "store": ("Store",),
        "study": ("StudyOutcome", "extend_study", "run_study"),
    },
)
