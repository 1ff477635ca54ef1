"""Promises of a generated variant: the shape of its output, its inputs, its parameters."""

from __future__ import annotations

from math import isfinite

from antifragile.ablate.certify.judging.case import Case, some
from antifragile.ablate.records import INPUT_PREFIX, AblationKind


def broken_promise(case: Case) -> str | None:
    """Return the first promise of the generator that the variant breaks, or None."""
    checks = (output_shape, inputs, parameters, finite, evaluations)
    problems = (check(case) for check in checks)
    return next(filter(None, problems), None)


def output_shape(case: Case) -> str | None:
    """Say how the structure, shapes or types of the output differ, or None."""
    expected, got = case.baseline.run.signature, case.found.run.signature
    if expected == got:
        # without the leading position, which tells evaluation from training
        lines = [line[3:].removeprefix(" ") for line in got]
        case.checks["output shape"] = "; ".join(dict.fromkeys(lines))
        return None
    pairs = [(a, b) for a, b in zip(expected, got, strict=False) if a != b]
    one, other = pairs[0] if pairs else (f"{len(expected)} values", f"{len(got)} values")
    case.checks["output shape"] = f"{other} instead of {one}"
    return f"the output is {other} instead of {one}"


def inputs(case: Case) -> str | None:
    """Say that the inputs changed although nothing they come from was edited, or None."""
    changed = not case.found.differences["given/inputs"].identical
    case.checks["inputs"] = "changed" if changed else "as the baseline's"
    made_by = case.project.entries.get("inputs")
    if changed and made_by is not None and made_by.file not in case.variant.edited:
        return "the inputs differ from the baseline's, although nothing they come from was edited"
    return None


def parameters(case: Case) -> str | None:
    """Say which change in the parameters was not predicted, or None."""
    promised, got = case.variant.parameter_delta, case.parameter_delta
    if promised is None:
        case.checks["parameters"] = f"{got:+,}, as measured: nothing was promised"
        return None
    sizes, cut = case.baseline.run.parameters, set(case.variant.cut_parameters)
    gone = set(sizes) - set(case.found.run.parameters)
    if case.baseline.run.builds_late and gone <= cut and got != promised:
        promised = -sum(sizes[name] for name in gone)
        case.checks["never built"] = f"{some(gone)}: nothing calls their layer any more"
    case.checks["parameters"] = f"{got:+,}, as predicted" if got == promised else f"{got:+,}"
    if got != promised:
        case.checks["parameters"] += f" instead of {promised:+,}"
        return f"the number of parameters changed by {got:+,} instead of {promised:+,}"
    gone -= {name for name in gone if lives_on(case, name)}
    if gone - cut:
        return f"parameters vanished that were not to be cut: {some(gone - cut)}"
    return None


def lives_on(case: Case, name: str) -> bool:
    """Whether a parameter of several names has kept another one than its first."""
    names = case.baseline.run.aliases.get(name, ())
    return any(other in case.found.run.parameters for other in names)


def finite(case: Case) -> str | None:
    """Say that the output or the gradients are no numbers where the baseline's are, or None."""
    if case.baseline.finite["given"] and not case.found.finite["given"]:
        case.checks["finite"] = "no"
        return "the output holds infinities or NaN, the baseline's does not"
    here, there = (side.gradient_peaks["given"].values() for side in (case.found, case.baseline))
    if all(map(isfinite, there)) and not all(map(isfinite, here)):
        case.checks["finite"] = "the output, not the gradients"
        return "the gradients hold infinities or NaN, the baseline's do not"
    return None


def evaluations(case: Case) -> str | None:
    """Say what happens more often than in the baseline: a cut evaluates nothing twice; or None.

    Ablated inputs, options and marked lines may lead a model another way.
    """
    variant = case.variant
    leads_elsewhere = variant.component.startswith(INPUT_PREFIX) or variant.parameter_delta is None
    if leads_elsewhere or variant.kind is AblationKind.DISABLE:
        return None
    before, now = case.baseline.run.counts, case.found.run.counts
    more = {name: number for name, number in before.items() if now.get(name, 0) > number}
    if not more:
        case.checks["evaluations"] = "no module, draw or counter more often than in the baseline"
        return None
    found = [f"{now[name]} instead of {number} {name}" for name, number in more.items()]
    case.checks["evaluations"] = some(found)
    return f"it evaluates more than the baseline: {some(found)} in one forward pass"


def initial_values(case: Case) -> str:
    """Say which parameters are built with other values than the baseline's."""
    own, repeated = set(case.variant.own_values), case.repeated_values
    same = f"the same without it: {some(repeated)}" if repeated else ""
    kept = f"{some(own - repeated)} keep the variant's own" if own - repeated else ""
    return "; ".join(filter(None, (kept, same)))
