"""Damage neural networks on purpose and measure what comes back.

The public names are imported when first used, so that ``import antifragile`` is instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antifragile._lazy import importer

if TYPE_CHECKING:
    from antifragile.config.architecture import Architecture, matched_width
    from antifragile.config.run import TrainingOptions, TrialSpec
    from antifragile.config.study import StudySpec
    from antifragile.data.datasets import load_dataset
    from antifragile.data.splits import Dataset
    from antifragile.engine.loop import finish, meta_loops
    from antifragile.engine.records import MetaLoopRecord, TrialResult
    from antifragile.optim.attach.perturb import perturb
    from antifragile.store.store import Store
    from antifragile.study.runner import StudyOutcome, extend_study, run_study

    __version__: str

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

_import = importer(
    __name__,
    {
        "config.architecture": ("Architecture", "matched_width"),
        "config.run": ("TrainingOptions", "TrialSpec"),
        "config.study": ("StudySpec",),
        "data.datasets": ("load_dataset",),
        "data.splits": ("Dataset",),
        "engine.loop": ("finish", "meta_loops"),
        "engine.records": ("MetaLoopRecord", "TrialResult"),
        "optim.attach.perturb": ("perturb",),
        "store.store": ("Store",),
        "study.runner": ("StudyOutcome", "extend_study", "run_study"),
    },
)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # takes longer to import than the package

        return version(__name__)
    return _import(name)
