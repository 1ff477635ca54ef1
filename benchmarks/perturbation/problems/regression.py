"""Regression with squared weights: a small problem where the width of a minimum decides.

The prediction is <x, w * w>, the truth 5-sparse, and there are fewer observations than weights, so
that many w fit the data and only flat ones generalise. Each replica has a problem of its own.

    loss(w) = 1/(4n) sum_i (<x_i, w*w> - y_i)^2        trace of its Hessian =
        1/n sum_ij (2 x_ij^2 w_j^2 + r_i x_ij),  r_i = <x_i, w*w> - y_i

Inputs are standard normal, so the loss on fresh data is |w*w - truth*truth|^2 / 4 exactly.

Source: Orvieto et al. 2022, arXiv 2202.02831, section 4, after HaoChen et al. 2020, arXiv
2006.08680.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.perturbation.training.networks import stream


@dataclass(frozen=True, kw_only=True, eq=False)
class QuadraticRegression:
    """R problems at once.

    Args:
        inputs: (R, n, d) float64, standard normal.
        truth: (R, d) float64, the squared weights behind the targets.
        start: (R, d) float64, initial weights.
    """

    inputs: Tensor
    truth: Tensor
    start: Tensor

    def residuals(self, w: Tensor) -> Tensor:
        """Prediction minus target, (R, n), at w (R, d)."""
        return torch.bmm(self.inputs, (w.square() - self.truth)[:, :, None])[:, :, 0]

    def loss(self, w: Tensor) -> Tensor:
        """Loss on the observations, (R,)."""
        return self.residuals(w).square().mean(dim=1) / 4

    def test_loss(self, w: Tensor) -> Tensor:
        """Loss on fresh data, exact, (R,)."""
        return (w.square() - self.truth).square().sum(dim=1) / 4

    def hessian_trace(self, w: Tensor) -> Tensor:
        """Trace of the Hessian of the loss on the observations, (R,)."""
        steep = 2 * (self.inputs.square().sum(dim=1) * w.square()).sum(dim=1)
        bent = (self.residuals(w)[:, :, None] * self.inputs).sum(dim=(1, 2))
        return (steep + bent) / self.inputs.shape[1]


def make_regression(
    seeds: Sequence[int], *, d: int = 100, n: int = 40, sparsity: int = 5
) -> QuadraticRegression:
    """Draw the problem and the start N(0, I) of each seed."""
    inputs, starts = [], []
    for seed in seeds:
        generator = stream(seed, "regression")
        inputs.append(torch.randn(n, d, generator=generator, dtype=torch.float64))
        starts.append(torch.randn(d, generator=generator, dtype=torch.float64))
    truth = torch.zeros(len(inputs), d, dtype=torch.float64)
    truth[:, :sparsity] = 1
    return QuadraticRegression(inputs=torch.stack(inputs), truth=truth, start=torch.stack(starts))
