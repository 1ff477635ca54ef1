"""The landscape of a source: every architecture with its place, its means and its regime.

Source: PSA paper, figures 2 to 9, which colour these places.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from antifragile.analysis.inference.winners import best_modes
from antifragile.analysis.regimes.words import TOLERANCE, RegimeVerdict
from antifragile.config.architecture import MNIST_CLASSES, MNIST_INPUTS, Architecture
from antifragile.config.landscape import PAPER_LANDSCAPE
from antifragile.config.modes import get_mode, is_mode
from antifragile.config.networks import Network

BASELINE, ABLATIVE, OTHER = "baseline", "psa", "other"
_PAPER_PLACES = {entry.architecture.name: entry for entry in PAPER_LANDSCAPE}


def landscape_frame(
    cells: pd.DataFrame,
    verdicts: Mapping[str, RegimeVerdict],
    *,
    sizes: tuple[int, int] | None,
    network: Network = Network.MLP,
) -> pd.DataFrame:
    """Place every architecture on the landscape.

    Args:
        cells: The result of `cells_with_intervals`.
        verdicts: Regimes by architecture.
        sizes: Inputs and classes of the data set, None when unknown.
        network: The kind of network that was trained.

    Returns:
        Columns architecture, depth (L of its blocks L*W), width (geometric mean of W), parameters
        (NaN when the sizes are unknown), matching (the paper's label on MNIST, empty elsewhere), n
        (trials of all modes), baseline_mean, ablative_mean, ablation_effect (their difference),
        tolerance (effective sd of the baselines), instability (largest sd of a mode), best_mean,
        best_max, winner_by_mean, winner_by_max (tuples of modes), regime (empty when not judged),
        reason, probability (NaN for rules that give none).
    """
    rows = [
        _place(str(name), group, sizes, network) | _judged(verdicts.get(str(name)))
        for name, group in cells.groupby("architecture", sort=False)
    ]
    columns = [*_place("1*1", _NO_CELLS, None), "regime", "reason", "probability"]
    return pd.DataFrame(rows, columns=columns)


_NO_CELLS = pd.DataFrame({"mode": ["none"], "n": [0], "mean": [0.0], "sd": [0.0], "max": [0.0]})


def _place(
    name: str,
    cells: pd.DataFrame,
    sizes: tuple[int, int] | None,
    network: Network = Network.MLP,
) -> dict[str, object]:
    shape = Architecture.parse(name)
    groups = np.array([mode_group(mode) for mode in cells["mode"]])
    means, peaks = cells["mean"].to_numpy(), cells["max"].to_numpy()
    baseline, ablative = means[groups == BASELINE], means[groups == ABLATIVE]
    baseline_mean, ablative_mean = (
        float(values.mean()) if len(values) else math.nan for values in (baseline, ablative)
    )
    spread = float(baseline.std()) if len(baseline) else math.nan
    modes = [str(mode) for mode in cells["mode"]]
    is_papers = sizes == (MNIST_INPUTS, MNIST_CLASSES) and network is Network.MLP
    entry = _PAPER_PLACES.get(shape.name) if is_papers else None
    return {
        "architecture": name,
        "depth": shape.depth,
        "width": shape.mean_width,
        "parameters": math.nan if sizes is None else shape.parameter_count(*sizes, network),
        "matching": entry.label if entry is not None else "",
        "n": int(cells["n"].sum()),
        "baseline_mean": baseline_mean,
        "ablative_mean": ablative_mean,
        "ablation_effect": ablative_mean - baseline_mean,
        "tolerance": float(np.fmax(spread, TOLERANCE)),
        "instability": float(cells["sd"].max()),
        "best_mean": float(means.max()),
        "best_max": float(peaks.max()),
        "winner_by_mean": best_modes(modes, means),
        "winner_by_max": best_modes(modes, peaks),
    }


def _judged(verdict: RegimeVerdict | None) -> dict[str, object]:
    if verdict is None:
        return {"regime": "", "reason": "a mode of the rules is missing", "probability": math.nan}
    probability = math.nan if verdict.probability is None else verdict.probability
    return {"regime": str(verdict.regime), "reason": verdict.reason, "probability": probability}


def mode_group(mode: str) -> str:
    """``baseline``, ``psa`` and so on; ``other`` for a mode that is not registered."""
    name = mode.partition("(")[0]  # a preset may carry its options
    return get_mode(name).group if is_mode(name) else OTHER
