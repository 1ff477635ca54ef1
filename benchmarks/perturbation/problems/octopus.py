"""The octopus function: a chain of saddles that gradient descent passes ever more slowly.

The domain is a tube folded through d regions. In region k the way on leads along coordinate k,
where the function falls like -gamma z^2 away from a strict saddle at z_k = 0; a coordinate that
has passed waits at 4 tau. Gradient descent leaves each saddle exponentially closer to the next
one, so its time grows exponentially with d; a small kick at each saddle makes it polynomial.

Coordinates are mirrored (z = abs(x)). With k the first coordinate below 2 tau, and all sums over
the other coordinates:

    z_k <= tau:          sum_{i<k} L (z_i - 4 tau)^2 - gamma z_k^2 + sum_{i>k} L z_i^2 - (k-1) nu
    tau <= z_k <= 2 tau: sum_{i<k} L (z_i - 4 tau)^2 + g1(z_k) + g2(z_k) z_{k+1}^2
                         + sum_{i>k+1} L z_i^2 - (k-1) nu
    no such k:           sum_i L (z_i - 4 tau)^2 - d nu

g1' is the cubic through (-2 gamma tau, slope -2 gamma) at tau and (-4 L tau, slope 2 L) at 2 tau,
g2 goes smoothly from L to -gamma, nu = 4 L tau^2 - g1(2 tau). The least value is -d nu.

Source: Du, Jin, Lee, Jordan, Poczos and Singh 2017, arXiv 1705.10412, section 4 and appendix,
in the form that mirrors the tube.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Octopus:
    """The function for one choice of constants.

    Args:
        smoothness: (R,) float64, L of each replica: curvature across the tube.
        gamma: Curvature along the way out of a saddle.
        tau: Length of a region.

    Example:
        >>> octopus = Octopus(smoothness=torch.tensor([1.0, 3.0], dtype=torch.float64))
        >>> bottom = torch.full((2, 5), 4 * octopus.tau, dtype=torch.float64)
        >>> bool(torch.isclose(octopus(bottom), octopus.minimum(5)).all())
        True
    """

    smoothness: Tensor
    gamma: float = 1.0
    tau: float = math.e

    @cached_property
    def nu(self) -> Tensor:
        """Fall of the function from one region to the next, (R,)."""
        return 4 * self.smoothness * self.tau**2 - self._g1(torch.ones_like(self.smoothness))

    def minimum(self, d: int) -> Tensor:
        """Least value in d dimensions, (R,)."""
        return -d * self.nu

    def __call__(self, x: Tensor) -> Tensor:
        """Values (R,) at points (R, d)."""
        z = x.abs()
        d = z.shape[1]
        passed = (z >= 2 * self.tau).long().cumprod(dim=1)  # (R, d) 1 before k, 0 from k on
        k = passed.sum(dim=1)  # (R,), d when every coordinate has passed
        waiting = self.smoothness * ((z - 4 * self.tau).square() * passed).sum(dim=1)
        outside = self.smoothness * (z.square() * (1 - passed)).sum(dim=1)
        here = z.gather(1, k.clamp(max=d - 1)[:, None])[:, 0]  # z_k
        after = z.gather(1, (k + 1).clamp(max=d - 1)[:, None])[:, 0]  # z_{k+1}
        after = torch.where(k + 1 < d, after, 0.0)
        in_transit = (here > self.tau) & (k < d)
        place = ((here - self.tau) / self.tau).clamp(0, 1)  # 0 at tau, 1 at 2 tau
        leaving = -self.gamma * here.square()
        turning = self._g1(place) + (self._g2(place) - self.smoothness) * after.square()
        own = torch.where(in_transit, turning, leaving) - self.smoothness * here.square()
        return waiting + outside + torch.where(k < d, own, 0.0) - k * self.nu

    def _g1(self, place: Tensor) -> Tensor:
        """Integral of the cubic Hermite interpolant from tau on; ``place`` runs from 0 to 1."""
        start, end = -2 * self.gamma * self.tau, -4 * self.smoothness * self.tau
        slope, end_slope = -2 * self.gamma * self.tau, 2 * self.smoothness * self.tau
        cubic = 2 * start - 2 * end + slope + end_slope
        square = -3 * start + 3 * end - 2 * slope - end_slope
        within = place * (start + place * (slope / 2 + place * (square / 3 + place * cubic / 4)))
        return self.tau * within - self.gamma * self.tau**2

    def _g2(self, place: Tensor) -> Tensor:
        """Go smoothly from L at place 0 to -gamma at place 1, flat at both ends."""
        u, both = place - 1, self.smoothness + self.gamma
        return -self.gamma - both * u**3 * (10 + 15 * u + 6 * u**2)
