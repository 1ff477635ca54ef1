"""Table and figure of docs/robustness.md: fault tolerance of networks trained under ablation.

antifragile study run studies/robustness.toml --store rob.db
python -m benchmarks.claims.robustness rob.db --out docs/robustness.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from antifragile._files import write_atomically
from antifragile.analysis.robustness import robustness_differences
from antifragile.analysis.source import open_source
from antifragile.report.figures.names import FigureName
from antifragile.report.figures.registry import draw_figure
from antifragile.report.style import save_figure
from antifragile.report.survey import survey

LEVELS = {
    "hidden-neurons": (0.02, 0.1, 0.2),
    "weight-noise": (0.1, 0.5, 1.0),
    "input-noise": (0.5, 1.0, 2.0),
}
"""Mild, medium and strong damage of each kind for the table; the figure shows all levels."""


def at_levels(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the table's levels."""
    chosen = [
        level in LEVELS[damage] for damage, level in zip(frame.damage, frame.level, strict=True)
    ]
    return frame[chosen]


def words_of_levels() -> str:
    """``"hidden-neurons 0.02, 0.1, 0.2; ..."``."""
    return "; ".join(f"{d} {', '.join(f'{x:g}' for x in levels)}" for d, levels in LEVELS.items())


def rows(frame: pd.DataFrame) -> Iterator[str]:
    """A Markdown line per architecture, kind and mode."""
    keys = ["architecture", "damage", "mode"]
    for (architecture, damage, mode), cells in frame.groupby(keys, sort=False):
        shown = " | ".join(cell(row) for row in cells.sort_values("level").itertuples())
        yield f"| {architecture} | {damage} | {mode} | {cells['n'].max()} | {shown} |"


def cell(row: Any) -> str:
    """A difference with its interval, bold where that leaves out 0."""
    text = f"{row.mean:+.2f}"
    if row.low > 0 or row.high < 0:
        text = f"**{text}**"
    return f"{text} ({row.low:+.2f} to {row.high:+.2f})"


def verdicts(frame: pd.DataFrame) -> Iterator[str]:
    """A Markdown line per mode: in how many cells it is more tolerant, in how many less."""
    for mode, cells in frame.groupby("mode", sort=False):
        more, less = int((cells["low"] > 0).sum()), int((cells["high"] < 0).sum())
        yield f"| {mode} | {len(cells)} | {more} | {less} | {len(cells) - more - less} |"


def main() -> None:
    """Write the document and, beside it, the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    source = open_source(options.store)
    assert source.robustness is not None
    names = list(dict.fromkeys(source.robustness["architecture"]))
    picture = options.out.with_suffix(".png")
    save_figure(draw_figure(FigureName.ROBUSTNESS, survey(source), targets=names), picture)

    n_tests = len(at_levels(robustness_differences(source.robustness)))
    confidence = 1 - 0.05 / n_tests
    chosen = at_levels(robustness_differences(source.robustness, confidence=confidence))
    trials = int(chosen["n"].max())
    reach = stats.t.ppf(0.5 + confidence / 2, trials - 1)
    spec = source.origin["spec"]
    text = f"""# Robustness

Does training under ablation make networks more fault-tolerant? The paper's title says robust and
its text does not measure it. Here the last known good network of every trial is tested after losing
hidden neurons, under weight noise and under input noise (`studies/robustness.toml`: MNIST,
{trials} trials, {spec["meta_loops"]} meta-loops, paired; one architecture of each regime).

![Test accuracy under damage]({picture.name})

Differences from `none` in points of test accuracy, trial by trial under the same damage, at three
levels of each kind. Intervals hold together at 95 % over the {n_tests} of the table (Bonferroni:
{reach:.1f} standard errors each). A difference here includes any that the undamaged networks had.

| mode | differences | more tolerant than `none` | less tolerant | not told apart |
|---|---|---|---|---|
{chr(10).join(verdicts(chosen))}

Mild, medium, strong: {words_of_levels()}
(share removed; sd of the layer's weight RMS; sd of the image sd). Bold: the interval leaves out 0.

| architecture | damage | mode | n | mild | medium | strong |
|---|---|---|---|---|---|---|
""" + "\n".join(rows(chosen))
    write_atomically(options.out, f"{text}\n".encode())


if __name__ == "__main__":
    main()
