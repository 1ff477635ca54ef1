"""Section of docs/beyond.md: residual networks, the author's withdrawn run and the clean one.

    antifragile study run studies/beyond/author.toml --store beyond.db
    antifragile study run studies/beyond/clean.toml  --store beyond.db
    python -m benchmarks.beyond.author beyond.db author_resmlp_trials.csv paper_trials.csv

Ours against the author's: cell by cell and pooled as in `benchmarks.trust.reproduction`, and the
standardised differences of all cells together, with an equivalence test against 0.3 sd. Its power,
and that of a cell, by simulation of normal trials that do not differ.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind
from statsmodels.stats.weightstats import DescrStatsW

from antifragile.analysis.frames import read_trials_csv
from antifragile.analysis.regimes.complete import classify_complete, learned_above
from antifragile.analysis.source import open_source
from antifragile.analysis.summary import summarise
from antifragile.config.modes import PAPER_MODES
from benchmarks.claims.evidence import ABLATIVES, BASELINES, rate
from benchmarks.section import write_section
from benchmarks.trust.reproduction import (
    MEASURE,
    ZERO_R,
    Cell,
    describe,
    markdown,
    read_cells,
)

MARGIN = 0.3  # sd
N_SIMULATED = 2000


def read_author(path: Path) -> pd.DataFrame:
    """His trials, with our column's name."""
    return pd.read_csv(path).rename(columns={"accuracy": MEASURE})


def standardised(cells: list[Cell]) -> np.ndarray:
    """Difference of means over the pooled sd, of every cell that has a spread."""
    found = []
    for cell in cells:
        n, m = len(cell.ours), len(cell.paper)
        squares = (n - 1) * cell.ours.var(ddof=1) + (m - 1) * cell.paper.var(ddof=1)
        if squares > 0:
            found.append((cell.ours.mean() - cell.paper.mean()) / (squares / (n + m - 2)) ** 0.5)
    return np.array(found)


def equivalence(differences: np.ndarray) -> str:
    """The mean standardised difference in words, with its two one-sided tests."""
    found = DescrStatsW(differences)
    low, high = found.tconfint_mean(alpha=0.1)
    p = found.ttost_mean(-MARGIN, MARGIN)[0]
    return (
        f"Mean standardised difference {differences.mean():+.3f} sd, 90 % interval {low:+.3f} to "
        f"{high:+.3f} over {len(differences)} cells; equivalent within {MARGIN} sd: p = {p:.2g}"
    )


def power(n_cells: int, n: int) -> tuple[float, float]:
    """Chance that one cell, and that all cells together, are shown equivalent if they are."""
    rng = np.random.default_rng(1337)
    both = rng.normal(size=(2, N_SIMULATED, n))
    cells = [
        Cell(architecture="", mode="", ours=ours, paper=theirs)
        for ours, theirs in zip(*both, strict=True)
    ]
    alone = np.mean([cell.verdict == "equivalent" for cell in cells])
    drawn = standardised(cells)
    draws = rng.choice(drawn, size=(N_SIMULATED, n_cells))
    together = [DescrStatsW(row).ttost_mean(-MARGIN, MARGIN)[0] < 0.05 for row in draws]
    return float(alone), float(np.mean(together))


@dataclass(frozen=True)
class Shape:
    """What one run says of one architecture.

    Args:
        regime: By the complete rules.
        baseline: Its best baseline mode.
        ablative: Its best mode of PSA.
        t: Welch's t of the difference of these two.
    """

    regime: str
    baseline: str
    ablative: str
    t: float


def shapes(trials: pd.DataFrame) -> dict[str, Shape]:
    """Every architecture of a run that has the paper's six modes."""
    trials = trials[trials["mode"].isin(PAPER_MODES)]
    verdicts = classify_complete(summarise(trials), zero_r=ZERO_R)
    means = trials.groupby(["architecture", "mode"])[MEASURE].mean().unstack()
    values = trials.groupby(["architecture", "mode"])[MEASURE].apply(np.array)
    found = {}
    for name in means.dropna().index:
        best = [str(means.loc[name, list(modes)].idxmax()) for modes in (BASELINES, ABLATIVES)]
        baseline, ablative = (values[name, mode] for mode in best)
        t = 0.0
        if np.ptp(np.concatenate([baseline, ablative])) > 0:
            t = float(ttest_ind(ablative, baseline, equal_var=False).statistic)
        found[str(name)] = Shape(str(verdicts[str(name)].regime), *best, t)
    return found


def beside(runs: dict[str, pd.DataFrame], order: list[str]) -> str:
    """Regimes and the best of PSA against the best baseline, a row for each shape and run."""
    found = {name: shapes(trials) for name, trials in runs.items()}
    grouped = {name: t.groupby(["architecture", "mode"])[MEASURE] for name, t in runs.items()}

    def cell(name: str, architecture: str, mode: str) -> str:
        values = grouped[name].get_group((architecture, mode))
        return f"{mode} {values.mean():.2f} ± {values.std(ddof=0):.2f}"

    lines = [
        "| architecture | run | regime | best baseline | best of PSA | t |",
        "|---|---|---|---|---|---|",
    ]
    for architecture in order:
        for name in runs:
            shape = found[name][architecture]
            base, ablative = (cell(name, architecture, m) for m in (shape.baseline, shape.ablative))
            lines.append(
                f"| {architecture} | {name} | {shape.regime} | {base} | {ablative} "
                f"| {shape.t:+.1f} |"
            )
    lines.append("")
    for name, rows in found.items():
        ts = [shape.t for shape in rows.values()]
        wins, losses = sum(t > 2 for t in ts), sum(t < -2 for t in ts)
        lines.append(
            f"- {name}: PSA's best mode beats the best baseline at t > 2 in {wins} of {len(ts)} "
            f"shapes and loses at t < -2 in {losses}."
        )
    return "\n".join(lines)


def means_table(trials: pd.DataFrame, order: list[str]) -> str:
    """Mean and sd of every cell, and how many trials learned anything."""
    modes = list(dict.fromkeys(trials["mode"]))
    grouped = trials.groupby(["architecture", "mode"])[MEASURE]
    lines = ["| architecture | " + " | ".join(modes) + " |", "|---|" + "---|" * len(modes)]
    for name in order:
        row = []
        for mode in modes:
            values = grouped.get_group((name, mode)).to_numpy()
            stuck = int((values <= ZERO_R + 1e-9).sum())
            words = f"{values.mean():.2f} ± {values.std():.2f}"
            row.append(f"{words} ({stuck} stuck)" if stuck else words)
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def trains(trials: pd.DataFrame, mode: str) -> str:
    """Trials above ZeroR by 10 % of the room, over all shapes of a mode."""
    values = trials.loc[trials["mode"] == mode, MEASURE]
    return rate(int((values > learned_above(ZERO_R)).sum()), len(values))


def main() -> None:
    """Write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("author", type=Path)
    parser.add_argument("paper", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/beyond.md"))
    options = parser.parse_args()
    again = open_source(options.store, study="resmlp-author")
    clean = open_source(options.store, study="resmlp-clean")
    his, mlp = read_author(options.author), read_trials_csv(options.paper)
    ours = again.trials.assign(mode=again.trials["mode"].replace("author-hidden", "hidden"))
    cells, order = read_cells(ours, his), list(dict.fromkeys(ours["architecture"]))
    alone, together = power(len(cells), 10)
    of_these = {"SimpleMLP (the paper's data)": mlp, "ResMLP (the author's)": his}
    runs = {
        **{name: rows[rows["architecture"].isin(order)] for name, rows in of_these.items()},
        "ResMLP (his, again)": ours,
        "ResMLP (clean)": clean.trials,
    }
    write_section(
        options.out,
        "Residual networks: the author's withdrawn run, again",
        f"""`studies/beyond/author.toml` beside his trials, by
`python -m benchmarks.beyond.author`. Peak validation accuracy in percent,
10 trials a cell, both with population sd.

- {describe("All cells", cells, np.random.default_rng(1337))}
- {equivalence(standardised(cells))}.
- By chance alone {0.05 * len(cells):.1f} of {len(cells)} cells are called different. Power, for
  normal trials that do not differ: a single cell is shown equivalent in {100 * alone:.0f} % of
  cases, the mean of all cells within {MARGIN} sd in {100 * together:.0f} %.

{markdown(cells, theirs="his")}""",
    )
    simple = trains(runs["SimpleMLP (the paper's data)"], "none")
    write_section(
        options.out,
        "Residual networks without the two mistakes",
        f"""`studies/beyond/clean.toml`: dropout inside the blocks in mode `dropout` alone, no
weight decay but in `decay` (0.1); `hidden` is an inner neuron of a block, `channel` one channel of
the stream everywhere. Trials that never left ZeroR are counted as stuck.

{means_table(clean.trials, order)}

Trials of `none` that learn (at least a tenth of the room above ZeroR):
{trains(clean.trials, "none")} here, {simple} in SimpleMLP of the same shapes.

Regimes by the complete rules, best baseline, best mode of PSA (full, hidden, output), Welch's t:

{beside(runs, order)}""",
    )


if __name__ == "__main__":
    main()
