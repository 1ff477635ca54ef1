"""Experiment ``posterior``: do SGLD and pSGLD sample what they should?

Chains start from draws of a normal posterior known in closed form (`problems.gaussian`) and run
with the presets ``sgld`` and ``psgld`` on the loss U / n, plain SGD underneath. The step size is
stated relative to the stiffness: a step of 1 is h = 1 / (largest eigenvalue), 2 is where descent
would diverge. For SGLD with all data the bias is known: along an eigenvector with eigenvalue
lambda the variance is 1 / (lambda (1 - h lambda / 2)). Batches (half of the data, drawn with
replacement) add the noise of their gradients.

pSGLD leaves out the Gamma term, as published practice does; its bias is shown against the decay of
the running square. Its step is stated so that a coordinate as stiff as the stiffest direction has
h lambda = step on average.

The first fifth of every chain is dropped.

Source: Welling & Teh 2011; Li et al. 2016, arXiv 1512.07666.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from antifragile.optim import presets
from antifragile.optim.attach.perturb import perturb
from antifragile.optim.rules import Rule
from benchmarks.perturbation.parts import Experiment, Frames, Part
from benchmarks.perturbation.problems.gaussian import GaussianPosterior, agreement, make_posterior
from benchmarks.perturbation.records import BenchSettings
from benchmarks.perturbation.training.networks import stream

CHAINS, STEPS, THIN = 1000, 3000, 5
SIZES = (1.0, 0.5, 0.2, 0.1, 0.05)
PSGLD_SIZES = SIZES[1::2]
DECAYS = (0.9, 0.99, 0.999)
GOAL = 0.05
_QUICK_STEPS, _QUICK_SIZE = 700, 0.2


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A sampler, one row of the table.

    Args:
        step: Relative to the stiffness.
        batch: Samples per gradient; None is all.
        decay: Decay of pSGLD's running square; None is SGLD.
    """

    step: float
    batch: int | None = None
    decay: float | None = None

    @property
    def name(self) -> str:
        """Name in the table."""
        method = "SGLD" if self.decay is None else f"pSGLD, decay {self.decay:g}"
        return method if self.batch is None else f"{method}, batches"


def parts(settings: BenchSettings) -> list[Part]:
    """Sample with every sampler at every step size.

    Args:
        settings: ``seeds`` is not used, chains take their place; ``quick`` keeps one step size
            and 700 steps of SGLD with all data.
    """
    target, steps = make_posterior(0), _QUICK_STEPS if settings.quick else STEPS
    return [
        Part(
            label=f"{sampler.name}, step {sampler.step:g}",
            run=partial(sample, sampler, target, steps=steps),
        )
        for sampler in samplers(target.n, quick=settings.quick)
    ]


def samplers(n: int, *, quick: bool) -> Iterator[Sampler]:
    """All rows, or the one of the short form."""
    if quick:
        yield Sampler(step=_QUICK_SIZE)
        return
    for batch in (None, n // 2):
        yield from (Sampler(step=step, batch=batch) for step in SIZES)
    for decay in DECAYS:
        yield from (Sampler(step=step, decay=decay) for step in PSGLD_SIZES)


def sample(sampler: Sampler, target: GaussianPosterior, *, steps: int) -> Frames:
    """Run all chains of one sampler and compare them with the posterior: one row, no curves."""
    begun = time.process_time()
    generator = stream(0, "chains")
    w = torch.nn.Parameter(_start(target, generator))
    optimizer = torch.optim.SGD([w], lr=_learning_rate(sampler, target))
    handle = perturb(optimizer, *_rules(sampler, target.n), seed=0)
    kept: list[Tensor] = []
    for step in range(steps):
        rows = _draw_rows(sampler, target, generator)
        optimizer.zero_grad()
        torch.autograd.backward(target.potential(w, rows).sum() / target.n)
        optimizer.step()
        if step >= steps // 5 and step % THIN == 0:
            kept.append(w.detach().clone())
    handle.remove()
    is_plain = sampler.batch is None and sampler.decay is None
    found = agreement(torch.stack(kept).numpy(), target)
    row = pd.DataFrame(
        {
            "sampler": [sampler.name],
            "step": sampler.step,
            "mean_error": found.mean_error,
            "covariance_error": found.covariance_error,
            "predicted": predicted_error(target, sampler.step) if is_plain else np.nan,
            "effective_samples": found.effective_samples,
            "chains": CHAINS,
            "gradient_evaluations": steps * CHAINS,
            "seconds": (time.process_time() - begun) / CHAINS,
        }
    )
    return row, pd.DataFrame()


def predicted_error(target: GaussianPosterior, step: float) -> float:
    """The relative Frobenius error of SGLD's covariance with all data, by theory."""
    values = torch.linalg.eigvalsh(target.precision)
    variance = 1 / (values * (1 - step * values / target.stiffness / 2))
    return float((variance - 1 / values).norm() / (1 / values).norm())


def _learning_rate(sampler: Sampler, target: GaussianPosterior) -> float:
    """Rate at which h times the stiffness is the step; pSGLD's G is about n / sqrt(lambda)."""
    if sampler.decay is None:
        return sampler.step * target.n / target.stiffness
    return float(sampler.step / target.stiffness**0.5)


def _rules(sampler: Sampler, n: int) -> tuple[Rule, ...]:
    if sampler.decay is None:
        return presets.sgld(n_samples=n)
    return presets.psgld(n_samples=n, decay=sampler.decay)


def _start(target: GaussianPosterior, generator: torch.Generator) -> Tensor:
    """Draws of the posterior itself, (chains, d)."""
    noise = torch.randn(CHAINS, target.d, generator=generator, dtype=torch.float64)
    root: Tensor = torch.linalg.cholesky(target.covariance)
    return target.mean + torch.mm(noise, root.T)


def _draw_rows(
    sampler: Sampler, target: GaussianPosterior, generator: torch.Generator
) -> Tensor | None:
    if sampler.batch is None:
        return None
    return torch.randint(target.n, (CHAINS, sampler.batch), generator=generator)


def _notes(rows: pd.DataFrame, _: object) -> list[str]:
    """Name the step sizes that reach the goal, for each sampler."""
    notes = []
    for sampler, cells in rows.groupby("sampler", sort=False):
        good = cells[
            (cells["mean_error"] <= GOAL)
            & (cells["covariance_error"] <= GOAL)
            & (cells["effective_samples"] >= 10_000)
        ]
        steps = ", ".join(f"{step:g}" for step in good["step"])
        where = f"at step {steps}" if steps else "at no step size"
        notes.append(
            f"{sampler}: both errors at most {GOAL} with 10,000 effective samples {where}."
        )
    return notes


EXPERIMENT = Experiment(
    name="posterior",
    question="do SGLD and pSGLD sample the posterior they should?",
    minutes=1,
    parts=parts,
    grids=lambda _: {
        "step": SIZES,
        "decay": DECAYS,
        "chains": CHAINS,
        "steps": STEPS,
        "thinned by": THIN,
    },
    summarise=lambda runs: runs,
    notes=_notes,
)
