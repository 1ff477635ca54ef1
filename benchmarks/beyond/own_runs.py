"""Section of docs/beyond.md: PSA and its controls on a CNN and a transformer that already train.

    python -m benchmarks.beyond.own_runs own.jsonl --data-dir DATA

Every run is a `FrustrationEngine` around an ordinary training loop with AdamW: 10 meta-loops, 10
seeds. Runs of one seed share initial weights and batches. A run's score is that of the model that
`best` returns, on data that chose nothing. A line is written for every finished run; runs that are
there already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn

from antifragile import FrustrationEngine
from antifragile.analysis.inference.families import corrected
from antifragile.analysis.inference.pairs import IDENTICAL, compare_pairs, match_trials
from benchmarks.beyond.own_models import Task, digits_task, text_task
from benchmarks.section import write_section

ARMS = ("none", "none+always-accept", "none+continuous", "hidden", "output")
TASKS = ("digits", "noisy digits", "text")
META_LOOPS, N_SEEDS = 10, 10
HEADING = "A CNN and a transformer that already train"


class Run(NamedTuple):
    """One run: its task, arm and seed."""

    task: str
    arm: str
    seed: int


def task_of(run: Run, data_dir: str | None) -> Task:
    """Make the task of a run."""
    if run.task == "text":
        return text_task()
    return digits_task(0.2 if run.task == "noisy digits" else 0.0, run.seed, data_dir)


def finished(run: Run, data_dir: str | None) -> dict[str, object]:
    """Run it on one thread; return its line."""
    torch.set_num_threads(1)
    task = task_of(run, data_dir)
    torch.manual_seed(run.seed)
    model = task.build()

    def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        torch.manual_seed(1000 * run.seed + engine.meta_loop)  # the same batches in every arm
        task.train_epoch(model, optimizer)

    engine = FrustrationEngine(
        model,
        train_epoch,
        task.validate,
        mode=run.arm,
        seed=run.seed,
        minimize=task.minimize,
        optimizer=torch.optim.AdamW(model.parameters(), lr=task.learning_rate),
    )
    records = list(engine.run(META_LOOPS))
    return {
        **run._asdict(),
        "name": task.name,
        "unit": task.unit,
        "bounty": engine.bounty,
        "last": records[-1].score,
        "test": task.test(engine.best()),
        "promoted": sum(record.promoted for record in records),
        "seconds": sum(record.seconds for record in records),
        "own_seconds": sum(record.own_seconds for record in records),
    }


def run_all(path: Path, data_dir: str | None, workers: int) -> pd.DataFrame:
    """Run what the file lacks, and return all lines."""
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {Run(line["task"], line["arm"], line["seed"]) for line in known}
    wanted = [Run(*item) for item in product(TASKS, ARMS, range(N_SEEDS))]
    wanted = sorted((run for run in wanted if run not in done), key=lambda run: run.seed)
    with ProcessPoolExecutor(workers) as pool, path.open("a") as file:
        for line in pool.map(finished, wanted, [data_dir] * len(wanted)):
            print(json.dumps(line), file=file, flush=True)
            print(len(known) + 1, line["task"], line["arm"], line["seed"], line["test"], flush=True)
            known.append(line)
    return pd.DataFrame(known)


def markdown(runs: pd.DataFrame) -> str:
    """A table for each task, a row for each arm."""
    by_run = runs.set_index("seed")
    tables = []
    for task in TASKS:
        rows = by_run[by_run["task"] == task]
        control = rows.loc[rows["arm"] == "none", "test"]
        pairs = [
            match_trials((task, arm), rows.loc[rows["arm"] == arm, "test"], control, paired=True)
            for arm in ARMS[1:]
        ]
        tables.append(compare_pairs(pairs, ("task", "arm"), margin=0.1, confidence=0.95))
    compared = pd.concat(tables, ignore_index=True)
    compared = compared.assign(p_holm=corrected(compared["p"])).set_index(["task", "arm"])
    return "\n".join(_table(task, by_run[by_run["task"] == task], compared) for task in TASKS)


def _table(task: str, rows: pd.DataFrame, compared: pd.DataFrame) -> str:
    name, unit = rows["name"].iloc[0], rows["unit"].iloc[0]
    digits = 3 if "bits" in unit else 2
    lines = [
        f"**{name}**, {unit}, {'less' if 'bits' in unit else 'more'} is better",
        "",
        "| arm | n | test, mean ± sd | against none (95 %) | p, Holm | promoted of 10 |",
        "|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        cell = rows[rows["arm"] == arm]
        words = "- | -"
        if arm != "none":
            row = compared.loc[(task, arm)]
            gap = [f"{row[key]:+.{digits}f}" for key in ("difference", "low", "high")]
            words = f"{gap[0]} ({gap[1]} to {gap[2]}) | {row['p_holm']:.2g}"
            if row["test"] == IDENTICAL:
                words = "identical | -"
        mean, sd = cell["test"].mean(), cell["test"].std(ddof=0)
        lines.append(
            f"| {arm} | {len(cell)} | {mean:.{digits}f} ± {sd:.{digits}f} | {words} "
            f"| {cell['promoted'].mean():.1f} |"
        )
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/beyond.md"))
    options = parser.parse_args(arguments)
    runs = run_all(options.results, options.data_dir, options.workers)
    epochs = (runs["seconds"] / META_LOOPS).groupby(runs["task"]).median()
    share = runs["own_seconds"].sum() / runs["seconds"].sum()
    write_section(
        options.out,
        HEADING,
        f"""`python -m benchmarks.beyond.own_runs`: {META_LOOPS} meta-loops, {N_SEEDS} seeds,
{len(runs)} runs on one thread each ({platform.processor() or platform.machine()}, torch
{torch.__version__}); epochs of {epochs.min():.1f} to {epochs.max():.1f} s (medians of the tasks).
The engine itself took {share:.1%} of the time. Test score of the model that `best` returns;
differences of runs with the same seed, p by sign flips, Holm over all twelve.

{markdown(runs)}""",
    )


if __name__ == "__main__":
    main()
