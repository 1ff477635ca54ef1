"""Table of docs/harm.md: accuracy that one ablation costs at once, and a network's size from it.

antifragile study run studies/harm.toml --store harm.db
python -m benchmarks.claims.harm harm.db --out docs/harm.md
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from statsmodels.regression.linear_model import OLS
from statsmodels.tools import add_constant

from antifragile._files import write_atomically
from antifragile.analysis.capacity import LEAST_HARM, advise_size, harm_of_ablation
from antifragile.analysis.convergence import TRIAL_KEY
from antifragile.analysis.harm import ablations, harm_by_cell, harm_of_architectures
from antifragile.analysis.source import Source, open_source
from antifragile.errors import DataError
from antifragile.report.figures.names import FigureName
from antifragile.report.figures.registry import draw_figure
from antifragile.report.page.facts import duration_words
from antifragile.report.page.tables import harm_table
from antifragile.report.style import save_figure
from antifragile.report.survey import survey
from antifragile.report.table import as_markdown

AFTER = "after the epoch, beyond `none`"
PEAKS = "of the peaks (`antifragile size`)"
NO_FIT = " | - | - | - | - | - | -"
ABLATIVES = ("full", "hidden", "output")


def net_of_control(source: Source, modes: tuple[str, ...]) -> pd.DataFrame:
    """Accuracy that a meta-loop gains less in these modes than in the control."""
    assert source.meta_loops is not None
    frame = source.meta_loops.sort_values([*TRIAL_KEY, "meta_loop"])
    before = frame.groupby(TRIAL_KEY, sort=False)["bounty_accuracy"].shift()
    left = frame.assign(left=before - frame["validation_accuracy"]).dropna(subset=["left"])
    means = left.groupby(["architecture", "trial", "mode"], sort=False)["left"].mean().unstack()
    per_trial = means[list(modes)].mean(axis=1) - means["none"]
    grouped = per_trial.groupby(level="architecture", sort=False)
    return grouped.agg(harm="mean", harm_se="sem").reset_index()


def candidates(source: Source) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Every way to put harm into one number: what, in which modes, and the numbers."""
    assert source.meta_loops is not None
    rows = ablations(source.meta_loops)
    for modes in (ABLATIVES, *((mode,) for mode in ABLATIVES)):
        of_modes = rows[rows["mode"].isin(modes)]
        named = "all three" if len(modes) > 1 else modes[0]
        yield "at once", named, harm_of_architectures(of_modes, "drop")
        yield "after the epoch", named, harm_of_architectures(of_modes, "left")
        yield AFTER, named, net_of_control(source, modes)
    yield PEAKS, "all three", harm_of_ablation(source)


def left_out_error(fitted: pd.DataFrame) -> float:
    """Root mean square of log2(predicted / true) over 1*W rows, each predicted by the others."""
    harm = np.log2(np.maximum(fitted["harm"], LEAST_HARM))
    fit = OLS(np.log2(fitted["parameters"]), add_constant(harm)).fit()
    return float(np.sqrt(np.mean(np.square(fit.get_influence().resid_press))))


def judged(source: Source, harm: pd.DataFrame) -> tuple[str, str]:
    """Quality of the size told from a harm: cells of the table, and errors in doublings.

    Where there is no fit, both say why.
    """
    try:
        advice = advise_size(source, harm=harm)
    except DataError as error:
        return f"{error}{NO_FIT}", str(error)
    table, fitted = advice.table, advice.table[advice.table["fitted"]]
    above = int((fitted["harm"] > LEAST_HARM).sum())
    if above < len(fitted) - 1:
        reason = f"no fit: not above zero in {len(fitted) - above} of {len(fitted)} 1\\*W shapes"
        return f"{reason}{NO_FIT}", reason
    errors = {error.family: error.rms_doublings for error in advice.errors}
    own = left_out_error(fitted)
    misses = [f"{miss:.2f}" for miss in (own, *(errors.get(f, np.nan) for f in ("2*W", "4*W")))]
    low, high = advice.slope_interval
    rank = spearmanr(table["parameters"], table["harm"]).statistic
    noise = (table["harm_se"] / table["harm"].abs()).median()
    slope = f"{advice.slope:+.2f} ({low:+.2f} to {high:+.2f}) | {advice.r_squared:.2f}"
    return " | ".join([slope, *misses, f"{rank:+.2f}", f"{noise:.0%}"]), " / ".join(misses)


def findings(source: Source, errors: Mapping[tuple[str, str], str]) -> str:
    """Findings of the run of 2026-11-22; its words were written then, numbers are computed."""
    assert source.meta_loops is not None
    cells = harm_by_cell(ablations(source.meta_loops)).set_index(["architecture", "mode"])
    stable = [name for name in advise_size(source).table["architecture"] if name != "1*8"]
    output = cells.loc[[(name, "output") for name in stable], "drop"]
    wide, narrow = (cells.loc[(name, "hidden"), "drop"] for name in ("1*256", "1*16"))
    points = (
        "**An output neuron is a class.** Its ablation takes "
        f"{output.min():.1f} to {output.max():.1f} points from every stable network of 1\\*16 and "
        f"up, whatever its size; a hidden neuron takes {narrow:.1f} points from 1\\*16 and "
        f"{wide:.2f} from 1\\*256.",
        "**So the drop at once, averaged over the modes, tells size about as well as the drop "
        f"after the epoch**: errors on 1\\*W / 2\\*W / 4\\*W "
        f"{errors['at once', 'all three']} against {errors[AFTER, 'all three']} doublings. The "
        f"peaks of `antifragile size`: {errors[PEAKS, 'all three']}.",
        "**Under hidden ablation alone the drop at once is the better one**: "
        f"{errors['at once', 'hidden']}, and it needs no control. Under output ablation it is the "
        f"other way round: what the epoch does not mend tells size ({errors[AFTER, 'output']}), "
        f"the drop at once does not ({errors['at once', 'output']}).",
        "**From 1\\*16 up, one epoch mends nearly everything.** Without the control the drop after "
        "the epoch is below zero in most networks: they still gain, ablated or not. Beyond `none` "
        "it is below zero for hidden ablation of the wide ones.",
        "Six shapes carry each fit, three and two test it; which of the better rows is best is not "
        "settled by so few.",
    )
    return "\n".join(
        textwrap.fill(f"- {point}", 100, subsequent_indent="  ", break_on_hyphens=False)
        for point in points
    )


def main() -> None:
    """Write the document and, beside it, the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processor-minutes", type=int, help="where the cores were shared")
    options = parser.parse_args()
    source = open_source(options.store)
    assert source.meta_loops is not None
    seen, picture = survey(source), options.out.with_suffix(".png")
    save_figure(draw_figure(FigureName.HARM, seen), picture)
    spec, machine = source.origin["spec"], source.origin["environments"][0]
    seconds = float(source.meta_loops["seconds"].sum())
    took = f"{duration_words(seconds)} of training and evaluation"
    if options.processor_minutes is not None:
        took = (
            f"{options.processor_minutes} processor minutes; {took} by the clock, on shared cores"
        )
    found = {(what, modes): judged(source, harm) for what, modes, harm in candidates(source)}
    lines = [f"| {what} | {modes} | {cells} |" for (what, modes), (cells, _) in found.items()]
    errors = {key: words for key, (_, words) in found.items()}
    text = f"""# Harm of one ablation

An ablative meta-loop zeroes a neuron of the last known good network (LKG), then trains for one
epoch. The paper speaks of harm and compares peaks after many loops. Here the clone is also counted
right after its ablation (`[evaluate] harm = true`; `studies/harm.toml`: MNIST, {spec["trials"]}
trials, {spec["meta_loops"]} meta-loops, paired, preset `{spec["preset"]}`).

Machine: {machine["machine"]}, torch {machine["torch_version"]}, kernel `{machine["kernel"]}`;
{date.today().isoformat()}; {took}.

```
antifragile study run studies/harm.toml --store harm.db --workers 2
python -m benchmarks.claims.harm harm.db --out docs/harm.md
```

![Harm of one ablation]({picture.name})

## Does it tell the size?

Every row puts harm into one number per architecture, fits log2 parameters on log2 harm over the
stable 1\\*W networks, and asks how far the size read off it misses the true one, in doublings
(root mean square): of 1\\*W shapes left out of the fit in turn, and of 2\\*W and 4\\*W, which no
fit saw. Noise: the median standard error of a harm, in parts of it.

{findings(source, errors)}

| harm | modes | slope (95 %) | R2 | 1\\*W left out | 2\\*W | 4\\*W | Spearman | noise |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}

## Every cell

{as_markdown(harm_table(seen))}"""
    write_atomically(options.out, text.encode())


if __name__ == "__main__":
    main()
