"""Output of ``antifragile study run`` and ``extend``: every cell of a study, and its regimes."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

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
    )


def _result_table(study: StoredStudy, cells: pd.DataFrame) -> Table:
    spec = study.spec
    zero_r = 100 * study.data.zero_r_validation / study.data.n_validation
    verdicts = classify_by_paper(cells, zero_r=zero_r)
    table = plain_table(
        *("architecture", *(f">{mode}" for mode in spec.modes), "regime (paper's rules)"),
        title=f"{spec.name}: peak validation accuracy, mean ± sd over {spec.trials} "
        f"trials of {spec.meta_loops} meta-loops, percent; ZeroR {zero_r:.2f}",
    )
    by_name: dict[Any, Any] = {(cell.architecture, cell.mode): cell for cell in cells.itertuples()}
    for name in (architecture.name for architecture in spec.architectures):
        found = [by_name.get((name, mode)) for mode in spec.modes]
        best = max((cell.mean for cell in found if cell is not None), default=None)
        regime = verdicts[name].regime if name in verdicts else "-"
        table.add_row(name, *(_cell(cell, best) for cell in found), regime)
    return table


def _cell(cell: Any, best: float | None) -> Text:
    if cell is None:
        return Text("-")
    return Text(f"{cell.mean:.2f} ± {cell.sd:.2f}", style="bold" if cell.mean == best else "")
