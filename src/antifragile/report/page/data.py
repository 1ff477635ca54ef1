"""Data for the page's script: places, layers of colour, trials and curves, as plain values.

A *layer* is one way to colour the map: a number or a name per architecture. Curves travel as one
base64 block of 16-bit steps, which keeps 588,000 records below two megabytes.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from antifragile.analysis.convergence import TRIAL_KEY
from antifragile.analysis.landscape import mode_group
from antifragile.analysis.summary import Measure
from antifragile.config.architecture import Architecture
from antifragile.report.looks import TIE_LOOK, Look, mode_looks, regime_look
from antifragile.report.survey import MEASURE_WORDS, Survey, order_modes, order_regimes, rows_of

CURVE_STEPS = 600  # per percentage point: 100 % is 60,000, and counts of up to 60,000 survive
MAX_CURVE_POINTS = 1_500_000
_STOPS = 17
_NOT_JUDGED = "not judged"
_CELL = ("n", "mean", "sd", "min", "max", "low", "high")

Plain = dict[str, Any]


def page_data(
    surveys: Mapping[Measure, Survey],
    *,
    curves: pd.DataFrame | None,
    other: Survey | None = None,
    comparison: pd.DataFrame | None = None,
) -> Plain:
    """Everything the script needs; numbers that do not exist are None.

    Args:
        surveys: Surveys by measure, at least one.
        curves: Records to show for each architecture, None without any.
        other: A second study to set beside the first.
        comparison: The result of `compare_studies`, of the first measure.
    """
    first = next(iter(surveys.values()))
    looks = _page_modes(surveys.values(), other, curves)
    modes = list(looks)
    architectures = list(first.landscape["architecture"])
    compared: Plain = {}
    if other is not None:
        trials = _trials(other, architectures, modes)
        compared = {"name": other.source.name, "trials": trials}
    return {
        "name": first.source.name,
        "zeroR": first.source.zero_r,
        "modes": [_look(mode, look) | {"group": mode_group(mode)} for mode, look in looks.items()],
        "architectures": [_place(row) for row in rows_of(first.landscape)],
        "scales": {name: _stops(name) for name in ("cividis", "RdBu", "YlOrRd")},
        "views": [
            {
                "measure": str(measure),
                "label": MEASURE_WORDS[measure],
                "layers": _layers(survey, modes) + _difference_layers(survey, comparison),
                "reasons": list(survey.landscape["reason"]),
                "cells": _cells(survey, architectures, modes),
                "trials": _trials(survey, architectures, modes),
            }
            for measure, survey in surveys.items()
        ],
        "curves": None if curves is None else encode_curves(curves, architectures, modes),
        "other": compared,
    }


def _page_modes(
    surveys: Iterable[Survey], other: Survey | None, curves: pd.DataFrame | None
) -> dict[str, Look]:
    """Every mode that occurs anywhere, in order, with its look."""
    others = [None if other is None else other.cells, curves]
    frames = [*(survey.cells for survey in surveys), *(f for f in others if f is not None)]
    return mode_looks(order_modes(pd.concat([frame["mode"] for frame in frames])))


def _look(name: str, look: Look) -> Plain:
    return {
        "name": name,
        "color": look.color,
        "marker": look.marker,
        "dash": " ".join(f"{part * 1.6:g}" for part in look.dash),
    }


def _place(row: Any) -> Plain:
    blocks = Architecture.parse(row.architecture).blocks
    return {
        "name": row.architecture,
        "depth": row.depth,
        "width": row.width,
        "square": len(blocks) == 1 and blocks[0][0] == blocks[0][1],
        "parameters": finite(row.parameters),
    }


def _layers(survey: Survey, modes: Sequence[str]) -> list[Plain]:
    places = survey.landscape
    regimes = places["regime"].replace("", _NOT_JUDGED)
    looks = {label: regime_look(label) for label in order_regimes(regimes)}
    winners = mode_looks(modes) | {"tie": TIE_LOOK}
    layers = [_names("regime", "Regime", regimes, looks)]
    for column, label in (("winner_by_mean", "mean"), ("winner_by_max", "maximum")):
        names = [won[0] if len(won) == 1 else "tie" for won in places[column]]
        layers.append(_names(column, f"Winning mode by {label}", names, winners))
    points = "percentage points"
    layers += [
        _numbers("baseline_mean", "Baseline mean", "%", places["baseline_mean"]),
        _numbers("ablation_effect", "Ablation effect", points, places["ablation_effect"], "signed"),
        _numbers("instability", "Instability (largest sd)", points, places["instability"], "heat"),
        _numbers("best_mean", "Best mean", "%", places["best_mean"]),
        _numbers("best_max", "Best single trial", "%", places["best_max"]),
        _numbers("parameters", "Parameters", "", places["parameters"], "log"),
    ]
    means = survey.cells.pivot_table(index="architecture", columns="mode", values="mean")
    for mode in survey.modes:
        values = places["architecture"].map(means[mode])
        layers.append(_numbers(f"mean-{mode}", f"Mean of {mode}", "%", values))
    return [layer for layer in layers if any(value is not None for value in layer["values"])]


def _difference_layers(survey: Survey, comparison: pd.DataFrame | None) -> list[Plain]:
    if comparison is None or survey.measure is not Measure.PEAK:
        return []
    values = comparison.pivot_table(index="architecture", columns="mode", values="difference")
    return [
        _numbers(
            f"difference-{mode}",
            f"Difference in {mode}",
            "percentage points",
            survey.landscape["architecture"].map(values[mode]),
            "signed",
        )
        for mode in order_modes(comparison["mode"])
    ]


def _numbers(key: str, label: str, unit: str, values: pd.Series, kind: str = "plain") -> Plain:
    numbers = [finite(value) for value in values]
    return {"key": key, "label": label, "unit": unit, "kind": kind, "values": numbers}


def _names(key: str, label: str, values: Iterable[str], looks: Mapping[str, Look]) -> Plain:
    names = list(values)
    return {
        "key": key,
        "label": label,
        "kind": "names",
        "values": names,
        "looks": [_look(name, look) for name, look in looks.items() if name in names],
    }


def _cells(survey: Survey, architectures: Sequence[str], modes: Sequence[str]) -> list[Any]:
    cells = survey.cells.set_index(["architecture", "mode"])[list(_CELL)]
    found = {row[0]: [finite(value) for value in row[1:]] for row in cells.itertuples(name=None)}
    return [[found.get((name, mode)) for mode in modes] for name in architectures]


def _trials(survey: Survey, architectures: Sequence[str], modes: Sequence[str]) -> list[Any]:
    """[architecture][mode] -> [[trial, accuracy], ...]."""
    grouped: dict[tuple[str, str], list[Any]] = {}
    if len(survey.cells):
        trials = survey.source.trials[[*TRIAL_KEY, survey.measure.column]].dropna()
        for architecture, mode, trial, accuracy in trials.itertuples(index=False, name=None):
            grouped.setdefault((architecture, mode), []).append([trial, round(accuracy, 4)])
    return [[grouped.get((name, mode), []) for mode in modes] for name in architectures]


def encode_curves(
    curves: pd.DataFrame, architectures: Sequence[str], modes: Sequence[str]
) -> Plain:
    """Validation accuracies of every trial, one after the other, thinned if there are too many.

    Returns:
        ``steps`` per percentage point, ``stride`` between kept meta-loops, ``index`` of
        [architecture, mode, trial, points, last meta-loop], and ``values`` (base64 of
        little-endian 16-bit numbers).
    """
    is_placed = curves["architecture"].isin(architectures)
    kept = curves if is_placed.all() else curves[is_placed]
    loops, codes = kept["meta_loop"].to_numpy(), [pd.factorize(kept[key])[0] for key in TRIAL_KEY]
    is_first = np.ones(len(kept), dtype=bool)
    is_first[1:] = np.any([code[1:] != code[:-1] for code in codes], axis=0)
    stride = max(1, math.ceil(len(kept) / MAX_CURVE_POINTS))
    is_shown = ((loops - 1) % stride == 0) | np.append(is_first[1:], True)  # every end
    starts = np.flatnonzero(is_first)
    lengths = np.add.reduceat(is_shown, starts, dtype=int) if len(starts) else starts
    ends = loops[np.append(starts[1:], len(loops)) - 1] if len(starts) else starts
    names = kept[TRIAL_KEY].iloc[starts].itertuples(index=False, name=None)
    index = [
        [architectures.index(architecture), modes.index(mode), int(trial), *numbers]
        for (architecture, mode, trial), *numbers in zip(
            names, lengths.tolist(), ends.tolist(), strict=True
        )
    ]
    accuracies = kept["validation_accuracy"].to_numpy(dtype=float)[is_shown]
    steps = (accuracies * CURVE_STEPS).round()
    block = np.nan_to_num(steps).clip(0, 65_535).astype("<u2").tobytes()
    return {
        "steps": CURVE_STEPS,
        "stride": stride,
        "index": index,
        "values": base64.b64encode(block).decode(),
    }


def finite(value: Any) -> Any:
    """A plain number rounded to six digits after the point; None instead of NaN and infinity."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else round(float(value), 6)


def _stops(name: str) -> list[str]:
    scale = matplotlib.colormaps[name]
    return [to_hex(scale(place)) for place in np.linspace(0, 1, _STOPS)]
