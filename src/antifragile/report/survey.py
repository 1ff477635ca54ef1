"""What every table, figure and page starts from: cells, regimes and the landscape of a source.

`survey` reads a `Source` once and hands on frozen results; the tables, the maps and the page only
arrange them. Which rules name the regimes is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from antifragile.analysis.inference.effects import cells_with_intervals
from antifragile.analysis.regimes.classification import classify_source
from antifragile.analysis.regimes.words import REGIMES, TOLERANCE, Rules, Verdict
from antifragile.analysis.source import Source
from antifragile.analysis.summary import Measure, measured
from antifragile.config.architecture import MNIST_CLASSES, MNIST_INPUTS, Architecture
from antifragile.config.landscape import PAPER_LANDSCAPE
from antifragile.config.modes import get_mode, mode_names
from antifragile.errors import ArchitectureError, UsageError

MEASURE_WORDS: Mapping[Measure, str] = {
    Measure.PEAK: "peak validation accuracy",
    Measure.FINAL: "final validation accuracy",
    Measure.TEST: "test accuracy",
}
INTERVAL = 0.95  # coverage of every interval shown
BASELINE, ABLATIVE, OTHER = "baseline", "psa", "other"
_INPUTS_AND_CLASSES = {
    "mnist": (784, 10),
    "fashion-mnist": (784, 10),
    "digits": (64, 10),
    "tiny": (16, 4),
}
_EQUAL = 1e-9  # percentages computed from counts differ in the last bit
_LANDSCAPE = {entry.architecture.name: entry for entry in PAPER_LANDSCAPE}


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
    """A source, read.

    Args:
        source: Where the numbers come from.
        measure: Which accuracy of a trial is summarised.
        cells: One row per architecture and mode: n, mean, sd (population), sample_sd, min, max,
            low and high (interval of the mean, NaN below two trials).
        rules: Which rules gave the verdicts.
        verdicts: A regime with its reason, per architecture that the rules can judge.
        landscape: One row per architecture, as `landscape_frame` describes it.
    """

    source: Source
    measure: Measure
    cells: pd.DataFrame
    rules: Rules
    verdicts: Mapping[str, Verdict]
    landscape: pd.DataFrame

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that occur: registered ones in their order, then others."""
        return order_modes(self.cells["mode"])

    @property
    def n_label(self) -> str:
        """Trials per cell, as in ``"10"`` or ``"3 to 5"``; ``"0"`` without any."""
        return range_label(self.cells["n"])


def survey(
    source: Source,
    measure: Measure = Measure.PEAK,
    *,
    rules: Rules = Rules.PAPER,
) -> Survey:
    """Summarise a source, judge its architectures and place them on the landscape.

    Args:
        source: Trials, possibly none.
        measure: Which accuracy.
        rules: Which rules name the regimes.

    Raises:
        DataError: The source does not have this measure.
        ArchitectureError: It names something that is no architecture.
    """
    trials = measured(source.trials, measure).dropna(subset=[measure.column])
    cells = cells_with_intervals(trials, measure, confidence=INTERVAL)
    verdicts = classify_source(source, rules=rules, measure=measure) if len(cells) else {}
    return Survey(
        source=source,
        measure=measure,
        cells=cells,
        rules=rules,
        verdicts=verdicts,
        landscape=landscape_frame(cells, verdicts, sizes=input_sizes(source)),
    )


def available_measures(source: Source) -> tuple[Measure, ...]:
    """The measures that a source has numbers for; all of them when it has no trial yet."""
    if source.trials.empty:
        return tuple(Measure)
    return tuple(m for m in Measure if m.column in source.trials.columns)


def landscape_frame(
    cells: pd.DataFrame,
    verdicts: Mapping[str, Verdict],
    *,
    sizes: tuple[int, int] | None,
) -> pd.DataFrame:
    """Place every architecture on the landscape.

    Args:
        cells: As `Survey.cells`.
        verdicts: Regimes by architecture.
        sizes: Inputs and classes of the data set, None when unknown.

    Returns:
        Columns architecture, depth, width (geometric mean over hidden layers), parameters (NaN
        when the sizes are unknown), matching (the paper's label on MNIST, empty elsewhere), n
        (trials of all modes), baseline_mean, ablative_mean, ablation_effect (their difference),
        tolerance (effective sd of the baselines), instability (largest sd of a mode), best_mean,
        best_max, winner_by_mean, winner_by_max (tuples of modes), regime (empty when not judged),
        reason, probability (NaN for rules that give none).
    """
    rows = [
        _place(str(name), group.set_index("mode"), sizes) | _judged(verdicts.get(str(name)))
        for name, group in cells.groupby("architecture", sort=False)
    ]
    columns = [*_place("1*1", _NO_CELLS, None), "regime", "reason", "probability"]
    return pd.DataFrame(rows, columns=columns)


_NO_CELLS = pd.DataFrame({"n": [0], "mean": [0.0], "sd": [0.0], "max": [0.0]}, index=["none"])


def _place(name: str, cells: pd.DataFrame, sizes: tuple[int, int] | None) -> dict[str, Any]:
    shape = Architecture.parse(name)
    means = cells["mean"]
    baseline = means[[mode_group(mode) == BASELINE for mode in cells.index]]
    ablative = means[[mode_group(mode) == ABLATIVE for mode in cells.index]]
    baseline_mean, ablative_mean = _mean(baseline), _mean(ablative)
    entry = _LANDSCAPE.get(shape.name) if sizes == (MNIST_INPUTS, MNIST_CLASSES) else None
    return {
        "architecture": name,
        "depth": shape.depth,
        "width": math.exp(sum(map(math.log, shape.hidden_widths)) / shape.depth),
        "parameters": math.nan if sizes is None else shape.parameter_count(*sizes),
        "matching": entry.label if entry is not None else "",
        "n": int(cells["n"].sum()),
        "baseline_mean": baseline_mean,
        "ablative_mean": ablative_mean,
        "ablation_effect": ablative_mean - baseline_mean,
        "tolerance": max(float(np.std(baseline)) if len(baseline) else 0.0, TOLERANCE),
        "instability": float(cells["sd"].max()),
        "best_mean": float(means.max()),
        "best_max": float(cells["max"].max()),
        "winner_by_mean": best_modes(means),
        "winner_by_max": best_modes(cells["max"]),
    }


def _judged(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        return {"regime": "", "reason": "a mode of the rules is missing", "probability": math.nan}
    probability = math.nan if verdict.probability is None else verdict.probability
    return {
        "regime": str(verdict.regime),
        "reason": verdict.reason,
        "probability": probability,
    }


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows as tuples with names; their types are the frame's business."""
    return iter(frame.itertuples(index=False))


def best_modes(values: pd.Series) -> tuple[str, ...]:
    """The mode with the highest value, or all that share it."""
    return tuple(str(mode) for mode in values.index[values >= values.max() - _EQUAL])


def mode_group(mode: str) -> str:
    """``baseline``, ``psa`` and so on; ``other`` for a mode that is not registered."""
    name = mode.partition("(")[0]  # a preset may carry its options
    return get_mode(name).group if name in mode_names() else OTHER


def order_modes(modes: pd.Series) -> tuple[str, ...]:
    """Each mode once: registered ones in their order, then others as they come."""
    found = [str(mode) for mode in modes.unique()]
    known = [mode for mode in mode_names() if mode in found]
    return tuple(known + [mode for mode in found if mode not in known])


def order_regimes(labels: pd.Series) -> list[str]:
    """Each label once: the paper's four in its order, then others."""
    found = set(labels) - {""}
    known = [str(regime) for regime in REGIMES if str(regime) in found]
    return known + sorted(found - set(known))


def range_label(counts: pd.Series) -> str:
    """``"10"`` when all are equal, else ``"3 to 10"``; ``"0"`` when there is none."""
    if counts.empty:
        return "0"
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def input_sizes(source: Source) -> tuple[int, int] | None:
    """Inputs and classes of the data set; a CSV is taken to be about MNIST, as the paper is."""
    dataset = source.origin.get("spec", {}).get("dataset", "mnist")
    return _INPUTS_AND_CLASSES.get(dataset)


def choose_architectures(present: Sequence[str], targets: Sequence[str]) -> list[str]:
    """The named architectures, in canonical spelling.

    Args:
        present: Architectures of the source.
        targets: What the user asked for.

    Raises:
        UsageError: One of them is not in the source.
        ArchitectureError: One of them is no architecture.
    """
    canonical = {}
    for name in present:
        canonical[Architecture.parse(name).name] = name
    chosen = []
    for target in targets:
        name = Architecture.parse(target).name
        if name not in canonical:
            shown = ", ".join(present[:12]) + (", ..." if len(present) > 12 else "")
            raise UsageError(
                f"no finished trial of {name} here; choose by --targets among {shown or 'none'}."
            )
        chosen.append(canonical[name])
    return chosen


def parse_targets(text: str) -> list[str]:
    """Split ``"1*2048,[2*128, 4*64]"`` at the commas outside brackets.

    Raises:
        ArchitectureError: Nothing is named.
    """
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    names = [part.strip() for part in [*parts, text[start:]] if part.strip()]
    if not names:
        raise ArchitectureError("--targets names no architecture; write it as in 1*2048,18*18.")
    return names


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if len(values) else math.nan
