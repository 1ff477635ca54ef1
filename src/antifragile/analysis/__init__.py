"""Stage 10: frames in, frames out."""

from antifragile.analysis.frames import meta_loops_frame, read_trials_csv, trials_frame
from antifragile.analysis.regimes import Regime, Verdict, classify_by_paper
from antifragile.analysis.summary import Measure, summarise

__all__ = [
    "Measure",
    "Regime",
    "Verdict",
    "classify_by_paper",
    "meta_loops_frame",
    "read_trials_csv",
    "summarise",
    "trials_frame",
]
