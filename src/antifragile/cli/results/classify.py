"""``antifragile classify``: the training regime of every architecture, with its certainty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from antifragile.analysis.regimes.classification import classify_source, modes_left_out
from antifragile.analysis.regimes.words import RegimeRules, RegimeVerdict
from antifragile.analysis.summary import Measure
from antifragile.cli.console import plain_table, print_json, stderr, stdout
from antifragile.cli.options import JsonOption, MeasureOption
from antifragile.cli.results.source import SourceFlags


def classify(
    *,
    rules: Annotated[
        Literal["paper", "complete", "posterior"],
        typer.Option(
            help="paper: as printed; complete: labels all; posterior: how sure for a fresh run."
        ),
    ] = "complete",
    min_probability: Annotated[
        float, typer.Option(min=0, max=1, help="Of the posterior; below it a label is undecided.")
    ] = 0.9,
    chosen: SourceFlags,
    measure: MeasureOption = "peak",
    draws: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Fresh runs of the posterior.")
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, max=2**53, help="Of the posterior's draws.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Say which regime every architecture is in, why, and how sure that is."""
    opened = chosen.open(with_records=False)
    verdicts = classify_source(
        opened,
        rules=RegimeRules(rules),
        measure=Measure(measure),
        min_probability=min_probability,
        draws=draws,
        seed=seed,
    )
    if left_out := modes_left_out(opened):
        note = f"left out: {', '.join(left_out)}; the rules know the six modes of the paper."
        stderr().print(note, soft_wrap=True)
    if as_json:
        print_json({name: _as_plain(verdict) for name, verdict in verdicts.items()})
        return
    _print_table(verdicts, f"{opened.name}: {rules} rules, {measure} accuracy")


def _as_plain(verdict: RegimeVerdict) -> dict[str, Any]:
    return {
        "regime": verdict.regime.value,
        "probability": verdict.probability,
        "probabilities": verdict.probabilities
        and {regime.value: share for regime, share in verdict.probabilities.items()},
        "reason": verdict.reason,
        "overrules": verdict.overrules and verdict.overrules.value,
    }


def _print_table(verdicts: Mapping[str, RegimeVerdict], title: str) -> None:
    if not verdicts:
        stdout().print("no architecture has the modes that these rules need.")
        return
    headings = ("architecture", "regime", ">probability", "reason")
    table = plain_table(*headings, title=title, no_wrap=headings[:2])
    for name, verdict in verdicts.items():
        sure = "" if verdict.probability is None else f"{verdict.probability:.3f}"
        table.add_row(name, verdict.regime.value, sure, verdict.reason)
    stdout().print(table)
    counts = Counter(verdict.regime.value for verdict in verdicts.values())
    stdout().print("\n" + ", ".join(f"{count} {regime}" for regime, count in counts.items()))
    overruled = [
        f"  {name}: {verdict.overrules.value}; {verdict.reason.split('; overrules')[0]}"
        for name, verdict in verdicts.items()
        if verdict.overrules is not None
    ]
    if overruled:
        lines = "\n".join(["printed labels overruled:", *overruled])
        stdout().print(lines, soft_wrap=True)
