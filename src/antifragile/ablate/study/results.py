"""The results of an ablation study, read from its manifest: checks, then contributions.

Contributions are baseline minus ablated, turned so that above zero the component helps: +2 means
that the metric is 2 units worse without it. The checks come first because they say how far the rest
can be trusted: the repeat must be identical, and the placebo (the baseline in another batch order,
which cuts nothing) must not be found to do anything; its interval is the noise that any change
brings with it. A run that lacks the metric counts as failed, with the reason. One whose metric is
not finite has diverged: its contrast with one that has not is infinite (see
`analysis.inference.paired`), and two that both diverged have none. A design that averages over many
runs takes the worst finite value of the study instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from antifragile._shown import in_short, listed_names
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

_DIVERGED = 1e100  # squares of larger numbers are not finite


@dataclass(frozen=True, kw_only=True)
class BaselineSummary:
    """The baseline's metric over its finished seeds.

    Args:
        n: Seeds whose metric is finite.
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
        without_number: (question, target) of rows in which no seed has all the numbers needed.
    """

    protocol: TrainingProtocol
    judged: Judged
    baseline: BaselineSummary
    notes: tuple[str, ...]
    without_number: tuple[tuple[str, str], ...] = ()

    @property
    def questions(self) -> list[str]:
        """The questions that have rows, with a number or without."""
        asked = [question for question, _ in self.without_number]
        return list(dict.fromkeys([*map(str, self.judged.table["question"]), *asked]))


@dataclass(frozen=True, kw_only=True)
class ChangedVariants:
    """Variants that a folder no longer holds as they were run.

    Args:
        folder: The folder.
        names: Arms, or ``baseline``; all where the folder cannot be used.
        reason: A sentence that says why it cannot be used; empty where it can.
    """

    folder: str
    names: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AblationResults:
    """The results of a study.

    Args:
        manifest: The manifest they were read from.
        protocols: One result each, in the order asked for.
        repeats: (seeds run twice, of these bit-identical).
        placebo: The judged placebo arm; None when it was not run.
        rank: Agreement of the two protocols; None with one.
        failures: The runs that failed, and those that lack the metric; each with a reason.
        diverged: The runs whose metric is not finite.
        changed: Variants that are no longer there as they were run; None for none.
    """

    manifest: AblationManifest
    protocols: tuple[ProtocolResult, ...]
    repeats: tuple[int, int]
    placebo: Judged | None
    rank: RankAgreement | None
    failures: tuple[ManifestRun, ...]
    diverged: tuple[ManifestRun, ...]
    changed: ChangedVariants | None = None

    def __repr__(self) -> str:
        holds = (
            f"{self.manifest.name!r}, {len(self.arms)} ablations, {len(self.manifest.runs)} runs"
        )
        return in_short(self, holds, "a row for each contribution, with interval and verdict")

    @property
    def arms(self) -> dict[str, Arm]:
        """The arms by name."""
        return {arm.name: arm for arm in self.manifest.arms}

    @property
    def traits(self) -> DesignTraits:
        """Facts about the study's design."""
        return design_traits(self.manifest.design)

    def frame(self) -> pd.DataFrame:
        """The rows of every protocol and question, with p after Holm, and the placebo as one."""
        tables = [
            result.judged.table.assign(protocol=result.protocol.value) for result in self.protocols
        ]
        if self.placebo is not None:
            tables.append(self.placebo.table.assign(protocol=TrainingProtocol.RETRAIN.value))
        return pd.concat(tables, ignore_index=True)

    @property
    def is_placebo_found(self) -> bool:
        """Whether the placebo is found to do something at the declared level."""
        if self.placebo is None or self.placebo.table.empty:
            return False
        return bool(self.placebo.table.iloc[0]["p"] <= self.placebo.judgement.alpha)


def read_results(
    manifest: AblationManifest, changed: ChangedVariants | None = None
) -> AblationResults:
    """Judge a study.

    Args:
        manifest: With the metrics of its runs; a study under way has some of them.
        changed: See `AblationResults`.
    """
    return AblationResults(
        manifest=manifest,
        protocols=tuple(_protocol_result(manifest, p) for p in manifest.protocols),
        repeats=_repeats(manifest),
        placebo=_placebo(manifest),
        rank=_rank_agreement(manifest),
        failures=tuple(_failures(manifest)),
        diverged=tuple(run for run in manifest.runs if is_diverged(run.metrics, manifest.metric)),
        changed=changed,
    )


def run_values(
    manifest: AblationManifest,
    protocol: TrainingProtocol,
    role: Role = Role.RUN,
    *,
    replaces: bool | None = None,
) -> Values:
    """Metric by configuration and seed, turned so that higher is better.

    NaN where a run failed; where it diverged, see `turned_values`, as the design has it unless
    ``replaces`` says otherwise.
    """
    if replaces is None:
        replaces = design_traits(manifest.design).averages_runs
    turned = turned_values(
        [run.metrics for run in manifest.runs],
        manifest.metric,
        manifest.sign,
        replaces=replaces,
    )
    return {
        (frozenset(run.ablated), run.seed): value
        for run, value in zip(manifest.runs, turned, strict=True)
        if run.protocol is protocol and run.role is role
    }


def turned_values(
    metrics: Sequence[Mapping[str, float] | None], metric: str, sign: float, *, replaces: bool
) -> list[float]:
    """Turn the judged metrics of all runs of a study so that higher is better.

    Args:
        metrics: The metrics of each run; None where it failed.
        metric: The judged one.
        sign: Factor that turns it.
        replaces: Whether a run that diverged has the worst finite value of all, not minus infinity.

    Returns:
        A number per run: NaN where it failed or lacks the metric.
    """
    known = [found is not None and metric in found for found in metrics]
    values = [
        sign * found[metric] if found is not None and is_known else np.nan
        for found, is_known in zip(metrics, known, strict=True)
    ]
    worst = min((value for value in values if _is_comparable(value)), default=np.nan)
    diverged = worst if replaces else -np.inf
    return [
        value if _is_comparable(value) or not is_known else diverged
        for value, is_known in zip(values, known, strict=True)
    ]


def is_diverged(metrics: Mapping[str, float] | None, metric: str) -> bool:
    """Whether the judged metric of a run that ended is not finite, or near it."""
    return metrics is not None and metric in metrics and not _is_comparable(metrics[metric])


def _is_comparable(value: float) -> bool:
    return abs(value) < _DIVERGED  # not NaN


def metric_fault(metrics: Mapping[str, float], metric: str) -> str | None:
    """Say, as a clause, that a run lacks the judged metric; None if it has it."""
    if metric in metrics:
        return None
    return f"the experiment returns no metric {metric!r}; it returns {listed_names(metrics)}"


def differing_metrics(manifest: AblationManifest) -> list[str]:
    """A sentence on each metric that some finished runs return and others do not."""
    finished = [(run.label, run.metrics) for run in manifest.runs if run.metrics is not None]
    sentences = []
    for name in dict.fromkeys(name for _, metrics in finished for name in metrics):
        having = [label for label, metrics in finished if name in metrics]
        lacking = [label for label, metrics in finished if name not in metrics]
        if not lacking:
            continue
        word, fewer = ("not in", lacking) if len(lacking) <= len(having) else ("only in", having)
        sentences.append(
            f"{name!r} is {word} {len(fewer)} of {len(finished)} finished runs: "
            f"{listed_names(dict.fromkeys(fewer), 3)}"
        )
    return sentences


def _failures(manifest: AblationManifest) -> Iterator[ManifestRun]:
    for run in manifest.runs:
        reason = run.failure
        if run.metrics is not None:
            reason = metric_fault(run.metrics, manifest.metric)
        if reason:
            yield replace(run, failure=reason)


def _protocol_result(manifest: AblationManifest, protocol: TrainingProtocol) -> ProtocolResult:
    values = run_values(manifest, protocol)
    design = make_design(
        manifest.design,
        [arm.name for arm in manifest.arms],
        manifest.seeds,
        judgement=manifest.judgement,
        looks=manifest.looks,
    )
    contrasts = design.contrasts(values)
    if design.traits.averages_runs:
        infinite = run_values(manifest, protocol, replaces=False)
        contrasts["replaced"] = ~np.isfinite(design.contrasts(infinite)["value"])
    judged = judge_contrasts(contrasts, manifest.judgement)
    rows, asked = (
        dict.fromkeys(zip(table["question"], table["target"], strict=True))
        for table in (judged.table, contrasts)
    )
    return ProtocolResult(
        protocol=protocol,
        judged=judged,
        baseline=_baseline(manifest, protocol),
        notes=design.notes(values, judged.table),
        without_number=tuple(row for row in asked if row not in rows),
    )


def _baseline(manifest: AblationManifest, protocol: TrainingProtocol) -> BaselineSummary:
    found = [
        run.metrics[manifest.metric]
        for run in manifest.runs
        if (run.protocol, run.role) == (protocol, Role.RUN)
        and not run.ablated
        and run.metrics is not None
        and manifest.metric in run.metrics
    ]
    finite = np.asarray([value for value in found if _is_comparable(value)])
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
    same = [run.metrics is not None and _alike(run.metrics, first[run.seed]) for run in again]
    return len(again), sum(same)


def _alike(some: Mapping[str, float], others: Mapping[str, float] | None) -> bool:
    """Whether two runs have the same metrics to the bit, NaN included."""
    return json.dumps(some, sort_keys=True) == json.dumps(others, sort_keys=True)


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
    """Contribution of each arm alone, seeds as rows; finite, so that all can be ranked."""
    values = run_values(manifest, protocol, replaces=True)
    alone = {arm.name: frozenset([arm.name]) for arm in manifest.arms}
    table = frame(differences(CONTRIBUTION, alone, BASELINE, manifest.seeds, values))
    return table.pivot_table(index="seed", columns="target", values="value", dropna=True)
