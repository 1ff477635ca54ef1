"""Damage neural networks on purpose and measure what comes back.

The public names are imported when first used: torch takes a second to import, and a command that
needs no torch should not wait for it.
"""

from __future__ import annotations

from antifragile._lazy import lazy_names

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 10 ms

if TYPE_CHECKING:
    from antifragile.config.architecture import Architecture, matched_width
    from antifragile.config.specs.study import StudySpec
    from antifragile.config.specs.training import TrainingOptions
    from antifragile.config.specs.trial import TrialSpec
    from antifragile.data.datasets import load_dataset
    from antifragile.data.splits import Dataset
    from antifragile.engine.frustration.engine import FrustrationEngine
    from antifragile.engine.frustration.records import FrustrationRecord
    from antifragile.engine.records import MetaLoopRecord, TrialResult
    from antifragile.engine.trial import finish, meta_loops
    from antifragile.model.units.find import find_units
    from antifragile.optim.attach.perturb import perturb
    from antifragile.store.store import Store
    from antifragile.study.runner import StudyOutcome, extend_study, run_study

    __version__: str

__all__ = [
    "Architecture",
    "Dataset",
    "FrustrationEngine",
    "FrustrationRecord",
    "MetaLoopRecord",
    "Store",
    "StudyOutcome",
    "StudySpec",
    "TrainingOptions",
    "TrialResult",
    "TrialSpec",
    "__version__",
    "extend_study",
    "find_units",
    "finish",
    "load_dataset",
    "matched_width",
    "meta_loops",
    "perturb",
    "run_study",
]

_HOMES = {
    "Architecture": "config.architecture",
    "Dataset": "data.splits",
    "FrustrationEngine": "engine.frustration.engine",
    "FrustrationRecord": "engine.frustration.records",
    "MetaLoopRecord": "engine.records",
    "Store": "store.store",
    "StudyOutcome": "study.runner",
    "StudySpec": "config.specs.study",
    "TrainingOptions": "config.specs.training",
    "TrialResult": "engine.records",
    "TrialSpec": "config.specs.trial",
    "extend_study": "study.runner",
    "find_units": "model.units.find",
    "finish": "engine.trial",
    "load_dataset": "data.datasets",
    "matched_width": "config.architecture",
    "meta_loops": "engine.trial",
    "perturb": "optim.attach.perturb",
    "run_study": "study.runner",
}


_find, __dir__ = lazy_names(__name__, _HOMES)


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version  # takes longer to import than the package

        return version(__name__)
    return _find(name)
