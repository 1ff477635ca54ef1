"""Records of one model's run: what its process tells us, and what we make of it.

A `ModelRun` is what a child says beside its arrays: plain text and numbers, no judgement. A
`Measurement` is computed from runs and arrays in a process that never imports the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from antifragile.ablate.certify.compare import Difference


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """Plain facts about one model, the baseline or a variant, as its process tells them.

    Args:
        parameters: Number of elements of each parameter, by name.
        signature: Structure, shapes and types of the outputs, a line each.
        without_gradient: Parameters that the backward pass did not reach.
        stream_digest: State of the random streams after build.
        repeats: Digests of each part in the first run and in its repetition.
    """

    parameters: dict[str, int]
    signature: list[str]
    without_gradient: list[str]
    stream_digest: str
    repeats: dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class BaselineRun(ModelRun):
    """Plain facts about the unchanged model.

    Args:
        unit: Relative spacing of the coarsest floating type.
        is_random: Whether a forward pass draws numbers.
        builds_late: Whether parameters appear at a layer's first call.
        other_inputs: Inputs that could be given other values: "all", "floating" or "" for none.
    """

    unit: float
    is_random: bool
    builds_late: bool
    other_inputs: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Facts about one model, the baseline or a variant.

    Args:
        parameters: Number of elements of each parameter, by name.
        signature: Structure, shapes and types of the outputs, a line each.
        without_gradient: Parameters that the backward pass did not reach.
        gradient_peaks: Largest absolute gradient by parameter, by the weights it was run on.
        stream_digest: State of the random streams after build.
        finite: Whether all outputs are finite, by the weights it was run on.
    """

    parameters: Mapping[str, int]
    signature: list[str]
    without_gradient: list[str]
    gradient_peaks: Mapping[str, Mapping[str, float]]
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
        other_inputs: Inputs that could be given other values: "all", "floating" or "" for none.
    """

    unit: float
    noise: Mapping[str, Mapping[str, float]]
    out_of_reach: bool
    is_random: bool
    builds_late: bool
    other_inputs: str


@dataclass(frozen=True, kw_only=True)
class VariantMeasurement(Measurement):
    """Facts about one variant, compared with the baseline.

    Args:
        differences: Distances from the baseline, by weights and part: "given/training".
        same_for_other_inputs: Outputs that no longer depend on the inputs, as "evaluation[0]".
        ignores_parameters: Whether no output depends on the parameters any more.
        redrawn: Largest relative difference in training mode over further draws.
    """

    differences: Mapping[str, Difference]
    same_for_other_inputs: list[str]
    ignores_parameters: bool
    redrawn: float = 0.0
