"""Intervals of effect sizes where the differences hardly differ, as those of counts do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import nctdtrinc

from antifragile.analysis.inference.effects import _noncentral_interval, paired_effect


@pytest.mark.parametrize("degrees", [1, 2, 9, 99])
@pytest.mark.parametrize("sign", [1, -1])
def test_far_out_the_interval_goes_on_as_before(degrees: int, sign: int) -> None:
    exact = [float(nctdtrinc(degrees, p, sign * 299.0)) for p in (0.975, 0.025)]
    near = _noncentral_interval(sign * 299.0, degrees, 0.95)
    far = _noncentral_interval(sign * 301.0, degrees, 0.95)
    assert near == pytest.approx(exact, rel=1e-6)
    assert far == pytest.approx([end * 301 / 299 for end in near], rel=1e-3)
    assert far[0] < far[1]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("n", [3, 10])
def test_differences_that_are_equal_but_for_rounding_have_an_end(n: int) -> None:
    control = np.float64(np.float32(np.arange(n) / 150)) * 100
    values = np.float64(np.float32((np.arange(n) + 1) / 150)) * 100
    effect = paired_effect(values, control, margin=0.3)
    assert effect.difference == pytest.approx(100 / 150)
    assert effect.size > 300
    assert 0 < effect.size_low < effect.size < effect.size_high
