"""Whether and where a variant changes the function, beyond what rounding does."""

from __future__ import annotations

from antifragile.ablate.certify.compare import (
    MOST_ROUNDING,
    NOISE_MARGIN,
    PART_WORDS,
    threshold,
)
from antifragile.ablate.certify.judging.case import Case, joined, some
from antifragile.ablate.certify.probe import WEIGHTS
from antifragile.ablate.records import MARK_PREFIX, AblationKind, CertificateVerdict

_INACTIVE = "legal; changes nothing on the weights as given, and {} once they move"


def judge_change(case: Case) -> tuple[CertificateVerdict, str]:
    """Judge whether and where the function changed."""
    shifts_the_stream = case.found.run.stream_digest != case.baseline.run.stream_digest
    if case.baseline.out_of_reach and shifts_the_stream:
        case.checks["change"] = "cannot be told from another initialisation"
        return CertificateVerdict.REFUSED, (
            "the model keeps random numbers where they cannot be copied from, so a change cannot "
            "be told from another initialisation"
        )
    changed = {key for key in case.found.differences if counts(case, key) and exceeds(case, key)}
    given = frozen(case) + places(changed, "given")
    if given:
        return CertificateVerdict.CERTIFIED, f"legal, and changes {joined(given)}"
    randomised = places(changed, "randomised")
    if randomised:
        return CertificateVerdict.INACTIVE_AT_INIT, _INACTIVE.format(joined(randomised))
    return change_with_other_draws(case) or (CertificateVerdict.REFUSED, why_not_changed(case))


def change_with_other_draws(case: Case) -> tuple[CertificateVerdict, str] | None:
    """Judge a change that a random model shows only with further draws; None if it shows none."""
    where = f"{PART_WORDS['training']} with other draws"
    changed = {
        weights
        for weights, relative in case.found.redrawn.items()
        if relative > threshold_of(case, f"{weights}/training")
    }
    for weights in sorted(changed):
        relative = case.found.redrawn[weights]
        case.checks[f"other draws, {weights} weights"] = f"changed by {relative:.2g}"
    if "given" in changed:
        return CertificateVerdict.CERTIFIED, f"legal, and changes {where}"
    return (CertificateVerdict.INACTIVE_AT_INIT, _INACTIVE.format(where)) if changed else None


def why_not_changed(case: Case) -> str:
    """Say why no difference counts as a change."""
    found = {key: item for key, item in case.found.differences.items() if counts(case, key)}
    key = max(found, key=lambda name: found[name].relative, default="")
    own = set(case.variant.own_values)
    if own and own == case.repeated_values:
        return f"it changes nothing: the initial values of {some(own)} are the same without it"
    if not key or found[key].relative == 0:
        return f"it changes nothing{unseen(case)}"
    relative, noise = found[key].relative, noise_of_part(case, key)
    words = f"relative difference {relative:.1g}"
    is_small = relative <= max(noise, threshold(case.baseline.run.unit, 0.0))
    if not is_small and noise > relative / NOISE_MARGIN:
        return (
            f"its change cannot be told from rounding (relative difference {relative:.2g}; since "
            f"rounding alone makes one of {noise:.2g}, it would take {threshold_of(case, key):.2g})"
        )
    if noise > relative / NOISE_MARGIN:
        words += f", where rounding alone makes one of {noise:.1g}"
    return f"it changes nothing beyond rounding ({words})"


def unseen(case: Case) -> str:
    """Say what an edit may still do where the outputs of one call are the same."""
    before, after = case.baseline.gradient_peaks, case.found.gradient_peaks
    noise = max(noise_of_part(case, f"{weights}/gradients") for weights in WEIGHTS)
    least = MOST_ROUNDING + NOISE_MARGIN * noise
    changed = {
        name
        for weights, peaks in after.items()
        for name in case.reached_on(weights)
        if abs(peaks.get(name, 0.0) / before[weights][name] - 1) > least
    }
    if changed:
        return f" but gradients ({some(changed)})"
    if case.variant.component.startswith(MARK_PREFIX) and not case.variant.has_run:
        place = "a step" if case.project.step else "a call of the model"
        hint = "" if case.project.step else "; marks in the loss need --step"
        return f": the marked lines did not run in {place}{hint}"
    return (
        " in one call; what later calls read is not compared"
        if case.baseline.run.keeps_state
        else ""
    )


def counts(case: Case, key: str) -> bool:
    """Whether a difference there is a change: of gradients and batches only where lines went."""
    is_indirect = key.endswith(("/gradients", "/inputs"))
    return not is_indirect or case.variant.kind is AblationKind.DISABLE


def exceeds(case: Case, key: str) -> bool:
    """Whether a difference is more than rounding; notes it among the checks."""
    difference = case.found.differences[key]
    relative = difference.relative
    is_more = not difference.identical and relative > threshold_of(case, key)
    weights, _, part = key.partition("/")
    case.checks[f"{part}, {weights} weights"] = (
        f"changed by {relative:.2g}"
        if is_more
        else "unchanged"
        if difference.identical
        else f"rounding only, {relative:.1g}"
    )
    return is_more


def threshold_of(case: Case, key: str) -> float:
    """Return the relative difference that a change must exceed."""
    return threshold(case.baseline.run.unit, noise_of_part(case, key))


def noise_of_part(case: Case, key: str) -> float:
    """Return the response of a part to rounding alone, in the baseline or in the variant."""
    weights, _, part = key.partition("/")
    return max(side.noise_of(weights, part) for side in (case.baseline, case.found))


def frozen(case: Case) -> list[str]:
    """Name what no longer learns: it has changed, though not yet its output."""
    if case.variant.kind is not AblationKind.FREEZE:
        return []
    frozen = case.detached[0] & case.reached  # what got no gradient is frozen anyway
    return [f"what learns ({some(frozen)} are frozen)"] if frozen else []


def places(changed: set[str], weights: str) -> list[str]:
    """Name the parts that changed on some weights, in words."""
    words = PART_WORDS | {"inputs": "the batch"}
    return [word for part, word in words.items() if f"{weights}/{part}" in changed]
