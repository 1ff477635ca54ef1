"""One variant to be judged: its measurements, and the questions that all parts of a verdict ask."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import isfinite

from antifragile.ablate.certify.compare import VANISHED_GRADIENT, is_clear_gradient
from antifragile.ablate.certify.measurements import BaselineMeasurement, VariantMeasurement
from antifragile.ablate.certify.probe import WEIGHTS
from antifragile.ablate.records import Project, Variant

_LISTED = 4  # names shown before "and N more"


@dataclass
class Case:
    """One variant to be judged: its measurements, and the checks made so far."""

    project: Project
    variant: Variant
    baseline: BaselineMeasurement
    found: VariantMeasurement
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def parameter_delta(self) -> int:
        """Change in the number of parameters."""
        here, there = (sum(side.run.parameters.values()) for side in (self.found, self.baseline))
        return here - there

    @property
    def detached(self) -> tuple[set[str], set[str]]:
        """Parameters that get no gradient any more: those to be cut, and others."""
        missing = set(self.found.run.without_gradient)
        missing -= set(self.baseline.run.without_gradient)
        if not self.variant.own_values:  # what starts at zero holds gradients back at first
            missing |= {name for name in self.reached if self.is_zero(name)}
        cut = set(self.variant.cut_parameters)
        return missing & cut, missing - cut

    @property
    def has_no_gradient(self) -> bool:
        """Whether no parameter gets a gradient, on either weights, where the baseline's do."""
        return bool(self.reached) and all(map(self.is_zero, self.found.run.parameters))

    @property
    def reached(self) -> set[str]:
        """The surviving parameters that get a clear gradient in the baseline, on some weights."""
        return {name for weights in WEIGHTS for name in self.reached_on(weights)}

    def reached_on(self, weights: str) -> set[str]:
        """The surviving parameters that get a clear gradient in the baseline on some weights."""
        unit, peaks = self.baseline.run.unit, self.baseline.gradient_peaks[weights]
        largest = max(filter(isfinite, peaks.values()), default=0.0)
        found = {name for name, peak in peaks.items() if is_clear_gradient(peak, largest, unit)}
        return found & set(self.found.run.parameters)

    @property
    def still_at_first(self) -> tuple[set[str], bool]:
        """Parameters that get no gradient on the weights as given alone; whether that is all."""
        reached, peaks = self.reached_on(WEIGHTS[0]), self.found.gradient_peaks[WEIGHTS[0]]
        before = self.baseline.gradient_peaks[WEIGHTS[0]]
        still = {n for n in reached if peaks.get(n, 0.0) <= VANISHED_GRADIENT * before[n]}
        return still - set().union(*self.detached), bool(reached) and still == reached

    @property
    def repeated_values(self) -> set[str]:
        """Parameters that are built with the baseline's values, though a call for them is gone."""
        return set(self.variant.own_values) - set(self.found.run.kept_apart)

    def is_zero(self, name: str) -> bool:
        """Whether a parameter's gradient is absent or has vanished, on all weights."""
        before = self.baseline.gradient_peaks
        return all(
            peaks.get(name, 0.0) <= VANISHED_GRADIENT * before[weights].get(name, 0.0)
            for weights, peaks in self.found.gradient_peaks.items()
        )


def some(names: Collection[str]) -> str:
    """Write the first names in order, and how many more there are."""
    ordered = sorted(names)
    more = len(ordered) - _LISTED
    return ", ".join(ordered[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def joined(parts: Sequence[str]) -> str:
    """Write parts with commas and "and"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
