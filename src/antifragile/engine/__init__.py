"""Stage 5: the readable truth. One model, one meta-loop, records, checkpoints.

The public names are imported when first used: a store of records needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antifragile._lazy import importer

if TYPE_CHECKING:
    from antifragile.engine.checkpoint import load_checkpoint, save_checkpoint, trial_fingerprint
    from antifragile.engine.epoch import count_correct, epoch_order, exact_numerics, train_epoch
    from antifragile.engine.policy import LastKnownGood, next_lkg
    from antifragile.engine.psa import TrialState, finish, initial_weights, meta_loops
    from antifragile.engine.records import Damage, MetaLoopRecord, RobustnessRecord, TrialResult
    from antifragile.engine.robustness import measure_robustness

__all__ = [
    "Damage",
    "LastKnownGood",
    "MetaLoopRecord",
    "RobustnessRecord",
    "TrialResult",
    "TrialState",
    "count_correct",
    "epoch_order",
    "exact_numerics",
    "finish",
    "initial_weights",
    "load_checkpoint",
    "measure_robustness",
    "meta_loops",
    "next_lkg",
    "save_checkpoint",
    "train_epoch",
    "trial_fingerprint",
]

__getattr__ = importer(
    __name__,
    {
        "checkpoint": (
            "load_checkpoint",
            "save_checkpoint",
            "trial_fingerprint",
        ),
        "epoch": (
            "count_correct",
            "epoch_order",
            "exact_numerics",
            "train_epoch",
        ),
        "policy": (
            "LastKnownGood",
            "next_lkg",
        ),
        "psa": (
            "TrialState",
            "finish",
            "initial_weights",
            "meta_loops",
        ),
        "records": (
            "Damage",
            "MetaLoopRecord",
            "RobustnessRecord",
            "TrialResult",
        ),
        "robustness": ("measure_robustness",),
    },
)
