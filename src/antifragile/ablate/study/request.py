"""The request for an ablation study, and the runs that are planned for it.

AblationRequest the study: arms, seeds, looks, experiment
PlannedRun      one run of it, with its role:

run         a configuration of the design, paired by its seed
repeat      the baseline once more: bit-identical, or the experiment is not deterministic
placebo     the baseline in another batch order: a cut that cuts nothing
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from antifragile._shown import is_address
from antifragile.ablate.designs.base import BASELINE, Configuration
from antifragile.ablate.designs.registry import DesignName
from antifragile.ablate.study.experiment import Experiment
from antifragile.analysis.inference.paired import Judgement
from antifragile.config.seeds import SeedTree
from antifragile.errors import UsageError
from antifragile.study.machine import check_device

_LOWER_IS_BETTER = ("loss", "error", "perplexity", "mse", "mae", "rmse", "nll", "bpc", "wer")


class TrainingProtocol(StrEnum):
    """The time of an ablation: RETRAIN cuts before training, POST_HOC cuts a trained model."""

    RETRAIN = "retrain"
    POST_HOC = "post-hoc"


class Role(StrEnum):
    """The purpose of a run."""

    RUN = "run"
    REPEAT = "repeat"
    PLACEBO = "placebo"


@dataclass(frozen=True, kw_only=True)
class AblationRequest:
    """An ablation study.

    Args:
        name: Name in the store.
        experiment: The training and measurement that is run.
        arms: Names of the variants.
        seeds: Pairs; each is a number handed to the experiment.
        protocols: One or both.
        design: The way in which arms are combined.
        judgement: Declared levels and margin.
        looks: Cumulative numbers of seeds at which an adaptive study looks.
        metric: The metric that is judged; None for the first.
        higher_is_better: None to go by the metric's name.
        device: The device that an experiment's function is handed.
    """

    name: str
    experiment: Experiment
    arms: Sequence[str]
    seeds: Sequence[int]
    protocols: Sequence[TrainingProtocol] = (TrainingProtocol.RETRAIN,)
    design: DesignName = DesignName.LEAVE_ONE_OUT
    judgement: Judgement = field(default_factory=Judgement)
    looks: Sequence[int] = ()
    metric: str | None = None
    higher_is_better: bool | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if is_address(self.name):
            raise UsageError(
                "a study's name is shown in every report, and this one is an address; give --name "
                "a plain name, and the address as --store."
            )
        check_device(self.device)
        if self.device != "cpu" and self.experiment.command is not None:
            raise UsageError("--device reaches functions; a command takes it as you type it.")
        if not self.seeds:
            raise UsageError("a study needs at least one seed; give --seeds 10.")
        if self.looks and self.design is not DesignName.LEAVE_ONE_OUT:
            raise UsageError(f"--adaptive is for leave-one-out; got --design {self.design}.")


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run.

    Args:
        ablated: The arms that are cut.
        seed: The seed it is paired by.
        protocol: Retrain or post-hoc.
        role: Its purpose.
    """

    ablated: Configuration
    seed: int
    protocol: TrainingProtocol = TrainingProtocol.RETRAIN
    role: Role = Role.RUN

    @property
    def label(self) -> str:
        """The run in words, for people."""
        what = " + ".join(sorted(self.ablated)) or "baseline"
        return what if self.role is Role.RUN else f"{what}, {self.role}"

    def seeds(self) -> dict[str, int]:
        """Seeds handed to the job: for initial values, the global streams and the batch order."""
        tree = SeedTree(self.seed).child("ablation")
        drawn = tree.child("placebo") if self.role is Role.PLACEBO else tree
        return {
            "seed": self.seed,
            "init": tree.child("init").key64 >> 1,
            "stream": drawn.child("stream").key64 >> 1,
            "order": drawn.child("order").key64 >> 33,  # fits what NumPy and torch take
        }


def started_from(plans: Iterable[PlannedRun], experiment: Experiment) -> list[PlannedRun]:
    """The baselines whose kept values runs among these start from.

    Post-hoc runs start from trained values; those of a command from initial ones.
    """
    seeds = dict.fromkeys(plan.seed for plan in plans if starts_from_kept(plan, experiment))
    return [PlannedRun(ablated=BASELINE, seed=seed) for seed in seeds]


def starts_from_kept(plan: PlannedRun, experiment: Experiment) -> bool:
    """Whether a run starts from values that a baseline's run has kept."""
    if plan.protocol is TrainingProtocol.POST_HOC:
        return True
    is_own = plan.ablated == BASELINE and plan.role is not Role.PLACEBO
    return experiment.command is not None and not is_own


def is_higher_better(metric: str) -> bool:
    """Whether higher is better, by the metric's name: losses and errors should be low."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", metric)  # of val_loss, val/loss, valLoss
    return not any(word.lower() in _LOWER_IS_BETTER for word in words)
