"""Robustness: test accuracy under three kinds of damage, by mode, a row per architecture."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from antifragile.analysis import robustness_curves
from antifragile.errors import UsageError
from antifragile.report.curves import showcase
from antifragile.report.style import (
    Look,
    add_footer,
    add_title,
    legend_line,
    mode_looks,
    new_figure,
    tidy,
)
from antifragile.report.survey import Survey, choose_architectures, order_modes, range_label

_AXES = {
    "hidden-neurons": "share of hidden neurons removed",
    "weight-noise": "weight noise, sd / layer RMS",
    "input-noise": "input noise, sd / image sd",
}


def robustness(survey: Survey, targets: Sequence[str] = ()) -> Figure:
    """Mean test accuracy of damaged networks with its interval over trials.

    Args:
        survey: Of a study with ``[evaluate] robustness = true``.
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
