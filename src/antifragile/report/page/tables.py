"""The tables of the page, section by section."""

from __future__ import annotations

from antifragile.analysis.harm import harm_by_size, has_harm
from antifragile.analysis.inference.comparisons import compare_with_control
from antifragile.analysis.peak_bias import optimism
from antifragile.analysis.summary import Measure
from antifragile.report.survey import Survey, available_measures
from antifragile.report.table import Table, frame_table, number_columns, text_columns
from antifragile.report.tables.paper import mean_table, regime_table

CONTROL = "none"


def page_tables(survey: Survey) -> list[tuple[str, str, Table]]:
    """Key, heading and table of every section, in order; none for an empty survey."""
    if survey.cells.empty:
        return []
    tables = [
        ("means", "Means and winners", mean_table(survey)),
        ("regimes", "Regimes with their reasons", regime_table(survey)),
        ("cells", "Every cell", cell_table(survey)),
    ]
    if CONTROL in survey.modes and len(survey.modes) > 1:
        tables.append(("control", f"Every mode against {CONTROL}", control_table(survey)))
    if has_harm(survey.source.meta_loops):
        tables.append(("harm", "Harm of one ablation", harm_table(survey)))
    if Measure.TEST in available_measures(survey.source):
        tables.append(("optimism", "How much the peak flatters", optimism_table(survey)))
    return tables


def cell_table(survey: Survey) -> Table:
    """n, mean, both standard deviations, extremes and the interval of the mean of every cell."""
    numbers = number_columns("n", "mean", "sd", "sample_sd", "min", "max", "low", "high")
    return frame_table(
        survey.cells.astype({"min": float, "max": float}),
        title=f"{survey.source.name}: every cell, {survey.measure} accuracy, percent",
        columns=[*text_columns("architecture", "mode"), *numbers],
        notes=["sd: population; sample sd: n - 1; low and high: 95 % t interval of the mean."],
    )


def control_table(survey: Survey) -> Table:
    """Every mode against the control, with the limits of the tests."""
    result = compare_with_control(
        survey.source.trials, paired=survey.source.paired, control=CONTROL, measure=survey.measure
    )
    return frame_table(
        result.table,
        title=f"{survey.source.name}: every mode against {CONTROL}, percentage points",
        columns=[
            *text_columns("architecture", "mode"),
            *number_columns("difference", "low", "high", "size"),
            *number_columns("p", "p_holm", "p_bh", decimals=4),
            *text_columns("verdict"),
        ],
        notes=[
            f"Permutation tests; low and high: 95 % interval; size: in standard deviations; "
            f"equivalent: within {result.margin:g} points.",
            *(family.words for family in result.families),
        ],
    )


def harm_table(survey: Survey) -> Table:
    """Loss right after an ablation, its recovery within the epoch, and the loss left."""
    parts = [
        f"{part}{end}" for part in ("drop", "recovery", "left") for end in ("", "_low", "_high")
    ]
    found = harm_by_size(survey.source, survey.landscape)
    return frame_table(
        found.assign(**{"mended, %": 100 * found["share_mended"]}),
        title=f"{survey.source.name}: harm of one ablation, points of validation accuracy",
        columns=[
            *text_columns("architecture"),
            *number_columns("parameters"),
            *text_columns("mode"),
            *number_columns("n", "ablations", *parts),
            *number_columns("mended, %", decimals=1),
        ],
        notes=[
            "Drop: LKG minus its ablated clone, before the epoch; recovery: clone after the epoch "
            "minus ablated clone; left: drop minus recovery, negative where the epoch gained; "
            "mended: clones at least as good as the LKG. Low and high: 95 % t interval over "
            "trials."
        ],
    )


def optimism_table(survey: Survey) -> Table:
    """Peak validation minus test accuracy, by mode."""
    gaps = number_columns("gap", "low", "high", "excess", "excess_low", "excess_high")
    return frame_table(
        optimism(survey.source.trials, control=CONTROL),
        title=f"{survey.source.name}: peak validation minus test accuracy, percentage points",
        columns=[*text_columns("mode"), *number_columns("architectures", "trials"), *gaps],
        notes=[
            "The peak is the best of many looks at the validation split, the test split is looked "
            f"at once. Excess: gap minus that of {CONTROL}; 95 % intervals over architectures."
        ],
    )
