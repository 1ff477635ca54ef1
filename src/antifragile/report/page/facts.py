"""Remarks that open the page, and facts on how its numbers were produced."""

from __future__ import annotations

from dataclasses import dataclass

from antifragile import __version__
from antifragile.analysis.inference.comparisons import are_identical
from antifragile.analysis.regimes.words import Regime
from antifragile.analysis.source import Source, input_sizes, network_of
from antifragile.config.networks import Network
from antifragile.config.perturbation import Perturbation
from antifragile.report.page.tables import CONTROL
from antifragile.report.survey import Survey


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line on how the numbers were produced."""

    label: str
    value: str


def remarks(survey: Survey, other: Survey | None = None) -> list[str]:
    """Warnings for the reader: missing trials, missing intervals, modes that are equal."""
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
    """Number of trials that the study asks for; None for a CSV."""
    spec = source.origin.get("spec")
    if spec is None:
        return None
    return len(spec["architectures"]) * len(spec["modes"]) * int(spec["trials"])


def production_facts(source: Source) -> list[Fact]:
    """Spec, machine, versions, seed and duration, as far as the source knows them."""
    spec, planned = source.origin.get("spec"), planned_trials(source)
    facts = {"report written by": f"antifragile {__version__}"}
    if spec is None:
        facts["file"] = str(source.origin.get("file", source.name))
        facts["data set"] = _unnamed_dataset(source)
        facts["trials"] = f"{len(source.trials):,}"
    else:
        facts["created"] = str(source.origin.get("created_at", "unknown"))
        facts["data set"] = f"{spec['dataset']} ({spec['training']['normalization']})"
        facts["trials"] = f"{len(source.trials):,} finished of {planned:,} planned"
        facts["meta-loops"] = f"{spec['meta_loops']:,} per trial"
        facts["seed"] = f"{spec['seed']} ({spec['pairing']})"
        facts["preset"] = str(spec["preset"])
        if network_of(source) is not Network.MLP:
            facts["network"] = str(network_of(source))
        if found := spec["training"].get("perturb"):
            words = [Perturbation.of_mapping(item).words for item in found]
            facts["perturbed in every mode by"] = ", ".join(words)
    facts["ZeroR"] = f"{source.zero_r:.2f} % (validation)"
    known = [Fact(label=label, value=value) for label, value in facts.items()]
    return known + _compute_facts(source)


def _unnamed_dataset(source: Source) -> str:
    """The data set behind the parameter counts of a CSV, which does not name it."""
    if (sizes := input_sizes(source)) is None:
        return "not named by the file, and no architecture is the paper's: parameters are unknown"
    return (
        f"not named by the file; parameters are those for the paper's, MNIST ({sizes[0]} inputs, "
        f"{sizes[1]} classes)"
    )


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
