"""Compare our runs of the paper's study with the paper's own trials, cell by cell and pooled.

    antifragile study run studies/reproduction/ten-trials.toml    --store repro.db
    antifragile study run studies/reproduction/thirty-trials.toml --store repro.db
    antifragile study run studies/reproduction/unit.toml          --store repro.db
    python -m benchmarks.trust.reproduction repro.db paper_trials.csv --out docs/reproduction.md

Per cell: difference of means with its 95 % interval (Welch), equivalence by two one-sided tests
(margin: the larger of 0.3 point and one sd of the paper's cell), and where trials either escape
ZeroR or do not, Fisher's exact test on how many do. Pooled: within every cell the labels "ours"
and "paper" are permuted; the statistic is the sum over cells of the squared standardised
difference, which no single cell decides, and beside it the mean signed one, which shows a drift.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from antifragile.analysis.frames import meta_loops_frame, read_trials_csv, trials_frame
from antifragile.analysis.inference.effects import Effect, two_sample_effect
from antifragile.store.store import Store
from benchmarks.claims.evidence import fisher

ZERO_R = 11.02
N_PERMUTATIONS = 20_000
MEASURE = "peak_validation_accuracy"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One architecture and mode: our peaks and the paper's, in percent."""

    architecture: str
    mode: str
    ours: np.ndarray
    paper: np.ndarray

    @property
    def is_constant(self) -> bool:
        """Say whether every trial of both gave the same number."""
        return np.ptp(np.concatenate([self.ours, self.paper])) == 0

    @property
    def margin(self) -> float:
        """The larger of 0.3 point and one population sd of the paper's cell."""
        return max(0.3, float(self.paper.std()))

    @cached_property
    def effect(self) -> Effect:
        """Our mean minus the paper's: its 95 % interval (Welch), equivalence by two such tests."""
        found = two_sample_effect(self.ours, self.paper, margin=self.margin)
        return replace(found, equivalence_p=0.0) if self.is_constant else found

    @property
    def verdict(self) -> str:
        """Equivalent, different, or not settled by so few trials."""
        if self.effect.equivalence_p < 0.05:
            return "equivalent"
        return "different" if self.effect.low > 0 or self.effect.high < 0 else "open"

    @property
    def escapes(self) -> tuple[int, int]:
        """Trials above ZeroR: ours, the paper's."""
        return tuple(int((x > ZERO_R + 1e-9).sum()) for x in (self.ours, self.paper))

    @property
    def fisher(self) -> str:
        """P of Fisher's exact test, in cells where some trials escape ZeroR and some do not."""
        ours, paper = self.escapes
        n, m = len(self.ours), len(self.paper)
        if ours + paper in (0, n + m):
            return "-"
        return f"{fisher((ours, n), (paper, m)):.2f} ({ours}/{n}, {paper}/{m})"


def pooled(cells: list[Cell], rng: np.random.Generator) -> tuple[float, float, float]:
    """P of the sum of squared standardised differences; the mean signed one, and its P."""
    squares = np.zeros(N_PERMUTATIONS + 1)
    signed = np.zeros(N_PERMUTATIONS + 1)
    for cell in cells:
        if cell.is_constant:
            continue
        both = np.concatenate([cell.ours, cell.paper])
        shuffled = np.vstack([both, rng.permuted(np.tile(both, (N_PERMUTATIONS, 1)), axis=1)])
        n, m = len(cell.ours), len(cell.paper)
        gap = shuffled[:, :n].mean(axis=1) - shuffled[:, n:].mean(axis=1)
        z = gap / (both.std(ddof=1) * np.sqrt(1 / n + 1 / m))
        squares += z**2
        signed += z / len(cells)
    # The data as they are count as one of the permutations, so that no p is 0.
    p_squares = float((squares >= squares[0] - 1e-9).mean())
    p_signed = float((np.abs(signed) >= abs(signed[0]) - 1e-9).mean())
    return p_squares, float(signed[0]), p_signed


def read_cells(ours: pd.DataFrame, paper: pd.DataFrame) -> list[Cell]:
    """Every cell that both have, in our order."""
    theirs = paper.groupby(["architecture", "mode"])[MEASURE].apply(np.array)
    return [
        Cell(architecture=a, mode=m, ours=group[MEASURE].to_numpy(), paper=theirs[(a, m)])
        for (a, m), group in ours.groupby(["architecture", "mode"], sort=False)
    ]


def markdown(cells: list[Cell], *, theirs: str = "paper") -> str:
    """The table of cells; ``theirs`` names the other trials."""
    lines = [
        f"| architecture | mode | n | ours, mean ± sd | {theirs}, mean ± sd | difference "
        "| 95 % interval | margin | p of equivalence | verdict "
        f"| above ZeroR: Fisher p (ours, {theirs}) |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in cells:
        effect = cell.effect
        lines.append(
            f"| {cell.architecture} | {cell.mode} | {len(cell.ours)} "
            f"| {cell.ours.mean():.2f} ± {cell.ours.std():.2f} "
            f"| {cell.paper.mean():.2f} ± {cell.paper.std():.2f} | {effect.difference:+.2f} "
            f"| {effect.low:+.2f} to {effect.high:+.2f} | {cell.margin:.2f} "
            f"| {effect.equivalence_p:.3f} "
            f"| {cell.verdict} | {cell.fisher} |"
        )
    return "\n".join(lines)


def describe(name: str, cells: list[Cell], rng: np.random.Generator) -> str:
    """Verdicts counted, and the pooled tests in words."""
    counts = {v: sum(c.verdict == v for c in cells) for v in ("equivalent", "open", "different")}
    p_squares, drift, p_drift = pooled(cells, rng)
    return (
        f"{name}: {len(cells)} cells, {counts['equivalent']} equivalent, {counts['open']} open, "
        f"{counts['different']} different. Pooled permutation test over all cells: p = "
        f"{p_squares:.2g}; mean standardised difference {drift:+.2f}, p = {p_drift:.2g} "
        f"({N_PERMUTATIONS:,} permutations, smallest attainable p {1 / N_PERMUTATIONS:g})."
    )


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("paper", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    store, paper = Store(options.store, create=False), read_trials_csv(options.paper)
    frames = {name: trials_frame(store, store.study(name)) for name in store.study_names()}
    seconds = {name: meta_loops_frame(store, store.study(name)).seconds.sum() for name in frames}
    rng = np.random.default_rng(1337)
    control = read_cells(frames.pop("reproduction-unit"), paper)
    cells = read_cells(pd.concat(frames.values()), paper)
    cells.sort(key=lambda cell: len(cell.ours))
    environment = store.environments("reproduction-10")[0]
    cpu_minutes = sum(seconds[name] for name in frames) / 60
    options.out.write_text(
        f"""# Reproduction

Our runs of eight of the paper's architectures beside the paper's own trials
(`table-v` preset, `independent` pairing, six modes, 100 meta-loops; 30 trials of 1*4, 4*4 and
18*18, 10 of the others). The paper has 10 trials a cell. Accuracies are peak validation
accuracies in percent; sd is the population's.

Machine: {environment.machine}, {platform.system()}, torch {torch.__version__}, kernel
`{environment.kernel}`, {environment.precision}; {date.today().isoformat()};
{cpu_minutes:.0f} core-minutes for the two studies. Made by
`python -m benchmarks.trust.reproduction`.
[Figures](figures.md) of them; [the same cell by cell](comparison.md).

## Verdict

- {describe("Standardised pixels (the released code)", cells, rng)}
- {describe("Control, pixels in [0, 1] (the paper's text)", control, rng)}

Equivalent: both one-sided tests against the margin reject at 5 %. Different: the 95 % interval of
the difference leaves out 0 and equivalence is not shown; of {len(cells)} such intervals about
{0.05 * len(cells):.0f} leave out 0 by chance alone. Open: so few trials settle neither.

## Standardised pixels

{markdown(cells)}

## Control: pixels in [0, 1]

{markdown(control)}
"""
    )


if __name__ == "__main__":
    main()
