"""Schedules compute their formula; controllers react to made-up signals as documented."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from antifragile.errors import UsageError
from antifragile.optim import (
    Chance,
    Cosine,
    Curvature,
    GradVariance,
    Langevin,
    On,
    Power,
    RatioToGradient,
    Revive,
    Scale,
    Signals,
    WhenSmallGradient,
)
from antifragile.optim.noise.streams import Stream


def signals(step: int = 0, **changes: Any) -> Signals:
    stream = Stream(keys=(3,), step=step, rule=0)
    return replace(Signals(step=step, stream=stream, n_elements=100, unit_norm=10.0), **changes)


def at_norm(step: int, norm: float, tensors: list[float] | None = None) -> Signals:
    norms = np.array([tensors or [norm]])
    return signals(
        step,
        gradient_norm=np.array([norm]),
        tensor_norms=norms,
        is_matrix=np.array([True] * (norms.shape[1] - 1) + [norms.shape[1] == 1]),
    )


def values(scale: Scale, over: list[Signals]) -> list[float]:
    """Values of a scale for these signals, one after another."""
    state, found = scale.initial(1), []
    for one in over:
        value, state = scale.value(one, state)
        found.append(float(np.asarray(value).reshape(-1)[0]))
    return found


def test_power_is_the_square_root_of_the_annealed_variance() -> None:
    assert values(Power(0.04, 0.5), [signals(0), signals(15)]) == pytest.approx([0.2, 0.1])


def test_cosine_ends_at_zero_and_stays() -> None:
    found = values(Cosine(2.0, 10), [signals(t) for t in (0, 5, 10, 30)])
    assert found == pytest.approx([2, 1, 0, 0])


def test_a_window_opens_and_closes() -> None:
    found = values(On(0.5, start=2, until=4), [signals(t) for t in range(6)])
    assert found == [0, 0, 0.5, 0.5, 0, 0]


def test_every_third_step() -> None:
    found = values(On(1.0, every=3), [signals(t) for t in range(7)])
    assert found == [0, 0, 1, 0, 0, 1, 0]


def test_langevin_follows_the_learning_rate_by_its_root() -> None:
    assert Langevin.learning_rate_power == 0.5
    assert values(Langevin(2.0, 100), [signals()]) == pytest.approx([0.2])


def test_chance_happens_at_its_rate() -> None:
    found = values(Chance(0.25, 3.0), [signals(t) for t in range(400)])
    assert set(found) == {0.0, 3.0}
    assert np.mean(found) / 3 == pytest.approx(0.25, abs=0.07)


def test_a_controller_is_no_schedule() -> None:
    with pytest.raises(UsageError, match="no schedule of the step alone"):
        values(Revive(RatioToGradient(0.1)), [at_norm(0, 1.0)])


def test_ratio_makes_noise_as_long_as_that_part_of_the_gradient() -> None:
    found = values(RatioToGradient(0.5), [signals(0), at_norm(1, 4.0), at_norm(2, 2.0)])
    assert found == pytest.approx([0.0, 0.2, 0.1])


def test_ratio_remembers() -> None:
    scale = RatioToGradient(1.0, memory=0.5)
    assert values(scale, [at_norm(0, 4.0), at_norm(1, 2.0)]) == pytest.approx([0.4, 0.3])


def test_a_kick_waits_for_a_small_gradient_and_then_rests() -> None:
    norms = [1.0, 0.01, 0.01, 0.01, 0.01]
    found = values(
        WhenSmallGradient(0.3, 0.1, wait=2), [at_norm(t, norm) for t, norm in enumerate(norms)]
    )
    assert found == [0, 0.3, 0, 0, 0.3]


def test_gradient_noise_tops_up_the_variance_of_the_gradient() -> None:
    moments = {
        "gradient": np.ones((1, 4)),
        "mean": np.zeros((1, 4)),
        "square": np.full((1, 4), 9.0),
    }
    found = signals(5, sampled=moments, betas=(0.0, 0.0), moment_steps=1.0, is_gradient_noise=True)
    assert values(GradVariance(5.0), [found]) == pytest.approx([4.0])
    assert values(GradVariance(2.0), [found]) == [0.0]
    assert values(GradVariance(2.0, target=5.0), [found]) == pytest.approx([1.6])


def test_without_moments_the_variance_is_averaged_here() -> None:
    generator = np.random.default_rng(0)
    noisy = [
        signals(t, sampled={"gradient": generator.normal(size=(1, 500))}, is_gradient_noise=True)
        for t in range(200)
    ]
    assert values(GradVariance(2.0, memory=0.98), noisy)[-1] == pytest.approx(3**0.5, rel=0.03)
    still = [signals(t, sampled={"gradient": np.ones((1, 5))}) for t in range(50)]
    assert values(GradVariance(2.0, target=1.0), still)[-1] == pytest.approx(2.0)


def quadratic(step: int, curvature: float) -> Signals:
    weight = np.random.default_rng(step).normal(size=(1, 50))
    return signals(step, sampled={"gradient": curvature * weight, "weight": weight})


def test_noise_shrinks_as_the_root_of_the_curvature() -> None:
    path = [quadratic(t, 1.0) for t in range(30)] + [quadratic(t, 4.0) for t in range(30, 200)]
    found = values(Curvature(0.1, warmup=10), path)
    assert found[20] == pytest.approx(0.1)
    assert found[-1] == pytest.approx(0.05, rel=1e-3)


def test_the_factor_of_the_curvature_is_bounded() -> None:
    path = [quadratic(t, 1.0) for t in range(30)] + [quadratic(t, 1e-9) for t in range(30, 900)]
    assert values(Curvature(0.1, warmup=10, largest=3.0), path)[-1] == pytest.approx(0.3)


DEAD, ALIVE = [0.0, 0.0, 0.0, 0.1], [0.5, 0.4, 0.6, 0.5]


def norms_in_a_row(rows: list[list[float]]) -> list[Signals]:
    return [at_norm(t, sum(row), row) for t, row in enumerate(rows)]


def test_a_network_dead_from_the_first_step_is_noised_until_it_lives() -> None:
    assert values(Revive(0.2), norms_in_a_row([DEAD] * 3 + [ALIVE] * 2)) == pytest.approx(
        [0.2, 0.2, 0.2, 0, 0]
    )


def test_a_network_that_lives_is_left_alone_until_it_dies() -> None:
    found = values(Revive(0.2), norms_in_a_row([ALIVE] * 3 + [DEAD] * 2))
    assert found == pytest.approx([0, 0, 0, 0.2, 0.2])


def test_slowly_converging_is_not_dying() -> None:
    rows = [[g * 0.998**t for g in ALIVE] for t in range(3000)]
    assert not any(values(Revive(0.2), norms_in_a_row(rows)))


def test_the_schedule_stands_still_while_the_network_is_dead() -> None:
    found = values(Revive(Power(0.04, 1.0)), norms_in_a_row([DEAD] * 50 + [ALIVE] * 3 + [DEAD]))
    assert found[:50] == pytest.approx([0.2] * 50)
    assert found[-1] == pytest.approx(0.1)


def test_noise_fades_on_the_way_to_life() -> None:
    rows = [[g, g, g, 1.0] for g in (0.001, 0.02, 0.1, 0.3)]
    found = values(Revive(1.0, fraction=0.02, release=0.5), norms_in_a_row(rows))
    assert found[:2] == [1.0, 1.0]
    assert 1.0 > found[2] > found[3] > 0


def test_one_tensor_is_compared_with_its_own_history() -> None:
    path = [at_norm(0, 1.0), at_norm(1, 0.5), at_norm(2, 0.001), at_norm(3, 0.9)]
    assert values(Revive(0.2), path) == pytest.approx([0, 0, 0.2, 0])


def test_no_gradient_at_all_is_dead() -> None:
    assert values(Revive(0.2), [at_norm(0, 0.0)]) == pytest.approx([0.2])
