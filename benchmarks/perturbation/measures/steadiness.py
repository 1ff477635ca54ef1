"""Summaries of runs over learning rates and seeds: a row per task, optimizer and method.

Differences from ``none`` are paired by seed, each method at its own best rate, with Student's
interval; the spread is the standard deviation over seeds of the loss at the best rate. Early
stopping is ``none`` looked at where its validation loss was least, so it costs nothing more.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from antifragile.analysis.inference.effects import mean_interval
from benchmarks.perturbation.measures.sensitivity import best_rate, capped, sd_interval, sensitivity

EARLY_STOPPING = "early stopping"


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per task, optimizer and method, early stopping among them; ``none`` must be there.

    Args:
        runs: Columns task, optimizer, method, magnitude, rate, seed, initial, loss, best_loss,
            accuracy, best_accuracy, oscillation, gradient_evaluations, seconds.
    """
    whole = pd.concat([runs, _early_stopped(runs)], ignore_index=True)
    rows = []
    for (task, optimizer), group in whole.groupby(["task", "optimizer"], sort=False):
        tables = {
            str(method): cell.sort_values(["rate", "seed"])
            for method, cell in group.groupby("method", sort=False)
        }
        losses = {method: _losses(cell) for method, cell in tables.items()}
        common = min(capped(*pair).mean(axis=1).min() for pair in losses.values())
        control = _at_best(tables["none"])["loss"].to_numpy()
        for method, cell in tables.items():
            rows.append(
                {
                    "task": task,
                    "optimizer": optimizer,
                    "method": method,
                    **_row(cell, losses[method], float(common), control),
                }
            )
    return pd.DataFrame(rows)


def _losses(cell: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Final losses (rates, seeds) and initial losses (seeds,)."""
    table = cell.pivot(index="rate", columns="seed", values="loss").to_numpy()
    initial = cell.pivot(index="rate", columns="seed", values="initial").to_numpy()[0]
    return table, initial


def _at_best(cell: pd.DataFrame) -> pd.DataFrame:
    """The runs at the rate with the least mean loss, capped, by seed."""
    rates = np.sort(cell["rate"].unique())
    chosen: pd.DataFrame = cell[cell["rate"] == rates[best_rate(*_losses(cell))]]
    chosen = chosen.sort_values("seed")
    loss = capped(chosen["loss"].to_numpy()[None], chosen["initial"].to_numpy())[0]
    return chosen.assign(loss=loss)


def _row(
    cell: pd.DataFrame,
    losses: tuple[np.ndarray, np.ndarray],
    common: float,
    control: np.ndarray,
) -> dict[str, object]:
    best = _at_best(cell)
    values = best["loss"].to_numpy()
    sd, sd_low, sd_high = sd_interval(values)
    own, shared = sensitivity(*losses), sensitivity(*losses, best=common)
    low, high = mean_interval(values - control)
    common_low, common_high = mean_interval(shared)
    return {
        "magnitude": float(best["magnitude"].iloc[0]),
        "rate": float(best["rate"].iloc[0]),
        "n": len(best),
        "loss": float(values.mean()),
        "difference": float((values - control).mean()),
        "low": low,
        "high": high,
        "sd": sd,
        "sd_low": sd_low,
        "sd_high": sd_high,
        "best_loss": float(best["best_loss"].mean()),
        "sensitivity": float(own.mean()),
        "common_sensitivity": float(shared.mean()),
        "common_low": common_low,
        "common_high": common_high,
        "diverged": float(100 * (~(losses[0] < losses[1])).mean()),
        "oscillation": float(best["oscillation"].mean()),
        "accuracy": float(best["accuracy"].mean()),
        "gradient_evaluations": int(best["gradient_evaluations"].mean()),
        "seconds": float(cell["seconds"].mean()),
    }


def _early_stopped(runs: pd.DataFrame) -> pd.DataFrame:
    """``none`` with the values it had where its validation loss was least."""
    none = runs[runs["method"] == "none"]
    return none.assign(
        method=EARLY_STOPPING, loss=none["best_loss"], accuracy=none["best_accuracy"]
    )
