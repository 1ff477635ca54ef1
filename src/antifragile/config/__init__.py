"""Stage 1: what to run. Frozen, validated, hashable; no torch here."""

from antifragile.config.architecture import Architecture, matched_width
from antifragile.config.evaluate import EvaluateOptions, Keep
from antifragile.config.landscape import PAPER_LANDSCAPE, LandscapeEntry, matching_table
from antifragile.config.modes import (
    PAPER_MODES,
    Ablation,
    Mode,
    get_mode,
    mode_names,
    register_mode,
)
from antifragile.config.perturbation import PERTURBATIONS, Perturbation, PresetFacts
from antifragile.config.run import PRESETS, Normalization, TrainingOptions, TrialSpec, get_preset
from antifragile.config.seeds import (
    Pairing,
    SeedTree,
    TrialStreams,
    derive_words,
    dropout_keep_mask,
    trial_streams,
)
from antifragile.config.study import StudySpec

__all__ = [
    "PAPER_LANDSCAPE",
    "PAPER_MODES",
    "PERTURBATIONS",
    "PRESETS",
    "Ablation",
    "Architecture",
    "EvaluateOptions",
    "Keep",
    "LandscapeEntry",
    "Mode",
    "Normalization",
    "Pairing",
    "Perturbation",
    "PresetFacts",
    "SeedTree",
    "StudySpec",
    "TrainingOptions",
    "TrialSpec",
    "TrialStreams",
    "derive_words",
    "dropout_keep_mask",
    "get_mode",
    "get_preset",
    "matched_width",
    "matching_table",
    "mode_names",
    "register_mode",
    "trial_streams",
]
