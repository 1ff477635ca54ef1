"""Figures of damage: trained networks under three kinds of it, and the harm of each ablation."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from antifragile.analysis.harm import harm_by_size
from antifragile.analysis.robustness import robustness_curves
from antifragile.errors import UsageError
from antifragile.report.figures.curves import showcase
from antifragile.report.figures.names import FigureName
from antifragile.report.looks import EDGE, QUIET, Look, mode_looks
from antifragile.report.style import (
    add_footer,
    add_title,
    legend_dot,
    legend_line,
    log_two_axis,
    new_figure,
    tidy,
)
from antifragile.report.survey import Survey, order_modes, range_label
from antifragile.report.targets import choose_architectures

_AXES = {
    "hidden-neurons": "share of hidden neurons removed",
    "weight-noise": "weight noise, sd / layer RMS",
    "input-noise": "input noise, sd / image sd",
}

_LINEAR_BELOW = 0.1  # percentage points


def robustness(survey: Survey, targets: Sequence[str] = ()) -> Figure:
    """Mean test accuracy of damaged networks with its interval over trials.

    Args:
        survey: A survey of a study with ``[evaluate] robustness = true``.
        targets: Architectures; one per regime by default.

    Raises:
        UsageError: The study did not measure robustness, or not of an architecture asked for.
    """
    rows = survey.source.robustness
    if rows is None or rows.empty:
        raise UsageError(
            f"{survey.source.name} has no robustness records; run a study with "
            "[evaluate] robustness = true."
        )
    present = [str(name) for name in rows["architecture"].unique()]
    chosen = choose_architectures(present, targets) if targets else showcase(survey, present)
    frame = robustness_curves(rows[rows["architecture"].isin(chosen)])
    frame[["low", "high"]] = frame[["low", "high"]].clip(0, 100)
    modes = order_modes(frame["mode"])
    looks = mode_looks(modes)
    figure = new_figure(7.2, 1.9 + 1.75 * len(chosen))
    grid = figure.subplots(len(chosen), len(_AXES), sharex="col", sharey="row", squeeze=False)
    for panels, name in zip(grid, chosen, strict=True):
        for panel, damage in zip(panels, _AXES, strict=True):
            cells = frame[(frame["architecture"] == name) & (frame["damage"] == damage)]
            _draw(panel, cells, looks)
        panels[0].set_title(name, loc="left", fontsize=9)
    for panel, words in zip(grid[-1], _AXES.values(), strict=True):
        panel.set_xlabel(words, fontsize=8.5)
    figure.supylabel("test accuracy, percent", fontsize=9)
    add_title(figure, "Robustness")
    add_footer(figure, _caption(survey, frame), [legend_line(looks[m], m) for m in modes])
    return figure


def _draw(axes: Axes, cells: pd.DataFrame, looks: dict[str, Look]) -> None:
    tidy(axes)
    for mode, look in looks.items():
        line = cells[cells["mode"] == mode].sort_values("level")
        axes.fill_between(
            line["level"], line["low"], line["high"], color=look.color, alpha=0.12, linewidth=0
        )
        axes.plot(
            line["level"], line["mean"], color=look.color, linestyle=look.linestyle, linewidth=1.5
        )


def _caption(survey: Survey, frame: pd.DataFrame) -> str:
    return (
        f"{survey.source.name}. Test accuracy of the last known good network under damage: mean "
        f"over n = {range_label(frame['n'])} trials (each the mean of several draws), band: 95 % t "
        "interval. All modes of a trial lose the same neurons and get the same noise."
    )


def harm(survey: Survey) -> Figure:
    """Loss right after an ablation and loss left after the epoch, against size, by mode.

    Args:
        survey: A survey of a study with ``[evaluate] harm = true``.

    Raises:
        UsageError: The study did not measure it.
    """
    cells = harm_by_size(survey.source, survey.landscape)
    if cells.empty:
        raise UsageError(f"{survey.source.name} has no finished trial yet; nothing to draw.")
    modes = order_modes(cells["mode"])
    figure = new_figure(7.2, 3.9)
    panels = figure.subplots(1, len(modes), sharex=True, sharey=True, squeeze=False)[0]
    for panel, mode in zip(panels, modes, strict=True):
        _draw_harm(panel, cells[cells["mode"] == mode])
        panel.set_title(mode, loc="left", fontsize=9)
        panel.set_xlabel("parameters", fontsize=8.5)
    low, high = cells["parameters"].min(), cells["parameters"].max()
    log_two_axis(panels[0], low=low / 1.6, high=high * 1.6, which="x")
    panels[0].set_ylabel("percentage points of validation accuracy", fontsize=8.5)
    add_title(figure, "Harm of one ablation")
    add_footer(figure, _harm_caption(survey, cells), [legend_dot(*item) for item in _HARM_LOOKS])
    return figure


_HARM_LOOKS = (
    (Look(color="#D55E00", marker="v"), "at once: LKG - ablated clone"),
    (Look(color="#ffffff", marker="o"), "after the epoch: LKG - trained clone"),
)


def _draw_harm(axes: Axes, cells: pd.DataFrame) -> None:
    tidy(axes)
    axes.set_yscale("symlog", linthresh=_LINEAR_BELOW, linscale=0.6)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.axhline(0, color=QUIET, linewidth=0.8)
    x = cells["parameters"].to_numpy(dtype=float)
    for part, (look, _) in zip(("drop", "left"), _HARM_LOOKS, strict=True):
        low, high = cells[f"{part}_low"], cells[f"{part}_high"]
        axes.vlines(x, low, high, color=EDGE, linewidth=0.9)
        axes.plot(
            *(x, cells[part]),
            linestyle="none",
            marker=look.marker,
            markersize=5,
            markerfacecolor=look.color,
            markeredgecolor=EDGE,
            markeredgewidth=0.6,
        )


def _harm_caption(survey: Survey, cells: pd.DataFrame) -> str:
    return (
        f"{survey.source.name}. Validation accuracy lost to one ablation, a mark per architecture: "
        f"mean over the ablations of n = {range_label(cells['n'])} trials, uprights: 95 % t "
        f"interval over trials. Below zero: a gain. The scale is linear from -{_LINEAR_BELOW:g} "
        f"to {_LINEAR_BELOW:g} and logarithmic beyond."
    )


FIGURES = {
    FigureName.ROBUSTNESS: robustness,
    FigureName.HARM: harm,
}
