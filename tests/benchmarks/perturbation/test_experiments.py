"""The experiments in their short form find what the full ones do; parts can be kept and resumed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from antifragile.config.perturbation import TOKEN_PRESETS
from antifragile.errors import UsageError
from antifragile.optim import PRESETS
from benchmarks.perturbation.experiments.contenders import CONTENDERS, FIVE
from benchmarks.perturbation.experiments.deep_mnist import ETAS, arms
from benchmarks.perturbation.experiments.registry import EXPERIMENTS, run_experiment
from benchmarks.perturbation.parts import Frames, Part, run_parts
from benchmarks.perturbation.problems.tasks import HALF_DECADES
from benchmarks.perturbation.records import BenchResult, BenchSettings
from benchmarks.perturbation.training.networks import Initialisation


def short(name: str, seeds: int = 3) -> BenchResult:
    return run_experiment(name, BenchSettings(seeds=seeds, quick=True))


def test_correlated_noise_finds_flat_minima_and_plain_noise_does_not() -> None:
    rows = short("anti-pgd").rows.set_index("method")
    assert rows.loc["Anti-PGD", "greatest"] < 2e-3
    assert rows.loc["GD", "least"] > 1
    assert rows.loc["plain noise", "test_loss"] > rows.loc["GD", "test_loss"]
    assert rows.loc["Anti-PGD", "trace"] < 0.3 * rows.loc["GD", "trace"]


def test_a_kick_passes_saddles_sooner_than_descent_alone() -> None:
    result = short("octopus")
    rows = result.rows.set_index(["method", "value"])
    published = rows.xs(0.25, level="value")["fastest"]["GD"]
    kicked = rows.loc["PGD", "slowest"].max()
    assert kicked < 200 < published
    assert (rows["gradient_evaluations"] <= result.grids["limit"]).all()


def test_langevin_dynamics_sample_the_posterior_with_the_bias_that_theory_gives() -> None:
    row = short("posterior").rows.iloc[0]
    assert row["effective_samples"] >= 10_000
    assert row["covariance_error"] <= 0.05
    assert row["mean_error"] <= 0.05
    assert row["covariance_error"] == pytest.approx(row["predicted"], abs=0.015)


def test_learning_rates_are_swept_with_both_axes_of_cost() -> None:
    result = short("learning-rate", seeds=2)
    rows = result.rows.set_index("method")
    assert set(rows.index) == {"none", "pgd", "sam", "early stopping"}
    assert rows.loc["sam", "gradient_evaluations"] == 2 * rows.loc["none", "gradient_evaluations"]
    assert (rows["common_sensitivity"] >= rows["sensitivity"] - 1e-9).all()
    assert result.gradient_evaluations == result.runs["gradient_evaluations"].sum()
    assert (rows["seconds"] > 0).all()


def test_the_deep_network_runs_on_mnist(mnist_dir: Path) -> None:
    result = run_experiment("deep-mnist", BenchSettings(quick=True, data_dir=mnist_dir))
    rows = result.rows.set_index("schedule")
    assert rows.loc["none", "accuracy"] == pytest.approx(11.35)  # zero weights do not learn
    assert rows.loc["revive", "accuracy"] != rows.loc["none", "accuracy"]


def test_the_grids_cover_what_was_promised() -> None:
    presets = {one.name for one in CONTENDERS if one.is_preset}
    assert {*presets, *TOKEN_PRESETS} == set(PRESETS)
    assert set(FIVE) <= presets
    assert {len(one.magnitudes) for one in CONTENDERS if one.name != "none"} == {3}
    assert {len(rates) for rates in HALF_DECADES.values()} == {7}
    dead = [arm for arm in arms(quick=False) if arm.initialisation is not Initialisation.HE]
    assert len(dead) == 2 * (1 + 4 * len(ETAS))
    assert max(ETAS) / min(ETAS) == pytest.approx(100)


@pytest.mark.slow
def test_the_same_seeds_give_the_same_numbers_in_one_process_or_two(tmp_path: Path) -> None:
    alone = short("octopus", seeds=2)
    shared = run_experiment(
        "octopus", BenchSettings(seeds=2, quick=True, workers=2, folder=tmp_path)
    )
    again = run_experiment("octopus", BenchSettings(seeds=2, quick=True, folder=tmp_path))
    for other in (shared, again):
        costs = ["seconds"]
        pd.testing.assert_frame_equal(
            other.rows.drop(columns=costs), alone.rows.drop(columns=costs)
        )
    assert again.cpu_seconds == shared.cpu_seconds  # nothing was run again


def test_finished_parts_are_taken_from_the_folder_and_others_are_not(tmp_path: Path) -> None:
    calls: list[str] = []

    def part(label: str) -> Part:
        def run() -> Frames:
            calls.append(label)
            return pd.DataFrame({"gradient_evaluations": [1], "x": [0.1]}), pd.DataFrame()

        return Part(label=label, run=run)

    settings = BenchSettings(folder=tmp_path)
    run_parts("e", [part("a")], settings, {"steps": 1})
    found = run_parts("e", [part("a"), part("b")], settings, {"steps": 1})
    assert calls == ["a", "b"]
    assert [one.runs["x"].item() for one in found] == [0.1, 0.1]
    run_parts("e", [part("a")], BenchSettings(folder=tmp_path, seeds=3), {"steps": 1})
    run_parts("e", [part("a")], settings, {"steps": 2})
    assert calls == ["a", "b", "a", "a"]


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="needs 1 to 1000 seeds; got 0"):
        BenchSettings(seeds=0)
    with pytest.raises(UsageError, match="needs a worker or more; got 0"):
        BenchSettings(workers=0)
    with pytest.raises(UsageError, match="unknown experiment 'octopuss'; did you mean 'octopus'"):
        run_experiment("octopuss", BenchSettings())
    assert all(one.minutes > 0 and one.question.endswith("?") for one in EXPERIMENTS.values())
