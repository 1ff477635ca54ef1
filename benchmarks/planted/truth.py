"""Error rates of the statistics of ablation studies, on a model whose true effects are known.

The model (`planted_model.py`) has a useful, a useless, a harmful and two redundant components.
Truth is the mean of 2,000 paired runs per component; against it stand 100 repeated studies of 10
seeds, and 100 of a family in which every component is useless. All runs are trained.

    python -m benchmarks.planted.truth --runs /tmp/planted.csv --out docs/ablation.md

``--runs`` keeps the trained values, so that a second call only counts again (about 15 minutes
for the first on two cores).
"""

from __future__ import annotations

import argparse
import gc
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

from antifragile.ablate.designs.base import (
    BASELINE,
    CONTRIBUTION,
    INTERACTION,
    JOINT,
    AblationDesign,
    Request,
)
from antifragile.ablate.designs.leave_one_out import LeaveOneOut
from antifragile.ablate.designs.pairwise import Pairwise, redundant_pairs
from antifragile.ablate.designs.path import AblationPath
from antifragile.ablate.designs.shapley import Shapley
from antifragile.analysis.inference.paired import Judged, Judgement, PairedVerdict, judge_contrasts
from benchmarks.planted.additive import additive_section
from benchmarks.planted.model import (
    COMPONENTS,
    MIXERS,
    TWIN_A,
    TWIN_B,
    USELESS,
    Configuration,
    planted_values,
)
from benchmarks.section import write_section

MARGIN, LOOKS = 1.0, (10, 15, 20, 30)
JUDGEMENT = Judgement(margin=MARGIN)
SIGN = {PairedVerdict.POSITIVE: 1, PairedVerdict.NEGATIVE: -1}
STUDY_SEEDS, TRUTH_SEEDS, NULL_SEEDS = 1_000_000, 2_000_000, 3_000_000


class Runs:
    """Trained values by configuration and seed, kept in a CSV."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.values = path, dict[Request, float]()
        self.seconds, self.trained = 0.0, 0
        if path is not None and path.exists():
            for text, seed, value in pd.read_csv(path, keep_default_na=False).itertuples(False):
                names = frozenset(text.split("+")) if text else BASELINE
                self.values[names, int(seed)] = float(value)

    def need(
        self, configurations: Iterable[Configuration], seeds: Sequence[int], mixers: Sequence[str]
    ) -> None:
        """Train what is missing."""
        started = time.perf_counter()
        for configuration in configurations:
            missing = [s for s in seeds if (configuration, s) not in self.values]
            if missing:
                self.values |= planted_values([configuration], missing, mixers=mixers)
                self.trained += len(missing)
        self.seconds += time.perf_counter() - started
        if self.path is not None:
            rows = [("+".join(sorted(c)), s, v) for (c, s), v in self.values.items()]
            frame = pd.DataFrame(rows, columns=["ablated", "seed", "accuracy"])
            frame.to_csv(self.path, index=False)

    def complete(self, design: AblationDesign) -> Judged:
        """Answer a design's requests from the stored values and judge it."""
        known: dict[Request, float] = {}
        while wanted := design.wanted(known):
            known |= {request: self.values[request] for request in wanted}
        judgement = getattr(design, "judgement", JUDGEMENT)
        return judge_contrasts(design.contrasts(known), judgement)


def main() -> None:
    """Train, count, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--truth", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    runs = Runs(chosen.runs)
    singles = [frozenset([c]) for c in COMPONENTS]
    pairs = [frozenset(pair) for pair in combinations(COMPONENTS, 2)]
    truth_seeds = range(TRUTH_SEEDS, TRUTH_SEEDS + chosen.truth)
    starts = [STUDY_SEEDS + 100 * r for r in range(chosen.studies)]
    runs.need([BASELINE, *singles, *pairs], truth_seeds, ())
    runs.need([BASELINE, *singles], _all(starts, LOOKS[-1]), ())
    runs.need(pairs, _all(starts, 10), ())
    nulls = [NULL_SEEDS + 100 * r for r in range(chosen.studies)]
    runs.need([BASELINE, *(frozenset([m]) for m in MIXERS)], _all(nulls, 10), MIXERS)
    subsets = [frozenset(s) for n in range(6) for s in combinations(COMPONENTS, n)]
    runs.need(subsets, range(starts[0], starts[0] + 10), ())
    gc.freeze()  # statsmodels collects garbage at every correction; these values are none
    parts = [
        _head(chosen, runs),
        _truth_and_studies(runs, truth_seeds, starts),
        _null_family(runs, nulls),
        _adaptive(runs, truth_seeds, starts),
        _pairwise(runs, truth_seeds, starts),
        _one_study(runs, starts[0]),
        additive_section(),
    ]
    write_section(chosen.out, "Planted truth", "\n\n".join(parts))


def _all(starts: Sequence[int], n: int) -> list[int]:
    return [start + i for start in starts for i in range(n)]


def _head(chosen: argparse.Namespace, runs: Runs) -> str:
    threads = f"{chosen.threads} thread{'s' * (chosen.threads > 1)}"
    spent = f"; {runs.trained:,} runs trained in {runs.seconds:,.0f} s" if runs.trained else ""
    return (
        f"`benchmarks/planted/truth.py`, {date.today()}, {platform.machine()}, torch "
        f"{torch.__version__}, {threads}{spent}. A model with planted components "
        "on synthetic data (its module says how it is made), trained by SGD; the metric is test "
        f"accuracy, percent. Truth: mean of {chosen.truth:,} paired runs per row. Studies: "
        f"{chosen.studies} repeats of 10 seeds each, seeds of their own, alpha 5 %, margin of "
        f"equivalence {MARGIN:g} point."
    )


def truth_table(
    runs: Runs, seeds: Sequence[int], design: Callable[..., AblationDesign]
) -> pd.DataFrame:
    """True value of every target, with the standard error that 2,000 runs leave."""
    contrasts = design(components=COMPONENTS, seeds=seeds).contrasts(runs.values)
    grouped = contrasts.groupby(["question", "target"], sort=False)["value"]
    table = pd.DataFrame({"truth": grouped.mean(), "error": grouped.sem()})
    bound = stats.norm.isf(0.005)
    table["sign"] = np.where(abs(table.truth) > bound * table.error, np.sign(table.truth), 0)
    table.loc[[key for key in table.index if key[1] == USELESS], "sign"] = 0.0
    return table


def _truth_and_studies(runs: Runs, truth_seeds: range, starts: Sequence[int]) -> str:
    truth = truth_table(runs, truth_seeds, LeaveOneOut).loc[CONTRIBUTION]
    studies = _studies(runs, LeaveOneOut, starts)
    tables = pd.concat([study.of(CONTRIBUTION) for study in studies])
    lines = [
        "| component | truth | covered | half-width | positive | negative | equivalent | open |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for component in COMPONENTS:
        rows, true = tables.loc[component], truth.loc[component]
        verdicts = rows.verdict.value_counts()
        counts = " | ".join(str(verdicts.get(v, 0)) for v in _SHOWN)
        covered, width = _covered(rows, true.truth), float((rows.high - rows.low).mean() / 2)
        lines.append(
            f"| {component} | {true.truth:+.2f} ± {true.error:.2f} | {covered} | {width:.2f} | "
            f"{counts} |"
        )
    wrong = sum(_has_wrong_claim(study, truth["sign"]) for study in studies)
    low, high = _limits(0.95, len(starts)), _limits(0.05, len(starts))
    return _section(
        f"{len(starts)} studies of 10 seeds, leave-one-out",
        lines,
        "Covered: studies whose 95 % t interval holds the truth; the exact 99 % binomial "
        f"limits of that are {low[0]} to {low[1]}. Family-wise errors (a study with any "
        f"corrected claim whose sign the truth does not have): **{wrong}** of {len(starts)}; "
        f"5 % allows at most {high[1]}. The four columns after the half-width count verdicts; "
        "power is *positive* for useful and the twins, *negative* for harmful.",
    )


def _studies(
    runs: Runs,
    design: Callable[..., AblationDesign],
    starts: Sequence[int],
    components: Sequence[str] = COMPONENTS,
) -> list[Judged]:
    """Studies of ten seeds, from each of these on."""
    return [runs.complete(design(components=components, seeds=range(s, s + 10))) for s in starts]


def _covered(rows: pd.DataFrame, truth: float) -> int:
    return int(((rows.low <= truth) & (truth <= rows.high)).sum())


_SHOWN = (*SIGN, PairedVerdict.EQUIVALENT, PairedVerdict.OPEN)


def _has_wrong_claim(study: Judged, signs: pd.Series, question: str = CONTRIBUTION) -> bool:
    claims = study.of(question)["verdict"].map(SIGN).dropna()
    return bool((claims != signs.loc[claims.index]).any())


def _limits(share: float, n: int) -> tuple[int, int]:
    """Exact 99 % limits of a binomial count."""
    return int(stats.binom.ppf(0.005, n, share)), int(stats.binom.ppf(0.995, n, share))


def _null_family(runs: Runs, nulls: Sequence[int]) -> str:
    studies = _studies(runs, LeaveOneOut, nulls, MIXERS)
    tables = pd.concat([study.of(CONTRIBUTION) for study in studies])
    tables = tables[tables.verdict != PairedVerdict.IDENTICAL]
    claims = tables.verdict.isin(list(SIGN))
    wrong = sum(bool(s.of(CONTRIBUTION).verdict.isin(list(SIGN)).any()) for s in studies)
    covered = _covered(tables, 0)
    raw = int((tables.p <= 0.05).sum())
    return (
        "### A family in which nothing does anything\n\n"
        f"Five fixed random orders of the hidden units, one after another; each contributes "
        f"exactly zero by symmetry. {len(nulls)} studies of 10 seeds: **{wrong}** with any claim "
        f"(5 % allows at most {_limits(0.05, len(nulls))[1]}), {int(claims.sum())} claims in "
        f"{len(tables)} comparisons after Holm, {raw} with p at most 0.05 before. Intervals hold "
        f"zero in {covered} of {len(tables)} ({100 * covered / len(tables):.1f} %)."
    )


def _adaptive(runs: Runs, truth_seeds: range, starts: Sequence[int]) -> str:
    truth = truth_table(runs, truth_seeds, LeaveOneOut).loc[CONTRIBUTION]
    judgement = replace(JUDGEMENT, looks=len(LOOKS))
    lines = [
        "| seeds | runs a study | false claims | useful found | harmful found | settled |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, looks, how in (
        *((f"{n} fixed", (n,), JUDGEMENT) for n in LOOKS),
        (f"adaptive, {', '.join(map(str, LOOKS))}", LOOKS, judgement),
    ):
        studies, spent = [], 0
        for start in starts:
            seeds = range(start, start + looks[-1])
            design = LeaveOneOut(components=COMPONENTS, seeds=seeds, looks=looks, judgement=how)
            studies.append(runs.complete(design))
            table = studies[-1].of(CONTRIBUTION)
            spent += int(table.n.sum() + table.n.max())
        wrong = sum(_has_wrong_claim(study, truth["sign"]) for study in studies)
        found = [_found(studies, "useful", 1), _found(studies, "harmful", -1)]
        tables = pd.concat([study.of(CONTRIBUTION) for study in studies])
        settled = 100 * float((tables.verdict != PairedVerdict.OPEN).mean())
        lines.append(
            f"| {name} | {spent / len(starts):.0f} | {wrong} | {found[0]} | {found[1]} | "
            f"{settled:.0f} % |"
        )
    return _section(
        "Further seeds where the verdict is open",
        lines,
        f"The adaptive study pays for its {len(LOOKS)} looks by counting every p that often.",
    )


def _found(studies: Sequence[Judged], component: str, sign: int) -> int:
    verdicts = [study.of(CONTRIBUTION).verdict[component] for study in studies]
    return sum(SIGN.get(verdict, 0) == sign for verdict in verdicts)


def _pairwise(runs: Runs, truth_seeds: range, starts: Sequence[int]) -> str:
    truth = truth_table(runs, truth_seeds, Pairwise)
    studies = _studies(runs, Pairwise, starts)
    twins = f"{TWIN_A} & {TWIN_B}"
    flagged = [redundant_pairs(study.table) for study in studies]
    found = sum(
        any(twins in line.replace(" alone shows nothing, ", " & ") for line in f) for f in flagged
    )
    others = sum(len(f) for f in flagged) - found
    positive = sum(s.of(INTERACTION).verdict[twins] == PairedVerdict.POSITIVE for s in studies)
    wrong = sum(_has_wrong_claim(s, truth.loc[INTERACTION, "sign"], INTERACTION) for s in studies)
    rows = pd.concat([study.of(INTERACTION) for study in studies])
    covered = [_covered(part, truth.truth[INTERACTION, t]) for t, part in rows.groupby(level=0)]
    joint, inter = truth.truth[JOINT, twins], truth.truth[INTERACTION, twins]
    return (
        "### Pairwise: the planted redundancy\n\n"
        f"Truth: the twins together are worth {joint:+.2f}, their interaction {inter:+.2f} points. "
        f"Of {len(starts)} pairwise studies of 10 seeds, **{positive}** find the interaction and "
        f'**{found}** print the sentence "A alone shows nothing, B alone shows nothing, both '
        f'together cost ..." for them; {others} print it for another pair (the others are those '
        "in which a twin alone was already found to help). Interactions: family-wise errors "
        f"{wrong} of {len(starts)}, intervals of the ten pairs hold the truth in {min(covered)} to "
        f"{max(covered)} of {len(starts)} studies."
    )


def _one_study(runs: Runs, start: int) -> str:
    designs = (Shapley, LeaveOneOut, AblationPath)
    shapley, alone, path = (_studies(runs, d, [start])[0].of(CONTRIBUTION) for d in designs)
    lines = ["| component | leave-one-out | Shapley | place on the path |", "|---|---:|---:|---:|"]
    lines += [
        f"| {c} | {_interval(alone.loc[c])} | {_interval(shapley.loc[c])} | "
        f"{path.index.get_loc(c) + 1} |"
        for c in COMPONENTS
    ]
    whole = [
        runs.values[BASELINE, s] - runs.values[frozenset(COMPONENTS), s]
        for s in range(start, start + 10)
    ]
    return _section(
        "The same ten seeds by three designs",
        lines,
        f"Shapley values add up to {shapley.difference.sum():.4f}; all minus none is "
        f"{np.mean(whole):.4f}. Leave-one-out misses the twins, Shapley shares their worth.",
    )


def _section(heading: str, table: Sequence[str], text: str) -> str:
    return "\n".join([f"### {heading}", "", *table, "", text])


def _interval(row: pd.Series) -> str:
    return f"{row.difference:+.2f} ({row.low:+.2f} to {row.high:+.2f})"


if __name__ == "__main__":
    main()
