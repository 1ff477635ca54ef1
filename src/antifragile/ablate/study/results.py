"""The results of an ablation study, read from its manifest: checks, then contributions.

Contributions are baseline minus ablated, turned so that above zero the component helps: +2 means
that the metric is 2 units worse without it. The checks come first because they say how far the rest
can be trusted: the repeat must be identical, and the placebo (the baseline in another batch order,
which cuts nothing) must not be found to do anything; its interval is the noise that any change
brings with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from antifragile.ablate.designs.base import (
    BASELINE,
    CONTRIBUTION,
    DesignTraits,
    Values,
    differences,
    frame,
)
from antifragile.ablate.designs.registry import design_traits, make_design
from antifragile.ablate.study.folder import Arm
from antifragile.ablate.study.manifest import AblationManifest, ManifestRun
from antifragile.ablate.study.request import Role, TrainingProtocol
from antifragile.analysis.inference.paired import Judged, judge_contrasts
from antifragile.analysis.inference.rank_agreement import RankAgreement, rank_agreement

_DIVERGED = 1e100


@dataclass(frozen=True, kw_only=True)
class BaselineSummary:
    """The baseline's metric over its finished seeds.

    Args:
        n: Seeds.
        mean: Mean in units of the metric; NaN without seeds.
        spread: Standard deviation; NaN with fewer than two seeds.
    """

    n: int
    mean: float
    spread: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ProtocolResult:
    """The results of one protocol.

    Args:
        protocol: Retrain or post-hoc.
        judged: Every question of the design.
        baseline: The baseline's metric, as measured.
        notes: Sentences that a reader of the design's numbers must know.
    """

    protocol: TrainingProtocol
    judged: Judged
    baseline: BaselineSummary
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class AblationResults:
    """The results of a study.

    Args:
        manifest: The manifest they were read from.
        protocols: One result each, in the order asked for.
        repeats: (seeds run twice, of these bit-identical).
        placebo: The judged placebo arm; None when it was not run.
        rank: Agreement of the two protocols; None with one.
        failures: The runs that failed.
    """

    manifest: AblationManifest
    protocols: tuple[ProtocolResult, ...]
    repeats: tuple[int, int]
    placebo: Judged | None
    rank: RankAgreement | None
    failures: tuple[ManifestRun, ...]

    @property
    def arms(self) -> dict[str, Arm]:
        """The arms by name."""
        return {arm.name: arm for arm in self.manifest.arms}

    @property
    def traits(self) -> DesignTraits:
        """Facts about the study's design."""
        return design_traits(self.manifest.design)

    @property
    def is_placebo_found(self) -> bool:
        """Whether the placebo is found to do something at the declared level."""
        if self.placebo is None or self.placebo.table.empty:
            return False
        return bool(self.placebo.table.iloc[0]["p"] <= self.placebo.judgement.alpha)


def read_results(manifest: AblationManifest) -> AblationResults:
    """Judge a study.

    Args:
        manifest: With the metrics of its runs; a study under way has some of them.
    """
    return AblationResults(
        manifest=manifest,
        protocols=tuple(_protocol_result(manifest, p) for p in manifest.protocols),
        repeats=_repeats(manifest),
        placebo=_placebo(manifest),
        rank=_rank_agreement(manifest),
        failures=tuple(run for run in manifest.runs if run.failure),
    )


def run_values(
    manifest: AblationManifest, protocol: TrainingProtocol, role: Role = Role.RUN
) -> Values:
    """Metric by configuration and seed, turned so that higher is better.

    NaN where a run failed, or diverged so far that squares of its metric are not finite.
    """
    values = {}
    for run in manifest.runs:
        if run.protocol is protocol and run.role is role:
            value = (run.metrics or {}).get(manifest.metric, np.nan)
            is_usable = abs(value) < _DIVERGED
            values[frozenset(run.ablated), run.seed] = (
                manifest.sign * value if is_usable else np.nan
            )
    return values


def _protocol_result(manifest: AblationManifest, protocol: TrainingProtocol) -> ProtocolResult:
    values = run_values(manifest, protocol)
    design = make_design(
        manifest.design,
        [arm.name for arm in manifest.arms],
        manifest.seeds,
        judgement=manifest.judgement,
        looks=manifest.looks,
    )
    judged = judge_contrasts(design.contrasts(values), manifest.judgement)
    return ProtocolResult(
        protocol=protocol,
        judged=judged,
        baseline=_baseline(manifest, values),
        notes=design.notes(values, judged.table),
    )


def _baseline(manifest: AblationManifest, values: Values) -> BaselineSummary:
    known = [value for (ablated, _), value in values.items() if ablated == BASELINE]
    finite = manifest.sign * np.asarray([value for value in known if np.isfinite(value)])
    n = len(finite)
    return BaselineSummary(
        n=n,
        mean=float(finite.mean()) if n else np.nan,
        spread=float(finite.std(ddof=1)) if n > 1 else np.nan,
    )


def _repeats(manifest: AblationManifest) -> tuple[int, int]:
    first = {
        run.seed: run.metrics
        for run in manifest.runs
        if not run.ablated and run.role is Role.RUN and run.protocol is TrainingProtocol.RETRAIN
    }
    again = [run for run in manifest.runs if run.role is Role.REPEAT and run.seed in first]
    same = [run.metrics is not None and run.metrics == first[run.seed] for run in again]
    return len(again), sum(same)


def _placebo(manifest: AblationManifest) -> Judged | None:
    values = run_values(manifest, TrainingProtocol.RETRAIN)
    moved = run_values(manifest, TrainingProtocol.RETRAIN, Role.PLACEBO)
    rows = [
        (CONTRIBUTION, Role.PLACEBO, seed, values[BASELINE, seed] - value)
        for (_, seed), value in moved.items()
        if (BASELINE, seed) in values
    ]
    return judge_contrasts(frame(rows), manifest.judgement) if rows else None


def _rank_agreement(manifest: AblationManifest) -> RankAgreement | None:
    if len(manifest.protocols) != 2:
        return None
    one, two = (_contributions(manifest, protocol) for protocol in manifest.protocols)
    return rank_agreement(one, two)


def _contributions(manifest: AblationManifest, protocol: TrainingProtocol) -> pd.DataFrame:
    """Contribution of each arm alone, seeds as rows."""
    values = run_values(manifest, protocol)
    alone = {arm.name: frozenset([arm.name]) for arm in manifest.arms}
    table = frame(differences(CONTRIBUTION, alone, BASELINE, manifest.seeds, values))
    return table.pivot_table(index="seed", columns="target", values="value", dropna=True)
