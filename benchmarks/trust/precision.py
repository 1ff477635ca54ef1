"""Compare peak accuracies of bf16 and fp32 products on paired trials.

    antifragile study run studies/bf16.toml --precision fp32 --store fp32.db
    antifragile study run studies/bf16.toml --precision bf16 --store bf16.db
    python -m benchmarks.trust.precision fp32.db bf16.db

Trials of the same number share initial weights and batch orders, so the differences are paired.
Equivalence: two one-sided paired t tests against a margin of 0.2 point.
"""

from __future__ import annotations

import argparse

from scipy import stats

from antifragile.analysis.frames import trials_frame
from antifragile.store.store import Store

MARGIN = 0.2
MEASURE = "peak_validation_accuracy"


def main() -> None:
    """Print a Markdown table, a row per cell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fp32")
    parser.add_argument("bf16")
    options = parser.parse_args()
    keys = ["architecture", "mode", "trial"]
    frames = []
    for url in (options.fp32, options.bf16):
        store = Store(url, create=False)
        frames.append(trials_frame(store, store.study()).set_index(keys)[MEASURE])
    both = frames[0].to_frame("fp32").join(frames[1].rename("bf16"), how="inner")
    print("| architecture | mode | n | fp32 | bf16 | difference | 90 % interval | equivalent |")
    print("|---|---|---|---|---|---|---|---|")
    for (architecture, mode), cell in both.groupby(level=[0, 1], sort=False):
        difference = cell.bf16 - cell.fp32
        test = stats.ttest_1samp(difference, 0)
        interval = test.confidence_interval(0.9)
        p = max(
            stats.ttest_1samp(difference, -MARGIN, alternative="greater").pvalue,
            stats.ttest_1samp(difference, MARGIN, alternative="less").pvalue,
        )
        print(
            f"| {architecture} | {mode} | {len(cell)} | {cell.fp32.mean():.2f} "
            f"| {cell.bf16.mean():.2f} | {difference.mean():+.3f} "
            f"| {interval.low:+.3f} to {interval.high:+.3f} "
            f"| {'yes' if p < 0.05 else 'no'} (p = {p:.4f}) |"
        )


if __name__ == "__main__":
    main()
