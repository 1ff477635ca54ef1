"""Tables of the experiments on perturbed equations: a row per method and setting, with its cost.

Both axes of cost are of one run: gradient evaluations, and processor seconds (of its batch of runs
over the number of runs in it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from antifragile.report.table import Cell, Column, Table
from benchmarks.perturbation.records import BenchResult

_WORDS: Mapping[str, str] = {
    "gradient_evaluations": "gradients",
    "seconds": "CPU s / run",
    "low": "from %",
    "high": "to %",
}
_TITLES: Mapping[str, str] = {
    "anti-pgd": "Anti-PGD: regression with squared weights",
    "octopus": "Octopus: iterations to 1 % above the minimum",
    "deep-mnist": "20 x 50 ReLU on MNIST: runs that learn",
    "posterior": "Langevin samplers on a normal posterior",
    "learning-rate": "Learning-rate sensitivity and spread over seeds",
}
_DIGITS = 4  # significant, for numbers of all magnitudes


def bench_table(result: BenchResult) -> Table:
    """The rows of an experiment as a table for people."""
    shown = _steadiness(result.rows) if result.name == "learning-rate" else result.rows
    columns = [_column(str(name), shown[name]) for name in shown.columns]
    rows = [
        [_cell(value, str(name)) for name, value in row.items()]
        for row in shown.to_dict(orient="records")
    ]
    return Table(
        title=_TITLES[result.name], columns=columns, rows=rows, notes=[*result.notes, cost(result)]
    )


def cost(result: BenchResult) -> str:
    """Both axes of cost of a whole experiment, in a sentence."""
    return (
        f"{result.gradient_evaluations:,} gradient evaluations of single runs; "
        f"{result.seconds:.0f} s of wall time, {result.cpu_seconds / 60:.1f} processor minutes."
    )


def _steadiness(rows: pd.DataFrame) -> pd.DataFrame:
    """Estimates with their intervals in one cell each, so that the table fits a page."""
    plain = ["task", "optimizer", "method", "magnitude", "rate", "loss"]
    shown = rows[plain].copy()
    shown["against none"] = _with_interval(rows, "difference", "low", "high", "+.3g")
    shown["sd over seeds"] = _with_interval(rows, "sd", "sd_low", "sd_high", ".2g")
    shown["sensitivity"] = rows["sensitivity"]
    shown["common sensitivity"] = _with_interval(
        rows, "common_sensitivity", "common_low", "common_high", ".3g"
    )
    return pd.concat(
        [shown, rows[["oscillation", "accuracy", "gradient_evaluations", "seconds"]]], axis=1
    )


def _with_interval(rows: pd.DataFrame, value: str, low: str, high: str, digits: str) -> list[str]:
    return [
        "-" if a != a else f"{a:{digits}} ({b:{digits}} to {c:{digits}})"
        for a, b, c in zip(rows[value], rows[low], rows[high], strict=True)
    ]


def _column(name: str, values: pd.Series) -> Column:
    is_text = not pd.api.types.is_numeric_dtype(values)
    return Column(name=_WORDS.get(name, name.replace("_", " ")), is_text=is_text)


def _cell(value: Any, name: str) -> Cell:
    if isinstance(value, float):
        if value != value:
            return None
        return f"{value:.3g}" if name == "seconds" else _significant(value)
    assert isinstance(value, int | str)
    return value


def _significant(value: float) -> str:
    if value == float("inf"):
        return "never"
    return f"{value:,.0f}" if abs(value) >= 10**_DIGITS else f"{value:.{_DIGITS}g}"
