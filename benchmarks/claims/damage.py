"""Table and figure of docs/damage.md: the kinds of damage that rescue networks, by depth.

antifragile study run studies/damage.toml             --store damage.db
antifragile study run studies/damage-small-noise.toml --store damage-small-noise.db
python -m benchmarks.claims.damage damage.db damage-small-noise.db --out docs/damage.md

A trial has learned when its peak validation accuracy exceeds ZeroR by a tenth of the room above it,
the threshold that the complete regime rules ask of a stable network. Cells are bimodal, so the
question is how many trials learned: Wilson intervals, and Fisher's exact test against `none` on the
same architecture, corrected by Holm over all cells of the table.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from antifragile.analysis.convergence import TRIAL_KEY
from antifragile.analysis.regimes.complete import learned_above
from antifragile.analysis.source import Source, open_source
from antifragile.config.perturbation import Perturbation
from antifragile.report.figures.names import FigureName
from antifragile.report.figures.registry import draw_figure
from antifragile.report.style import save_figure
from antifragile.report.survey import survey
from benchmarks.claims.evidence import fisher, together
from benchmarks.section import write_section

CONTROL = "none"


def merged(stores: Sequence[str]) -> Source:
    """One source of several studies, or of parts of one that ran into several stores."""
    whole = together([renamed(open_source(store)) for store in stores])
    assert whole.meta_loops is not None
    return replace(
        whole,
        trials=whole.trials.drop_duplicates(TRIAL_KEY, ignore_index=True),
        meta_loops=whole.meta_loops.drop_duplicates([*TRIAL_KEY, "meta_loop"], ignore_index=True),
    )


def renamed(source: Source) -> Source:
    """A study that perturbs all modes names them after that."""
    perturb = source.origin["spec"]["training"].get("perturb", ())
    words = [Perturbation.of_mapping(item).words for item in perturb]
    if not words:
        return source
    frames = {
        part: getattr(source, part).assign(mode=" and ".join(words))
        for part in ("trials", "meta_loops")
    }
    return replace(source, **frames)


def cells(source: Source) -> pd.DataFrame:
    """A row per architecture and mode: how many trials learned, and Fisher's p against `none`."""
    rows = []
    for (architecture, mode), group in source.trials.groupby(["architecture", "mode"], sort=False):
        peaks = group["peak_validation_accuracy"]
        rows.append(
            {
                "architecture": architecture,
                "mode": mode,
                "n": len(peaks),
                "learned": int((peaks > learned_above(source.zero_r)).sum()),
                "escaped": int((peaks > source.zero_r).sum()),
                "mean": peaks.mean(),
                "sd": peaks.std(ddof=0),
                "best": peaks.max(),
            }
        )
    frame = pd.DataFrame(rows)
    control = frame[frame["mode"] == CONTROL].set_index("architecture")
    damaged = frame["mode"] != CONTROL
    p = [
        fisher((row.learned, row.n), tuple(control.loc[row.architecture, ["learned", "n"]]))
        for row in frame[damaged].itertuples()
    ]
    frame.loc[damaged, "p"] = p
    frame.loc[damaged, "p_holm"] = multipletests(p, method="holm")[1]
    return frame


def pooled(frame: pd.DataFrame) -> Iterator[str]:
    """A line per mode: learned over all architectures, and the stratified test against `none`."""
    control = frame[frame["mode"] == CONTROL].set_index("architecture")
    for mode, group in frame[frame["mode"] != CONTROL].groupby("mode", sort=False):
        against = control.loc[group["architecture"]]
        tables = [
            np.array([[a.learned, a.n - a.learned], [b.learned, b.n - b.learned]])
            for a, b in zip(group.itertuples(), against.itertuples(), strict=True)
        ]
        informative = [table for table in tables if table[:, 0].sum() and table[:, 1].sum()]
        p = StratifiedTable(informative).test_null_odds(correction=True).pvalue
        yield (
            f"- {mode}: {group['learned'].sum()} of {group['n'].sum()} learned, `{CONTROL}` "
            f"{against['learned'].sum()} of {against['n'].sum()}, p = {p:.2g}."
        )


def lines(frame: pd.DataFrame) -> Iterator[str]:
    """The table in Markdown, architectures in their order and modes below each."""
    heads = ("architecture", "mode", "n", "learned", "95 % interval", "above ZeroR", "mean ± sd")
    yield f"| {' | '.join((*heads, 'best', 'p', 'p (Holm)'))} |"
    yield "|" + "---|" * 10
    for _, group in frame.groupby("architecture", sort=False):
        for row in group.itertuples():
            low, high = proportion_confint(row.learned, row.n, method="wilson")
            p = "" if pd.isna(row.p) else f"{row.p:.2g} | {row.p_holm:.2g}"
            yield (
                f"| {row.architecture} | {row.mode} | {row.n} | {row.learned} | "
                f"{100 * low:.0f} to {100 * high:.0f} % | {row.escaped} | "
                f"{row.mean:.2f} ± {row.sd:.2f} | {row.best:.2f} | {p or ' | '} |"
            )


def results(source: Source, frame: pd.DataFrame) -> str:
    """The section under the heading Results."""
    loops = source.meta_loops
    assert loops is not None
    machine, torch_version = loops["machine"].iloc[0], loops["torch_version"].iloc[0]
    kernels = ", ".join(sorted(loops["kernel"].unique()))
    return "\n".join(
        [
            f"{int(loops['meta_loop'].max())} meta-loops; learned: peak validation accuracy above "
            f"{learned_above(source.zero_r):.2f} % (ZeroR {source.zero_r:.2f} %); sd of the "
            f"population; p: Fisher's exact test against `none`, Holm over "
            f"{int(frame['p'].count())} comparisons.",
            "",
            *lines(frame),
            "",
            "Over all architectures, stratified (Cochran, Mantel and Haenszel, with continuity "
            "correction; decided on after the table was seen):",
            "",
            *pooled(frame),
            "",
            f"Machine: {machine}, {platform.system()}, torch {torch_version}, kernels {kernels}, "
            f"fp32; {date.today()}; {loops['seconds'].sum() / 60:.0f} worker-minutes, on a machine "
            "that was busy with other work.",
        ]
    )


def main() -> None:
    """Write the section and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="+")
    parser.add_argument("--out", type=Path, default=Path("docs/damage.md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = merged(options.stores)
    write_section(options.out, "Results", results(source, cells(source)))
    drawn = survey(source)
    figure = draw_figure(FigureName.CONVERGENCE, drawn, targets=list(drawn.landscape.architecture))
    save_figure(figure, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
