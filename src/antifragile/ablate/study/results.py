"""An ablation study, read from its manifest: checks first, then what each component was worth.

Contributions are baseline minus ablated, turned so that above zero the component helps: +2 means
that the metric is 2 units worse without it. The checks come first because they say how far the rest
can be trusted: the repeat must be identical, and the placebo (the baseline in another batch order,
which cuts nothing) must not be found to do anything; its interval is the noise that any change
brings with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from antifragile.ablate.designs.base import (
    BASELINE,
    CONTRIBUTION,
    DesignName,
    Values,
    frame,
    redundant_pairs,
)
from antifragile.ablate.designs.choice import make_design
from antifragile.ablate.designs.path import AblationPath
from antifragile.analysis.inference.paired import Judged, Judgement, judge_contrasts
from antifragile.config.seeds import SeedTree

PLACEBO = "placebo"
N_BOOTSTRAP = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class ProtocolResult:
    """What one protocol found.

    Args:
        protocol: ``retrain`` or ``post-hoc``.
        judged: Every question of the design.
        baseline: Metric of the baseline by seed, as measured.
        notes: What a reader must know about the design, and redundant pairs.
    """

    protocol: str
    judged: Judged
    baseline: tuple[float, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RankAgreement:
    """Spearman's correlation of the contributions by two protocols.

    Args:
        rho: Over the arms.
        low: Lower end of the 95 % interval over resampled seeds.
        high: Upper end.
        n_arms: Arms with both.
    """

    rho: float
    low: float
    high: float
    n_arms: int


@dataclass(frozen=True, kw_only=True, eq=False)
class AblationResults:
    """What `read_results` makes of a manifest.

    Args:
        manifest: As given.
        protocols: One result each, in the order asked for.
        repeats: (seeds run twice, of these bit-identical).
        placebo: The judged placebo arm; None when it was not run.
        rank: Agreement of the two protocols; None with one.
        failures: (arm, seed, protocol, reason).
    """

    manifest: dict[str, Any]
    protocols: tuple[ProtocolResult, ...]
    repeats: tuple[int, int]
    placebo: Judged | None
    rank: RankAgreement | None
    failures: tuple[tuple[str, int, str, str], ...]

    @property
    def metric(self) -> str:
        """Its name."""
        return str(self.manifest["metric"])

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """What the manifest says of each arm, by name."""
        return {str(arm["name"]): arm for arm in self.manifest["arms"]}


def read_results(manifest: dict[str, Any]) -> AblationResults:
    """Judge a study.

    Args:
        manifest: With the metrics of its runs; a study under way has some of them.
    """
    judgement = Judgement(**manifest["judgement"])
    found = {p: _protocol_result(manifest, p, judgement) for p in manifest["protocols"]}
    return AblationResults(
        manifest=manifest,
        protocols=tuple(found.values()),
        repeats=_repeats(manifest),
        placebo=_placebo(manifest, judgement),
        rank=_rank_agreement(manifest) if len(found) == 2 else None,
        failures=tuple(
            (" + ".join(run["ablated"]) or "baseline", run["seed"], run["protocol"], run["failure"])
            for run in manifest["runs"]
            if run.get("failure")
        ),
    )


def run_values(manifest: dict[str, Any], protocol: str, role: str = "run") -> Values:
    """Metric by configuration and seed, turned so that higher is better; NaN where a run failed."""
    sign = 1.0 if manifest["higher_is_better"] else -1.0
    return {
        (frozenset(run["ablated"]), int(run["seed"])): sign
        * (run.get("metrics") or {}).get(manifest["metric"], np.nan)
        for run in manifest["runs"]
        if run["protocol"] == protocol and run["role"] == role
    }


def _protocol_result(
    manifest: dict[str, Any], protocol: str, judgement: Judgement
) -> ProtocolResult:
    values = run_values(manifest, protocol)
    names = [arm["name"] for arm in manifest["arms"]]
    design = make_design(
        DesignName(manifest["design"]),
        names,
        manifest["seeds"],
        judgement=judgement,
        looks=manifest["looks"],
    )
    judged = judge_contrasts(design.contrasts(values), judgement)
    sign = 1.0 if manifest["higher_is_better"] else -1.0
    notes = list(design.notes)
    if manifest["design"] == DesignName.PAIRWISE:
        notes += redundant_pairs(judged.table)
    if isinstance(design, AblationPath):
        k, n = len(names), len(manifest["seeds"])
        notes.append(f"{len(values)} runs; without racing {n * (1 + k * (k + 1) // 2)}.")
    return ProtocolResult(
        protocol=protocol,
        judged=judged,
        baseline=tuple(
            sign * value
            for (ablated, _), value in values.items()
            if ablated == BASELINE and np.isfinite(value)
        ),
        notes=tuple(notes),
    )


def _repeats(manifest: dict[str, Any]) -> tuple[int, int]:
    first = {
        run["seed"]: run["metrics"]
        for run in manifest["runs"]
        if not run["ablated"] and (run["role"], run["protocol"]) == ("run", "retrain")
    }
    again = [run for run in manifest["runs"] if run["role"] == "repeat" and run["seed"] in first]
    same = [run["metrics"] is not None and run["metrics"] == first[run["seed"]] for run in again]
    return len(again), sum(same)


def _placebo(manifest: dict[str, Any], judgement: Judgement) -> Judged | None:
    values, moved = run_values(manifest, "retrain"), run_values(manifest, "retrain", PLACEBO)
    rows = [
        (CONTRIBUTION, PLACEBO, seed, values[BASELINE, seed] - value)
        for (_, seed), value in moved.items()
        if (BASELINE, seed) in values
    ]
    return judge_contrasts(frame(rows), judgement) if rows else None


def _rank_agreement(manifest: dict[str, Any]) -> RankAgreement | None:
    """Over the arms that both protocols measured, seeds resampled with replacement."""
    tables = [_contributions(manifest, protocol) for protocol in manifest["protocols"]]
    arms = sorted(set(tables[0].columns) & set(tables[1].columns))
    seeds = sorted(set(tables[0].index) & set(tables[1].index))
    if len(arms) < 3 or not seeds:
        return None
    one, two = (table.loc[seeds, arms].to_numpy() for table in tables)  # (seeds, arms)
    rng = SeedTree(0).child("rank agreement").generator()
    draws = rng.integers(0, len(seeds), (N_BOOTSTRAP, len(seeds)))
    resampled = _spearman(np.nanmean(one[draws], axis=1), np.nanmean(two[draws], axis=1))
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    (rho,) = _spearman(np.nanmean(one, axis=0)[None], np.nanmean(two, axis=0)[None])
    return RankAgreement(rho=float(rho), low=float(low), high=float(high), n_arms=len(arms))


def _spearman(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(B,) rank correlations of the rows of two (B, arms) arrays; NaN where all are equal."""
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in map(_ranks, (one, two)))
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.asarray((x * y).sum(axis=1) / scale)


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.asarray(stats.rankdata(values, axis=1))


def _contributions(manifest: dict[str, Any], protocol: str) -> pd.DataFrame:
    """Contribution of each arm alone, seeds as rows."""
    values = run_values(manifest, protocol)
    rows = [
        {"arm": next(iter(ablated)), "seed": seed, "value": values[BASELINE, seed] - value}
        for (ablated, seed), value in values.items()
        if len(ablated) == 1 and (BASELINE, seed) in values
    ]
    table = pd.DataFrame(rows, columns=["arm", "seed", "value"])
    return table.pivot_table(index="seed", columns="arm", values="value", dropna=True)
