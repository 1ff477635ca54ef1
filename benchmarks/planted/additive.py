"""An additive model, on which every design has a closed form.

Least squares on k orthogonal inputs: the share of variance explained by a subset of inputs is the
sum of their squared correlations with the target, r_j^2. So leaving one out, adding one in, the
Shapley value, the step of the path and the factorial effect of input j must all be r_j^2.
"""

from __future__ import annotations

import numpy as np

from antifragile.ablate.designs.add_one_in import AddOneIn
from antifragile.ablate.designs.base import CONTRIBUTION, AblationDesign, Request
from antifragile.ablate.designs.factorial import Factorial
from antifragile.ablate.designs.leave_one_out import LeaveOneOut
from antifragile.ablate.designs.path import AblationPath
from antifragile.ablate.designs.shapley import Shapley
from antifragile.config.seeds import SeedTree

N = 64


class Additive:
    """Least squares on orthogonal inputs, one problem a seed.

    Args:
        k: Inputs, the components.
    """

    def __init__(self, k: int) -> None:
        self.components = tuple(f"input {j + 1}" for j in range(k))

    def problem(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Orthonormal inputs (N, k) and a centred target (N,)."""
        rng, k = SeedTree(seed).child("additive").generator(), len(self.components)
        raw = rng.normal(size=(N, k + 1))
        inputs = np.linalg.qr(raw - raw.mean(axis=0))[0]
        strength = np.append(np.linspace(0, 2, k), 1.0)  # the last column is noise
        return inputs[:, :k], inputs @ (strength + 0.1 * rng.normal(size=k + 1))

    def closed_form(self, seed: int) -> np.ndarray:
        """Squared correlations, (k,)."""
        inputs, target = self.problem(seed)
        return np.asarray((inputs.T @ target) ** 2 / (target @ target))

    def value(self, request: Request) -> float:
        """Fit without the ablated inputs; the explained share of variance."""
        ablated, seed = request
        inputs, target = self.problem(seed)
        kept = inputs[:, [c not in ablated for c in self.components]]
        residual = target - kept @ np.linalg.lstsq(kept, target, rcond=None)[0]
        return float(1 - residual @ residual / (target @ target))


def contributions(model: Additive, design: AblationDesign) -> tuple[dict[str, float], int]:
    """Mean contribution of each component by a design, and the runs that it took."""
    values: dict[Request, float] = {}
    while wanted := design.wanted(values):
        values |= {request: model.value(request) for request in wanted}
    table = design.contrasts(values)
    means = table[table["question"] == CONTRIBUTION].groupby("target")["value"].mean()
    return {str(name): float(mean) for name, mean in means.items()}, len(values)


def additive_section(seeds: range = range(10)) -> str:
    """Every design against the closed form."""
    lines = ["| design | components | runs a seed | largest deviation |", "|---|---:|---:|---:|"]
    for name, k, make in (
        ("leave-one-out", 8, LeaveOneOut),
        ("add-one-in", 8, AddOneIn),
        ("full factorial", 4, Factorial),
        ("factorial, resolution IV", 8, Factorial),
        ("path", 8, AblationPath),
        ("Shapley, all subsets", 4, Shapley),
        ("Shapley, sampled", 8, Shapley),
    ):
        model = Additive(k)
        found, n_runs = contributions(model, make(components=model.components, seeds=seeds))
        truth = np.mean([model.closed_form(seed) for seed in seeds], axis=0)
        gap = max(abs(found[c] - t) for c, t in zip(model.components, truth, strict=True))
        lines.append(f"| {name} | {k} | {n_runs / len(seeds):.1f} | {gap:.1e} |")
    about = (
        "Least squares on orthogonal inputs (`benchmarks/planted/additive.py`), explained "
        "share of variance, against the closed form, the squared correlation; ten seeds."
    )
    return "\n".join(["### An additive model", "", about, "", *lines])
