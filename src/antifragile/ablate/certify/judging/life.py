"""Whether a variant still computes from its inputs and learns, and what it takes away besides."""

from __future__ import annotations

from antifragile.ablate.certify.compare import threshold
from antifragile.ablate.certify.judging.case import Case, joined, some
from antifragile.ablate.certify.responses import (
    ignored_inputs,
    ignores_parameters,
    still_at_first,
    vanished_outputs,
)
from antifragile.ablate.records import INPUT_PREFIX, MARK_PREFIX

_INPUT_WORDS = {
    "all": "yes, tried with other inputs",
    "floating": "yes, tried with other floating inputs",
    "": "not tried: the model takes no other inputs",
}


def dead(case: Case) -> str | None:
    """Say why the variant computes nothing from its inputs or learns nothing, or None."""
    baseline, found = case.baseline, case.found
    case.checks["depends on the inputs"] = _INPUT_WORDS[baseline.run.other_inputs]
    if baseline.run.other_inputs and not found.input_responses:
        case.checks["depends on the inputs"] = "not seen: nor does the baseline's clearly"
    if ignored := ignored_inputs(baseline, found):
        case.checks["depends on the inputs"] = f"no longer: {some(ignored)}"
        return f"dead: {stands_still(case, ignored)} ({some(ignored)})"
    if vanished := vanished_outputs(baseline, found):
        move, size = max(vanished.values())
        case.checks["depends on the inputs"] = f"by next to nothing: {some(list(vanished))}"
        return (
            f"dead: other inputs move the output by {move:.1g}, next to nothing beside the "
            f"baseline's {size:.1g} ({some(list(vanished))})"
        )
    if still := still_at_first(baseline, found):
        case.checks["depends on the inputs"] = (
            f"on randomised weights; on those as given no longer: {some(still)}"
        )
    if ignores_parameters(baseline, found):
        return "dead: the output no longer depends on any parameter"
    if case.has_no_gradient:
        return "dead: no parameter gets a gradient any more"
    return None


def stands_still(case: Case, ignored: list[str]) -> str:
    """Say how little outputs respond to other inputs."""
    moves = [
        item.absolute
        for output, responses in case.found.input_responses.items()
        for item in responses.values()
        if "".join(output) in ignored and item.relative > threshold(case.baseline.run.unit, 0.0)
    ]
    if moves:
        return f"other inputs move the output by {max(moves):.1g}, which rounding may explain"
    return "the output no longer depends on the inputs"


def takes_more(case: Case) -> str | None:
    """Name parameters beside the component's own that get no gradient any more, or None."""
    own, others = case.detached
    case.checks["gradients"] = f"none for {some(own)}" if own else "reach every parameter"
    if still := case.still_at_first[0]:
        case.checks["gradients"] += f"; on the weights as given none for {some(still)}"
    if not others:
        return None
    case.checks["gradients"] += f"; also none for {some(others)}"
    if case.variant.component.startswith((INPUT_PREFIX, MARK_PREFIX)):  # these serve nothing else
        return None
    return f"it also cuts the gradient of parameters that are not the component's: {some(others)}"


def taken_with_mark(case: Case) -> str:
    """Name the parameters that only what the user marked has used; nothing elsewhere."""
    others = case.detached[1] if case.variant.component.startswith(MARK_PREFIX) else []
    return f"; with it goes the gradient of {some(others)}" if others else ""


def standing_still(case: Case) -> str:
    """Say what a variant does on randomised weights alone; nothing where it does all."""
    still = still_at_first(case.baseline, case.found)
    found = [
        *([f"depends on the inputs ({some(still)})"] if still else []),
        *(["gives any parameter a gradient"] if case.still_at_first[1] else []),
    ]
    return f"; it {joined(found)} on randomised weights alone" if found else ""
