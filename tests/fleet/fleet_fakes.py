"""Random data and short studies for the tests of the fleet and of its parity."""

from __future__ import annotations

from dataclasses import replace

import torch

from antifragile.config.architecture import Architecture
from antifragile.config.modes import PAPER_MODES
from antifragile.config.seeds import Pairing
from antifragile.config.specs.training import Normalization, TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset, Split
from antifragile.engine.records import MetaLoopRecord
from antifragile.engine.trial import TrialState
from antifragile.fleet.planning.plan import FleetPlan, plan_fleet
from antifragile.fleet.planning.workloads import workload
from antifragile.fleet.trainer import fleet_meta_loops

OPTIONS = TrainingOptions(batch_size=100, learning_rate=1e-2, background_weight_decay=0.01)
"""Steps large enough that 10 meta-loops promote and refuse; the last of 4 batches is short."""


def random_data(
    n_train: int = 333,
    n_inputs: int = 37,
    n_classes: int = 7,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Noisy samples of a random linear rule, so that there is something to learn."""
    generator = torch.Generator().manual_seed(7)
    rule = torch.randn(n_inputs, n_classes, generator=generator, dtype=torch.float64)

    def split(n: int) -> Split:
        images = torch.randn(n, n_inputs, generator=generator, dtype=torch.float64)
        noise = torch.randn(n, n_classes, generator=generator, dtype=torch.float64)
        return Split(images.to(dtype), (images @ rule + 2 * noise).argmax(dim=1))

    return Dataset(
        name="random",
        description="a random linear rule with noise",
        train=split(n_train),
        validation=split(150),
        test=split(130),
        n_inputs=n_inputs,
        n_classes=n_classes,
        normalization=Normalization.UNIT,
        mean=0.0,
        sd=1.0,
    )


def make_specs(
    architecture: str,
    *,
    modes: tuple[str, ...] = PAPER_MODES,
    trials: int = 2,
    meta_loops: int = 3,
    pairing: Pairing = Pairing.PAIRED,
    options: TrainingOptions = OPTIONS,
) -> list[TrialSpec]:
    """Every mode of every trial, trial by trial."""
    return [
        TrialSpec(
            dataset="random",
            architecture=Architecture.parse(architecture),
            mode=mode,
            trial=trial,
            meta_loops=meta_loops,
            pairing=pairing,
            training=options,
        )
        for trial in range(1, trials + 1)
        for mode in modes
    ]


def make_plan(
    specs: list[TrialSpec],
    data: Dataset,
    *,
    kernel: str | None = None,
    threads: int = 1,
    precision: str | None = None,
) -> FleetPlan:
    """A plan in the data's own precision; the compiled kernel, unless trials are perturbed."""
    kernel = kernel or ("torch" if specs[0].perturbations else "native")
    own = "fp64" if data.train.images.dtype == torch.float64 else "fp32"
    precision = precision or own
    return plan_fleet(workload(specs, data), threads=threads, precision=precision, kernel=kernel)


def run_fleet(
    specs: list[TrialSpec],
    data: Dataset,
    plan: FleetPlan,
    start: list[TrialState | None] | None = None,
) -> tuple[list[list[MetaLoopRecord]], list[TrialState]]:
    """All records of every trial (without their seconds) and the states at the end."""
    records: list[list[MetaLoopRecord]] = [[] for _ in specs]
    states: list[TrialState] = []
    for turn, state in fleet_meta_loops(specs, data, start=start, plan=plan):
        states = state.trial_states()
        for replica, record in enumerate(turn):
            if record is not None:
                records[replica].append(replace(record, seconds=0.0))
    return records, states


def same_bits(one: TrialState, other: TrialState) -> bool:
    """Whether two states agree in every number and every bit of every weight."""
    return (
        (one.meta_loop, one.final_correct) == (other.meta_loop, other.final_correct)
        and (one.lkg.bounty, one.lkg.meta_loop) == (other.lkg.bounty, other.lkg.meta_loop)
        and all(torch.equal(one.lkg.weights[k], other.lkg.weights[k]) for k in one.lkg.weights)
    )
