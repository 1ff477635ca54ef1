"""The figure of an ablation study: every contribution with its interval, one column a protocol."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from antifragile.ablate.designs.base import CONTRIBUTION
from antifragile.ablate.study.results import AblationResults, ProtocolResult
from antifragile.analysis.inference.paired import PairedVerdict
from antifragile.errors import UsageError
from antifragile.report.ablation.tables import arm_kind, verdict_words
from antifragile.report.looks import QUIET, Look
from antifragile.report.style import add_footer, add_title, legend_dot, new_figure, tidy

VERDICT_LOOKS = {
    PairedVerdict.POSITIVE: Look(color="#009E73", marker="o"),
    PairedVerdict.NEGATIVE: Look(color="#D55E00", marker="s"),
    PairedVerdict.EQUIVALENT: Look(color="#0072B2", marker="D"),
    PairedVerdict.IDENTICAL: Look(color="#000000", marker="|"),
    PairedVerdict.OPEN: Look(color="#bdbdbd", marker="o"),
}
_ROW_INCHES = 0.23
_LETTERS = 46
_LABEL_WIDTH = 0.1  # of a tick, in widths of a panel
_SPREAD = 6  # times the median: the largest contribution from which an axis is stretched


def contributions_figure(results: AblationResults) -> Figure:
    """Draw the contributions, largest first by the first protocol.

    Raises:
        UsageError: There is none yet.
    """
    tables = [result.judged.of(CONTRIBUTION) for result in results.protocols]
    if not len(tables[0]):
        raise UsageError("no pair of runs has finished, so there is nothing to draw yet.")
    first = tables[0].sort_values("difference", kind="stable").index
    asked = [target for table in tables[1:] for target in table.index]
    asked += [target for r in results.protocols for _, target in r.without_number]
    below = [name for name in dict.fromkeys(asked) if name in results.arms and name not in first]
    order = [*below, *first]  # from the bottom up; rows below have no mark in the first panel
    figure = new_figure(4.4 + 3.0 * len(tables), 1.9 + _ROW_INCHES * len(order))
    panels = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
    for axes, result, table in zip(panels, results.protocols, tables, strict=True):
        _draw(axes, results, result, table.reindex(order))
    linear = linear_range(tables)
    if linear is not None:
        for axes in panels:
            _stretch(axes, linear)
    panels[0].set_yticks(range(len(order)), [_label(results, str(name)) for name in order])
    panels[0].set_ylim(-0.7, len(order) - 0.3)
    add_title(figure, f"{results.manifest.name}: what each component was worth")
    add_footer(figure, _caption(results, linear), _entries(tables), columns=5)
    return figure


def linear_range(tables: Sequence[pd.DataFrame]) -> float | None:
    """Half-width of the linear part of an axis that is logarithmic beyond; None for a linear axis.

    A few components that everything rests on would otherwise leave no room for the others.
    """
    sizes = np.concatenate([table["difference"].abs().to_numpy() for table in tables])
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not len(sizes):
        return None
    typical = float(np.median(sizes))
    power = 10 ** np.floor(np.log10(typical))
    linear = float(power * next(step for step in (1, 2, 5, 10) if step * power >= typical))
    return linear if sizes.max() > _SPREAD * typical else None


def _stretch(axes: Axes, linear: float) -> None:
    low, high = (float(end) for end in axes.dataLim.intervalx)
    low, high = low * (1.3 if low < -linear else 1) - 0.2 * linear, high * 1.3 + 0.2 * linear
    axes.set_xscale("symlog", linthresh=linear, linscale=1.2)
    axes.set_xlim(low, high)
    ticks = _apart(axes, [t for t in _candidates(linear) if low <= t <= high])
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _candidates(linear: float) -> list[float]:
    """Round places for ticks of a stretched axis, the more useful ones first."""
    decades = [linear * 10**k for k in range(7)]
    between = [decade * step for decade in decades for step in (0.5, 2, 5)]
    return [0.0, *(sign * size for size in (*decades, *between) for sign in (1, -1))]


def _apart(axes: Axes, ticks: Sequence[float]) -> list[float]:
    """Those ticks, in order, whose labels do not touch those of ticks before them."""
    to_axes = axes.transScale + axes.transLimits
    kept: dict[float, float] = {}  # place on the axis, 0 to 1
    for tick in ticks:
        place = float(to_axes.transform((tick, 0.0))[0])
        if all(abs(place - other) >= _LABEL_WIDTH for other in kept.values()):
            kept[tick] = place
    return sorted(kept)


def _draw(
    axes: Axes, results: AblationResults, result: ProtocolResult, table: pd.DataFrame
) -> None:
    tidy(axes)
    axes.axvline(0, color=QUIET, linewidth=0.9)
    margin = result.judged.judgement.margin
    if margin is not None:
        axes.axvspan(-margin, margin, color="#e8eef5", zorder=0, linewidth=0)
    for place, (_, row) in enumerate(table.iterrows()):
        if np.isnan(row["difference"]):
            continue
        look = VERDICT_LOOKS[PairedVerdict(row["verdict"])]
        if np.isinf(row["difference"]):
            _draw_infinite(axes, place, is_above=row["difference"] > 0, color=look.color)
            continue
        axes.plot([row["low"], row["high"]], [place, place], color="#5a5a5a", linewidth=1.1)
        axes.plot(
            row["difference"],
            place,
            marker=look.marker,
            color=look.color,
            markeredgecolor="#3a3a3a",
            markeredgewidth=1.8 if look.marker == "|" else 0.6,
            markersize=9 if look.marker == "|" else 6,
        )
    axes.set_title(result.protocol, fontsize=9, loc="left")
    axes.set_xlabel(f"contribution to {results.manifest.metric}", fontsize=8)
    axes.tick_params(axis="y", labelsize=7.5, length=0)


def _draw_infinite(axes: Axes, place: int, *, is_above: bool, color: str) -> None:
    """Draw an arrow at the edge, for a component that decides whether training diverges."""
    axes.plot(
        0.985 if is_above else 0.015,
        place,
        marker=">" if is_above else "<",
        color=color,
        markeredgecolor="#3a3a3a",
        markeredgewidth=0.6,
        markersize=7,
        transform=axes.get_yaxis_transform(),
        clip_on=False,
    )


def _label(results: AblationResults, name: str) -> str:
    arm = results.arms.get(name)
    words = name if arm is None else f"{arm.component}  {arm_kind(arm)}"
    return words if len(words) <= _LETTERS else f"{words[: _LETTERS - 3]}..."


def _entries(tables: Sequence[pd.DataFrame]) -> list[Line2D]:
    seen = {PairedVerdict(v) for table in tables for v in table["verdict"]}
    return [
        legend_dot(look, verdict_words(CONTRIBUTION, verdict))
        for verdict, look in VERDICT_LOOKS.items()
        if verdict in seen
    ]


def _caption(results: AblationResults, linear: float | None) -> str:
    judged = results.protocols[0].judged
    n = int(judged.table["n"].max())
    has_infinite = bool(np.isinf(judged.table["difference"]).any())
    arrow = " Arrow: training diverged on one side." if has_infinite else ""
    margin = judged.judgement.margin
    scale = f" Axis: linear to {linear:g}, logarithmic beyond." if linear is not None else ""
    band = f" Blue band: margin of equivalence, {margin:g}." if margin else ""
    return (
        f"Mean over {n} paired seeds of the baseline minus the ablated run, with the "
        f"{100 * (1 - judged.judgement.alpha / judged.judgement.looks):g} % t interval of each row "
        "alone; above zero the component helps. Verdicts by exact sign-flip tests, Holm over the "
        f"rows of a panel.{band}{scale}{arrow}"
    )
