"""The PSA paper's quantitative and causal claims, each with a test, an interval and a verdict.

    python -m benchmarks.claims.paper paper_trials.csv paper_convergence.csv --out docs/claims.md \
        [--own STORE STUDY... ]...

The paper's own data first; studies of ours, where given, answer the same questions beside it.
Studies named in one --own are of different shapes and are taken together.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd

from antifragile.analysis.convergence import read_curves_csv
from antifragile.analysis.source import open_source
from benchmarks.claims import chaotic as claim_chaotic
from benchmarks.claims import stable as claim_stable
from benchmarks.claims.evidence import FAILS, HOLDS, OPEN, PARTLY, Claim, Evidence

ZERO_R = 11.02

CLAIMS = (
    Claim(
        says="The rules classify all 98 architectures.",
        where="II.H",
        test="the four rules as printed",
        judge=claim_stable.all_classified,
    ),
    Claim(
        says="1*2048: weight decay has the highest mean accuracy.",
        where="III.A",
        test="permutation against none",
        judge=claim_stable.decay_best_at_widest,
    ),
    Claim(
        says="Weight decay is a distinct, principled regulariser.",
        where="III.A, III.B",
        test="decay - none over stable shapes, sign flips",
        judge=claim_stable.decay_differs,
    ),
    Claim(
        says="1*2048: hidden ablation finds the highest single peak (98.35 %).",
        where="III.A",
        test="gap of maxima, permutation",
        judge=claim_stable.hidden_highest_peak,
    ),
    Claim(
        says="2*939: dropout is the dominant strategy.",
        where="III.A",
        test="permutation against none",
        judge=claim_stable.dropout_dominates,
    ),
    Claim(
        says="Over-parameterised: hidden ablation is statistically indistinguishable from the "
        "control.",
        where="V",
        test="TOST, margin 0.2",
        judge=claim_stable.hidden_equals_control,
    ),
    Claim(
        says="1*128 and 2*59 reach more than 97 %.",
        where="III.B",
        test="means",
        judge=claim_stable.success_over_97,
    ),
    Claim(
        says="Maxima diverge: about 0.16 at 1*256, 0.84 at 1*64.",
        where="III.B",
        test="maxima (no interval: single trials)",
        judge=claim_stable.maxima_diverge,
    ),
    Claim(
        says="Optimally sized: any intervention, regularisers too, is increasingly detrimental.",
        where="III.B",
        test="dropout - none against size, regression",
        judge=claim_stable.regularisers_become_harmful,
    ),
    Claim(
        says="Well-sized to constrained: all ablation is detrimental.",
        where="V",
        test="permutation against none, Holm",
        judge=claim_stable.ablation_harms_when_sized,
    ),
    Claim(
        says="Hidden is consistently and significantly less harmful than output.",
        where="V",
        test="hidden - output over optimally sized shapes, sign flips",
        judge=claim_stable.hidden_less_harmful,
    ),
    Claim(
        says="The rate of harm tells the size.",
        where="III.B, V",
        test="regression on 1*W, error on 2*W and 4*W",
        judge=claim_stable.harm_falls_with_capacity,
    ),
    Claim(
        says="The chaotic regime has the highest variance.",
        where="III.C",
        test="largest sd",
        judge=claim_chaotic.chaotic_varies_most,
    ),
    Claim(
        says='18*18: baselines are "completely unable" to escape.',
        where="III.E",
        test="trials above ZeroR, exact intervals",
        judge=claim_chaotic.baselines_cannot_escape,
    ),
    Claim(
        says="19*19: hidden and output produce massive improvements.",
        where="III.C",
        test="trials above ZeroR, Fisher",
        judge=claim_chaotic.psa_rescues_19,
    ),
    Claim(
        says="PSA lifts where baselines fail.",
        where="III.C, V",
        test="PSA - baselines over chaotic shapes, sign flips",
        judge=claim_chaotic.psa_lifts_where_baselines_fail,
    ),
    Claim(
        says="PSA is consistently beneficial in the chaotic regime.",
        where="III.C",
        test="each shape; permutation against none, Holm",
        judge=claim_chaotic.each_shape_is_lifted,
    ),
    Claim(
        says="Especially output ablation.",
        where="V",
        test="output against none, full, hidden over chaotic shapes",
        judge=claim_chaotic.output_lifts_most,
    ),
    Claim(
        says="18*18: hidden is the most effective.",
        where="III.C",
        test="permutation against output",
        judge=claim_chaotic.hidden_best_at_18,
    ),
    Claim(
        says="4*4, 1*2: full and output win.",
        where="III.C",
        test="permutation against none",
        judge=claim_chaotic.partial_wins_when_starved,
    ),
    Claim(
        says="Trainability ends between 20*20 and 21*21.",
        where="III.D",
        test="trials above ZeroR, Fisher",
        judge=claim_chaotic.boundary_20_21,
    ),
    Claim(
        says="Failed architectures universally fail.",
        where="III.D",
        test="trials above ZeroR, exact intervals",
        judge=claim_chaotic.failures_fail,
    ),
    Claim(
        says="PSA improves later, near the 100-loop limit.",
        where="III.A, III.E",
        test="loop of the peak, PSA - baselines over learning shapes, sign flips",
        judge=claim_chaotic.late_improvement,
    ),
    Claim(
        says="Baselines converge within 30-75 loops while PSA still improves at the 99th.",
        where="IV",
        test="share still rising at the last loops",
        judge=claim_chaotic.only_psa_at_the_end,
    ),
    Claim(
        says="Dropout converges first, often in the first 50 loops.",
        where="III.A",
        test="loops to within 0.1 point of the peak, dropout - none over stable shapes",
        judge=claim_chaotic.dropout_first,
    ),
)


def markdown(evidence: list[Evidence]) -> str:
    """One table per evidence and a first one of verdicts side by side."""
    found = {e.label: [claim.judge(e) for claim in CLAIMS] for e in evidence}
    lines = [
        "| # | claim | section | test | " + " | ".join(found) + " |",
        "|---|---|---|---|" + "---|" * len(found),
    ]
    for number, claim in enumerate(CLAIMS, start=1):
        said = [rows[number - 1] for rows in found.values()]
        verdicts = " | ".join(finding.verdict if finding else "-" for finding in said)
        lines.append(f"| {number} | {claim.says} | {claim.where} | {claim.test} | {verdicts} |")
    for label, rows in found.items():
        lines += ["", f"## {label[:1].upper()}{label[1:]}", ""]
        lines += ["| # | result | verdict |", "|---|---|---|"]
        lines += [
            f"| {number} | {finding.result} | {finding.verdict} |"
            for number, finding in enumerate(rows, start=1)
            if finding is not None
        ]
    return "\n".join(lines)


def own_evidence(store: str, names: Sequence[str]) -> Evidence:
    """Studies of one store together."""
    sources = [open_source(store, study=name) for name in names]
    first = sources[0]
    assert all((s.zero_r, s.paired) == (first.zero_r, first.paired) for s in sources)
    together = replace(
        first,
        name=" and ".join(names),
        trials=pd.concat([source.trials for source in sources], ignore_index=True),
        meta_loops=pd.concat([source.meta_loops for source in sources], ignore_index=True),
    )
    return Evidence(f"ours: {together.name}", together, together.meta_loops)


def origin(evidence: Evidence) -> str:
    """A line on what one column rests on."""
    trials, spec = evidence.source.trials, evidence.source.origin.get("spec")
    if spec is None:
        return f"- *{evidence.label}*: {len(trials):,} trials of 98 architectures, 100 meta-loops."
    counts = trials.groupby("architecture", sort=False)["trial"].nunique()
    shapes = ", ".join(f"{name} ({n})" for name, n in counts.items())
    return (
        f"- *{evidence.label}*: {len(trials):,} trials, {spec['meta_loops']} meta-loops, preset "
        f"`{spec['preset']}`, {spec['pairing']}; architectures (trials of each mode): {shapes}."
    )


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trials")
    parser.add_argument("convergence", type=Path)
    parser.add_argument("--own", nargs="+", action="append", default=[], metavar="STORE STUDY")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    paper = open_source(options.trials, zero_r=ZERO_R)
    evidence = [Evidence("the paper's data", paper, read_curves_csv(options.convergence))]
    evidence += [own_evidence(store, names) for store, *names in options.own]
    text = f"""# Claims of the paper, tested

Each quantitative or causal claim of *Beyond Pruning and Dropout: Evolving Robust Networks via
Persistent Stochastic Ablation*, with the test it is put to and what the data say. Made by
`benchmarks/claims/paper.py`, {date.today().isoformat()}. Regimes are those of the complete rules;
numbers are peak validation accuracies in percent, differences in points with 95 % intervals,
p two-sided unless said otherwise. A p value "over architectures" flips the sign of each
architecture's difference: it speaks of shapes like these, which were chosen, not drawn at random.
Claims are tested one by one, uncorrected for being {len(CLAIMS)}; tests within a claim are
corrected as said.

The complete rules were written with the paper's data in view, so what is said "over chaotic
shapes" or "over stable shapes" depends on labels drawn from the same trials.

Two things about the paper's data: its `decay` arm is the only one *without* weight decay (the
other five ran AdamW's default of 0.01), so what it says of decay compares near-equal arms; and
its curves are those of the best of ten trials of each cell, not of a typical one.

Verdicts: *{HOLDS}*, *{PARTLY}* (true of some of what it says), *{OPEN}* (these data cannot tell),
*{FAILS}*; *-*: these runs lack the shapes, or have too few. A few shapes cannot speak for all: what
holds for ours is not thereby shown of the rest.

{chr(10).join(map(origin, evidence))}

{markdown(evidence)}
"""
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
