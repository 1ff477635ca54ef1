"""Tables and figures of the experiments: what they show, and that no text covers another."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from antifragile.report.style import encode_figure
from antifragile.report.table import as_csv, as_markdown
from benchmarks.perturbation.experiments.deep_mnist import summarise as deep_rows
from benchmarks.perturbation.experiments.octopus import summarise as octopus_rows
from benchmarks.perturbation.experiments.registry import EXPERIMENTS
from benchmarks.perturbation.measures.steadiness import summarise as steady_rows
from benchmarks.perturbation.records import BenchResult
from benchmarks.perturbation.report.figures import bench_figure
from benchmarks.perturbation.report.tables import bench_table, cost
from tests.report.test_figures import caption, overlapping_texts

COST = {"gradient_evaluations": 100, "seconds": 0.25}


def made(name: str) -> BenchResult:
    """A result with made-up numbers, of the shape the experiment gives."""
    rows, runs, curves = _FRAMES[name]()
    return BenchResult(
        name=name,
        grids={"limit": 1000, "learned": "test accuracy at least 50 %"},
        rows=rows,
        runs=runs,
        curves=curves,
        notes=("A note.",),
        gradient_evaluations=1234567,
        seconds=61.0,
        cpu_seconds=90.0,
    )


def _anti_pgd() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    arms = [("GD", 0.0), ("plain noise", 0.1), ("Anti-PGD", 0.1), ("Anti-PGD", 0.2)]
    curves = pd.DataFrame(
        [
            {"method": m, "size": s, "step": t, "seed": r, "test_loss": 10.0 - t, "trace": 5.0 + r}
            for m, s in arms
            for t in range(3)
            for r in range(2)
        ]
    )
    rows = pd.DataFrame(
        [{"method": m, "size": s, "n": 2, "test_loss": 1e-4, **COST} for m, s in arms]
    )
    return rows, rows, curves


def _octopus() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    runs = pd.DataFrame(
        [
            {"d": d, "L": lip, "method": m, "knob": "r", "value": 1.0, "seed": s, **COST}
            | {"iterations": math.nan if m == "GD" and d == 10 else 10.0 * lip * d + s}
            for d in (5, 10)
            for lip in (1.0, 2.0)
            for m in ("GD", "PGD")
            for s in range(3)
        ]
    )
    return octopus_rows(runs), runs, pd.DataFrame()


def _deep_mnist() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    runs = pd.DataFrame(
        [
            {"initialisation": i, "schedule": s, "eta": eta, "seed": r, **COST}
            | {"learned": s == "revive", "test_accuracy": 90.0 + r}
            for i in ("zero", "simple", "he")
            for s, etas in (("none", [0.0]), ("revive", [0.01, 0.1]), ("fixed", [0.01, 0.1]))
            for eta in etas
            for r in range(3)
        ]
    )
    return deep_rows(runs), runs, pd.DataFrame()


def _posterior() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rows = pd.DataFrame(
        [
            {"sampler": s, "step": h, "mean_error": 0.01, "covariance_error": h / 2}
            | {"predicted": h / 2 if s == "SGLD" else math.nan, "effective_samples": 2e4}
            | {"chains": 1000, **COST}
            for s in ("SGLD", "pSGLD, decay 0.99")
            for h in (0.1, 1.0)
        ]
    )
    return rows, rows, pd.DataFrame()


def _learning_rate() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    methods = ("none", "weight decay", "sam", "random_weight_perturbation")
    runs = pd.DataFrame(
        [
            {"task": t, "optimizer": o, "method": m, "magnitude": 0.1, "rate": rate, "seed": s}
            | {"initial": 2.3, "loss": rate + i / 10 + s / 50, "best_loss": rate, "accuracy": 90.0}
            | {"best_accuracy": 91.0, "oscillation": 0.02, **COST}
            for t, o in (
                ("digits", "sgd"),
                ("digits", "adamw"),
                ("mnist", "sgd"),
                ("mnist", "adamw"),
            )
            for i, m in enumerate(methods)
            for rate in (0.1, 1.0)
            for s in range(3)
        ]
    )
    return steady_rows(runs), runs, pd.DataFrame()


_FRAMES = {
    "anti-pgd": _anti_pgd,
    "octopus": _octopus,
    "deep-mnist": _deep_mnist,
    "posterior": _posterior,
    "learning-rate": _learning_rate,
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_a_figure_whose_texts_keep_apart(name: str) -> None:
    figure = bench_figure(made(name))
    assert overlapping_texts(figure) == []
    assert "n = " in caption(figure)


def test_a_figure_is_the_same_every_time() -> None:
    first, again = (encode_figure(bench_figure(made("octopus")), "png") for _ in range(2))
    assert first == again


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_a_table_with_both_axes_of_cost(name: str) -> None:
    table = bench_table(made(name))
    heads = [column.name for column in table.columns]
    assert {"gradients", "CPU s / run"} <= set(heads)
    assert len(table.rows) == len(made(name).rows)
    assert "A note." in as_markdown(table)
    assert as_csv(table).count("\n") == len(table.rows) + 1


def test_the_cost_of_an_experiment_is_said_in_a_sentence() -> None:
    assert cost(made("octopus")) == (
        "1,234,567 gradient evaluations of single runs; 61 s of wall time, 1.5 processor minutes."
    )


def test_rows_where_a_method_does_not_arrive_are_printed_like_the_others() -> None:
    text = as_markdown(bench_table(made("octopus")))
    assert "never" in text
    drawn = bench_figure(made("octopus"))
    assert "over 1,000" in caption(drawn)


def test_early_stopping_and_none_are_among_the_rows_of_learning_rates() -> None:
    text = as_markdown(bench_table(made("learning-rate")))
    assert text.count("early stopping") == 4
    assert "| +0.1 (+0.1 to +0.1) |" in text  # what weight decay was made to cost
