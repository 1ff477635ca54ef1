"""Curves over meta-loops: convergence by regime, and how long trials keep improving.

Source: PSA paper, section III.E and figure 10.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from antifragile.analysis.convergence import (
    TRIAL_KEY,
    curves,
    mean_and_best_curves,
    still_improving,
)
from antifragile.analysis.landscape import ABLATIVE, BASELINE, mode_group
from antifragile.errors import UsageError
from antifragile.report.figures.names import FigureName
from antifragile.report.looks import QUIET, Look, mode_looks
from antifragile.report.style import add_footer, add_title, legend_line, new_figure, tidy
from antifragile.report.survey import INTERVAL, Survey, order_modes, order_regimes, range_label
from antifragile.report.targets import choose_architectures

_DOTS = (0, (2, 2))
_LEAST_HEIGHT = 4.0  # percentage points of a panel
_NOT_JUDGED = "not judged"
_COLUMNS = {BASELINE: "baseline modes", ABLATIVE: "ablative modes"}
_MORE_COLUMNS = {"perturbation": "perturbed updates"}
_SHOWCASE = ("1*2048", "1*128", "18*18", "21*21")  # the paper's examples, one per regime


def finished_curves(survey: Survey) -> pd.DataFrame:
    """The curves of finished trials.

    Raises:
        UsageError: The source has none, as a CSV of trials.
    """
    records = survey.source.meta_loops
    if records is None or records.empty:
        raise UsageError(
            f"{survey.source.name} has no meta-loop records; give a store, or --convergence FILE "
            "with the columns architecture, mode, meta_loop, validation_accuracy."
        )
    return curves(records.merge(survey.source.trials[TRIAL_KEY], on=TRIAL_KEY))


def convergence(
    survey: Survey, records: pd.DataFrame | None = None, targets: Sequence[str] = ()
) -> Figure:
    """Validation accuracy by meta-loop: a row per architecture, a column per group of modes.

    Args:
        survey: The survey whose regimes order the rows.
        records: Curves from elsewhere; the survey's own finished trials by default.
        targets: Architectures; one per regime by default.

    Raises:
        UsageError: No records, or none of an architecture asked for.
    """
    drawn = finished_curves(survey) if records is None else records
    present = [str(name) for name in drawn["architecture"].unique()]
    chosen = choose_architectures(present, targets) if targets else showcase(survey, present)
    if not chosen:
        raise UsageError(f"{survey.source.name} has no finished trial yet; nothing to draw.")
    frame = mean_and_best_curves(drawn[drawn["architecture"].isin(chosen)], confidence=INTERVAL)
    modes = order_modes(frame["mode"])
    looks = mode_looks(modes)
    groups = _mode_groups(modes)
    figure = new_figure(7.2, 1.75 + 1.75 * len(chosen))
    grid = figure.subplots(len(chosen), len(groups), sharex=True, sharey="row", squeeze=False)
    for row, name in zip(grid, chosen, strict=True):
        of_architecture = frame[frame["architecture"] == name]
        low, high = _frame_limits(of_architecture)
        for panel, shown in zip(row, groups.values(), strict=True):
            _draw_cells(panel, of_architecture, {mode: looks[mode] for mode in shown})
            panel.set_ylim(low, high)
            if low < survey.source.zero_r < high:
                panel.axhline(survey.source.zero_r, color=QUIET, linewidth=0.8, linestyle=_DOTS)
        row[0].set_title(_row_title(survey, name), loc="left", fontsize=9)
    for panel, words in zip(grid[-1], groups, strict=True):
        gap = "\n" if len(groups) > 3 else " "  # four headings do not fit beside each other
        panel.set_xlabel(f"meta-loop{gap}({words})", fontsize=8.5)
    figure.supylabel("validation accuracy, percent", fontsize=9)
    add_title(figure, "Convergence by regime")
    add_footer(
        figure, _convergence_caption(survey, frame), [legend_line(looks[m], m) for m in modes]
    )
    return figure


def _mode_groups(modes: Sequence[str]) -> dict[str, list[str]]:
    """Modes by the heading of their column; the paper's two columns are always there."""
    columns: dict[str, list[str]] = {words: [] for words in _COLUMNS.values()}
    headings = _COLUMNS | _MORE_COLUMNS
    for mode in modes:
        columns.setdefault(headings.get(mode_group(mode), "other modes"), []).append(mode)
    return columns


def _draw_cells(axes: Axes, frame: pd.DataFrame, looks: dict[str, Look]) -> None:
    tidy(axes)
    for mode, look in looks.items():
        cell = frame[frame["mode"] == mode].sort_values("meta_loop")
        x = cell["meta_loop"]
        if cell["n"].max() > 1:
            axes.fill_between(
                x, cell["low"], cell["high"], color=look.color, alpha=0.18, linewidth=0
            )
            axes.plot(x, cell["best"], color=look.color, linewidth=0.6, alpha=0.75)
        axes.plot(x, cell["mean"], color=look.color, linestyle=look.linestyle, linewidth=1.5)


def _frame_limits(frame: pd.DataFrame) -> tuple[float, float]:
    """All lines and bands with a margin, at least a few points high."""
    values = frame[["mean", "low", "high", "best"]]
    low, high = float(values.min().min()), float(values.max().max())
    margin = max(0.06 * (high - low), (_LEAST_HEIGHT - (high - low)) / 2)
    return low - margin, high + margin


def _row_title(survey: Survey, name: str) -> str:
    places = survey.landscape
    found = places.loc[places["architecture"] == name, "regime"]
    regime = found.iloc[0] if len(found) else ""
    return f"{name}   {regime or _NOT_JUDGED}"


def _convergence_caption(survey: Survey, frame: pd.DataFrame) -> str:
    n = range_label(frame["n"])
    zero_r = f"Dotted, where in the frame: ZeroR, {survey.source.zero_r:.2f} %."
    trials = (
        ", one trial per cell (n = 1, the best one where several were run; no interval)"
        if n == "1"
        else f": mean over n = {n} trials (thick), 95 % t interval of the mean (band), best trial "
        "(thin)"
    )
    return f"{survey.source.name}. Validation accuracy of each candidate{trials}. {zero_r}"


def showcase(survey: Survey, present: Sequence[str]) -> list[str]:
    """One architecture per regime, the paper's examples where they occur, else the middle one."""
    places = survey.landscape[survey.landscape["architecture"].isin(present)]
    labels = places["regime"]
    chosen: list[str] = []
    for regime in order_regimes(labels):
        names = list(places.loc[labels == regime].sort_values("width")["architecture"])
        examples = [name for name in _SHOWCASE if name in names]
        chosen += examples[:1] or names[len(names) // 2 : len(names) // 2 + 1]
    return chosen or list(present[:1])


def late_breakthroughs(survey: Survey, records: pd.DataFrame | None = None) -> Figure:
    """Share of trials whose bounty still rises, by meta-loop, mode and regime.

    Args:
        survey: The survey whose regimes group the architectures.
        records: Curves from elsewhere; the survey's own finished trials by default.

    Raises:
        UsageError: No records, or trials of a single meta-loop.
    """
    drawn = finished_curves(survey) if records is None else records
    labels = survey.landscape.set_index("architecture")["regime"].replace("", _NOT_JUDGED)
    drawn = drawn.assign(regime=drawn["architecture"].map(labels).fillna(_NOT_JUDGED))
    shares = still_improving(drawn, by=("regime", "mode"), confidence=INTERVAL)
    if shares.empty:
        raise UsageError(
            f"{survey.source.name} has no finished trial of two meta-loops; nothing to draw."
        )
    groups = order_regimes(shares["regime"])
    modes = order_modes(shares["mode"])
    looks = mode_looks(modes)
    n_rows = (len(groups) + 1) // 2
    figure = new_figure(7.2, 1.6 + 2.1 * n_rows)
    grid = figure.subplots(n_rows, 2, sharex=True, sharey=True, squeeze=False)
    for panel, label in zip(grid.flat, groups, strict=False):
        _draw_shares(panel, shares[shares["regime"] == label], looks)
        n = drawn.loc[drawn["regime"] == label, "architecture"].nunique()
        panel.set_title(f"{label}: {n} architecture{'s' * (n > 1)}", loc="left", fontsize=9)
    for panel in list(grid.flat)[len(groups) :]:
        panel.set_visible(False)
    figure.supylabel("trials that still improve, percent", fontsize=9)
    add_title(figure, "Late breakthroughs")
    add_footer(figure, _late_caption(survey, shares), [legend_line(looks[m], m) for m in modes])
    return figure


def _draw_shares(axes: Axes, shares: pd.DataFrame, looks: dict[str, Look]) -> None:
    tidy(axes)
    last = int(shares["meta_loop"].max())
    for place, (mode, look) in enumerate(looks.items()):
        line = shares[shares["mode"] == mode].sort_values("meta_loop")
        if line.empty:
            continue
        x, share = line["meta_loop"], 100 * line["share"]
        axes.plot(x, share, color=look.color, linestyle=look.linestyle, linewidth=1.5)
        at = line[x <= max(int(last * (0.7 + 0.025 * place)), 2)].iloc[-1]
        axes.vlines(
            at["meta_loop"], 100 * at["low"], 100 * at["high"], color=look.color, linewidth=1.2
        )
    axes.set_ylim(-3, 103)
    axes.set_xlabel("meta-loop", fontsize=8.5)
    axes.tick_params(labelbottom=True)


def _late_caption(survey: Survey, shares: pd.DataFrame) -> str:
    return (
        f"{survey.source.name}. Share of trials that improve at this meta-loop or later, of "
        f"{shares['meta_loop'].max()}; n = {range_label(shares['trials'])} trials per line; "
        "uprights: 95 % Wilson intervals, beside one another to be told apart. Trials at chance "
        "improve late by luck alone."
    )


FIGURES = {
    FigureName.CONVERGENCE: convergence,
    FigureName.LATE_BREAKTHROUGHS: late_breakthroughs,
}
