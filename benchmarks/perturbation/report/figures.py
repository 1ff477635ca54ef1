"""Figures of the experiments on perturbed equations, a function each, from a frame to a Figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from antifragile.report.looks import Look
from antifragile.report.style import add_footer, add_title, new_figure, tidy
from benchmarks.perturbation.measures.sensitivity import wilson_interval
from benchmarks.perturbation.records import BenchResult

_BLACK = Look(color="#000000", marker="o")
_RED = Look(color="#D55E00", marker="s", dash=(5, 1.5))
_BLUE = Look(color="#0072B2", marker="^")
_GREEN = Look(color="#009E73", marker="D", dash=(4, 1, 1, 1))
_ORANGE = Look(color="#E69F00", marker="v", dash=(1.5, 1))
_PINK = Look(color="#CC79A7", marker="P", dash=(6, 2, 1, 2))
_LOOKS = (_BLACK, _RED, _BLUE, _GREEN, _ORANGE, _PINK)
_INTERVAL = "95 % interval"


def bench_figure(result: BenchResult) -> Figure:
    """The figure of an experiment, by its name."""
    return _FIGURES[result.name](result)


def anti_pgd(result: BenchResult) -> Figure:
    """Test loss and trace of the Hessian over steps, a column per size of noise."""
    curves = result.curves
    sizes = sorted(size for size in curves["size"].unique() if size > 0)
    looks = _assign(curves["method"])
    figure = new_figure(7.2, 4.6)
    grid = figure.subplots(2, len(sizes), sharex=True, sharey="row", squeeze=False)
    for panels, size in zip(grid.T, sizes, strict=True):
        cells = curves[curves["size"].isin([0.0, size])]
        for axes, column in zip(panels, ("test_loss", "trace"), strict=True):
            _draw_medians(axes, cells, "step", column, looks)
            axes.set_yscale("log")
        panels[1].set_ylim(bottom=1)
        panels[0].set_title(f"s = {size:g}", loc="left", fontsize=9)
        panels[1].set_xlabel("step", fontsize=8.5)
        panels[1].tick_params(axis="x", labelrotation=30)
    grid[0, 0].set_ylabel("test loss", fontsize=8.5)
    grid[1, 0].set_ylabel("trace of the Hessian", fontsize=8.5)
    add_title(figure, "Regression with squared weights: correlated noise against plain noise")
    caption = (
        f"Clean weights; line: median over n = {curves['seed'].nunique()} seeds, band: their "
        "range; cut below a trace of 1. Noise is off for the last fifth of the steps."
    )
    add_footer(figure, caption, _lines(looks), columns=3)
    return figure


def octopus(result: BenchResult) -> Figure:
    """Iterations over L, a panel per dimension; each method at the best of its three values."""
    rows = result.rows.sort_values("median").groupby(["d", "L", "method"], sort=False).first()
    best, looks = rows.reset_index(), _assign(result.rows["method"])
    limit = float(result.grids["limit"])
    dimensions = sorted(best["d"].unique())
    figure = new_figure(7.2, 3.6)
    grid = figure.subplots(1, len(dimensions), sharey=True, squeeze=False)[0]
    for axes, d in zip(grid, dimensions, strict=True):
        tidy(axes)
        for method, look in looks.items():
            cells = best[(best["d"] == d) & (best["method"] == method)].sort_values("L")
            _draw_counts(axes, cells, look, limit)
        axes.axhline(limit, color="#767676", linewidth=0.8, linestyle=(0, (2, 2)))
        axes.set_yscale("log")
        axes.set_title(f"d = {d}", loc="left", fontsize=9)
        axes.set_xlabel("L, curvature across the tube", fontsize=8.5)
    grid[0].set_ylabel("iterations to 1 % of the minimum", fontsize=8.5)
    add_title(figure, "Octopus: a chain of d saddles")
    caption = (
        f"Median over n = {int(best['n'].max())} starts, bar: their range; each method at the best "
        f"of its three values. Open marker on the dashed line: over {limit:,.0f} for most starts."
    )
    add_footer(figure, caption, _lines(looks), columns=5)
    return figure


def deep_mnist(result: BenchResult) -> Figure:
    """Share of runs that learn and mean accuracy over eta, a column per initialisation."""
    rows = result.rows
    looks = _assign(rows["schedule"])
    names = list(dict.fromkeys(rows["initialisation"]))
    figure = new_figure(7.2, 4.6)
    grid = figure.subplots(2, len(names), sharex=True, sharey="row", squeeze=False)
    for panels, name in zip(grid.T, names, strict=True):
        cells = rows[rows["initialisation"] == name]
        for schedule, look in looks.items():
            _draw_shares(panels, cells[cells["schedule"] == schedule], look, rows["eta"])
        panels[0].set_title(f"{name} initialisation", loc="left", fontsize=9)
        panels[1].set_xlabel("eta, variance of the noise", fontsize=8.5)
    grid[0, 0].set_ylabel("runs that learn, %", fontsize=8.5)
    grid[1, 0].set_ylabel("mean accuracy, %", fontsize=8.5)
    add_title(figure, "20 x 50 ReLU on MNIST: which noise starts a dead network")
    caption = (
        f"n = {int(rows['n'].max())} seeds per point; {_INTERVAL} of the share by Wilson, points "
        f"moved apart sideways. A run learns: {result.grids['learned']} at the end."
    )
    add_footer(figure, caption, _lines(looks), columns=5)
    return figure


def posterior(result: BenchResult) -> Figure:
    """Error of covariance and mean over the step size."""
    rows = result.rows
    looks = _assign(rows["sampler"])
    figure = new_figure(7.2, 3.5)
    left, right = figure.subplots(1, 2)
    for axes, column in ((left, "covariance_error"), (right, "mean_error")):
        tidy(axes)
        for sampler, look in looks.items():
            cells = rows[rows["sampler"] == sampler].sort_values("step")
            _line(axes, cells["step"], cells[column], look)
        axes.axhline(0.05, color="#767676", linewidth=0.8, linestyle=(0, (2, 2)))
        axes.set(xscale="log", yscale="log", ylim=(1e-3, 3))
        axes.set_xlabel("step size, relative to the posterior's stiffness", fontsize=8.5)
    known = rows.dropna(subset=["predicted"]).drop_duplicates("step").sort_values("step")
    left.plot(known["step"], known["predicted"], color="#767676", linewidth=4, alpha=0.35)
    left.set_ylabel("relative error of the covariance", fontsize=8.5)
    right.set_ylabel("error of the mean, posterior sds", fontsize=8.5)
    add_title(figure, "Langevin samplers on a normal posterior")
    caption = (
        f"n = {int(rows['chains'].max())} chains per point, effective sample size at least "
        f"{rows['effective_samples'].min():,.0f}. Dashed: 0.05. Grey: the bias that theory gives "
        "SGLD with all data."
    )
    add_footer(figure, caption, _lines(looks), columns=3)
    return figure


def learning_rate(result: BenchResult) -> Figure:
    """Common sensitivity by method, a panel per task and optimizer."""
    rows = result.rows
    parts = list(dict.fromkeys(zip(rows["task"], rows["optimizer"], strict=True)))
    columns = min(3, len(parts))
    tall = max(int(rows.groupby(["task", "optimizer"]).size().max()), 3)
    depth = -(-len(parts) // columns)
    figure = new_figure(8.4, 1.1 + depth * (0.6 + 0.17 * tall))
    grid = figure.subplots(depth, columns, squeeze=False).flatten()
    for axes, (task, optimizer) in zip(grid, parts, strict=False):
        cells = rows[(rows["task"] == task) & (rows["optimizer"] == optimizer)]
        _draw_dots(axes, cells)
        axes.set_title(f"{task}, {optimizer}", loc="right", fontsize=8.5)
        axes.set_xlabel("loss above the best", fontsize=8)
    for axes in grid[len(parts) :]:
        axes.set_visible(False)
    add_title(figure, "Learning-rate sensitivity against the common best")
    caption = (
        "Loss at the end, mean over all learning rates, above the best loss that any method of the "
        f"panel reaches: mean over n = {int(rows['n'].max())} seeds, bar: {_INTERVAL} of the mean. "
        "Left is better; the grey line is none, controls are hollow."
    )
    add_footer(figure, caption)
    return figure


_CONTROLS = ("none", "weight decay", "dropout", "early stopping")


def _draw_dots(axes: Axes, cells: pd.DataFrame) -> None:
    tidy(axes)
    cells = cells.sort_values("common_sensitivity", ascending=False).reset_index(drop=True)
    for place, (_, row) in enumerate(cells.iterrows()):
        axes.plot([row["common_low"], row["common_high"]], [place, place], color="#3a3a3a", lw=0.9)
        hollow = row["method"] in _CONTROLS
        axes.plot(
            row["common_sensitivity"],
            place,
            marker="o",
            markersize=4.5,
            color="#0072B2",
            markerfacecolor="#ffffff" if hollow else "#0072B2",
        )
    none = cells[cells["method"] == "none"]["common_sensitivity"].item()
    axes.axvline(none, color="#bdbdbd", linewidth=1, zorder=0)
    axes.set_yticks(range(len(cells)), list(cells["method"]), fontsize=6.5)
    axes.tick_params(axis="x", labelsize=7)


def _draw_medians(
    axes: Axes, cells: pd.DataFrame, x: str, y: str, looks: Mapping[str, Look]
) -> None:
    tidy(axes)
    axes.tick_params(labelsize=7)
    for method, look in looks.items():
        grouped = cells[cells["method"] == method].groupby(x)[y]
        if not len(grouped):
            continue
        least, middle, most = grouped.min(), grouped.median(), grouped.max()
        steps = middle.index.to_numpy(dtype=float)
        axes.fill_between(steps, least, most, color=look.color, alpha=0.1, linewidth=0)
        axes.plot(steps, middle, color=look.color, linestyle=look.linestyle, linewidth=1.4)


def _draw_counts(axes: Axes, cells: pd.DataFrame, look: Look, limit: float) -> None:
    shown = cells["median"].clip(upper=limit)
    _line(axes, cells["L"], shown, look)
    axes.vlines(
        cells["L"],
        cells["fastest"],
        cells["slowest"].where(cells["arrived"] == cells["n"], limit),
        color=look.color,
        linewidth=0.8,
    )
    never = cells[np.isinf(cells["median"])]
    hollow = {"linestyle": "none", "markerfacecolor": "#ffffff", "markersize": 5, "zorder": 5}
    axes.plot(never["L"], [limit] * len(never), **_style(look) | hollow)


def _draw_shares(panels: Sequence[Axes], cells: pd.DataFrame, look: Look, etas: pd.Series) -> None:
    for axes in panels:
        tidy(axes)
        axes.set_xscale("log")
        axes.set_ylim(-4, 104)
    if cells.empty:
        return
    if (cells["eta"] == 0).all():  # none: the same at every scale
        low, high = float(etas[etas > 0].min()), float(etas.max())
        cells = pd.concat([cells.assign(eta=low), cells.assign(eta=high)])
        apart = 1.0
    else:
        apart = 1.06 ** (_LOOKS.index(look) - 2)
    ends = wilson_interval(cells["learned"], cells["n"])
    _line(panels[0], cells["eta"] * apart, 100 * cells["learned"] / cells["n"], look)
    panels[0].vlines(cells["eta"] * apart, *ends, color=look.color, linewidth=0.8)
    _line(panels[1], cells["eta"] * apart, cells["accuracy"], look)


def _line(axes: Axes, x: pd.Series, y: pd.Series, look: Look) -> None:
    axes.plot(x, y, **_style(look), linewidth=1.3)


def _style(look: Look) -> dict[str, Any]:
    return {
        "color": look.color,
        "linestyle": look.linestyle,
        "marker": look.marker,
        "markersize": 4.5,
    }


def _assign(names: pd.Series) -> dict[str, Look]:
    """A look for every name, in order of appearance."""
    return dict(zip(dict.fromkeys(map(str, names)), _LOOKS, strict=False))


def _lines(looks: Mapping[str, Look]) -> list[Line2D]:
    return [
        Line2D([], [], **_style(look), linewidth=1.4, label=name) for name, look in looks.items()
    ]


_FIGURES: Mapping[str, Callable[[BenchResult], Figure]] = {
    "anti-pgd": anti_pgd,
    "octopus": octopus,
    "deep-mnist": deep_mnist,
    "posterior": posterior,
    "learning-rate": learning_rate,
}
