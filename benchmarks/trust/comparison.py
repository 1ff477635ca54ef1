"""Our runs of a few of the paper's architectures against the paper's own trials, cell by cell.

    python -m benchmarks.trust.comparison STORE paper_trials.csv STUDY... --out docs/comparison.md

The same comparison as `antifragile compare`, as Markdown; the page itself shows it with the map,
the trials and the curves.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

from antifragile._files import write_atomically
from antifragile.analysis.inference.two_studies import compare_studies
from antifragile.analysis.source import open_source
from antifragile.analysis.summary import Measure
from antifragile.report.survey import Survey, survey
from antifragile.report.table import as_markdown
from antifragile.report.tables.comparison import comparison_table

ZERO_R = 11.02


def machine(study: Survey) -> str:
    """Machine that computed it, in words."""
    (row,) = study.source.origin["environments"]
    return f"{row['machine']}, torch {row['torch_version']}, kernel `{row['kernel']}`"


def part(mine: Survey, paper: Survey) -> str:
    """The table of one study."""
    frame = compare_studies(mine.source.trials, paper.source.trials, Measure.PEAK)
    return as_markdown(comparison_table(frame, mine.source.name, "the paper", Measure.PEAK))


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("paper")
    parser.add_argument("studies", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    paper = survey(open_source(options.paper, zero_r=ZERO_R))
    ours = [survey(open_source(options.store, study=name)) for name in options.studies]
    text = f"""# Our runs against the paper's

Means of our studies and of the paper, and whether they differ. What the paper's columns hold comes
from the peak validation accuracies of its 5,880 trials, those behind Table V of Cotten, "Beyond
Pruning and Dropout: Evolving Robust Networks via Persistent Stochastic Ablation"; the file itself
is not part of this repository. Ours: preset `table-v`, independent trials, 100 meta-loops;
{machine(ours[0])}; {date.today().isoformat()}.

```
antifragile compare STORE paper_trials.csv --study {options.studies[0]} --zero-r 11.02 --out page
python -m benchmarks.trust.comparison STORE paper_trials.csv \\
    {" ".join(options.studies)} --out docs/comparison.md
```

A difference that is not shown is not an equality: [reproduction](reproduction.md) tests for
equivalence, and runs a control in which the pixels are scaled otherwise and the difference shows.

![The page of a comparison](comparison.png)

*The page, `antifragile compare`: the landscape of our five architectures, the trials of 8*8 with
the paper's as open circles, and the means of all common cells against the paper's.*

{chr(10).join(part(mine, paper) for mine in ours)}"""
    write_atomically(options.out, text.encode())


if __name__ == "__main__":
    main()
