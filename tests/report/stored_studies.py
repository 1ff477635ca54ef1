"""Studies made by arithmetic: every regime, any size, in memory or in a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from antifragile.analysis.source import Source
from antifragile.config.modes import PAPER_MODES, get_mode, is_mode
from antifragile.config.specs.study import StudySpec
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.store.owner import OwnedKind
from antifragile.store.records import DataFacts, Environment
from antifragile.store.store import Store

SHAPES = ("1*256", "1*16", "2*16", "4*4", "8*8", "16*16", "32*32", "16*2", "[2*8, 1*4]")
N_VALIDATION = 10_000
ZERO_R = 11.02
_LEVEL = {"1*256": 98.0, "1*16": 93.0, "2*16": 93.0, "32*32": 0.0, "16*2": 0.0}
ENVIRONMENT = Environment(
    kernel="plain",
    device="cpu",
    threads=1,
    precision="fp32",
    machine="made up",
    torch_version="0",
)


def made_curves(
    shapes: Sequence[str] = SHAPES,
    modes: Sequence[str] = PAPER_MODES,
    *,
    trials: int = 3,
    meta_loops: int = 8,
    level: float | None = None,
) -> pd.DataFrame:
    """Records of every trial; ``level`` puts all of them at one accuracy."""
    rng = np.random.default_rng(7)
    loops = np.arange(1, meta_loops + 1)
    parts = []
    for shape in shapes:
        for place, mode in enumerate(modes):
            for trial in range(1, trials + 1):
                top = _top(shape, place, trial) if level is None else level
                rise = 10 + (top - 10) * (1 - np.exp(-loops / (meta_loops / 4)))
                noise = rng.normal(0, 0.3 if top > ZERO_R else 0.0, meta_loops)
                count = np.clip((rise + noise).round(2), 0, 100)
                frame = pd.DataFrame({"meta_loop": loops, "validation_accuracy": count})
                parts.append(frame.assign(architecture=shape, mode=mode, trial=trial))
    frame = pd.concat(parts, ignore_index=True)
    best = frame.groupby(["architecture", "mode", "trial"], sort=False)["validation_accuracy"]
    return frame.assign(bounty_accuracy=best.cummax(), seconds=0.25)


def _top(shape: str, place: int, trial: int) -> float:
    level = _LEVEL.get(shape)
    if level is None:  # stuck or escaped
        return 55.0 if (trial + place) % 3 == 0 and place > 2 else ZERO_R - 1
    if level == 0.0:
        return ZERO_R - 0.5
    return level - (1.5 if place > 2 and level < 95 else 0.1) * (place > 2)


def made_source(
    shapes: Sequence[str] = SHAPES,
    modes: Sequence[str] = PAPER_MODES,
    *,
    name: str = "made",
    trials: int = 3,
    meta_loops: int = 8,
    level: float | None = None,
    planned_trials: int | None = None,
) -> Source:
    """A source as a store gives it."""
    curves = made_curves(shapes, modes, trials=trials, meta_loops=meta_loops, level=level)
    frame = finished_trials(curves)
    records = with_harm(curves).assign(**{k: getattr(ENVIRONMENT, k) for k in ENVIRONMENT.__dict__})
    spec = made_spec(name, shapes, modes, planned_trials or trials, meta_loops)
    return Source(
        name=name,
        trials=frame,
        meta_loops=records,
        zero_r=ZERO_R,
        paired=True,
        robustness=damaged(frame),
        origin={"spec": spec.to_mapping(), "environments": [], "created_at": "2020-01-01"},
    )


def with_harm(curves: pd.DataFrame) -> pd.DataFrame:
    """Every ablation takes two points, and a tenth more for each trial."""
    before = curves.groupby(["architecture", "mode", "trial"], sort=False)[
        "bounty_accuracy"
    ].shift()
    ablated = (before - 2 - curves["trial"] / 10).clip(lower=0)
    is_ablative = curves["mode"].isin(("full", "hidden", "output"))
    return curves.assign(
        ablated_accuracy=ablated.where(is_ablative), ablated_layer=0, ablated_neuron=0
    )


def damaged(trials: pd.DataFrame) -> pd.DataFrame:
    """Robustness records: every kind at two levels, the second hurting by ten points."""
    rows = [
        {
            **{key: getattr(trial, key) for key in ("architecture", "mode", "trial")},
            "damage": damage,
            "level": level,
            "draw": 1,
            "test_accuracy": max(trial.test_accuracy - 10 * (level > 0.1), 0.0),
        }
        for trial in trials.itertuples()
        for damage in ("hidden-neurons", "weight-noise", "input-noise")
        for level in (0.1, 0.2)
    ]
    return pd.DataFrame(rows)


def finished_trials(curves: pd.DataFrame) -> pd.DataFrame:
    """One row per trial of these curves."""
    key = ["architecture", "mode", "trial"]
    grouped = curves.groupby(key, sort=False)["validation_accuracy"]
    frame = grouped.agg(peak_validation_accuracy="max", final_validation_accuracy="last")
    frame = frame.reset_index()
    return frame.assign(test_accuracy=(frame["peak_validation_accuracy"] - 0.2).clip(lower=0))


def empty_source(name: str = "empty") -> Source:
    """A study of which no trial has finished."""
    source = made_source(("1*4",), name=name, trials=1)
    columns = ["study", "architecture", "mode", "trial", "peak_validation_accuracy"]
    return Source(
        name=name,
        trials=pd.DataFrame(columns=columns),
        meta_loops=pd.DataFrame(),
        zero_r=ZERO_R,
        paired=True,
        origin=source.origin,
    )


def made_spec(
    name: str, shapes: Sequence[str], modes: Sequence[str], trials: int, meta_loops: int
) -> StudySpec:
    """The spec of such a study, of a network that has what the modes ablate."""
    residual = any(is_mode(mode) and get_mode(mode).needs_residual_blocks for mode in modes)
    return StudySpec.from_mapping(
        {
            "training": {"network": "resmlp"} if residual else {},
            "name": name,
            "dataset": "mnist",
            "architectures": list(shapes),
            "modes": list(modes),
            "trials": trials,
            "meta_loops": meta_loops,
        }
    )


def fill_store(path: Path, spec: StudySpec) -> None:
    """Write a finished study of this spec, every record of it, into a new store."""
    shapes = [architecture.name for architecture in spec.architectures]
    curves = made_curves(shapes, spec.modes, trials=spec.trials, meta_loops=spec.meta_loops)
    counts = (curves["validation_accuracy"] * 100).round().astype(int).to_numpy()
    by_trial = dict(
        zip(
            curves[["architecture", "mode", "trial"]]
            .drop_duplicates()
            .itertuples(index=False, name=None),
            counts.reshape(-1, spec.meta_loops),
            strict=True,
        )
    )
    facts = DataFacts(
        data_sha256="0" * 64,
        n_train=50_000,
        n_validation=N_VALIDATION,
        n_test=10_000,
        zero_r_validation=1102,
        zero_r_test=1135,
    )
    with Store(str(path)) as store, store.owned(OwnedKind.STUDY, spec.name) as owner:
        store.add_study(spec, facts, owner=owner)
        stored = store.trials(spec.name)
        for start in range(0, len(stored), 200):
            part = stored[start : start + 200]
            values = {t.trial_id: by_trial[t.architecture, t.mode, t.trial] for t in part}
            store.finish_trials(
                {trial_id: _result(line) for trial_id, line in values.items()},
                {trial_id: _records(line) for trial_id, line in values.items()},
                ENVIRONMENT,
                owner=owner,
            )


def _result(counts: np.ndarray) -> TrialResult:
    return TrialResult(
        meta_loops=len(counts),
        peak_correct=int(counts.max()),
        peak_meta_loop=int(counts.argmax()) + 1,
        final_correct=int(counts[-1]),
        test_correct=int(counts.max()) - 10,
    )


def _records(counts: np.ndarray) -> list[MetaLoopRecord]:
    best = np.maximum.accumulate(counts)
    return [
        MetaLoopRecord(
            meta_loop=place + 1,
            validation_correct=int(count),
            bounty=int(best[place]),
            promoted=bool(place == 0 or count > best[place - 1]),
            ablated_layer=None,
            ablated_neuron=None,
            train_loss=0.5,
            seconds=0.25,
        )
        for place, count in enumerate(counts)
    ]
