"""Claims about unstable and failed networks and about dynamics (PSA paper, III.C to III.E)."""

from __future__ import annotations

from antifragile.analysis.convergence import peak_times, still_improving
from antifragile.analysis.regimes.words import Regime
from antifragile.analysis.summary import summarise
from benchmarks.claims.evidence import (
    ABLATIVES,
    BASELINES,
    FAILS,
    HOLDS,
    OPEN,
    PARTLY,
    STABLE,
    Evidence,
    Finding,
    claim,
    fisher,
    judged,
    over_shapes,
    rate,
    two_arms,
    uplift,
)


@claim("The chaotic regime has the highest variance.", "III.C", "largest sd")
def chaotic_varies_most(e: Evidence) -> Finding:
    cells = summarise(e.source.trials).groupby("architecture")["sd"].max()
    by = {r: cells[e.of_regime(r)] for r in (*STABLE, Regime.CHAOTIC, Regime.FAILURE)}
    words = ", ".join(f"{regime.value} {values.median():.2f}" for regime, values in by.items())
    top = max(by, key=lambda regime: by[regime].median())
    enough = min(len(values) for values in by.values()) >= 3
    return Finding(
        f"median over shapes of the largest sd: {words}; but instability is part of how "
        "the complete rules define the regime",
        OPEN if not enough else HOLDS if top is Regime.CHAOTIC else FAILS,
    )


@claim(
    '18*18: baselines are "completely unable" to escape.',
    "III.E",
    "trials above ZeroR, exact intervals",
)
def baselines_cannot_escape(e: Evidence) -> Finding:
    e.need("18*18")
    baseline, psa = (e.escapes(["18*18"], *modes) for modes in (BASELINES, ABLATIVES))
    best = max((float(e.trials("18*18", mode).max()), mode) for mode in BASELINES)
    p = fisher(baseline, psa)
    words = (
        f"above ZeroR: baselines {rate(*baseline)}, best {best[1]} {best[0]:.2f} %; PSA "
        f"{rate(*psa)}; Fisher p = {p:.2g}"
    )
    return Finding(words, FAILS if baseline[0] else OPEN)


@claim(
    "19*19: hidden and output produce massive improvements.", "III.C", "trials above ZeroR, Fisher"
)
def psa_rescues_19(e: Evidence) -> Finding:
    e.need("19*19")
    baseline = e.escapes(["19*19"], *BASELINES)
    counts = {mode: e.escapes(["19*19"], mode) for mode in ("hidden", "output")}
    p = {mode: fisher(baseline, count) for mode, count in counts.items()}
    words = f"baselines {rate(*baseline)}; " + "; ".join(
        f"{mode} {rate(*counts[mode])}, Fisher p = {p[mode]:.2g}" for mode in counts
    )
    sure = [mode for mode in p if p[mode] < 0.05 / 2]
    return Finding(words, HOLDS if len(sure) == 2 else PARTLY if sure else OPEN)


@claim(
    "PSA lifts where baselines fail.", "III.C, V", "PSA - baselines over chaotic shapes, sign flips"
)
def psa_lifts_where_baselines_fail(e: Evidence) -> Finding:
    names = e.of_regime(Regime.CHAOTIC)
    if len(names) < 6:
        return _lifts_each(e, names)
    gap = over_shapes(uplift(e.means.loc[names]))
    baseline, psa = (e.escapes(names, *modes) for modes in (BASELINES, ABLATIVES))
    words = (
        f"PSA - baselines {gap.words}; trials above ZeroR: baselines {rate(*baseline)}, PSA "
        f"{rate(*psa)} (trials pooled over shapes)"
    )
    return Finding(words, gap.verdict)


def _lifts_each(e: Evidence, names: list[str]) -> Finding:
    """Too few shapes for a test over them: each by itself."""
    words, better = [], 0
    for name in names:
        baseline, psa = (e.escapes([name], *modes) for modes in (BASELINES, ABLATIVES))
        p = fisher(baseline, psa)
        better += p < 0.05 / len(names) and psa[0] / psa[1] > baseline[0] / baseline[1]
        words.append(f"{name} baselines {rate(*baseline)}, PSA {rate(*psa)}, Fisher p = {p:.2g}")
    return Finding(
        f"trials above ZeroR: {'; '.join(words)} (Bonferroni over {len(names)})",
        HOLDS if better == len(names) else PARTLY if better else OPEN,
    )


@claim(
    "PSA is consistently beneficial in the chaotic regime.",
    "III.C",
    "each shape; permutation against none, Holm",
)
def each_shape_is_lifted(e: Evidence) -> Finding:
    names = e.of_regime(Regime.CHAOTIC, least=3)
    lifts, table = uplift(e.means.loc[names]), e.against_control(names)
    psa = table[table["mode"].isin(ABLATIVES)]
    words = (
        f"uplift positive in {(lifts > 0).sum()} of {len(names)} ({lifts.min():+.1f} to "
        f"{lifts.max():+.1f}); cells significantly above none {psa['verdict'].eq('higher').sum()} "
        f"of {len(psa)}, below {psa['verdict'].eq('lower').sum()} (Holm over {len(table)}). "
        "Under the printed rules uplift is part of the label: there it is positive by definition"
    )
    return Finding(words, HOLDS if (lifts > 0).all() else FAILS)


@claim("Especially output ablation.", "V", "output against none, full, hidden over chaotic shapes")
def output_lifts_most(e: Evidence) -> Finding:
    names = e.of_regime(Regime.CHAOTIC, least=6)
    m = e.means.loc[names]
    gaps = {other: over_shapes(m["output"] - m[other]) for other in ("none", "full", "hidden")}
    words = "; ".join(f"output - {other} {gap.words}" for other, gap in gaps.items())
    worst = max(gap.p for gap in gaps.values())
    return Finding(words, judged(worst, agrees=all(gap.mean > 0 for gap in gaps.values())))


@claim("18*18: hidden is the most effective.", "III.C", "permutation against output")
def hidden_best_at_18(e: Evidence) -> Finding:
    e.need("18*18")
    gap = two_arms(e, "18*18", "hidden", "output")
    best = max(ABLATIVES, key=lambda mode: e.trials("18*18", mode).max())
    top = e.trials("18*18", best).max()
    return Finding(f"{gap.words}; highest single trial: {best} {top:.2f} %", gap.verdict)


@claim("4*4, 1*2: full and output win.", "III.C", "permutation against none")
def partial_wins_when_starved(e: Evidence) -> Finding:
    e.need("4*4", "1*2")
    words, wins = [], []
    for name in ("4*4", "1*2"):
        row = e.means.loc[name]
        top = max((float(e.trials(name, mode).max()), mode) for mode in row.index)
        psa = row[["full", "output"]].idxmax()
        gap = two_arms(e, name, psa, "none")
        words.append(f"{name}: best mean {row.idxmax()}, best trial {top[1]}; {gap.words}")
        wins.append(gap.p < 0.05 and row.idxmax() in ("full", "output"))
    return Finding("; ".join(words), HOLDS if all(wins) else OPEN)


@claim("Trainability ends between 20*20 and 21*21.", "III.D", "trials above ZeroR, Fisher")
def boundary_20_21(e: Evidence) -> Finding:
    e.need("20*20", "21*21")
    before, after = (e.escapes([n], *BASELINES, *ABLATIVES) for n in ("20*20", "21*21"))
    p = fisher(before, after)
    words = f"above ZeroR: 20*20 {rate(*before)}, 21*21 {rate(*after)}; Fisher p = {p:.2g}"
    return Finding(words, judged(p, agrees=before > after))


@claim("Failed architectures universally fail.", "III.D", "trials above ZeroR, exact intervals")
def failures_fail(e: Evidence) -> Finding:
    names = e.of_regime(Regime.FAILURE)
    hits, n = e.escapes(names, *BASELINES, *ABLATIVES)
    shapes = f"{len(names)} architecture{'s' * (len(names) > 1)}"
    words = (
        f"{hits} of {n} trials of {shapes} exceed ZeroR, which is what the label says; of one "
        f"shape its trials tell only {rate(0, n // len(names))}"
    )
    return Finding(words, PARTLY)


@claim(
    "PSA improves later, near the 100-loop limit.",
    "III.A, III.E",
    "loop of the peak, PSA - baselines over learning shapes, sign flips",
)
def late_improvement(e: Evidence) -> Finding:
    learns = [name for name in e.means.index if e.verdicts[name].regime is not Regime.FAILURE]
    frame = e.curves[e.curves["architecture"].isin(learns)]
    late = int(0.9 * frame["meta_loop"].max())
    shares = still_improving(frame).query("meta_loop == @late").set_index("mode")
    peaks = peak_times(frame).groupby(["architecture", "mode"])["peak_meta_loop"].mean().unstack()
    gap = over_shapes(uplift(peaks))
    told = ", ".join(f"{mode} {row['share']:.0%}" for mode, row in shares.iterrows())
    words = f"still rising from meta-loop {late} on: {told}; peak later by {gap.words} meta-loops"
    return Finding(words, gap.verdict)


@claim(
    "Baselines converge within 30-75 loops while PSA still improves at the 99th.",
    "IV",
    "share still rising at the last loops",
)
def only_psa_at_the_end(e: Evidence) -> Finding:
    names = e.of_regime(*STABLE)
    frame = e.curves[e.curves["architecture"].isin(names)]
    last = int(frame["meta_loop"].max()) - 1
    shares = still_improving(frame).query("meta_loop == @last").set_index("mode")
    told = ", ".join(
        f"{mode} {rate(int(row['improving']), int(row['trials']))}"
        for mode, row in shares.iterrows()
    )
    times = peak_times(frame)
    early = times["peak_meta_loop"] <= 0.75 * times["meta_loops"]
    done = early[times["mode"].isin(["decay", "dropout"])]
    words = (
        f"stable shapes; decay and dropout at their peak within 75 % of the loops: "
        f"{rate(int(done.sum()), len(done))}; still rising at loop {last} or later: {told}"
    )
    return Finding(words, HOLDS if done.mean() > 0.5 else FAILS)


@claim(
    "Dropout converges first, often in the first 50 loops.",
    "III.A",
    "loops to within 0.1 point of the peak, dropout - none over stable shapes",
)
def dropout_first(e: Evidence) -> Finding:
    names = e.of_regime(*STABLE)
    times = peak_times(e.curves[e.curves["architecture"].isin(names)])
    means = times.groupby(["architecture", "mode"])[["near_meta_loop", "peak_meta_loop"]].mean()
    near, peak = means["near_meta_loop"].unstack(), means["peak_meta_loop"].unstack()
    gap = over_shapes(near["dropout"] - near["none"])
    within = times[times["mode"] == "dropout"]["peak_meta_loop"].le(50)
    medians = ", ".join(f"{mode} {peak[mode].median():.0f}" for mode in (*BASELINES, *ABLATIVES))
    words = (
        f"loops to within 0.1 point of the peak, dropout - none {gap.words}; dropout at its peak "
        f"by loop 50: {rate(int(within.sum()), len(within))}; median loop of the peak: {medians}"
    )
    return Finding(words, judged(gap.p, agrees=gap.mean < 0))
