"""Records of one model's run: what its process tells us, and what we make of it.

A `ModelRun` is what a child says beside its arrays: plain text and numbers, no judgement. A
`Measurement` is computed from runs and arrays in a process that never imports the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from antifragile.ablate.certify.compare import Difference, Response

Output = tuple[str, str]  # the mode, and the path in what the model returns: ("training", "[0]")


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """Plain facts about one model, the baseline or a variant, as its process tells them.

    Args:
        parameters: Number of elements of each parameter, by name.
        signature: Structure, shapes and types of the outputs, a line each.
        without_gradient: Parameters that the backward pass did not reach.
        stream_digest: State of the random streams after build.
        repeats: Digests of each part in the first run and in its repetition.
        kept_apart: Parameters that kept the model's own initial values.
        counts: In a training-mode forward: calls of modules, draws, whole steps of counters; of the
            baseline those that neither weights nor inputs decide.
    """

    parameters: dict[str, int]
    signature: list[str]
    without_gradient: list[str]
    stream_digest: str
    repeats: dict[str, list[str]]
    kept_apart: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BaselineRun(ModelRun):
    """Plain facts about the unchanged model.

    Args:
        unit: Relative spacing of the coarsest floating type.
        is_random: Whether a forward pass draws numbers.
        builds_late: Whether parameters appear at a layer's first call.
        other_inputs: Inputs that could be given other values: "all", "floating" or "" for none.
        keeps_state: Whether a training-mode call writes into tensors that later calls may read.
        aliases: All names of each parameter that has several, by the first of them.
    """

    unit: float
    is_random: bool
    builds_late: bool
    other_inputs: str
    keeps_state: bool = False
    aliases: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Facts about one model, the baseline or a variant.

    Args:
        run: The facts that its process told.
        gradient_peaks: Largest absolute gradient by parameter, by the weights it was run on.
        finite: Whether all outputs are finite, by the weights it was run on.
        noise: Relative response of each part to moving everything by its own rounding, by weights;
            of variants where it was asked for.
    """

    run: ModelRun
    gradient_peaks: Mapping[str, Mapping[str, float]]
    finite: Mapping[str, bool]
    noise: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def noise_of(self, weights: str, part: str) -> float:
        """Response of one part to rounding, 0.0 where it was not asked for."""
        return self.noise.get(weights, {}).get(part, 0.0)


@dataclass(frozen=True, kw_only=True)
class BaselineMeasurement(Measurement):
    """Facts about the unchanged model.

    Args:
        run: The facts that its process told.
        sizes: Largest magnitude of each floating output, by the weights it was run on.
        input_responses: Responses of each to other inputs, by the weights it was run on.
        out_of_reach: Whether random values outside the reach of copying decide the output.
    """

    run: BaselineRun
    sizes: Mapping[str, Mapping[Output, float]]
    input_responses: Mapping[Output, Mapping[str, Response]]
    out_of_reach: bool


@dataclass(frozen=True, kw_only=True)
class VariantMeasurement(Measurement):
    """Facts about one variant, compared with the baseline.

    Args:
        differences: Distances from the baseline, by weights and part: "given/training".
        input_responses: Responses of outputs to other inputs, where the baseline's clearly do: by
            output, by the weights it was run on.
        parameter_responses: The same for the change from given to randomised weights; None where
            it was not seen.
        redrawn: Largest relative difference in training mode over further draws, by weights.
    """

    differences: Mapping[str, Difference]
    input_responses: Mapping[Output, Mapping[str, Response]]
    parameter_responses: Mapping[Output, Response | None]
    redrawn: Mapping[str, float] = field(default_factory=dict)
