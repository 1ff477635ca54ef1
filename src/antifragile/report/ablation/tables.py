"""The tables of an ablation study: checks first, then one per protocol and question."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from antifragile._shown import listed_names
from antifragile.ablate.command.program import without_folder
from antifragile.ablate.designs.base import CONTRIBUTION, INTERACTION, PAIR
from antifragile.ablate.study.folder import Arm
from antifragile.ablate.study.manifest import AblationManifest, ManifestRun
from antifragile.ablate.study.manifest_files import MANIFEST
from antifragile.ablate.study.request import Role, TrainingProtocol
from antifragile.ablate.study.results import (
    AblationResults,
    ChangedVariants,
    ProtocolResult,
    differing_metrics,
)
from antifragile.analysis.inference.paired import Judgement, PairedVerdict
from antifragile.report.table import Cell, Table, number_columns, text_columns

_WORDS = {
    CONTRIBUTION: {PairedVerdict.POSITIVE: "helps", PairedVerdict.NEGATIVE: "harms"},
    INTERACTION: {PairedVerdict.POSITIVE: "redundant", PairedVerdict.NEGATIVE: "need each other"},
}
_DEFAULT = {PairedVerdict.POSITIVE: "costs", PairedVerdict.NEGATIVE: "gains"}
_NUMBERS = (
    *("difference", "low", "high", "size"),
    *("p", "smallest_p", "p_holm"),
)
_MOST_NOTES, _MOST_REASONS = 8, 3
_FEWEST_SEEDS = 2  # that have a spread
_MANY_SEEDS = 1000  # from here on an estimate of few says no more
_WITHOUT_NUMBER = (
    "Failed: no seed has all the numbers that the row needs; the reasons stand under the checks."
)


def ablation_tables(results: AblationResults) -> list[Table]:
    """Every table of a report, in order."""
    tables = [checks_table(results)]
    for result in results.protocols:
        for question in result.questions:
            tables.append(effects_table(results, result, question))
    return tables


def checks_table(results: AblationResults) -> Table:
    """Repeat, placebo, baseline and agreement of the protocols: how far to trust the rest."""
    rows: list[list[Cell]] = [["repeat", _repeat_words(results)]]
    if results.changed is not None:
        rows.insert(0, ["variants", _changed_words(results.changed)])
    n_arms, n_certified = len(results.manifest.arms), results.manifest.n_certified
    if n_certified is not None and n_arms < n_certified:
        rows.append(["chosen", _chosen_words(n_arms, n_certified)])
    if results.placebo is not None:
        rows.append(["placebo", _placebo_words(results)])
    for result in results.protocols:
        rows.append([f"baseline, {result.protocol}", _baseline_words(results, result)])
        if not result.questions and results.manifest.runs:
            rows.append([f"tables, {result.protocol}", "none yet: no seed has all runs of a row"])
    if results.rank is not None:
        r = results.rank
        words = f"rank correlation of {r.n_targets} contributions {r.rho:.2f} "
        words += f"({r.low:.2f} to {r.high:.2f}, seeds resampled)"
        rows.append(["retrain against post-hoc", words])
    rows += [["failed", words] for words in failure_words(results)]
    rows += [["diverged", words] for words in diverged_words(results)]
    rows += [["metrics", words] for words in differing_metrics(results.manifest)[:_MOST_NOTES]]
    return Table(
        title=f"{results.manifest.name}: checks before anything else",
        columns=text_columns("check", "finding"),
        rows=rows,
        notes=[again_note(results)],
    )


def effects_table(results: AblationResults, result: ProtocolResult, question: str) -> Table:
    """One row per component or pair, largest first unless the design has an order of its own."""
    judgement = result.judged.judgement
    table = result.judged.of(question)
    if not results.traits.keeps_order:
        table = table.sort_values("difference", ascending=False, kind="stable")
    digits = decimals_of(result)
    equivalence = ["equivalence"] if judgement.margin else []
    numbers = [*_NUMBERS, *(["equivalence_holm"] if equivalence else [])]
    interval = f"{1 - judgement.alpha / judgement.looks:.4g}".replace("0.", "").ljust(2, "0")
    families = [f.words for f in result.judged.families if f.name == question]
    without = [target for asked, target in result.without_number if asked == question]
    return Table(
        title=f"{results.manifest.name}: {question}, {result.protocol}, {results.manifest.metric}",
        columns=[
            *text_columns("component", "ablation"),
            *number_columns("n"),
            *number_columns(question, f"{interval} % low", "high", decimals=digits),
            *number_columns("effect size"),
            *number_columns("p", "smallest p", "Holm", *equivalence, decimals=4),
            *text_columns("verdict"),
        ],
        rows=[
            *(_row(results, row, question, numbers) for _, row in table.iterrows()),
            *(_row_without_number(results, result, target, len(numbers)) for target in without),
        ],
        notes=[
            *_question_notes(results, question, judgement),
            *families,
            *([_WITHOUT_NUMBER] if without else []),
            *_diverged_notes(table),
            *result.notes,
            *advice_notes(result, question),
        ],
    )


def _row(
    results: AblationResults, row: pd.Series, question: str, names: Sequence[str]
) -> list[Cell]:
    numbers = (float(row[name]) if np.isfinite(row[name]) else None for name in names)
    words = [verdict_words(question, PairedVerdict(row["verdict"])), *_diverged_clauses(row)]
    return [*_target_words(results, str(row.name)), int(row["n"]), *numbers, "; ".join(words)]


def _diverged_clauses(row: pd.Series) -> list[str]:
    """The runs behind a row that diverged, as clauses."""
    words = {
        "plus_infinite": "diverged without it",
        "minus_infinite": "diverged with it alone",
        "replaced": "hold a run that diverged",
    }
    return [f"{row[name]} of {row['n']} {clause}" for name, clause in words.items() if row[name]]


def _row_without_number(
    results: AblationResults, result: ProtocolResult, target: str, n_numbers: int
) -> list[Cell]:
    if result.baseline.n:
        verdict = "failed"
    else:
        is_diverged = any(_is_baseline(run, result) for run in results.diverged)
        verdict = f"baseline {'diverged' if is_diverged else 'failed'}"
    return [*_target_words(results, target), 0, *[None] * n_numbers, verdict]


def _target_words(results: AblationResults, target: str) -> tuple[str, str]:
    """Components and ablations of a row."""
    parts = [results.arms[name] for name in target.split(PAIR) if name in results.arms]
    component = PAIR.join(part.component for part in parts) or target
    return component, PAIR.join(arm_kind(part) for part in parts)


def arm_kind(arm: Arm) -> str:
    """The ablation of an arm in words: kind, option, what goes, whether it is inactive at first."""
    option = arm.name.rpartition(f"--{arm.kind}")[2].strip("-")
    words = " ".join(filter(None, [arm.kind, option, arm.removes and f"({arm.removes})"]))
    return f"{words} (inactive at start)" if arm.is_inactive else words


def verdict_words(question: str, verdict: PairedVerdict) -> str:
    """A verdict in words that fit the question."""
    return _WORDS.get(question, _DEFAULT).get(verdict, str(verdict))


def decimals_of(result: ProtocolResult) -> int:
    """Decimals that show the interval's width in two digits."""
    widths = (result.judged.table["high"] - result.judged.table["low"]).dropna()
    widths = widths[widths > 0]
    if widths.empty:
        return 2
    return int(np.clip(2 - np.floor(np.log10(widths.median())), 2, 6))


def advice_notes(result: ProtocolResult, question: str) -> list[str]:
    """Sentences on the number of seeds that would settle open rows."""
    table = result.judged.of(question)
    is_open = table["verdict"] == PairedVerdict.OPEN
    known = table[is_open & table["seeds_needed"].notna()].sort_values("seeds_needed")
    notes = []
    if len(known):
        power = result.judged.judgement.power
        needed = known["seeds_needed"].items()
        listed = ", ".join(
            f"{target} {int(number) if number <= _MANY_SEEDS else f'more than {_MANY_SEEDS:,}'}"
            for target, number in needed
        )
        notes.append(
            f"Seeds in all that should settle what is open, with probability {power:.0%}, if the "
            f"means and spreads seen so far are the true ones: {listed}."
        )
    if int((is_open & (table["n"] < _FEWEST_SEEDS)).sum()):
        notes.append("One seed has no spread: give at least two --seeds, better ten.")
    is_beyond = is_open & table["seeds_needed"].isna() & (table["n"] >= _FEWEST_SEEDS)
    if beyond := int(is_beyond.sum()):
        hint = "" if result.judged.judgement.margin else "; declare a margin to show equivalence"
        notes.append(f"{beyond} open beyond any affordable number of seeds{hint}.")
    return notes


def _question_notes(results: AblationResults, question: str, judgement: Judgement) -> list[str]:
    better = "higher" if results.manifest.higher_is_better else "lower"
    notes = []
    if question == CONTRIBUTION:
        notes.append(
            f"Contribution: how much worse the metric is without the component, paired by seed "
            f"({better} is better); above zero it helps."
        )
    elif question in results.traits.question_notes:
        notes.append(results.traits.question_notes[question])
    margin = judgement.margin
    tost = (
        f"equivalence: p of TOST within {margin:g}, after Holm too"
        if margin
        else "no margin of equivalence declared"
    )
    notes.append(
        "Interval: Student's t of the paired differences, for each row alone; p: exact sign flips; "
        f"Holm over the family; {tost}; effect size in standard deviations of the differences."
    )
    return notes


def _diverged_notes(table: pd.DataFrame) -> list[str]:
    notes = []
    if (table["plus_infinite"] + table["minus_infinite"]).any():
        notes.append(
            "Diverged: the difference to a run that did not is infinite. It counts as the largest "
            "of its row in the sign flips, and the row has no mean, interval or equivalence; pairs "
            "that both diverged are left out."
        )
    if table["replaced"].any():
        notes.append(
            "Diverged: such a run counts as the worst finite value of the study, so that effects "
            "are larger than shown; no row with one is called equivalent."
        )
    return notes


def again_note(results: AblationResults) -> str:
    """A command that runs a row again, or the study where rows belong together."""
    chosen = ["COMPONENT", "OTHER"][: results.traits.row_components]
    command = repeat_command(chosen, Path(results.manifest.folder), results.manifest)
    if results.changed is not None:
        return "Rows can be run again once the folder holds the variants that were run."
    if not chosen:
        return f"The study again, in a store of its own: {command}"
    return f"Any row again, with its certificate and diff in the folder of its name: {command}"


def repeat_command(arms: Sequence[str], folder: Path, manifest: AblationManifest) -> str:
    """The command that runs some ablations again, in a store of its own, and compares numbers."""
    file = str(folder / (manifest.file or MANIFEST))
    only = [word for arm in arms for word in ("--only", arm)]
    parts = ["antifragile", "ablate", "run", str(folder), "--manifest", file]
    return shlex.join([*parts, *only, "--store", "again.db"])


def _chosen_words(n_arms: int, n_certified: int) -> str:
    return (
        f"{n_arms} of {n_certified} certified variants (--only); Holm corrects for these alone, "
        "and what was run under another --only is not among them: choose together what is reported "
        "together, runs that the store has are not run again"
    )


def _changed_words(changed: ChangedVariants) -> str:
    here = "The numbers here are those of the variants that were run"
    if changed.reason:
        return f"{changed.folder} cannot be used as it is: {changed.reason} {here}"
    return (
        f"{changed.folder} no longer holds what was run: {listed_names(changed.names)} changed "
        f"since, or cannot be used. {here}; 'ablate run' measures the new ones"
    )


def _repeat_words(results: AblationResults) -> str:
    n, same = results.repeats
    if not n:
        return "not run"
    if same == n:
        return f"baseline run twice under {n} seed{'s' * (n > 1)}: identical"
    return (
        f"baseline run twice under {n} seeds: {n - same} differ, so the experiment is not "
        "deterministic and its pairing is weaker than it could be"
    )


def _placebo_words(results: AblationResults) -> str:
    assert results.placebo is not None
    if results.placebo.table.empty:
        return "failed"
    row = results.placebo.table.iloc[0]
    if row["verdict"] == PairedVerdict.IDENTICAL:
        reaches = "the batch order does" if _has_order(results) else "other random draws do"
        return f"identical: {reaches} not reach the training"
    is_found = results.is_placebo_found
    change = "in another batch order" if _has_order(results) else "with other random draws"
    warning = "; found to do something, which a sound study says of 1 in 20" if is_found else ""
    return f"baseline {change}: {_placebo_numbers(row)}, p {row['p']:.2g}{warning}"


def _placebo_numbers(row: pd.Series) -> str:
    """The placebo's difference and interval, as far as there are such."""
    if diverged := int(row["plus_infinite"] + row["minus_infinite"]):
        return f"one of the two diverged in {diverged} of {row['n']} pairs"
    if row["n"] < _FEWEST_SEEDS:
        return f"{row['difference']:+.3g} under one seed, which has no spread"
    return f"{row['difference']:+.3g} ({row['low']:+.3g} to {row['high']:+.3g})"


def _has_order(results: AblationResults) -> bool:
    """Whether a placebo has another batch order; else it has other random draws alone."""
    command = results.manifest.experiment.command
    return command is None or command.command.takes("order")


def _baseline_words(results: AblationResults, result: ProtocolResult) -> str:
    baseline = result.baseline
    if not baseline.n:
        if any(_is_baseline(run, result) for run in results.diverged):
            return "diverged in every seed that ended"
        is_failed = any(_is_baseline(run, result) for run in results.failures)
        return "failed in every seed that ended" if is_failed else "no run yet"
    spread = f", standard deviation {baseline.spread:.3g}" if baseline.n > 1 else ""
    lost = sum(_is_baseline(run, result) for run in results.diverged)
    diverged = f"; diverged under {lost} more" if lost else ""
    seeds = f"{baseline.n} seed{'s' * (baseline.n > 1)}"
    return f"{results.manifest.metric} {baseline.mean:.5g}{spread}, {seeds}{diverged}"


def _is_baseline(run: ManifestRun, result: ProtocolResult) -> bool:
    return not run.ablated and run.role is Role.RUN and run.protocol is result.protocol


def failure_words(results: AblationResults) -> list[str]:
    """One sentence per arm with its reasons; of combinations, those that failed most often."""
    ended = Counter((run.label, run.protocol) for run in results.manifest.runs)
    failed: dict[tuple[str, TrainingProtocol], Counter[str]] = {}
    places: dict[tuple[str, TrainingProtocol, str], str] = {}  # the folder of a first run
    for run in results.failures:
        reason, place = without_folder(str(run.failure))
        first = places.setdefault((run.label, run.protocol, reason), place)
        failed.setdefault((run.label, run.protocol), Counter())[reason + first] += 1
    alone: list[str] = []
    combined: list[str] = []
    for (label, protocol), reasons in sorted(
        failed.items(), key=lambda item: (-item[1].total(), *item[0])
    ):
        n = ended[label, protocol]
        words = f"{label} ({protocol}), {reasons.total()} of {n} run{'s' * (n > 1)}: "
        words += _reason_words(reasons)
        (combined if " + " in label else alone).append(words)
    more = len(combined) - _MOST_NOTES
    return alone + combined[:_MOST_NOTES] + [f"{more} more combinations"] * (more > 0)


def diverged_words(results: AblationResults) -> list[str]:
    """A sentence per arm on runs whose metric is not finite, most of them first."""
    ended = Counter((run.label, run.protocol) for run in results.manifest.runs)
    diverged = Counter((run.label, run.protocol) for run in results.diverged)
    return [
        f"{label} ({protocol}), {n} of {ended[label, protocol]} runs: {results.manifest.metric} is "
        "not finite"
        for (label, protocol), n in sorted(diverged.items(), key=lambda item: (-item[1], item[0]))
    ]


def _reason_words(reasons: Counter[str]) -> str:
    """The most frequent reasons, with their numbers if there are several."""
    if len(reasons) == 1:
        return next(iter(reasons))
    listed = [
        f"{reason} ({n} times)" if n > 1 else reason
        for reason, n in reasons.most_common(_MOST_REASONS)
    ]
    more = len(reasons) - _MOST_REASONS
    return "; ".join(listed) + f"; {more} other reasons" * (more > 0)
