"""The page's tables, its opening remarks, and how the numbers were produced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from antifragile import __version__
from antifragile.analysis.harm import harm_by_size, has_harm
from antifragile.analysis.inference.comparisons import are_identical, compare_with_control
from antifragile.analysis.peak_bias import optimism
from antifragile.analysis.regimes.words import Regime
from antifragile.analysis.source import Source
from antifragile.analysis.summary import Measure
from antifragile.config.perturbation import Perturbation
from antifragile.report.survey import Survey, available_measures, rows_of
from antifragile.report.table import Cell, Column, Table
from antifragile.report.tables.paper import mean_table, regime_table

CONTROL = "none"
_EFFECT_COLUMNS = ("difference", "low", "high", "size", "p", "p_holm", "p_bh")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line on how the numbers were produced."""

    label: str
    value: str


def page_tables(survey: Survey) -> list[tuple[str, str, Table]]:
    """Key, heading and table of every section, in order; none for an empty survey."""
    if survey.cells.empty:
        return []
    tables = [
        ("means", "Means and winners", mean_table(survey)),
        ("regimes", "Regimes with their reasons", regime_table(survey)),
        ("cells", "Every cell", cell_table(survey)),
    ]
    if CONTROL in survey.modes and len(survey.modes) > 1:
        tables.append(("control", f"Every mode against {CONTROL}", control_table(survey)))
    if has_harm(survey.source.meta_loops):
        tables.append(("harm", "Harm of one ablation", harm_table(survey)))
    if Measure.TEST in available_measures(survey.source):
        tables.append(("optimism", "How much the peak flatters", optimism_table(survey)))
    return tables


def cell_table(survey: Survey) -> Table:
    """n, mean, both standard deviations, extremes and the interval of the mean of every cell."""
    numbers = ("mean", "sd", "sample_sd", "min", "max", "low", "high")
    rows: list[list[Cell]] = [
        [r.architecture, r.mode, r.n, *(float(getattr(r, name)) for name in numbers)]
        for r in rows_of(survey.cells)
    ]
    return Table(
        title=f"{survey.source.name}: every cell, {survey.measure} accuracy, percent",
        columns=[
            Column(name="architecture", is_text=True),
            Column(name="mode", is_text=True),
            Column(name="n"),
            *(Column(name=name.replace("_", " ")) for name in numbers),
        ],
        rows=rows,
        notes=["sd: population; sample sd: n - 1; low and high: 95 % t interval of the mean."],
    )


def control_table(survey: Survey) -> Table:
    """Every mode against the control, with what the trials can show."""
    result = compare_with_control(
        survey.source.trials, paired=survey.source.paired, control=CONTROL, measure=survey.measure
    )
    rows: list[list[Cell]] = []
    for r in rows_of(result.table):
        numbers = [float(getattr(r, name)) for name in _EFFECT_COLUMNS]
        rows.append([r.architecture, r.mode, *numbers, str(r.verdict)])
    decimals = {"p": 4, "p_holm": 4, "p_bh": 4}
    return Table(
        title=f"{survey.source.name}: every mode against {CONTROL}, percentage points",
        columns=[
            Column(name="architecture", is_text=True),
            Column(name="mode", is_text=True),
            *(
                Column(name=n.replace("_", " "), decimals=decimals.get(n, 2))
                for n in _EFFECT_COLUMNS
            ),
            Column(name="verdict", is_text=True),
        ],
        rows=rows,
        notes=[
            f"Permutation tests; low and high: 95 % interval; size: in standard deviations; "
            f"equivalent: within {result.margin:g} points.",
            *(family.words for family in result.families),
        ],
    )


def harm_table(survey: Survey) -> Table:
    """What one ablation takes at once, what comes back within the epoch, and what is left."""
    parts = [
        f"{part}{end}" for part in ("drop", "recovery", "left") for end in ("", "_low", "_high")
    ]
    rows: list[list[Cell]] = [
        [
            *(r.architecture, int(r.parameters), r.mode, int(r.n), int(r.ablations)),
            *(float(getattr(r, name)) for name in parts),
            100 * float(r.share_mended),
        ]
        for r in rows_of(harm_by_size(survey.source, survey.landscape))
    ]
    return Table(
        title=f"{survey.source.name}: harm of one ablation, points of validation accuracy",
        columns=[
            Column(name="architecture", is_text=True),
            Column(name="parameters"),
            Column(name="mode", is_text=True),
            *(Column(name="n"), Column(name="ablations")),
            *(Column(name=name.replace("_", " ")) for name in parts),
            Column(name="mended, %", decimals=1),
        ],
        rows=rows,
        notes=[
            "Drop: LKG minus its ablated clone, before the epoch; recovery: clone after the epoch "
            "minus ablated clone; left: drop minus recovery, negative where the epoch gained; "
            "mended: clones at least as good as the LKG. Low and high: 95 % t interval over "
            "trials."
        ],
    )


def optimism_table(survey: Survey) -> Table:
    """Peak validation minus test accuracy, by mode."""
    numbers = ("gap", "low", "high", "excess", "excess_low", "excess_high")
    rows: list[list[Cell]] = [
        [r.mode, r.architectures, r.trials, *(float(getattr(r, name)) for name in numbers)]
        for r in rows_of(optimism(survey.source.trials, control=CONTROL))
    ]
    return Table(
        title=f"{survey.source.name}: peak validation minus test accuracy, percentage points",
        columns=[
            Column(name="mode", is_text=True),
            Column(name="architectures"),
            Column(name="trials"),
            *(Column(name=name.replace("_", " ")) for name in numbers),
        ],
        rows=rows,
        notes=[
            "The peak is the best of many looks at the validation split, the test split is looked "
            f"at once. Excess: gap minus that of {CONTROL}; 95 % intervals over architectures."
        ],
    )


def remarks(survey: Survey, other: Survey | None = None) -> list[str]:
    """What a reader should know before reading: what is missing, what is not what it seems."""
    found = [*_coverage(survey.source)]
    if len(survey.cells):
        found += _limits(survey)
    if other is not None and other.cells.empty:
        found.append(f"{other.source.name} has no finished trial; there is nothing to compare.")
    return found


def _coverage(source: Source) -> list[str]:
    planned, finished = planned_trials(source), len(source.trials)
    if planned is not None and finished < planned:
        share = "no trial has finished yet" if not finished else f"{finished:,} trials finished"
        return [f"Partial study: {share} of {planned:,}."]
    return [] if finished else ["There are no trials."]


def _limits(survey: Survey) -> list[str]:
    found = []
    if int(survey.cells["n"].max()) == 1:
        found.append("One trial per cell: no standard deviation, no interval, no test.")
    if float(survey.cells["max"].max()) <= survey.source.zero_r + 1e-9:
        found.append(
            f"No trial exceeds ZeroR ({survey.source.zero_r:.2f} %): nothing here was learned."
        )
    elif (survey.landscape["regime"] == Regime.FAILURE).all():
        found.append("Every architecture failed.")
    if twin := _identical(survey, CONTROL, "decay"):
        found.append(twin)
    return found


def _identical(survey: Survey, mode: str, other: str) -> str | None:
    """A sentence when two paired arms are equal in every trial, as a decay that rounds to 1."""
    if not survey.source.paired or not {mode, other} <= set(survey.modes):
        return None
    if not are_identical(survey.source.trials, mode, other, survey.measure):
        return None
    return f"{other} equals {mode} in every trial: in float32 this decay is a placebo."


def planned_trials(source: Source) -> int | None:
    """How many trials the study asks for; None for a CSV."""
    spec = source.origin.get("spec")
    if spec is None:
        return None
    return len(spec["architectures"]) * len(spec["modes"]) * int(spec["trials"])


def production_facts(source: Source) -> list[Fact]:
    """Spec, machine, versions, seed and duration, as far as the source knows them."""
    spec, planned = source.origin.get("spec"), planned_trials(source)
    facts = [Fact(label="report written by", value=f"antifragile {__version__}")]
    if spec is None:
        facts.append(Fact(label="file", value=str(source.origin.get("file", source.name))))
        facts.append(Fact(label="trials", value=f"{len(source.trials):,}"))
    else:
        facts += [
            Fact(label="created", value=str(source.origin.get("created_at", "unknown"))),
            Fact(
                label="data set", value=f"{spec['dataset']} ({spec['training']['normalization']})"
            ),
            Fact(label="trials", value=f"{len(source.trials):,} finished of {planned:,} planned"),
            Fact(label="meta-loops", value=f"{spec['meta_loops']:,} per trial"),
            Fact(label="seed", value=f"{spec['seed']} ({spec['pairing']})"),
            Fact(label="preset", value=str(spec["preset"])),
            *_perturbed(spec["training"]),
        ]
    facts.append(Fact(label="ZeroR", value=f"{source.zero_r:.2f} % (validation)"))
    return facts + _compute_facts(source)


def _perturbed(training: Mapping[str, Any]) -> list[Fact]:
    found = [Perturbation.of_mapping(item).words for item in training.get("perturb", ())]
    return [Fact(label="perturbed in every mode by", value=", ".join(found))] if found else []


def _compute_facts(source: Source) -> list[Fact]:
    records = source.meta_loops
    if records is None or records.empty or "seconds" not in records:
        return []
    duration = Fact(
        label="duration",
        value=f"{duration_words(float(records['seconds'].sum()))} of training and evaluation, "
        f"summed over {len(records):,} meta-loops",
    )
    columns = ["machine", "device", "kernel", "threads", "precision", "torch_version"]
    machines = records.groupby(columns, sort=False)["seconds"].agg(["count", "sum"]).reset_index()
    return [duration, *(_machine_fact(row) for row in machines.to_dict(orient="records"))]


def _machine_fact(row: dict[object, object]) -> Fact:
    threads = f"{row['threads']} thread" + "s" * (row["threads"] != 1)
    return Fact(
        label="computed on",
        value=f"{row['machine']}, {row['device']}, {row['kernel']} kernel, {threads} per task, "
        f"{row['precision']}, torch {row['torch_version']}: {row['count']:,} meta-loops",
    )


def duration_words(seconds: float) -> str:
    """``"3.2 s"``, ``"5 min 20 s"``, ``"858 h 30 min"``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"
