"""The canvas of every map: depth against width on logarithmic axes, and the squares in a strip.

On logarithmic axes neighbouring squares (30*30, 31*31) all but coincide, so the diagonal is drawn
a second time beside the map, evenly spaced and labelled.

Source: PSA paper, figures 2, 3, 5 to 9.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from antifragile.config.architecture import matched_width
from antifragile.errors import ArchitectureError, UsageError
from antifragile.report.looks import EDGE, QUIET, Look
from antifragile.report.style import add_footer, add_title, log_two_axis, new_figure, tidy
from antifragile.report.survey import Survey

POINT_AREA = 36.0  # square points
_STRIP_AREA = 30.0
_LEAST_SQUARES = 3  # fewer need no strip
_CLEARANCE = 0.16  # of the axes, around the label of a contour
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Colours, markers and labels of the points of one panel.

    Args:
        title: Heading above the panel.
        colors: One per architecture.
        markers: One per architecture.
        areas: One per architecture, square points.
        scale: Colours by number, for a colour bar.
        scale_label: Text beside the colour bar.
        scale_ticks: Numbers on it; empty for matplotlib's choice.
        labels: Architectures to name on the map.
    """

    title: str = ""
    colors: Sequence[object]
    markers: Sequence[str]
    areas: Sequence[float] = ()
    scale: ScalarMappable | None = None
    scale_label: str = ""
    scale_ticks: Sequence[float] = ()
    labels: Sequence[str] = ()


def paint_looks(looks: Sequence[Look], *, title: str = "") -> Paint:
    """Give every architecture its look."""
    return Paint(
        title=title, colors=[look.color for look in looks], markers=[look.marker for look in looks]
    )


def paint_values(
    values: pd.Series, *, norm: Normalize, cmap: str, label: str, markers: Sequence[str] = ()
) -> Paint:
    """Colour every architecture by a number."""
    scale = ScalarMappable(norm=norm, cmap=cmap)
    colors = [scale.to_rgba(value) for value in values.to_numpy(dtype=float)]
    return Paint(
        colors=colors,
        markers=markers or ["o"] * len(values),
        scale=scale,
        scale_label=label,
    )


def draw_maps(
    survey: Survey,
    paints: Sequence[Paint],
    *,
    title: str,
    caption: str,
    legend: Sequence[Line2D] = (),
    legend_columns: int = 3,
    contour_sizes: tuple[int, int] | None = None,
) -> Figure:
    """Draw one panel per paint, then the strip of squares, legend and caption.

    Args:
        survey: The survey whose landscape gives the places.
        paints: One panel each.
        title: Title of the figure.
        caption: Text below the panels; states n and interval.
        legend: Entries below the panels.
        legend_columns: Number of entries side by side.
        contour_sizes: Inputs and classes, to draw lines of equal parameter count; None for none.

    Raises:
        UsageError: The survey has no finished trial.
    """
    places = survey.landscape
    if places.empty:
        raise UsageError(
            f"{survey.source.name} has no finished trial yet; there is nothing to draw."
        )
    squares = places[(places["depth"] == places["width"].round(9))]
    has_strip = len(squares) >= _LEAST_SQUARES
    ratios = [1.0] * len(paints) + [0.06 + 0.05 * len(paints)] * has_strip
    figure = new_figure(2.0 + 5.2 * len(paints), 5.6)
    axes = figure.subplots(1, len(ratios), width_ratios=ratios, squeeze=False)[0]
    for panel, paint in zip(axes, paints, strict=False):
        _draw_map(panel, places, paint)
        if contour_sizes is not None:
            _draw_contours(panel, places, contour_sizes)
        if paint.scale is not None:
            _draw_color_bar(figure, panel, paint, paint.scale)
    axes[0].set_ylabel("width (neurons per layer)", fontsize=9)
    if has_strip:
        _draw_strip(axes[-1], squares.sort_values("depth"), paints)
    add_title(figure, title)
    add_footer(figure, caption, legend, columns=legend_columns)
    return figure


def _draw_map(axes: Axes, places: pd.DataFrame, paint: Paint) -> None:
    tidy(axes)
    low = 2.0**-0.6
    log_two_axis(axes, low=low, high=max(float(places["depth"].max()), 2) * 1.6, which="x")
    log_two_axis(axes, low=low, high=max(float(places["width"].max()), 2) * 1.6, which="y")
    axes.set_xlabel("depth (hidden layers)", fontsize=9)
    if paint.title:
        axes.set_title(paint.title, fontsize=9, loc="left")
    end = min(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, end], [low, end], color=QUIET, linestyle=(0, (4, 3)), linewidth=0.8, zorder=1)
    areas = paint.areas or [POINT_AREA] * len(places)
    _scatter(axes, places["depth"].to_numpy(), places["width"].to_numpy(), paint, areas)
    for name in paint.labels:
        _label(axes, places[places["architecture"] == name].iloc[0])


def _draw_color_bar(figure: Figure, panel: Axes, paint: Paint, scale: ScalarMappable) -> None:
    bar = figure.colorbar(scale, ax=panel, fraction=0.05, pad=0.02)
    bar.set_label(paint.scale_label, fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    if paint.scale_ticks:
        bar.set_ticks(list(paint.scale_ticks), labels=[f"{t:g}" for t in paint.scale_ticks])
        bar.minorticks_off()


def _scatter(
    axes: Axes, x: np.ndarray, y: np.ndarray, paint: Paint, areas: Sequence[float]
) -> None:
    """Points, one call per marker, the large ones first."""
    order = np.argsort(-np.asarray(areas), kind="stable")
    for marker in dict.fromkeys(paint.markers):
        chosen = [i for i in order if paint.markers[i] == marker]
        axes.scatter(
            x[chosen],
            y[chosen],
            s=[areas[i] for i in chosen],
            c=[paint.colors[i] for i in chosen],
            marker=marker,
            edgecolors=EDGE,
            linewidths=0.35,
            zorder=3,
        )


def _label(axes: Axes, place: pd.Series) -> None:
    """Name a point, towards the middle of the map."""
    to_left = np.log(place["depth"]) > np.log(axes.get_xlim()[1]) / 2
    axes.annotate(
        str(place["architecture"]),
        (place["depth"], place["width"]),
        xytext=(-7 if to_left else 7, 7),
        textcoords="offset points",
        ha="right" if to_left else "left",
        fontsize=8,
    )


def _draw_contours(axes: Axes, places: pd.DataFrame, sizes: tuple[int, int]) -> None:
    """Lines of 10^k parameters, each named once where no point is near."""
    high = axes.get_xlim()[1]
    depths = np.unique(np.geomspace(1, max(int(high), 1), 60).round().astype(int))
    counts = np.log10(places["parameters"])
    for power in range(math.floor(counts.min()), math.floor(counts.max()) + 1):
        line = [(d, w) for d in depths if (w := _width(10**power, int(d), sizes)) is not None]
        inside = [(d, w) for d, w in line if 0.5 < w < axes.get_ylim()[1] * 4]
        if len(inside) < 2:
            continue
        x, y = zip(*inside, strict=True)
        axes.plot(x, y, color="#b0b0b0", linewidth=0.8, zorder=1.5)
        if place := _free_place(axes, inside, places):
            raised = str(power).translate(_RAISED)
            _name_contour(axes, inside[place - 1 : place + 1], f"10{raised} parameters")


def _name_contour(axes: Axes, piece: Sequence[tuple[int, float]], text: str) -> None:
    """Write along a line, above it."""
    (x0, y0), (x1, y1) = piece
    axes.text(
        x1,
        y1,
        text,
        rotation=float(np.degrees(np.arctan2(y1 - y0, x1 - x0))),
        rotation_mode="anchor",
        transform_rotates_text=True,
        ha="center",
        va="bottom",
        fontsize=7.5,
        color="#6a6a6a",
    )


def _width(parameters: int, depth: int, sizes: tuple[int, int]) -> float | None:
    try:
        return matched_width(parameters, depth, *sizes)
    except ArchitectureError:
        return None


def _free_place(axes: Axes, line: Sequence[tuple[int, float]], places: pd.DataFrame) -> int | None:
    """The place on a line whose nearest point is farthest, if points and frame leave room."""
    to_axes = axes.transData + axes.transAxes.inverted()
    points = to_axes.transform(places[["depth", "width"]].to_numpy(dtype=float))
    best, found = _CLEARANCE, None
    for place, point in enumerate(line):
        x, y = to_axes.transform(point)
        if place == 0 or not (0.2 < x < 0.8 and 0.1 < y < 0.9):
            continue
        gap = np.abs(points - (x, y)) * (1, 2.2)  # a label is wide and low
        distance = float(np.hypot(*gap.T).min())
        if distance > best:
            best, found = distance, place
    return found


def _draw_strip(axes: Axes, squares: pd.DataFrame, paints: Sequence[Paint]) -> None:
    rows = np.arange(len(squares))
    chosen = squares.index.to_numpy()
    for column, paint in enumerate(paints):
        part = Paint(
            colors=[paint.colors[i] for i in chosen], markers=[paint.markers[i] for i in chosen]
        )
        _scatter(axes, np.full(len(rows), column), rows, part, [_STRIP_AREA] * len(rows))
    axes.set_title("squares", fontsize=8.5)
    axes.set_xlim(-0.35, len(paints) - 0.35)
    axes.set_ylim(-0.8, len(rows) - 0.2)
    axes.set_yticks(rows, list(squares["architecture"]), fontsize=min(8.0, 250 / len(rows)))
    names = [paint.title.removeprefix("by ") for paint in paints] if len(paints) > 1 else [""]
    axes.set_xticks(range(len(paints)), names, fontsize=7, rotation=90)
    axes.tick_params(length=0, pad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
