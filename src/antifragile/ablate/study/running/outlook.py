"""The outlook on a study: how many runs, how long, how much disk, and what they can decide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from antifragile._records import to_json
from antifragile._shown import in_short
from antifragile.ablate.designs.registry import DesignName
from antifragile.ablate.study.request import PlannedRun, Role
from antifragile.ablate.study.running.runs import AblationRuns
from antifragile.analysis.inference.families import first_threshold
from antifragile.analysis.inference.permutation import Design, trials_needed
from antifragile.store.ablation import AblationRun

_TRAINING = ("command", "file", "dataset", "options")  # of an experiment in a manifest


@dataclass(frozen=True, kw_only=True, repr=False)
class AblationOutlook:
    """The runs that a study needs.

    Args:
        n_wanted: Runs in all.
        n_baseline: Runs of these of the baseline.
        n_checks: Runs of these that check the study: baselines once more, and placebos.
        n_found: Runs of these that the store has.
        is_least: Whether more may be asked for, by what these say.
        seconds_each: Mean wall time of those that the store has; where it has none, of runs of this
            study with other files; NaN where it has none of these either.
        bytes_each: Mean size of the folders of these; NaN where they have none.
        smallest_p: The smallest p that the seeds can give.
        first_threshold: Level that Holm asks of the smallest p of all arms.
        seeds_needed: Seeds from which a p can go down to that level.
        notes: Sentences on what may go wrong.
    """

    n_wanted: int
    n_baseline: int
    n_checks: int
    n_found: int
    is_least: bool
    seconds_each: float
    bytes_each: float
    smallest_p: float
    first_threshold: float
    seeds_needed: int
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        holds = f"{self.n_wanted} runs, {self.n_found} of them in the store"
        return in_short(self, holds, "all numbers in a row")

    def frame(self) -> pd.DataFrame:
        """The numbers in one row."""
        return pd.DataFrame([asdict(self)]).drop(columns="notes")

    @property
    def can_show(self) -> bool:
        """Whether any difference can be found after Holm."""
        return self.smallest_p <= self.first_threshold


def outlook_of(
    runs: AblationRuns, plans: Sequence[PlannedRun], found: Mapping[PlannedRun, AblationRun]
) -> AblationOutlook:
    """Look ahead.

    Args:
        runs: The study's runs.
        plans: The wanted ones.
        found: Those of them that the store has.
    """
    request = runs.request
    sizes = [] if runs.launches is None else [runs.launches.bytes_of(plan) for plan in found]
    n_seeds, judged = len(request.seeds), request.judgement
    threshold = first_threshold(judged.alpha, len(request.arms), judged.looks)
    return AblationOutlook(
        n_wanted=len(plans),
        n_baseline=sum(not p.ablated and p.role is Role.RUN for p in plans),
        n_checks=sum(p.role is not Role.RUN for p in plans),
        n_found=len(found),
        is_least=bool(request.looks) or request.design is not DesignName.LEAVE_ONE_OUT,
        seconds_each=_mean([run.seconds for run in found.values() or _runs_before(runs)]),
        bytes_each=_mean(sizes),
        smallest_p=Design(n=n_seeds, n_control=n_seeds, paired=True).smallest_p,
        first_threshold=threshold,
        seeds_needed=trials_needed(threshold, paired=True),
        notes=() if request.experiment.command is None else request.experiment.command.notes,
    )


def _runs_before(runs: AblationRuns) -> list[AblationRun]:
    """The finished runs of the study of this name, as it last ran, if that was the same training.

    Their files may have been others.
    """
    name, store = runs.request.name, runs.store
    if name not in store.ablation_names():
        return []
    then, now = store.manifest(name), to_json(runs.request.experiment)
    if any(then["experiment"].get(part) != now.get(part) for part in _TRAINING):
        return []
    found = store.ablation_runs(run["key"] for run in then["runs"])
    return [run for run in found.values() if run.metrics is not None]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
