"""Are networks trained under ablation more fault-tolerant? The study's table and figure.

antifragile study run studies/robustness.toml --store rob.db
python benchmarks/robustness.py rob.db --out docs/robustness.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from scipy import stats

from antifragile._files import write_atomically
from antifragile.analysis import open_source, robustness_differences
from antifragile.report.figures import FigureName, draw_figure
from antifragile.report.style import save_figure
from antifragile.report.survey import survey

LEVELS = {"hidden-neurons": 0.1, "weight-noise": 0.5, "input-noise": 1.0}
"""One level of each kind for the table; the figure shows all."""


def rows(frame: pd.DataFrame) -> Iterator[str]:
    """A Markdown line per architecture, mode and kind."""
    for row in frame.itertuples():
        excludes_zero = row.low > 0 or row.high < 0
        yield (
            f"| {row.architecture} | {row.mode} | {row.damage} {row.level:g} | {row.n} "
            f"| {row.mean:+.2f} | {row.low:+.2f} to {row.high:+.2f} "
            f"| {'**yes**' if excludes_zero else 'no'} |"
        )


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

    found = robustness_differences(source.robustness)
    n_tests = len(found.groupby(["architecture", "mode", "damage"]))
    confidence = 1 - 0.05 / n_tests
    corrected = robustness_differences(source.robustness, confidence=confidence)
    chosen = corrected[corrected["level"] == corrected["damage"].map(LEVELS)]
    trials = int(found["n"].max())
    reach = stats.t.ppf(0.5 + confidence / 2, trials - 1)
    spec = source.origin["spec"]
    text = f"""# Robustness

Does training under ablation make networks more fault-tolerant? The paper's title says robust and
its text does not measure it. Here the last known good network of every trial is tested after losing
hidden neurons, under weight noise and under input noise (`studies/robustness.toml`: MNIST,
{trials} trials, {spec["meta_loops"]} meta-loops, paired; one architecture of each regime).

![Test accuracy under damage]({picture.name})

Differences from `none` in points of test accuracy, trial by trial under the same damage, at one
level of each kind. Intervals hold together at 95 % over the {n_tests} of the table (Bonferroni:
{reach:.1f} standard errors each). A difference here includes any that the undamaged networks had.

| architecture | mode | damage | n | difference | interval | leaves out 0 |
|---|---|---|---|---|---|---|
""" + "\n".join(rows(chosen))
    write_atomically(options.out, f"{text}\n".encode())


if __name__ == "__main__":
    main()
