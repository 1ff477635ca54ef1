"""Records of what a child process measured on the baseline and on each variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from antifragile.ablate.certify.compare import Difference


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Facts about one model, the baseline or a variant.

    Args:
        parameters: Number of elements of each parameter, by name.
        signature: Structure, shapes and types of the outputs, a line each.
        without_gradient: Parameters that the backward pass did not reach.
        stream_digest: State of the random streams after build.
        finite: Whether all outputs are finite, by the weights it was run on.
    """

    parameters: Mapping[str, int]
    signature: list[str]
    without_gradient: list[str]
    stream_digest: str
    finite: Mapping[str, bool]


@dataclass(frozen=True, kw_only=True)
class BaselineMeasurement(Measurement):
    """Facts about the unchanged model.

    Args:
        unit: Relative spacing of the coarsest floating type.
        noise: Relative response of each part to moving all parameters by one such unit, by weights.
        out_of_reach: Whether random values outside the reach of copying decide the output.
        is_random: Whether a forward pass draws numbers.
        builds_late: Whether parameters appear at a layer's first call.
    """

    unit: float
    noise: Mapping[str, Mapping[str, float]]
    out_of_reach: bool
    is_random: bool
    builds_late: bool


@dataclass(frozen=True, kw_only=True)
class VariantMeasurement(Measurement):
    """Facts about one variant, compared with the baseline.

    Args:
        differences: Distances from the baseline, by weights and part: "given/training".
        redrawn: Largest relative difference in training mode over further draws.
    """

    differences: Mapping[str, Difference]
    redrawn: float
