"""The style of figures: titles, captions, legends and axes, and writing a figure to a file.

No global state of matplotlib is touched: figures are built from `matplotlib.figure.Figure`.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from antifragile._files import write_output
from antifragile._shown import visible
from antifragile.errors import UsageError
from antifragile.report.looks import EDGE, GRID, QUIET, Look

_CAPTION_LETTERS_PER_INCH = 15.5  # at 8 points
_CAPTION_SIZE = 8.0
_LEGEND_ROW_INCHES = 0.19
_LEGEND_LETTERS_PER_INCH = 15.5  # at 8 points
_LEGEND_HANDLE_LETTERS = 7  # the line or dot, and the gap to the next column
_DPI = 160
_POWER = re.compile(r"\$\\mathdefault\{[-\u2212]?(\d+(\\times)?)?(10\^\{[-\u2212]?\d+\})?\}\$")


def new_figure(width: float, height: float) -> Figure:
    """A figure in inches whose parts make room for one another."""
    return Figure(figsize=(width, height), layout="constrained", dpi=_DPI)


def add_title(figure: Figure, title: str) -> None:
    """A title at the left, over all panels."""
    figure.suptitle(wrap(figure, title, 12.5), x=0.01, ha="left", fontsize=11, fontweight="bold")


def add_footer(
    figure: Figure, caption: str, entries: Sequence[Line2D] = (), *, columns: int = 6
) -> None:
    """A legend and, below it, a caption; the panels keep clear of both.

    Args:
        figure: A figure whose panels are there already.
        caption: Wrapped to the figure's width.
        entries: Entries of the legend, which has room of its own and covers nothing.
        columns: Columns of the legend, fewer where its labels are long.
    """
    inches = figure.get_figheight()
    text = wrap(figure, caption, _CAPTION_LETTERS_PER_INCH)
    used = (1.32 * _CAPTION_SIZE * (text.count("\n") + 1) + 7) / 72
    figure.text(0.01, 4 / 72 / inches, text, fontsize=_CAPTION_SIZE, color="#404040")
    if entries:
        columns = _columns_that_fit(figure, [str(entry.get_label()) for entry in entries], columns)
        figure.legend(
            handles=list(entries),
            loc="lower left",
            bbox_to_anchor=(0.004, used / inches),
            ncols=columns,
            frameon=False,
            fontsize=8,
            handletextpad=0.5,
            columnspacing=1.4,
            borderaxespad=0,
        )
        used += 0.1 + _LEGEND_ROW_INCHES * math.ceil(len(entries) / columns)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, used / inches, 1, 1 - used / inches))


def _columns_that_fit(figure: Figure, labels: Sequence[str], most: int) -> int:
    """The largest number of legend columns, each as wide as its longest label, that fit."""
    room = figure.get_figwidth() * _LEGEND_LETTERS_PER_INCH
    for columns in range(most, 1, -1):
        parts = np.array_split(labels, min(columns, len(labels)))  # as matplotlib fills them
        widths = [max(map(len, part)) for part in parts]
        if sum(width + _LEGEND_HANDLE_LETTERS for width in widths) <= room:
            return columns
    return 1


def wrap(figure: Figure, text: str, letters_per_inch: float) -> str:
    """Break a text into lines that fit the figure."""
    return textwrap.fill(text, int(figure.get_figwidth() * letters_per_inch))


def tidy(axes: Axes) -> None:
    """Thin frame, quiet grid behind the data."""
    axes.set_axisbelow(True)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.tick_params(labelsize=8, color=QUIET)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(QUIET)


def log_two_axis(axes: Axes, *, low: float, high: float, which: str) -> None:
    """Powers of two (of four on a long axis) on a logarithmic axis, as plain numbers."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log", base=2)
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    axis.set_major_locator(LogLocator(base=4 if high / low > 2**8 else 2))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend_dot(look: Look, label: str) -> Line2D:
    """A legend entry: one marker."""
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=look.marker,
        markersize=7,
        markerfacecolor=look.color,
        markeredgecolor=EDGE,
        markeredgewidth=0.5,
        label=label,
    )


def legend_line(look: Look, label: str) -> Line2D:
    """A legend entry: one line."""
    return Line2D([], [], color=look.color, linestyle=look.linestyle, linewidth=1.8, label=label)


def encode_figure(figure: Figure, format_: str) -> bytes:
    """The bytes of a PNG or SVG, the same for the same figure.

    Raises:
        UsageError: Another format.
    """
    if format_ not in ("png", "svg"):
        raise UsageError(f"figures are written as .png or .svg; got {format_ or 'no'!r} ending.")
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(visible(text.get_text()))  # an SVG holds no control characters
        # Dollar signs of names are no mathematics; those of numbers along an axis, which matplotlib
        # writes only when it draws, are.
        if text.get_text() and not _POWER.fullmatch(text.get_text()):
            text.set_parse_math(False)
    content = io.BytesIO()
    metadata = {"Date": None} if format_ == "svg" else {"Software": None}
    with rc_context({"svg.hashsalt": "antifragile", "svg.fonttype": "path"}):
        figure.savefig(content, format=format_, metadata=metadata, dpi=_DPI)
    return content.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; the ending of the path says how.

    Raises:
        UsageError: Neither ``.png`` nor ``.svg``.
        WorldError: The place cannot be written.
    """
    write_output(path, encode_figure(figure, path.suffix.lower().removeprefix(".")))
