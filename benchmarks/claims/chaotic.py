"""Claims about unstable and failed networks and about dynamics (PSA paper, III.C to III.E)."""

from __future__ import annotations

from antifragile.analysis.convergence import peak_times, still_improving
from antifragile.analysis.inference.comparisons import compare_with_control
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
    fisher,
    judged,
    over_shapes,
    rate,
    two_arms,
)

_PAPERS_LOOPS = 100  # claims about late loops are not put to shorter studies


def chaotic_varies_most(e: Evidence) -> Finding | None:
    cells = summarise(e.source.trials).groupby("architecture")["sd"].max()
    by = {r: cells[e.of_regime(r)] for r in (*STABLE, Regime.CHAOTIC, Regime.FAILURE)}
    if any(values.empty for values in by.values()):
        return None
    words = ", ".join(f"{regime.value} {values.median():.2f}" for regime, values in by.items())
    top = max(by, key=lambda regime: by[regime].median())
    enough = min(len(values) for values in by.values()) >= 3
    return Finding(
        result=f"median over shapes of the largest sd: {words}; but instability is part of how "
        "the complete rules define the regime",
        verdict=OPEN if not enough else HOLDS if top is Regime.CHAOTIC else FAILS,
    )


def baselines_cannot_escape(e: Evidence) -> Finding | None:
    if not e.has("18*18"):
        return None
    baseline, psa = (e.escapes(["18*18"], *modes) for modes in (BASELINES, ABLATIVES))
    best = max((float(e.trials("18*18", mode).max()), mode) for mode in BASELINES)
    p = fisher(baseline, psa)
    words = (
        f"above ZeroR: baselines {rate(*baseline)}, best {best[1]} {best[0]:.2f} %; PSA "
        f"{rate(*psa)}; Fisher p = {p:.2g}"
    )
    return Finding(result=words, verdict=FAILS if baseline[0] else OPEN)


def psa_rescues_19(e: Evidence) -> Finding | None:
    if not e.has("19*19"):
        return None
    baseline = e.escapes(["19*19"], *BASELINES)
    counts = {mode: e.escapes(["19*19"], mode) for mode in ("hidden", "output")}
    p = {mode: fisher(baseline, count) for mode, count in counts.items()}
    words = f"baselines {rate(*baseline)}; " + "; ".join(
        f"{mode} {rate(*counts[mode])}, Fisher p = {p[mode]:.2g}" for mode in counts
    )
    sure = [mode for mode in p if p[mode] < 0.05 / 2]
    return Finding(result=words, verdict=HOLDS if len(sure) == 2 else PARTLY if sure else OPEN)


def psa_lifts_where_baselines_fail(e: Evidence) -> Finding | None:
    names = e.of_regime(Regime.CHAOTIC)
    if not names:
        return None
    if len(names) < 6:
        return _lifts_each(e, names)
    m = e.means.loc[names]
    words, mean, p, _ = over_shapes(
        m[list(ABLATIVES)].mean(axis=1) - m[list(BASELINES)].mean(axis=1)
    )
    rates = [e.escapes(names, *modes) for modes in (BASELINES, ABLATIVES)]
    words = (
        f"PSA - baselines {words}; trials above ZeroR: baselines {rate(*rates[0])}, PSA "
        f"{rate(*rates[1])} (trials pooled over shapes)"
    )
    return Finding(result=words, verdict=judged(p, agrees=mean > 0))


def _lifts_each(e: Evidence, names: list[str]) -> Finding:
    """Too few shapes for a test over them: each by itself."""
    words, better = [], 0
    for name in names:
        baseline, psa = (e.escapes([name], *modes) for modes in (BASELINES, ABLATIVES))
        p = fisher(baseline, psa)
        better += p < 0.05 / len(names) and psa[0] / psa[1] > baseline[0] / baseline[1]
        words.append(f"{name} baselines {rate(*baseline)}, PSA {rate(*psa)}, Fisher p = {p:.2g}")
    return Finding(
        result=f"trials above ZeroR: {'; '.join(words)} (Bonferroni over {len(names)})",
        verdict=HOLDS if better == len(names) else PARTLY if better else OPEN,
    )


def output_lifts_most(e: Evidence) -> Finding | None:
    names = e.of_regime(Regime.CHAOTIC)
    if len(names) < 6:
        return None
    m = e.means.loc[names]
    parts = [over_shapes(m["output"] - m[other]) for other in ("none", "full", "hidden")]
    words = "; ".join(
        f"output - {other} {part[0]}"
        for other, part in zip(("none", "full", "hidden"), parts, strict=True)
    )
    worst = max(part[2] for part in parts)
    return Finding(result=words, verdict=judged(worst, agrees=all(part[1] > 0 for part in parts)))


def each_shape_is_lifted(e: Evidence) -> Finding | None:
    names = e.of_regime(Regime.CHAOTIC)
    if len(names) < 3:
        return None
    m = e.means.loc[names]
    uplift = m[list(ABLATIVES)].mean(axis=1) - m[list(BASELINES)].mean(axis=1)
    chosen = e.source.trials[e.source.trials["architecture"].isin(names)]
    table = compare_with_control(chosen, paired=e.source.paired).table
    psa = table[table["mode"].isin(ABLATIVES)]
    words = (
        f"uplift positive in {(uplift > 0).sum()} of {len(names)} ({uplift.min():+.1f} to "
        f"{uplift.max():+.1f}); cells significantly above none {psa['verdict'].eq('higher').sum()} "
        f"of {len(psa)}, below {psa['verdict'].eq('lower').sum()} (Holm over {len(table)}). "
        "Under the printed rules uplift is part of the label: there it is positive by definition"
    )
    return Finding(result=words, verdict=HOLDS if (uplift > 0).all() else FAILS)


def hidden_best_at_18(e: Evidence) -> Finding | None:
    if not e.has("18*18"):
        return None
    words, p = two_arms(e, "18*18", "hidden", "output")
    gap = e.means.loc["18*18", "hidden"] - e.means.loc["18*18", "output"]
    best = max(ABLATIVES, key=lambda mode: e.trials("18*18", mode).max())
    return Finding(
        result=f"{words}; highest single trial: {best} {e.trials('18*18', best).max():.2f} %",
        verdict=judged(p, agrees=gap > 0),
    )


def partial_wins_when_starved(e: Evidence) -> Finding | None:
    if not e.has("4*4", "1*2"):
        return None
    words, wins = [], []
    for name in ("4*4", "1*2"):
        row = e.means.loc[name]
        top = max((float(e.trials(name, mode).max()), mode) for mode in row.index)
        psa = row[["full", "output"]].idxmax()
        told, p = two_arms(e, name, psa, "none")
        words.append(f"{name}: best mean {row.idxmax()}, best trial {top[1]}; {told}")
        wins.append(p < 0.05 and row.idxmax() in ("full", "output"))
    return Finding(result="; ".join(words), verdict=HOLDS if all(wins) else OPEN)


def boundary_20_21(e: Evidence) -> Finding | None:
    if not e.has("20*20", "21*21"):
        return None
    before, after = (e.escapes([n], *BASELINES, *ABLATIVES) for n in ("20*20", "21*21"))
    p = fisher(before, after)
    words = f"above ZeroR: 20*20 {rate(*before)}, 21*21 {rate(*after)}; Fisher p = {p:.2g}"
    return Finding(result=words, verdict=judged(p, agrees=before > after))


def failures_fail(e: Evidence) -> Finding | None:
    names = e.of_regime(Regime.FAILURE)
    if not names:
        return None
    hits, n = e.escapes(names, *BASELINES, *ABLATIVES)
    shapes = f"{len(names)} architecture{'s' * (len(names) > 1)}"
    words = (
        f"{hits} of {n} trials of {shapes} exceed ZeroR, which is what the label says; of one "
        f"shape its trials tell only {rate(0, n // len(names))}"
    )
    return Finding(result=words, verdict=PARTLY)


def late_improvement(e: Evidence) -> Finding | None:
    if e.curves is None or e.curves["meta_loop"].max() < _PAPERS_LOOPS:
        return None
    learns = [name for name in e.means.index if e.verdicts[name].regime is not Regime.FAILURE]
    frame = e.curves[e.curves["architecture"].isin(learns)]
    late = int(0.9 * frame["meta_loop"].max())
    shares = still_improving(frame).query("meta_loop == @late").set_index("mode")
    peaks = peak_times(frame).groupby(["architecture", "mode"])["peak_meta_loop"].mean().unstack()
    gap = peaks[list(ABLATIVES)].mean(axis=1) - peaks[list(BASELINES)].mean(axis=1)
    words, mean, p, _ = over_shapes(gap)
    told = ", ".join(f"{mode} {row['share']:.0%}" for mode, row in shares.iterrows())
    words = f"still rising from meta-loop {late} on: {told}; peak later by {words} meta-loops"
    return Finding(result=words, verdict=judged(p, agrees=mean > 0))


def only_psa_at_the_end(e: Evidence) -> Finding | None:
    if e.curves is None or e.curves["meta_loop"].max() < _PAPERS_LOOPS:
        return None
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
    return Finding(result=words, verdict=HOLDS if done.mean() > 0.5 else FAILS)


def dropout_first(e: Evidence) -> Finding | None:
    if e.curves is None or e.curves["meta_loop"].max() < _PAPERS_LOOPS:
        return None
    names = e.of_regime(*STABLE)
    times = peak_times(e.curves[e.curves["architecture"].isin(names)])
    near = times.groupby(["architecture", "mode"])["near_meta_loop"].mean().unstack()
    peak = times.groupby(["architecture", "mode"])["peak_meta_loop"].mean().unstack()
    words, mean, p, _ = over_shapes(near["dropout"] - near["none"])
    within = times[times["mode"] == "dropout"]["peak_meta_loop"].le(50)
    medians = ", ".join(f"{mode} {peak[mode].median():.0f}" for mode in (*BASELINES, *ABLATIVES))
    words = (
        f"loops to within 0.1 point of the peak, dropout - none {words}; dropout at its peak by "
        f"loop 50: {rate(int(within.sum()), len(within))}; median loop of the peak: {medians}"
    )
    return Finding(result=words, verdict=judged(p, agrees=mean < 0))
