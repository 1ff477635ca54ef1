"""Options for what is kept and measured of a finished trial besides its accuracies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Keep(StrEnum):
    """Files kept of a finished trial besides its numbers.

    LKG: its last known good weights; the study can be extended by meta-loops.
    NONE: nothing; it can only be extended by trials.
    """

    NONE = "none"
    LKG = "lkg"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Measurements of each finished trial besides its accuracies.

    Args:
        robustness: Test accuracy of the damaged LKG: neurons removed, weight and input noise.
        harm: Validation accuracy right after every ablation, before the epoch that repairs it.
    """

    robustness: bool = False
    harm: bool = False

    def to_mapping(self) -> dict[str, bool]:
        """Plain values; harm only where it is asked for, so that older ids stay as they were."""
        return {"robustness": self.robustness} | ({"harm": True} if self.harm else {})
