"""The PSA paper's quantitative and causal claims, each with a test, an interval and a verdict.

    python -m benchmarks.claims.paper paper_trials.csv paper_convergence.csv --out docs/claims.md \
        [--own STORE STUDY... ]...

The paper's own data first; studies of ours, where given, answer the same questions beside it.
Studies named in one --own are of different shapes and are taken together.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from antifragile.analysis.convergence import read_curves_csv
from antifragile.analysis.source import open_source
from benchmarks.claims import chaotic, stable
from benchmarks.claims.evidence import FAILS, HOLDS, OPEN, PARTLY, Claim, Evidence, together

ZERO_R = 11.02

CLAIMS = [
    item for part in (stable, chaotic) for item in vars(part).values() if isinstance(item, Claim)
]


def markdown(evidence: list[Evidence]) -> str:
    """One table per evidence and a first one of verdicts side by side."""
    found = {e.label: [claim.put_to(e) for claim in CLAIMS] for e in evidence}
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
    whole = together(sources)
    return Evidence(f"ours: {whole.name}", whole, whole.meta_loops)


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
