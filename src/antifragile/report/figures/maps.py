"""The maps of the design space: from a survey to a figure.

Each function draws one figure of the paper; the caller saves it (`style.save_figure`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.figure import Figure

from antifragile.analysis.regimes.words import TOLERANCE, Regime
from antifragile.analysis.source import input_sizes
from antifragile.errors import UsageError
from antifragile.report.figures.canvas import draw_maps, paint_looks, paint_values
from antifragile.report.figures.names import FigureName
from antifragile.report.looks import NEUTRAL, TIE_LOOK, Look, mode_looks, regime_look
from antifragile.report.style import legend_dot
from antifragile.report.survey import MEASURE_WORDS, Survey, order_regimes

_MATCHING = {
    "Matched": (Look(color="#0072B2", marker="o"), "matched in parameters"),
    "Asymmetric": (Look(color="#E69F00", marker="^"), "asymmetric"),
    "": (Look(color=NEUTRAL, marker="s"), "not classed by the paper"),
}
_TIES = "tie"


def design_space(survey: Survey) -> Figure:
    """Every architecture by depth and width, coloured by its parameters. Source: figure 3."""
    sizes, places = input_sizes(survey.source), survey.landscape
    labels = _corners(places)
    if sizes is None or places.empty:
        paint = paint_looks([_MATCHING["Matched"][0]] * len(places))
    else:
        norm = LogNorm(places["parameters"].min(), places["parameters"].max() * 1.001)
        paint = paint_values(places["parameters"], norm=norm, cmap="cividis", label="parameters")
    paint = replace(paint, labels=labels)
    counted = f" for {sizes[0]} inputs and {sizes[1]} classes" if sizes else ""
    return draw_maps(
        survey,
        [paint],
        title=f"Design space: {len(places)} architectures",
        caption=f"{survey.source.name}. Each point is an architecture; parameters{counted}, grey "
        f"lines join equal counts; dashed: depth = width. {_n(survey)}.",
        contour_sizes=sizes,
    )


def parameter_matching(survey: Survey) -> Figure:
    """Architectures that match in parameters; area grows with them. Source: figure 2."""
    sizes, places = input_sizes(survey.source), survey.landscape
    looks = [_MATCHING[label][0] for label in places["matching"]]
    paint = replace(paint_looks(looks), areas=_areas(places["parameters"]))
    present = [label for label in _MATCHING if (places["matching"] == label).any()]
    return draw_maps(
        survey,
        [paint],
        title="Parameter matching across the design space",
        caption=f"{survey.source.name}. Area grows with the number of parameters; grey lines join "
        f"equal counts; the paper's word on matching holds for MNIST. {_n(survey)}.",
        legend=[legend_dot(*_MATCHING[label]) for label in present],
        contour_sizes=sizes,
    )


def regimes(survey: Survey) -> Figure:
    """The regime of every architecture. Source: figure 5."""
    labels = survey.landscape["regime"].replace("", "not judged")
    present = order_regimes(labels)
    entries = [legend_dot(regime_look(x), f"{x} ({(labels == x).sum()})") for x in present]
    return draw_maps(
        survey,
        [paint_looks([regime_look(label) for label in labels])],
        title="Training regimes across the design space",
        caption=f"{_about(survey)}. Rules: {survey.rules}. {_n(survey)}; {_intervals(survey)}.",
        legend=entries,
        legend_columns=3,
    )


def winning_strategy(survey: Survey) -> Figure:
    """The mode with the highest maximum, and the one with the highest mean. Source: figure 6."""
    looks = mode_looks(survey.modes) | {_TIES: TIE_LOOK}
    places = survey.landscape
    winners = {
        title: [modes[0] if len(modes) == 1 else _TIES for modes in places[column]]
        for title, column in (("by maximum", "winner_by_max"), ("by mean", "winner_by_mean"))
    }
    present = [m for m in looks if any(m in column for column in winners.values())]
    paints = [
        paint_looks([looks[mode] for mode in column], title=title)
        for title, column in winners.items()
    ]
    return draw_maps(
        survey,
        paints,
        title="Winning strategy across the design space",
        caption=f"{_about(survey)}: the mode with the highest single "
        f"trial (left) and with the highest mean (right); no test stands behind either, table V "
        f"lists the modes not beaten. {_n(survey)}; {_intervals(survey)}.",
        legend=[legend_dot(looks[mode], mode) for mode in present],
        legend_columns=7,
    )


def baseline_performance(survey: Survey) -> Figure:
    """Mean accuracy of the baseline modes. Source: figure 8.

    Raises:
        UsageError: There is no trial of a baseline mode.
    """
    values = survey.landscape["baseline_mean"]
    if len(values) and values.isna().all():
        raise UsageError(
            f"{survey.source.name} has no finished trial of a baseline mode (none, decay or "
            "dropout); there is nothing to draw."
        )
    low = float(np.nanmin([survey.source.zero_r, *values]))
    norm = Normalize(low, float(np.nanmax([low + 1, *values])))
    paint = paint_values(values, norm=norm, cmap="cividis", label="mean accuracy, percent")
    return draw_maps(
        survey,
        [paint],
        title="Baseline performance across the design space",
        caption=f"{_about(survey)}: mean of the baseline modes; ZeroR is "
        f"{survey.source.zero_r:.2f} %. {_n(survey)}; {_intervals(survey)}.",
    )


def ablation_effects(survey: Survey) -> Figure:
    """Mean of the ablative modes minus mean of the baselines. Source: figure 9."""
    places = survey.landscape
    effects = places["ablation_effect"]
    reach = float(np.nanmax([2 * TOLERANCE, *effects.abs()]))
    norm = SymLogNorm(linthresh=TOLERANCE, vmin=-reach, vmax=reach, base=10)
    paint = paint_values(
        effects,
        norm=norm,
        cmap="RdBu",
        label="ablative minus baseline, percentage points",
        markers=[_direction(e, t) for e, t in zip(effects, places["tolerance"], strict=True)],
    )
    entries = [
        legend_dot(Look(color="#2166ac", marker="^"), "beneficial"),
        legend_dot(Look(color="#f7f7f7", marker="o"), "within the tolerance"),
        legend_dot(Look(color="#b2182b", marker="v"), "harmful"),
    ]
    return draw_maps(
        survey,
        [replace(paint, scale_ticks=_ticks(reach))],
        title="Ablation effects across the design space",
        caption=f"{_about(survey)}. Tolerance: sd of the baselines' "
        f"means, at least {TOLERANCE:g} points; colours are linear within {TOLERANCE:g}, "
        f"logarithmic beyond. {_n(survey)}; {_intervals(survey)}.",
        legend=entries,
    )


def instability(survey: Survey) -> Figure:
    """The largest standard deviation of any mode. Source: figure 7."""
    places = survey.landscape
    failed = places["regime"] == Regime.FAILURE
    values = places["instability"]
    norm = Normalize(0, np.nanmax([1, *values]))
    paint = paint_values(
        values,
        norm=norm,
        cmap="YlOrRd",
        label="largest sd of a mode, percentage points",
        markers=["X" if dead else "o" for dead in failed],
    )
    colors = ["#1a1a1a" if dead else c for dead, c in zip(failed, paint.colors, strict=True)]
    entries = [legend_dot(regime_look(Regime.FAILURE), "architectural failure")]
    return draw_maps(
        survey,
        [replace(paint, colors=colors)],
        title="Instability across the design space",
        caption=f"{_about(survey)}: population sd over trials, the "
        f"largest of {len(survey.modes)} modes. {_n(survey)}; no interval.",
        legend=entries if failed.any() else [],
    )


def _corners(places: pd.DataFrame) -> list[str]:
    """The widest, the deepest and the largest square architecture, each once."""
    if places.empty:
        return []
    chosen = [places.nlargest(1, "width"), places.nlargest(1, "depth")]
    chosen.append(places[places["depth"] == places["width"].round(9)].nlargest(1, "depth"))
    return list(dict.fromkeys(pd.concat(chosen)["architecture"]))


def _areas(parameters: pd.Series) -> Sequence[float]:
    if parameters.isna().any() or parameters.empty:
        return ()
    decades = np.log10(parameters / parameters.min())
    return list(18.0 + 60.0 * decades)


def _ticks(reach: float) -> list[float]:
    """Plain numbers for a symmetric logarithmic scale."""
    ticks = [tick for tick in (0.5, 2.0, 5.0, 10.0, 20.0, 50.0) if tick <= reach]
    return [*(-tick for tick in reversed(ticks)), 0.0, *ticks]


def _direction(effect: float, tolerance: float) -> str:
    if effect > tolerance:
        return "^"
    return "v" if effect < -tolerance else "o"


def _about(survey: Survey) -> str:
    return f"{survey.source.name}, {MEASURE_WORDS[survey.measure]}"


def _n(survey: Survey) -> str:
    return f"n = {survey.n_label} trials per cell"


def _intervals(survey: Survey) -> str:
    """A clause on the intervals of the means."""
    half = ((survey.cells["high"] - survey.cells["low"]) / 2).dropna()
    if half.empty:
        return "no interval, it needs two trials per cell"
    return (
        f"95 % intervals of the cell means reach ±{half.median():.2f} points in the median, "
        f"±{half.max():.1f} at most"
    )


FIGURES = {
    FigureName.DESIGN_SPACE: design_space,
    FigureName.PARAMETER_MATCHING: parameter_matching,
    FigureName.REGIMES: regimes,
    FigureName.WINNING_STRATEGY: winning_strategy,
    FigureName.BASELINE_PERFORMANCE: baseline_performance,
    FigureName.ABLATION_EFFECTS: ablation_effects,
    FigureName.INSTABILITY: instability,
}
