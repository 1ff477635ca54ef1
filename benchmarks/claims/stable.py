"""Claims about the rules and about stable networks (PSA paper, II.H, III.A, III.B)."""

from __future__ import annotations

import numpy as np
from scipy.stats import linregress, spearmanr

from antifragile.analysis.capacity import advise_size
from antifragile.analysis.regimes.paper import classify_by_paper
from antifragile.analysis.regimes.words import Regime
from antifragile.analysis.summary import summarise
from antifragile.config.architecture import Architecture
from antifragile.errors import DataError
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
    TooFew,
    claim,
    judged,
    over_shapes,
    two_arms,
)

_LEAST_SHAPES = 3  # where every shape is tested by itself


@claim("The rules classify all 98 architectures.", "II.H", "the four rules as printed")
def all_classified(e: Evidence) -> Finding:
    verdicts = classify_by_paper(summarise(e.source.trials), zero_r=e.source.zero_r)
    if not verdicts:
        raise TooFew
    left = [name for name, verdict in verdicts.items() if verdict.regime is Regime.UNCLASSIFIED]
    words = f"{len(verdicts) - len(left)} of {len(verdicts)} get a label"
    words += f"; without one: {', '.join(left)}" if left else ""
    return Finding(words, FAILS if left else HOLDS)


@claim("1*2048: weight decay has the highest mean accuracy.", "III.A", "permutation against none")
def decay_best_at_widest(e: Evidence) -> Finding:
    e.need("1*2048")
    gap = two_arms(e, "1*2048", "decay", "none")
    return Finding(gap.words, gap.verdict)


@claim(
    "Weight decay is a distinct, principled regulariser.",
    "III.A, III.B",
    "decay - none over stable shapes, sign flips",
)
def decay_differs(e: Evidence) -> Finding:
    names = e.of_regime(*STABLE, least=6)
    gap = over_shapes(e.means.loc[names, "decay"] - e.means.loc[names, "none"])
    return Finding(gap.words, gap.verdict)


@claim(
    "1*2048: hidden ablation finds the highest single peak (98.35 %).",
    "III.A",
    "gap of maxima, permutation",
)
def hidden_highest_peak(e: Evidence) -> Finding:
    e.need("1*2048")
    hidden, none = e.trials("1*2048", "hidden"), e.trials("1*2048", "none")
    pooled, rng = np.concatenate([hidden, none]), np.random.default_rng(0)
    shuffled = pooled[rng.random((100_000, len(pooled))).argsort(axis=1)]
    gaps = shuffled[:, : len(hidden)].max(axis=1) - shuffled[:, len(hidden) :].max(axis=1)
    observed = hidden.max() - none.max()
    p = float((gaps >= observed - 1e-9).mean())
    words = f"maximum hidden {hidden.max():.2f}, none {none.max():.2f}: {observed:+.2f}, one-sided "
    return Finding(f"{words}p = {p:.2g} of so large a gap by relabelling", judged(p, agrees=True))


@claim("2*939: dropout is the dominant strategy.", "III.A", "permutation against none")
def dropout_dominates(e: Evidence) -> Finding:
    e.need("2*939")
    gap = two_arms(e, "2*939", "dropout", "none")
    return Finding(gap.words, gap.verdict)


@claim(
    "Over-parameterised: hidden ablation is statistically indistinguishable from the control.",
    "V",
    "TOST, margin 0.2",
)
def hidden_equals_control(e: Evidence) -> Finding:
    names = e.of_regime(Regime.BENEFICIAL)
    table = e.against_control(names, margin=0.2)
    hidden = table[table["mode"] == "hidden"]
    same = hidden["verdict"].isin(["equivalent", "identical"]).sum()
    words = (
        f"equivalent within 0.2 points (TOST, Holm over {len(table)}) in {same} of {len(hidden)}; "
        f"significantly lower in {hidden['verdict'].eq('lower').sum()}; mean differences "
        f"{hidden['difference'].min():+.2f} to {hidden['difference'].max():+.2f}"
    )
    return Finding(words, HOLDS if same == len(hidden) else PARTLY)


@claim("1*128 and 2*59 reach more than 97 %.", "III.B", "means")
def success_over_97(e: Evidence) -> Finding:
    e.need("1*128", "2*59")
    best = e.means.loc[["1*128", "2*59"]]
    words = "; ".join(
        f"{name}: best mode {row.idxmax()} {row.max():.2f}, none {row['none']:.2f}"
        for name, row in best.iterrows()
    )
    over = [row["none"] > 97 for _, row in best.iterrows()]
    return Finding(words, HOLDS if all(over) else PARTLY if any(over) else FAILS)


@claim(
    "Maxima diverge: about 0.16 at 1*256, 0.84 at 1*64.",
    "III.B",
    "maxima (no interval: single trials)",
)
def maxima_diverge(e: Evidence) -> Finding:
    e.need("1*256", "1*64")
    gaps = [
        min(e.trials(name, mode).max() for mode in BASELINES)
        - max(e.trials(name, mode).max() for mode in ABLATIVES)
        for name in ("1*256", "1*64")
    ]
    strongest = e.trials("1*64", "dropout").max() - e.trials("1*64", "hidden").max()
    words = (
        f"1*256: weakest baseline maximum over strongest ablative {gaps[0]:+.2f}; 1*64: dropout "
        f"over hidden {strongest:+.2f} (printed 0.84), weakest baseline {gaps[1]:+.2f}"
    )
    return Finding(words, HOLDS if gaps[1] > gaps[0] > 0 else FAILS)


@claim(
    "Optimally sized: any intervention, regularisers too, is increasingly detrimental.",
    "III.B",
    "dropout - none against size, regression",
)
def regularisers_become_harmful(e: Evidence) -> Finding:
    names = e.of_regime(Regime.OPTIMAL, least=6)
    size = np.log2([Architecture.parse(name).parameter_count() for name in names])
    gap = (e.means.loc[names, "dropout"] - e.means.loc[names, "none"]).to_numpy()
    fit = linregress(size, gap)
    better = [name for name, value in zip(names, gap, strict=True) if value > 0]
    words = (
        f"dropout - none rises by {fit.slope:+.2f} points per doubling of parameters "
        f"(p = {fit.pvalue:.2g}), but dropout is above none in {len(better)} of {len(names)}"
    )
    falls = fit.pvalue < 0.05 and fit.slope > 0
    return Finding(words, PARTLY if falls and better else HOLDS if falls else OPEN)


@claim(
    "Well-sized to constrained: all ablation is detrimental.", "V", "permutation against none, Holm"
)
def ablation_harms_when_sized(e: Evidence) -> Finding:
    names = e.of_regime(Regime.OPTIMAL, least=_LEAST_SHAPES)
    table = e.against_control(names)
    psa = table[table["mode"].isin(ABLATIVES)]
    lower = psa["verdict"].eq("lower").sum()
    higher = psa["verdict"].eq("higher").sum()
    words = (
        f"{lower} of {len(psa)} cells significantly lower (Holm over {len(table)}), {higher} higher"
    )
    verdict = HOLDS if lower == len(psa) else PARTLY if lower > len(psa) / 2 else OPEN
    return Finding(words, verdict)


@claim(
    "Hidden is consistently and significantly less harmful than output.",
    "V",
    "hidden - output over optimally sized shapes, sign flips",
)
def hidden_less_harmful(e: Evidence) -> Finding:
    names = e.of_regime(Regime.OPTIMAL, least=_LEAST_SHAPES)
    gap = e.means.loc[names, "hidden"] - e.means.loc[names, "output"]
    whole = over_shapes(gap)
    against = ", ".join(f"{name} {value:+.2f}" for name, value in gap.items() if value < 0)
    pairs = [(name, two_arms(e, str(name), "hidden", "output").p) for name in gap.index]
    sure = [name for name, pair_p in pairs if pair_p < 0.05 / len(pairs)]
    worse = [name for name in sure if gap[name] < 0]
    words = (
        f"hidden - output {whole.words}; significant alone (Bonferroni) in {len(sure)}, of these "
        f"against the claim: {', '.join(map(str, worse)) or 'none'}; negative: {against or 'none'}"
    )
    if len(sure) == len(pairs) and not worse:
        return Finding(words, HOLDS)
    return Finding(words, PARTLY if len(sure) > len(worse) else whole.verdict)


@claim("The rate of harm tells the size.", "III.B, V", "regression on 1*W, error on 2*W and 4*W")
def harm_falls_with_capacity(e: Evidence) -> Finding:
    try:
        advice = advise_size(e.source)
    except DataError as error:
        raise TooFew from error
    low, high = advice.slope_interval
    rho = spearmanr(advice.table["parameters"], advice.table["harm"])
    errors = "; ".join(
        f"{error.family} missed by {error.rms_doublings:.2f} doublings (rms)"
        for error in advice.errors
    )
    words = (
        f"log2 size against log2 harm, 1*W: slope {advice.slope:+.2f} ({low:+.2f} to {high:+.2f}), "
        f"R2 {advice.r_squared:.2f}; Spearman over {len(advice.table)} stable shapes "
        f"{rho.statistic:+.2f}; {errors}"
    )
    return Finding(words, HOLDS if high < 0 else OPEN)
