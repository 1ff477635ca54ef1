"""The tables of an ablation study: `checks` first, then one per protocol and question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from antifragile.ablate.designs.base import CONTRIBUTION, INTERACTION, PAIR
from antifragile.ablate.study.folder import Arm
from antifragile.ablate.study.results import AblationResults, ProtocolResult
from antifragile.analysis.inference.paired import Judgement, PairedVerdict
from antifragile.report.ablation.checks import FEWEST_SEEDS, checks_table, is_baseline
from antifragile.report.table import Cell, Table, number_columns, text_columns

_WORDS = {
    CONTRIBUTION: {PairedVerdict.POSITIVE: "helps", PairedVerdict.NEGATIVE: "harms"},
    INTERACTION: {PairedVerdict.POSITIVE: "redundant", PairedVerdict.NEGATIVE: "need each other"},
}
_DEFAULT = {PairedVerdict.POSITIVE: "costs", PairedVerdict.NEGATIVE: "gains"}
_NUMBERS = ("difference", "low", "high", "size", "p", "smallest_p", "p_holm")
_MANY_SEEDS = 1000  # from here on an estimate of few says no more
_HOLDS = "hold a run that diverged"
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
    words = [
        verdict_words(question, PairedVerdict(row["verdict"])),
        *_diverged_clauses(row, question),
    ]
    return [*_target_words(results, str(row.name)), int(row["n"]), *numbers, "; ".join(words)]


def _diverged_clauses(row: pd.Series, question: str) -> list[str]:
    """The runs behind a row that diverged, as clauses."""
    words = {
        "plus_infinite": "diverged without it",
        "minus_infinite": "diverged with it alone",
        "replaced": _HOLDS,
    }
    if question == INTERACTION:  # any of four runs a seed
        n_diverged = int(row[[*words]].sum())
        return [f"{n_diverged} of {row['n']} {_HOLDS}"] if n_diverged else []
    return [f"{row[name]} of {row['n']} {clause}" for name, clause in words.items() if row[name]]


def _row_without_number(
    results: AblationResults, result: ProtocolResult, target: str, n_numbers: int
) -> list[Cell]:
    if result.baseline.n:
        verdict = "failed"
    else:
        is_diverged = any(is_baseline(run, result) for run in results.diverged)
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
    if int((is_open & (table["n"] < FEWEST_SEEDS)).sum()):
        notes.append("One seed has no spread: give at least two --seeds, better ten.")
    is_beyond = is_open & table["seeds_needed"].isna() & (table["n"] >= FEWEST_SEEDS)
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
