"""Sections of docs/beyond.md that compare arms of a study: controls, rivals, rates, policies
and long.

    antifragile study run studies/beyond/controls.toml --store controls.db
    python -m benchmarks.beyond.arms controls.db

A trial has learned when its peak validation accuracy exceeds ZeroR by a tenth of the room above it,
the threshold that the complete regime rules ask of a stable network; the intervals of these counts
are Clopper and Pearson's. Arms are compared with their control trial by trial, since they share
initial weights and batches: mean difference of the peaks with its 95 % interval, p by sign flips,
corrected by Holm over all comparisons of the study.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from antifragile.analysis.inference.comparisons import compare_with_control
from antifragile.analysis.inference.families import corrected
from antifragile.analysis.inference.pairs import IDENTICAL
from antifragile.analysis.regimes.complete import learned_above
from antifragile.analysis.source import Source, open_source
from benchmarks.claims.evidence import rate
from benchmarks.section import write_section
from benchmarks.trust.reproduction import MEASURE

SIGNIFICANT = 0.05
EVERY = 100  # meta-loops between two columns of the bounty
TRAINING = ("learning-rate", "initialisation")
HEADINGS = {
    "controls": "Controls: what does the work?",
    "rivals": "Rivals: ReDo and SNR",
    "rates": "Learning rates and initialisations",
    "policies": "Patience, memory, fractions, informed targets, schedules",
    "long": "Three times as many meta-loops",
}


def control_of(mode: str, modes: Sequence[str]) -> str | None:
    """The arm that a mode is compared with; None for ``none`` itself.

    It is the mode that differs in one word: of a rival ``none`` with its modifiers; of others that
    without its modifiers of PSA, or ``none`` with the same modifiers of the training.
    """
    base, *words = mode.split("+")
    training = [word for word in words if word.startswith(TRAINING)]
    beside = "none" if base in ("redo", "snr") else base
    names = ["+".join([beside, *words]), "+".join([base, *training]), "+".join(["none", *training])]
    return next((name for name in (*names, "none") if name in modes and name != mode), None)


def comparisons(source: Source) -> pd.DataFrame:
    """Every arm against its control on every architecture, one family of tests for all."""
    modes = list(dict.fromkeys(source.trials["mode"]))
    arms: dict[str, list[str]] = {}
    for mode in modes:
        if (control := control_of(mode, modes)) is not None:
            arms.setdefault(control, []).append(mode)
    tables = [
        compare_with_control(
            source.trials[source.trials["mode"].isin([control, *compared])],
            paired=source.paired,
            control=control,
        ).table
        for control, compared in arms.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    return table.assign(p_holm=corrected(table["p"])).set_index(["architecture", "mode"])


def undecidable(compared: pd.DataFrame, n_pairs: int) -> str:
    """A sentence where sign flips of so few pairs decide nothing after Holm; else nothing."""
    n_tests = int((compared["test"] != IDENTICAL).sum())
    smallest = n_tests * 2 / 2**n_pairs
    if smallest <= SIGNIFICANT:
        return ""
    return (
        f"Sign flips of {n_pairs} pairs give no p below 2/{2**n_pairs}, so that none of "
        f"{n_tests} comes below\n{smallest:.2g} after Holm, however large its difference: read the "
        "intervals, each of which stands for\nitself alone, and the counts."
    )


def markdown(source: Source) -> str:
    """A table for each architecture, a row for each arm."""
    compared, threshold = comparisons(source), learned_above(source.zero_r)
    n_pairs = int(source.trials.groupby(["architecture", "mode"]).size().min())
    warning = undecidable(compared, n_pairs)
    lines = [warning, ""] if warning else []
    for architecture, trials in source.trials.groupby("architecture", sort=False):
        lines += [
            f"**{architecture}**",
            "",
            "| arm | n | mean ± sd | best | learned (95 %) | against | difference (95 %) "
            "| p, Holm |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for mode, cell in trials.groupby("mode", sort=False):
            peaks = cell[MEASURE]
            learned = rate(int((peaks > threshold).sum()), len(peaks))
            known = (architecture, mode) in compared.index
            against = versus(compared.loc[(architecture, mode)]) if known else "- | - | -"
            lines.append(
                f"| {mode} | {len(peaks)} | {peaks.mean():.2f} ± {peaks.std(ddof=0):.2f} "
                f"| {peaks.max():.2f} | {learned} | {against} |"
            )
        lines.append("")
    return "\n".join(lines)


def milestones(meta_loops: pd.DataFrame) -> str:
    """A table of the mean bounty after every hundred meta-loops; the best arm of each in bold."""
    last = int(meta_loops["meta_loop"].max())
    after = [*range(EVERY, last, EVERY), last]
    shown = meta_loops[meta_loops["meta_loop"].isin(after)]
    means = shown.pivot_table(
        index=["architecture", "mode"],
        columns="meta_loop",
        values="bounty_accuracy",
        sort=False,
    )
    lines = [
        "Mean bounty after as many meta-loops, the best of each shape in bold:",
        "",
        "| architecture | arm | " + " | ".join(map(str, after)) + " |",
        "|---|---|" + "---|" * len(after),
    ]
    for architecture, arms in means.groupby(level=0, sort=False):
        best = arms.idxmax()
        for (_, mode), values in arms.iterrows():
            cells = [
                f"**{value:.2f}**" if best[loop] == (architecture, mode) else f"{value:.2f}"
                for loop, value in values.items()
            ]
            lines.append(f"| {architecture} | {mode} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def versus(row: pd.Series) -> str:
    """Control, difference and p of a comparison, as three cells."""
    if row["test"] == IDENTICAL:
        return f"{row['control']} | identical | -"
    words = f"{row['difference']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})"
    return f"{row['control']} | {words} | {row['p_holm']:.2g}"


def main() -> None:
    """Write the section of a study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--out", type=Path, default=Path("docs/beyond.md"))
    options = parser.parse_args()
    source = open_source(options.store, with_records=False)
    spec, environment = source.origin["spec"], source.origin["environments"][0]
    curves = ""
    if (
        spec["meta_loops"] > EVERY
        and (records := open_source(options.store).meta_loops) is not None
    ):
        curves = f"{milestones(records)}\n\n"
    write_section(
        options.out,
        HEADINGS[source.name],
        f"""`studies/beyond/{source.name}.toml`, made by `python -m benchmarks.beyond.arms`;
{environment["machine"]}, {spec["trials"]} paired trials an arm, {spec["meta_loops"]} meta-loops.
*Learned*: above ZeroR by a tenth of the room. Each arm stands against the one that differs in one
word; p by sign flips, Holm over all rows.

{curves}{markdown(source)}""",
    )


if __name__ == "__main__":
    main()
