"""Whether a variant's outputs still respond to its inputs and parameters, beyond rounding.

An output is dead when it stands still, up to rounding, on all weights that it was run on: a layer
that starts at zero hides what is behind it on the given ones. What moves by next to nothing in
relation to the baseline's size has vanished: whatever it is added to or compared with loses it.
"""

from __future__ import annotations

from collections.abc import Iterator

from antifragile.ablate.certify.compare import (
    CONSTANT_UNITS,
    MOST_CONSTANT,
    VANISHED,
    Difference,
    Response,
    is_doubtful,
    response,
    still_up_to,
    threshold,
)
from antifragile.ablate.certify.measurements import (
    BaselineMeasurement,
    Measurement,
    Output,
    VariantMeasurement,
)
from antifragile.ablate.certify.probe import OTHER_INPUTS, WEIGHTS
from antifragile.ablate.frameworks.arrays import Leaves
from antifragile.ablate.frameworks.subject import MODES


def floating_outputs(arrays: Leaves) -> list[Output]:
    """List the outputs of real or complex numbers in a run's arrays."""
    return [
        (mode, path.removeprefix(f"given/{mode}/"))
        for mode in MODES
        for path, leaf in arrays.items()
        if path.startswith(f"given/{mode}/") and leaf.dtype.kind in "fc"
    ]


def responses_to_inputs(arrays: Leaves, output: Output) -> dict[str, Response]:
    """Responses of one output to other inputs, by the weights it was run on."""
    places = {weights: f"{weights}/{'/'.join(output)}" for weights in WEIGHTS}
    return {
        weights: response(arrays[place], arrays[OTHER_INPUTS + place])
        for weights, place in places.items()
        if place in arrays and OTHER_INPUTS + place in arrays
    }


def input_responses(
    baseline: BaselineMeasurement, sent: Leaves
) -> dict[Output, dict[str, Response]]:
    """Measure how outputs respond to other inputs, where the baseline's clearly do."""
    return {
        output: responses_to_inputs(sent, output)
        for output, there in baseline.input_responses.items()
        if any(_is_clear(baseline, weights, output) for weights in there)
    }


def _is_clear(baseline: BaselineMeasurement, weights: str, output: Output) -> bool:
    """Whether an output of the baseline responds to other inputs beyond rounding."""
    found = baseline.input_responses[output].get(weights)
    return found is not None and found.relative > _threshold(baseline, weights, output)


def parameter_responses(
    baseline: BaselineMeasurement, kept: Leaves, sent: Leaves
) -> dict[Output, Response | None]:
    """Measure how outputs differ between both sets of weights, where the baseline's do."""
    found: dict[Output, Response | None] = {}
    for output in floating_outputs(kept):
        there = _between_weights(kept, output)
        if there is not None and there.relative > _threshold(baseline, WEIGHTS[0], output):
            found[output] = _between_weights(sent, output)
    return found


def ignored_inputs(baseline: BaselineMeasurement, found: VariantMeasurement) -> list[str]:
    """Name the outputs that no longer depend on the inputs, as "evaluation[0]"."""
    return [
        "".join(output)
        for output, responses in found.input_responses.items()
        if all(_is_still(baseline, found, *item, output) for item in responses.items())
    ]


def still_at_first(baseline: BaselineMeasurement, found: VariantMeasurement) -> list[str]:
    """Name the outputs that stand still on the weights as given, where the baseline's do not."""
    weights = WEIGHTS[0]
    return [
        "".join(output)
        for output, responses in found.input_responses.items()
        if weights in responses
        and _is_clear(baseline, weights, output)
        and _is_still(baseline, found, weights, responses[weights], output)
    ]


def vanished_outputs(
    baseline: BaselineMeasurement, found: VariantMeasurement
) -> dict[str, tuple[float, float]]:
    """Name the outputs that other inputs move by next to nothing: by how much, the old size."""
    vanished = {}
    for output, responses in found.input_responses.items():
        sizes = [baseline.sizes[weights].get(output, 0.0) for weights in responses]
        moves = [item.absolute for item in responses.values()]
        least = min(CONSTANT_UNITS * baseline.run.unit, VANISHED)
        if all(move <= least * size for move, size in zip(moves, sizes, strict=True)):
            vanished["".join(output)] = max(moves, default=0.0), max(sizes, default=0.0)
    return vanished


def ignores_parameters(baseline: BaselineMeasurement, found: VariantMeasurement) -> bool:
    """Whether outputs that differ between the two sets of weights all stopped to do so."""
    return bool(found.parameter_responses) and all(
        item is not None and _is_still(baseline, found, WEIGHTS[0], item, output)
        for output, item in found.parameter_responses.items()
    )


def needs_shaking(baseline: BaselineMeasurement, found: VariantMeasurement) -> bool:
    """Whether rounding in the variant might explain why it differs, or why it is not dead."""
    return _may_not_differ(baseline, found) or any(
        all(
            is_doubtful(item.relative, baseline.run.unit, _noise(baseline, weights, output))
            or item.absolute <= MOST_CONSTANT * baseline.sizes[weights].get(output, 0.0)
            for weights, item in responses.items()
        )
        for output, responses in found.input_responses.items()
    )


def _may_not_differ(baseline: BaselineMeasurement, found: VariantMeasurement) -> bool:
    """Whether no difference is beyond doubt, on the first weights on which there is one."""
    for weights in WEIGHTS:
        differing = {
            part: item.relative
            for part, item in _of_weights(found, weights)
            if not item.identical and part != "inputs"
        }
        if differing:
            unit = baseline.run.unit
            return all(
                is_doubtful(relative, unit, baseline.noise_of(weights, part))
                for part, relative in differing.items()
            )
    return False


def _of_weights(found: VariantMeasurement, weights: str) -> Iterator[tuple[str, Difference]]:
    for key, item in found.differences.items():
        name, _, part = key.partition("/")
        if name == weights:
            yield part, item


def _between_weights(arrays: Leaves, output: Output) -> Response | None:
    pair = [arrays.get(f"{weights}/{'/'.join(output)}") for weights in WEIGHTS]
    one, other = pair
    return None if one is None or other is None else response(one, other)


def _threshold(baseline: BaselineMeasurement, weights: str, output: Output) -> float:
    return threshold(baseline.run.unit, _noise(baseline, weights, output))


def _noise(side: Measurement, weights: str, output: Output) -> float:
    return side.noise_of(weights, output[0])


def _is_still(
    baseline: BaselineMeasurement,
    found: VariantMeasurement,
    weights: str,
    item: Response,
    output: Output,
) -> bool:
    return item.relative <= still_up_to(baseline.run.unit, _noise(found, weights, output))
