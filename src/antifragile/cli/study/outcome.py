"""Output of ``antifragile study run`` and ``extend``: every cell of a study, and its regimes."""

from __future__ import annotations

import pandas as pd
from rich.markup import escape
from rich.table import Table

from antifragile.analysis.frames import trials_frame
from antifragile.analysis.regimes.paper import classify_by_paper
from antifragile.analysis.summary import summarise
from antifragile.cli.console import plain_table, print_json, stdout
from antifragile.store.records import StoredStudy
from antifragile.study.runner import StudyOutcome


def print_outcome(outcome: StudyOutcome, *, as_json: bool) -> None:
    """Print the results of a study after a run, as a table or as JSON."""
    study, store = outcome.study, outcome.store
    frame = trials_frame(store, study)
    cells = summarise(frame)
    if as_json:
        print_json(
            {
                "study": study.spec.name,
                "store": str(store),
                "files": str(outcome.files),
                "trials": len(frame),
                "trials_run": outcome.n_run,
                "seconds": outcome.seconds,
                "cells": cells.to_dict(orient="records"),
            }
        )
        return
    stdout().print(_result_table(study, cells))
    if study.spec.training.decay_is_placebo and {"none", "decay"} <= set(study.spec.modes):
        stdout().print(
            "decay: 1 - learning_rate * weight_decay rounds to 1 in float32 here, so this arm is a "
            "placebo; with paired trials it equals none bit for bit."
        )
    stdout().print(
        f"\n{outcome.n_run} trials run in {outcome.seconds:.1f} s, {len(frame)} finished in all.\n"
        f"records  {store}\nweights  {outcome.files if study.spec.keep == 'lkg' else '(not kept)'}",
        markup=False,
    )


def _result_table(study: StoredStudy, cells: pd.DataFrame) -> Table:
    zero_r = 100 * study.data.zero_r_validation / study.data.n_validation
    verdicts = classify_by_paper(cells, zero_r=zero_r)
    table = plain_table(
        f"{escape(study.spec.name)}: peak validation accuracy, mean ± sd over "
        f"{study.spec.trials} trials of {study.spec.meta_loops} meta-loops, percent; "
        f"ZeroR {zero_r:.2f}"
    )
    table.add_column("architecture")
    for mode in study.spec.modes:
        table.add_column(mode, justify="right")
    table.add_column("regime (paper's rules)")
    by_cell = cells.set_index(["architecture", "mode"])
    for architecture in study.spec.architectures:
        row = [
            _cell(by_cell, architecture.name, mode, study.spec.modes) for mode in study.spec.modes
        ]
        verdict = verdicts.get(architecture.name)
        table.add_row(architecture.name, *row, verdict.regime.value if verdict else "-")
    return table


def _cell(by_cell: pd.DataFrame, architecture: str, mode: str, modes: tuple[str, ...]) -> str:
    means = {m: by_cell["mean"].get((architecture, m)) for m in modes}
    mean = means[mode]
    if mean is None:
        return "-"
    best = max(value for value in means.values() if value is not None)
    text = f"{mean:.2f} ± {by_cell['sd'][(architecture, mode)]:.2f}"
    return f"[bold]{text}[/]" if mean == best else text
