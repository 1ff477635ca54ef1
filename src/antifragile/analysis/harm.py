"""Accuracy that one ablation costs at once, and the part that the next epoch brings back.

For every meta-loop of an ablative mode, in percentage points of validation accuracy:

    drop      = LKG before it - its ablated clone
    recovery  = clone after the epoch - ablated clone
    left      = drop - recovery: what the epoch did not mend; negative where it gained

A study records it where its spec says ``[evaluate] harm = true``. The first meta-loop ablates
nothing. Means are taken within each trial first, so that trials are the units of an interval.

Source: the PSA paper speaks of harm (sections III.B and V) and only measures peaks.
"""

from __future__ import annotations

import pandas as pd

from antifragile.analysis.convergence import TRIAL_KEY
from antifragile.analysis.inference.effects import means_with_intervals
from antifragile.analysis.source import Source
from antifragile.errors import UsageError

PARTS = ("drop", "recovery", "left")


def has_harm(meta_loops: pd.DataFrame | None) -> bool:
    """Tell whether any record counts an ablated clone."""
    if meta_loops is None or "ablated_accuracy" not in meta_loops:
        return False
    return bool(meta_loops["ablated_accuracy"].notna().any())


def ablations(meta_loops: pd.DataFrame) -> pd.DataFrame:
    """One row per ablation that was counted.

    Args:
        meta_loops: The result of `frames.meta_loops_frame`.

    Returns:
        architecture, mode, trial, meta_loop, ablated_layer, ablated_neuron, drop, recovery, left.

    Raises:
        UsageError: The study did not count ablated clones.
    """
    if not has_harm(meta_loops):
        raise UsageError(
            "these records do not say what an ablation took at once; run a study with "
            "[evaluate] harm = true."
        )
    frame = meta_loops.sort_values([*TRIAL_KEY, "meta_loop"], kind="stable")
    before = frame.groupby(TRIAL_KEY, sort=False)["bounty_accuracy"].shift()
    frame = frame.assign(
        drop=before - frame["ablated_accuracy"],
        recovery=frame["validation_accuracy"] - frame["ablated_accuracy"],
        left=before - frame["validation_accuracy"],
    )
    known = frame[frame["drop"].notna()].sort_index()
    names = [*TRIAL_KEY, "meta_loop", "ablated_layer", "ablated_neuron", *PARTS]
    return known[names].reset_index(drop=True)


def harm_by_cell(
    rows: pd.DataFrame, *, by: tuple[str, ...] = ("architecture", "mode"), confidence: float = 0.95
) -> pd.DataFrame:
    """Mean drop, recovery and what is left, with intervals over trials.

    Args:
        rows: The result of `ablations`.
        by: Columns whose values get a row each; with ``ablated_layer`` it is told by layer.
        confidence: Coverage of Student's interval over trials' means.

    Returns:
        The columns of ``by``, then n (trials), ablations, and for drop, recovery and left the
        mean and its interval: ``drop``, ``drop_low``, ``drop_high``, ... (points; NaN intervals
        for one trial); share_mended (clones at least as good as the LKG after the epoch) and
        worst_drop.
    """
    keys = list(by)
    per_trial = rows.groupby(list(dict.fromkeys([*keys, *TRIAL_KEY])), sort=False)[list(PARTS)]
    grouped = per_trial.mean().groupby(keys, sort=False)
    n = grouped["drop"].count()
    found = pd.DataFrame({"n": n, "ablations": rows.groupby(keys, sort=False)["drop"].count()})
    for part in PARTS:
        names = [part, f"{part}_low", f"{part}_high"]
        found[names] = means_with_intervals(grouped[part], confidence)[["mean", "low", "high"]]
    mended = rows.assign(mended=rows["left"] <= 1e-9)
    found["share_mended"] = mended.groupby(keys, sort=False)["mended"].mean()
    found["worst_drop"] = rows.groupby(keys, sort=False)["drop"].max()
    return found.reset_index()


def harm_by_size(source: Source, parameters: pd.DataFrame) -> pd.DataFrame:
    """Summarise the harm of a source's finished trials by cell, smallest network first.

    Args:
        source: A study that counted ablated clones.
        parameters: Columns architecture and parameters.

    Returns:
        As `harm_by_cell`, with ``parameters``.

    Raises:
        UsageError: The study did not count them.
    """
    records = source.meta_loops
    if not has_harm(records):
        raise UsageError(
            f"{source.name} has no meta-loop records that say what an ablation took at "
            "once; run a study with [evaluate] harm = true."
        )
    assert records is not None
    finished = ablations(records).merge(source.trials[TRIAL_KEY], on=TRIAL_KEY)
    found = harm_by_cell(finished).merge(
        parameters[["architecture", "parameters"]], on="architecture"
    )
    return found.sort_values("parameters", kind="stable", ignore_index=True)


def harm_of_architectures(rows: pd.DataFrame, part: str) -> pd.DataFrame:
    """One number of harm per architecture, all ablative modes alike, for `advise_size`.

    Args:
        rows: The result of `ablations`.
        part: ``"drop"`` or ``"left"``.

    Returns:
        Columns architecture, harm, harm_se (points; the standard error over trials, whose modes
        are averaged first; NaN for one trial).
    """
    per_mode = rows.groupby(TRIAL_KEY, sort=False)[part].mean()
    per_trial = per_mode.groupby(level=["architecture", "trial"], sort=False).mean()
    grouped = per_trial.groupby(level="architecture", sort=False)
    return grouped.agg(harm="mean", harm_se="sem").reset_index()
