"""Which combinations of ablations a study runs, and what each question is answered from.

A *configuration* is the set of components that are ablated in one run; the empty one is the
baseline. A design is a pure function from the values known so far to the runs still wanted, so a
study that was stopped, or that decides as it goes (racing, further seeds), goes on by asking again.

    leave-one-out   {}, {i}             contribution: baseline minus ablated
    add-one-in      all, all but i      contribution: with i alone minus with nothing
    pairwise        {}, {i}, {i, j}     also joint contributions and interactions
    factorial       half of a 2-level design and its mirror image (`factorial.py`)
    path            greedy, with racing (`ablation_path.py`)
    shapley         all subsets, or sampled permutations (`shapley.py`)

An interaction is c(ij) - c(i) - c(j): above zero the two are redundant (one stands in for the
other), below zero they need each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations
from typing import Protocol

import pandas as pd

from antifragile.analysis.inference.paired import (
    CONTRAST_COLUMNS,
    Judgement,
    PairedVerdict,
    judge_contrasts,
)
from antifragile.errors import UsageError

Configuration = frozenset[str]
Request = tuple[Configuration, int]
Values = Mapping[Request, float]
"""Metric by configuration and seed, higher is better; NaN for a run that failed."""

BASELINE: Configuration = frozenset()
CONTRIBUTION, INTERACTION, JOINT = "contribution", "interaction", "joint contribution"
PAIR = " & "


class DesignName(StrEnum):
    """How the components of a study are combined."""

    LEAVE_ONE_OUT = "leave-one-out"
    ADD_ONE_IN = "add-one-in"
    PAIRWISE = "pairwise"
    FACTORIAL = "factorial"
    PATH = "path"
    SHAPLEY = "shapley"


class Design(Protocol):
    """What to run next, and what the runs say."""

    def wanted(self, values: Values) -> list[Request]:
        """Runs to add to these; empty when the design is complete."""
        ...

    def contrasts(self, values: Values) -> pd.DataFrame:
        """Columns question, target, seed, value, from the runs there are."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about this design's numbers."""
        ...


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut:
    """The baseline, and each component ablated alone.

    Args:
        components: Names.
        seeds: The pairs, in the order in which they are spent.
        looks: Cumulative numbers of seeds at which the data are looked at; after each look only
            components that are still open get more. One number: no adaptation.
        judgement: By which a component counts as settled; its ``looks`` must agree.
    """

    components: Sequence[str]
    seeds: Sequence[int]
    looks: Sequence[int] = ()
    judgement: Judgement = field(default_factory=Judgement)

    def __post_init__(self) -> None:
        assert self.judgement.looks >= max(1, len(self.looks))

    def wanted(self, values: Values) -> list[Request]:
        """All seeds up to the first look, then those of open components up to the next."""
        open_ones: Sequence[str] = self.components
        for n in self.looks or (len(self.seeds),):
            asked = [BASELINE, *(frozenset([c]) for c in open_ones)]
            if missing := missing_runs(asked, self.seeds[:n], values):
                return missing
            if not (open_ones := self._open_after(n, values)):
                break
        return []

    def contrasts(self, values: Values) -> pd.DataFrame:
        """Each component's contribution."""
        singles = {c: frozenset([c]) for c in self.components}
        return frame(differences(CONTRIBUTION, singles, BASELINE, self.seeds, values))

    def _open_after(self, n: int, values: Values) -> list[str]:
        """Judged on the seeds of that look alone, so that stopping half-way adds no look."""
        contrasts = self.contrasts(values)
        seen = contrasts[contrasts["seed"].isin(list(self.seeds[:n]))]
        table = judge_contrasts(seen, self.judgement).table
        still = set(table.loc[table["verdict"] == PairedVerdict.OPEN, "target"])
        return [component for component in self.components if component in still]

    @property
    def notes(self) -> tuple[str, ...]:
        """Looks, if there are several."""
        if len(self.looks) < 2:
            return ()
        listed = ", ".join(map(str, self.looks))
        return (
            f"Adaptive: looked at after {listed} seeds; every p counts {self.judgement.looks} "
            "times and intervals are widened likewise, so that stopping early is paid for.",
        )


@dataclass(frozen=True, kw_only=True)
class AddOneIn:
    """Everything ablated, and everything but one component."""

    components: Sequence[str]
    seeds: Sequence[int]

    def wanted(self, values: Values) -> list[Request]:
        """The baseline, for scale, and the k + 1 others."""
        return missing_runs([BASELINE, *self._alone.values(), self._nothing], self.seeds, values)

    def contrasts(self, values: Values) -> pd.DataFrame:
        """What each component adds to the model that has lost all of them."""
        rows = []
        for component, alone in self._alone.items():
            rows += differences(CONTRIBUTION, {component: self._nothing}, alone, self.seeds, values)
        return frame(rows)

    @property
    def _nothing(self) -> Configuration:
        return frozenset(self.components)

    @property
    def _alone(self) -> dict[str, Configuration]:
        return {c: self._nothing - {c} for c in self.components}

    @property
    def notes(self) -> tuple[str, ...]:
        """From where it is measured."""
        return ("Add-one-in: contributions to the model without any of the components.",)


@dataclass(frozen=True, kw_only=True)
class Pairwise:
    """Each component ablated alone, and every two together."""

    components: Sequence[str]
    seeds: Sequence[int]

    def wanted(self, values: Values) -> list[Request]:
        """1 + k + k (k - 1) / 2 configurations."""
        configurations = [BASELINE, *self._singles.values(), *self._pairs.values()]
        return missing_runs(configurations, self.seeds, values)

    def contrasts(self, values: Values) -> pd.DataFrame:
        """Contributions alone and joint, and interactions."""
        rows = differences(CONTRIBUTION, self._singles, BASELINE, self.seeds, values)
        rows += differences(JOINT, self._pairs, BASELINE, self.seeds, values)
        for name, pair in self._pairs.items():
            first, second = (frozenset([c]) for c in pair)
            needed = (first, second, pair, BASELINE)
            rows += [
                (INTERACTION, name, seed, value[0] + value[1] - value[2] - value[3])
                for seed in self.seeds
                if (value := known_values(needed, seed, values)) is not None
            ]
        return frame(rows)

    @property
    def _singles(self) -> dict[str, Configuration]:
        return {c: frozenset([c]) for c in self.components}

    @property
    def _pairs(self) -> dict[str, Configuration]:
        return {PAIR.join(pair): frozenset(pair) for pair in combinations(self.components, 2)}

    @property
    def notes(self) -> tuple[str, ...]:
        """How to read interactions."""
        return (
            "Interaction: joint contribution minus both single ones; above zero the two are "
            "redundant, below zero they need each other.",
        )


def redundant_pairs(table: pd.DataFrame) -> list[str]:
    """Sentences about pairs of which each alone shows nothing and both together a lot.

    Args:
        table: Of a judged pairwise study.
    """
    verdicts = table.set_index(["question", "target"])["verdict"]
    found = []
    for row in table[table["question"] == INTERACTION].itertuples():
        pair = str(row.target)
        alone = [verdicts[CONTRIBUTION, c] for c in pair.split(PAIR)]
        joint = table[(table["question"] == JOINT) & (table["target"] == pair)].iloc[0]
        is_hidden = PairedVerdict.POSITIVE not in alone
        if row.verdict == joint["verdict"] == PairedVerdict.POSITIVE and is_hidden:
            first, second = pair.split(PAIR)
            found.append(
                f"Redundant: {first} alone shows nothing, {second} alone shows nothing, both "
                f"together cost {joint['difference']:.3g}; each stands in for the other."
            )
    return found


def check_components(design: DesignName, components: Sequence[str], *, most: int) -> None:
    """Refuse a design that has too many configurations to run, or nothing to run.

    Raises:
        UsageError: No component, or more than ``most``.
    """
    if not components:
        raise UsageError(f"design {design} has no component to ablate; certify some first.")
    if len(components) > most:
        raise UsageError(
            f"design {design} takes at most {most} components; got {len(components)}. Choose some "
            "with --only, or use leave-one-out."
        )


def frame(rows: Iterable[tuple[str, str, int, float]]) -> pd.DataFrame:
    """Contrasts as a frame."""
    return pd.DataFrame(list(rows), columns=list(CONTRAST_COLUMNS))


def missing_runs(
    configurations: Iterable[Configuration], seeds: Sequence[int], values: Values
) -> list[Request]:
    """Those that have no value yet."""
    return [(c, s) for c in configurations for s in seeds if (c, s) not in values]


def known_values(
    configurations: Sequence[Configuration], seed: int, values: Values
) -> list[float] | None:
    """The values of one seed, or None while one of them is missing."""
    if any((c, seed) not in values for c in configurations):
        return None
    return [values[c, seed] for c in configurations]


def differences(
    question: str,
    configurations: Mapping[str, Configuration],
    reference: Configuration,
    seeds: Sequence[int],
    values: Values,
) -> list[tuple[str, str, int, float]]:
    """Reference minus configuration, where both ran."""
    return [
        (question, target, seed, pair[0] - pair[1])
        for target, configuration in configurations.items()
        for seed in seeds
        if (pair := known_values((reference, configuration), seed, values)) is not None
    ]
