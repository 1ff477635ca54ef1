"""The paper's tables, from any survey: I-III one architecture, IV parameters, V means, VI regimes.

Where a table differs from the paper's, its function says so in a Note.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from antifragile.analysis.inference.families import ALPHA
from antifragile.analysis.inference.winners import family_within_architecture, modes_not_beaten
from antifragile.analysis.regimes.classification import modes_left_out
from antifragile.analysis.source import input_sizes, network_of
from antifragile.config.architecture import Architecture
from antifragile.config.networks import Network
from antifragile.config.perturbation import Perturbation
from antifragile.errors import UsageError
from antifragile.report.survey import MEASURE_WORDS, Survey, order_modes, order_regimes, rows_of
from antifragile.report.table import (
    Cell,
    Column,
    Spread,
    Table,
    frame_table,
    number_columns,
    text_columns,
)
from antifragile.report.tables.names import TableName
from antifragile.report.tables.printed import PRINTED_WINNERS
from antifragile.report.targets import choose_architectures

_SEVERAL = "/"


_DEFAULT_TARGETS: Mapping[TableName, tuple[str, ...]] = {
    TableName.I: ("1*2048",),
    TableName.II: ("19*19",),
    TableName.III: ("20*20", "21*21"),
}


def build_table(name: TableName, survey: Survey, *, targets: Sequence[str] = ()) -> Table:
    """Build a table by its number.

    Args:
        name: Name of the table.
        survey: The numbers.
        targets: Architectures of tables I, II and III instead of the paper's.

    Raises:
        UsageError: The survey lacks an architecture, or table I, II, III was not asked for and
            targets are given.
    """
    if name in _DEFAULT_TARGETS:
        return performance_table(survey, targets or _DEFAULT_TARGETS[name])
    if targets:
        raise UsageError("--targets chooses the architectures of tables I, II and III only.")
    builders: Mapping[TableName, Callable[[Survey], Table]] = {
        TableName.IV: parameter_table,
        TableName.V: mean_table,
        TableName.VI: regime_table,
        TableName.TRAINING: training_table,
    }
    return builders[name](survey)


def performance_table(survey: Survey, targets: Sequence[str]) -> Table:
    """n, mean, sd (population), min and max of every mode, architectures side by side.

    Source: PSA paper, tables I, II and III.
    """
    names = choose_architectures(list(survey.landscape["architecture"]), targets)
    columns = text_columns("mode")
    for name in names:
        prefix = f"{name} " if len(names) > 1 else ""
        words = ("n", "mean", "sd", "min", "max")
        columns += number_columns(*(f"{prefix}{word}" for word in words))
    cells = survey.cells[survey.cells["architecture"].isin(names)]
    found = {(r.architecture, r.mode): [r.n, r.mean, r.sd, r.min, r.max] for r in rows_of(cells)}
    rows: list[list[Cell]] = [
        [mode, *(number for name in names for number in found.get((name, mode), [None] * 5))]
        for mode in order_modes(cells["mode"])
    ]
    sizes = ", ".join(_with_parameters(survey, name) for name in names)
    return Table(
        title=f"{survey.source.name}: {MEASURE_WORDS[survey.measure]} of {sizes}",
        columns=columns,
        rows=rows,
        notes=[_percent_note(survey), *_dataset_notes(survey)],
    )


def parameter_table(survey: Survey) -> Table:
    """Parameters of every architecture, with the paper's word on matching.

    Source: PSA paper, table IV.
    """
    sizes = input_sizes(survey.source)
    places = survey.landscape
    matching = places["matching"].where(places["matching"] != "", None)
    known = f"{sizes[0]} inputs and {sizes[1]} classes" if sizes else "an unknown data set"
    return frame_table(
        places.assign(**{"parameter matching": matching}),
        title=f"{survey.source.name}: parameters of {len(places)} architectures",
        columns=[
            *text_columns("architecture"),
            *number_columns("parameters"),
            *text_columns("parameter matching"),
        ],
        notes=[
            f"Parameters for {known}; matching as in the paper, empty for other shapes.",
            *_dataset_notes(survey),
        ],
    )


def mean_table(survey: Survey) -> Table:
    """Mean and sd (population) of every cell, and who wins: by mean, by maximum, beyond doubt.

    Source: PSA paper, table V.

    Note:
        The paper's Winner column goes by mean, its figure 6 by maximum; both stand here, beside
        the modes that the best one does not beat in a permutation test.
    """
    source = survey.source
    undecided = modes_not_beaten(source.trials, survey.measure, paired=source.paired)
    cells = {(row.architecture, row.mode): row for row in rows_of(survey.cells)}
    rows: list[list[Cell]] = []
    for place in rows_of(survey.landscape):
        of_modes = [cells.get((place.architecture, mode)) for mode in survey.modes]
        spreads = [_spread(cell, place.winner_by_mean) for cell in of_modes]
        winners = (place.winner_by_mean, place.winner_by_max, undecided[place.architecture])
        named = [name_modes(modes, survey.modes) for modes in winners]
        rows.append([place.architecture, *spreads, *named])
    return Table(
        title=f"{survey.source.name}: {MEASURE_WORDS[survey.measure]}, mean ± sd per mode",
        columns=[
            *text_columns("architecture"),
            *(Column(name=mode, spread=True) for mode in survey.modes),
            *text_columns("winner (mean)", "winner (max)", "not beaten"),
        ],
        rows=rows,
        notes=[_percent_note(survey), *_test_notes(survey)],
    )


def name_modes(modes: Sequence[str], of: Sequence[str]) -> str:
    """``"none/decay"``; ``"all"`` when they are all there are and more than one."""
    return "all" if len(modes) == len(of) > 1 else _SEVERAL.join(modes)


def _spread(cell: Any, best: Sequence[str]) -> Spread | None:
    return None if cell is None else Spread(cell.mean, cell.sd, is_best=cell.mode in best)


def _test_notes(survey: Survey) -> list[str]:
    if survey.cells.empty:
        return []
    paired = survey.source.paired
    family = family_within_architecture(
        n_modes=len(survey.modes), n_trials=int(survey.cells["n"].min()), paired=paired
    )
    kind = "paired" if paired else "unpaired"
    note = (
        f"Not beaten: the best mode by mean and every mode that a permutation test ({kind}) does "
        f"not tell from it (two-sided, Holm over {family.n_tests} comparisons per architecture, "
        f"{ALPHA:g}); smallest attainable p {family.smallest_p:.2g}, first threshold "
        f"{family.first_threshold:.2g}."
    )
    if family.can_show:
        return [note]
    needed = family.trials_needed
    return [note, f"Too few trials: no mode can be beaten; {needed} per cell would be needed."]


def regime_table(survey: Survey) -> Table:
    """The regime of every architecture with its reason.

    Note:
        The paper's table VI lists training options; ``training`` is that table.
    """
    places = survey.landscape
    has_probability = bool(places["probability"].notna().any())
    labels = places["regime"].replace("", "not judged")
    counts = [f"{(labels == label).sum()} {label}" for label in order_regimes(labels)]
    return frame_table(
        places.replace({"regime": {"": "-"}}),
        title=f"{survey.source.name}: regimes of {len(places)} architectures, {survey.rules} rules",
        columns=[
            *text_columns("architecture"),
            *number_columns("parameters"),
            *text_columns("regime"),
            *(number_columns("probability", decimals=3) if has_probability else []),
            *text_columns("reason"),
        ],
        notes=[", ".join(counts), *_left_out(survey)] if counts else [],
    )


def _left_out(survey: Survey) -> list[str]:
    modes = modes_left_out(survey.source)
    return [f"The rules know the paper's six modes; left out: {', '.join(modes)}."] if modes else []


def training_table(survey: Survey) -> Table:
    """The options of the inner loop, from the study's spec.

    Source: PSA paper, table VI.

    Raises:
        UsageError: The source is a CSV, which does not know them.
    """
    spec = survey.source.origin.get("spec")
    if spec is None:
        raise UsageError("a CSV does not say how its trials were trained; give a store.")
    values = {key: spec[key] for key in ("dataset", "preset", "pairing", "seed", "meta_loops")}
    rows: list[list[Cell]] = [
        [key.replace("_", " "), _option(value)]
        for key, value in (values | spec["training"]).items()
    ]
    return Table(
        title=f"{survey.source.name}: training options",
        columns=text_columns("option", "value"),
        rows=rows,
    )


def _option(value: object) -> str:
    if isinstance(value, list):  # perturbations, each a preset with its options
        return ", ".join(Perturbation.of_mapping(item).words for item in value)
    return str(value)


def winner_differences(survey: Survey) -> Table:
    """Winners computed here that differ from those that the paper prints in its table V.

    Raises:
        UsageError: The study trained other networks, or on other data, than the paper.
    """
    spec = survey.source.origin.get("spec")
    network = network_of(survey.source)
    if spec is not None and (spec["dataset"], network) != ("mnist", Network.MLP):
        raise UsageError(
            f"the paper's winners are those of network 'mlp' on mnist; this study has network "
            f"{str(network)!r} on {spec['dataset']}; leave --printed out."
        )
    rows: list[list[Cell]] = []
    for place in rows_of(survey.landscape):
        printed = PRINTED_WINNERS.get(Architecture.parse(place.architecture).name)
        if printed is None or set(printed) == set(place.winner_by_mean):
            continue
        named = (printed, place.winner_by_mean, place.winner_by_max)
        rows.append([place.architecture, *(name_modes(modes, survey.modes) for modes in named)])
    return Table(
        title=f"{survey.source.name}: winners that differ from the printed Winner column",
        columns=text_columns("architecture", "printed", "by mean", "by maximum"),
        rows=rows,
        notes=[f"{len(PRINTED_WINNERS)} winners can be read in the paper; {len(rows)} differ."],
    )


def _percent_note(survey: Survey) -> str:
    return (
        f"Percent; sd of the population; n = {survey.n_label} trials per cell; "
        f"ZeroR {survey.source.zero_r:.2f} % (validation)."
    )


def _dataset_notes(survey: Survey) -> list[str]:
    """A note where a CSV mixes the paper's architectures with others: MNIST is a guess there."""
    is_csv = survey.source.origin.get("spec") is None
    if not is_csv or not (survey.landscape["matching"] == "").any():
        return []
    known = "unknown" if input_sizes(survey.source) is None else "those for MNIST"
    return [f"The file does not name its data set: parameters are {known}."]


def _with_parameters(survey: Survey, name: str) -> str:
    count = survey.landscape.set_index("architecture")["parameters"][name]
    return name if math.isnan(count) else f"{name} ({count:,} parameters)"
