"""A posterior known in closed form, and how well a set of chains agrees with it.

Bayesian linear regression: y = X w + N(0, 1), w ~ N(0, I). The posterior is normal with precision
A = X'X + I and mean A^-1 X'y. The potential U is minus its logarithm, and a chain that samples it
right has this mean and this covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from benchmarks.perturbation.training.networks import stream


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianPosterior:
    """The problem: data and what is assumed of them.

    Args:
        inputs: X, (n, d) float64.
        targets: y, (n,) float64.
    """

    inputs: Tensor
    targets: Tensor

    @property
    def n(self) -> int:
        """Number of observations."""
        return len(self.targets)

    @property
    def d(self) -> int:
        """Number of parameters."""
        return self.inputs.shape[1]

    @cached_property
    def precision(self) -> Tensor:
        """Precision A of the posterior, (d, d)."""
        return self.inputs.T @ self.inputs + torch.eye(self.d, dtype=self.inputs.dtype)

    @cached_property
    def covariance(self) -> Tensor:
        """Covariance A^-1 of the posterior, (d, d)."""
        inverse: Tensor = torch.linalg.inv(self.precision)
        return inverse

    @cached_property
    def mean(self) -> Tensor:
        """Mean of the posterior, (d,)."""
        return torch.mv(self.covariance, self.inputs.T @ self.targets)

    @cached_property
    def stiffness(self) -> float:
        """The largest eigenvalue of A: step sizes are stated as multiples of its inverse."""
        return float(torch.linalg.eigvalsh(self.precision)[-1])

    def potential(self, w: Tensor, rows: Tensor | None = None) -> Tensor:
        """U at w (C, d) -> (C,), or its unbiased estimate from a batch of rows (C, B) int64."""
        if rows is None:
            misfit = (w @ self.inputs.T - self.targets).square().sum(dim=1)  # (C,)
        else:
            predicted = torch.einsum("cbd,cd->cb", self.inputs[rows], w)
            misfit = (predicted - self.targets[rows]).square().sum(dim=1) * self.n / rows.shape[1]
        return misfit / 2 + w.square().sum(dim=1) / 2


def make_posterior(seed: int, *, n: int = 50, d: int = 5) -> GaussianPosterior:
    """Draw a problem whose inputs have standard deviations from 1 to 2."""
    generator = stream(seed, "posterior")
    inputs = torch.randn(n, d, generator=generator, dtype=torch.float64)
    inputs *= torch.linspace(1, 2, d, dtype=torch.float64)
    truth = torch.randn(d, generator=generator, dtype=torch.float64)
    targets = inputs @ truth + torch.randn(n, generator=generator, dtype=torch.float64)
    return GaussianPosterior(inputs=inputs, targets=targets)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of chains with the posterior.

    Args:
        mean_error: Largest error of the mean over coordinates, in posterior standard deviations.
        covariance_error: Frobenius norm of the covariance's error over that of the covariance.
        effective_samples: The least effective sample size over coordinates.
    """

    mean_error: float
    covariance_error: float
    effective_samples: float


def agreement(samples: np.ndarray, posterior: GaussianPosterior) -> Agreement:
    """Compare draws (steps, chains, d) with the posterior."""
    flat = samples.reshape(-1, samples.shape[2])
    mean, truth = posterior.mean.numpy(), posterior.covariance.numpy()
    off = np.abs(flat.mean(axis=0) - mean) / np.sqrt(np.diag(truth))
    error = np.linalg.norm(np.cov(flat.T, ddof=0) - truth) / np.linalg.norm(truth)
    sizes = [effective_sample_size(samples[:, :, k]) for k in range(samples.shape[2])]
    return Agreement(
        mean_error=float(off.max()), covariance_error=float(error), effective_samples=min(sizes)
    )


def effective_sample_size(chains: np.ndarray) -> float:
    """Independent draws that would tell the mean as well, of chains (steps, chains).

    Autocovariances are averaged over chains around the common mean, and summed over lags while
    the sums of neighbouring pairs stay positive.

    Source: Geyer 1992, "Practical Markov chain Monte Carlo", section 3.3.
    """
    steps, count = chains.shape
    centred = chains - chains.mean()
    power = np.abs(np.fft.rfft(centred, n=2 * steps, axis=0)) ** 2
    covariance = np.fft.irfft(power, axis=0)[:steps].mean(axis=1) / steps
    correlation = covariance / covariance[0]
    pairs = correlation[: steps // 2 * 2].reshape(-1, 2).sum(axis=1)
    stop = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs)
    return float(steps * count / max(2 * pairs[:stop].sum() - 1, 1 / steps))
