"""The verdict that measurements lead to: pure functions, no process and no file.

failed    it does not run, or breaks a promise of its generator (shape, parameters, gradients)
refused   it runs, but changes nothing, takes more away than its component, or is dead: its output
          no longer depends on the inputs or on the parameters
certified-inactive-at-init   the function changes only once weights have moved
certified
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isfinite

from antifragile.ablate.certify.compare import (
    MOST_ROUNDING,
    NOISE_MARGIN,
    PART_WORDS,
    VANISHED_GRADIENT,
    is_clear_gradient,
    threshold,
)
from antifragile.ablate.certify.measurements import BaselineMeasurement, VariantMeasurement
from antifragile.ablate.certify.probe import WEIGHTS
from antifragile.ablate.certify.responses import (
    ignored_inputs,
    ignores_parameters,
    still_at_first,
    vanished_outputs,
)
from antifragile.ablate.records import (
    INPUT_PREFIX,
    AblationKind,
    Certificate,
    CertificateVerdict,
    Project,
    Variant,
)
from antifragile.ablate.sandbox.job import Outcome

_INPUT_WORDS = {
    "all": "yes, tried with other inputs",
    "floating": "yes, tried with other floating inputs",
    "": "not tried: the model takes no other inputs",
}
_INACTIVE = "legal; changes nothing on the weights as given, and {} once they move"
_LISTED = 4  # names shown before "and N more"


@dataclass
class _Case:
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
            missing |= {name for name in self._reached if self._is_zero(name)}
        cut = set(self.variant.cut_parameters)
        return missing & cut, missing - cut

    @property
    def has_no_gradient(self) -> bool:
        """Whether no parameter gets a gradient, on either weights, where the baseline's do."""
        return bool(self._reached) and all(map(self._is_zero, self.found.run.parameters))

    @property
    def _reached(self) -> set[str]:
        """The surviving parameters that get a clear gradient in the baseline, on some weights."""
        return {name for weights in WEIGHTS for name in self._reached_on(weights)}

    def _reached_on(self, weights: str) -> set[str]:
        """The surviving parameters that get a clear gradient in the baseline on some weights."""
        unit, peaks = self.baseline.run.unit, self.baseline.gradient_peaks[weights]
        largest = max(filter(isfinite, peaks.values()), default=0.0)
        found = {name for name, peak in peaks.items() if is_clear_gradient(peak, largest, unit)}
        return found & set(self.found.run.parameters)

    @property
    def still_at_first(self) -> tuple[set[str], bool]:
        """Parameters that get no gradient on the weights as given alone; whether that is all."""
        reached, peaks = self._reached_on(WEIGHTS[0]), self.found.gradient_peaks[WEIGHTS[0]]
        before = self.baseline.gradient_peaks[WEIGHTS[0]]
        still = {n for n in reached if peaks.get(n, 0.0) <= VANISHED_GRADIENT * before[n]}
        return still - set().union(*self.detached), bool(reached) and still == reached

    @property
    def repeated_values(self) -> set[str]:
        """Parameters that are built with the baseline's values, though a call for them is gone."""
        return set(self.variant.own_values) - set(self.found.run.kept_apart)

    def _is_zero(self, name: str) -> bool:
        """Whether a parameter's gradient is absent or has vanished, on all weights."""
        before = self.baseline.gradient_peaks
        return all(
            peaks.get(name, 0.0) <= VANISHED_GRADIENT * before[weights].get(name, 0.0)
            for weights, peaks in self.found.gradient_peaks.items()
        )


def judge(
    project: Project, variant: Variant, baseline: BaselineMeasurement, outcome: Outcome
) -> Certificate:
    """Judge one variant.

    Args:
        project: The project.
        variant: The generated files, and the effects they promise.
        baseline: Measurement of the unchanged model.
        outcome: The end of the variant's run; its value is the measurement.
    """
    if outcome.failure is not None:
        failed = _unmeasured(variant, CertificateVerdict.FAILED, outcome.reason)
        return replace(failed, checks={"runs": outcome.reason}, seconds=outcome.seconds)
    case = _Case(project=project, variant=variant, baseline=baseline, found=outcome.value)
    case.checks["runs"] = "imports without us, forward in both modes, backward"
    case.checks["repeat"] = "bit-identical"
    if variant.substitute:
        case.checks["in its place"] = variant.substitute
    if variant.own_values:
        case.checks["initial values"] = _initial_values(case)
    verdict, reason = CertificateVerdict.FAILED, _broken_promise(case)
    if reason is None:
        verdict, reason = CertificateVerdict.REFUSED, _dead(case) or _takes_more(case)
    if reason is None:
        verdict, reason = _change(case)
        if verdict is CertificateVerdict.CERTIFIED:
            reason += _standing_still(case)
    return Certificate(
        component=variant.component,
        kind=variant.kind,
        verdict=verdict,
        reason=reason,
        checks=case.checks,
        parameter_delta=case.parameter_delta,
        without_gradient=tuple(case.found.run.without_gradient),
        seconds=outcome.seconds,
    )


def _standing_still(case: _Case) -> str:
    """Say what a variant does on randomised weights alone; nothing where it does all."""
    still = still_at_first(case.baseline, case.found)
    found = [
        *([f"depends on the inputs ({_some(still)})"] if still else []),
        *(["gives any parameter a gradient"] if case.still_at_first[1] else []),
    ]
    return f"; it {_and(found)} on randomised weights alone" if found else ""


def _initial_values(case: _Case) -> str:
    own, repeated = set(case.variant.own_values), case.repeated_values
    same = f"the same without it: {_some(repeated)}" if repeated else ""
    kept = f"{_some(own - repeated)} keep the variant's own" if own - repeated else ""
    return "; ".join(filter(None, (kept, same)))


def refused(variant: Variant) -> Certificate:
    """Judge a variant that has no legal edit."""
    assert variant.refusal is not None
    return _unmeasured(variant, CertificateVerdict.REFUSED, variant.refusal)


def _unmeasured(variant: Variant, verdict: CertificateVerdict, reason: str) -> Certificate:
    return Certificate(
        component=variant.component, kind=variant.kind, verdict=verdict, reason=reason
    )


def _broken_promise(case: _Case) -> str | None:
    """The first promise of the generator that the variant breaks, or None."""
    problems = (check(case) for check in (_output_shape, _inputs, _parameters, _finite))
    return next(filter(None, problems), None)


def _output_shape(case: _Case) -> str | None:
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


def _inputs(case: _Case) -> str | None:
    changed = not case.found.differences["given/inputs"].identical
    case.checks["inputs"] = "changed" if changed else "as the baseline's"
    made_by = case.project.entries.get("inputs")
    if changed and made_by is not None and made_by.file not in case.variant.edited:
        return "the inputs differ from the baseline's, although nothing they come from was edited"
    return None


def _parameters(case: _Case) -> str | None:
    promised, got = case.variant.parameter_delta, case.parameter_delta
    if promised is None:
        case.checks["parameters"] = f"{got:+,}, as measured: nothing was promised"
        return None
    sizes, cut = case.baseline.run.parameters, set(case.variant.cut_parameters)
    gone = set(sizes) - set(case.found.run.parameters)
    if case.baseline.run.builds_late and gone <= cut and got != promised:
        promised = -sum(sizes[name] for name in gone)
        case.checks["never built"] = f"{_some(gone)}: nothing calls their layer any more"
    case.checks["parameters"] = f"{got:+,}, as predicted" if got == promised else f"{got:+,}"
    if got != promised:
        case.checks["parameters"] += f" instead of {promised:+,}"
        return f"the number of parameters changed by {got:+,} instead of {promised:+,}"
    gone -= {name for name in gone if _lives_on(case, name)}
    if gone - cut:
        return f"parameters vanished that were not to be cut: {_some(gone - cut)}"
    return None


def _lives_on(case: _Case, name: str) -> bool:
    """Whether a parameter of several names has kept another one than its first."""
    names = case.baseline.run.aliases.get(name, ())
    return any(other in case.found.run.parameters for other in names)


def _finite(case: _Case) -> str | None:
    if case.baseline.finite["given"] and not case.found.finite["given"]:
        case.checks["finite"] = "no"
        return "the output holds infinities or NaN, the baseline's does not"
    here, there = (side.gradient_peaks["given"].values() for side in (case.found, case.baseline))
    if all(map(isfinite, there)) and not all(map(isfinite, here)):
        case.checks["finite"] = "the output, not the gradients"
        return "the gradients hold infinities or NaN, the baseline's do not"
    return None


def _dead(case: _Case) -> str | None:
    """Why the variant computes nothing from its inputs or learns nothing, or None."""
    baseline, found = case.baseline, case.found
    case.checks["depends on the inputs"] = _INPUT_WORDS[baseline.run.other_inputs]
    if baseline.run.other_inputs and not found.input_responses:
        case.checks["depends on the inputs"] = "not seen: nor does the baseline's clearly"
    if ignored := ignored_inputs(baseline, found):
        case.checks["depends on the inputs"] = f"no longer: {_some(ignored)}"
        return f"dead: {_stands_still(case, ignored)} ({_some(ignored)})"
    if vanished := vanished_outputs(baseline, found):
        move, size = max(vanished.values())
        case.checks["depends on the inputs"] = f"by next to nothing: {_some(list(vanished))}"
        return (
            f"dead: other inputs move the output by {move:.1g}, next to nothing beside the "
            f"baseline's {size:.1g} ({_some(list(vanished))})"
        )
    if still := still_at_first(baseline, found):
        case.checks["depends on the inputs"] = (
            f"on randomised weights; on those as given no longer: {_some(still)}"
        )
    if ignores_parameters(baseline, found):
        return "dead: the output no longer depends on any parameter"
    if case.has_no_gradient:
        return "dead: no parameter gets a gradient any more"
    return None


def _stands_still(case: _Case, ignored: list[str]) -> str:
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


def _takes_more(case: _Case) -> str | None:
    """Parameters beside the component's own that get no gradient any more, or None."""
    own, others = case.detached
    case.checks["gradients"] = f"none for {_some(own)}" if own else "reach every parameter"
    if still := case.still_at_first[0]:
        case.checks["gradients"] += f"; on the weights as given none for {_some(still)}"
    if not others:
        return None
    case.checks["gradients"] += f"; also none for {_some(others)}"
    if case.variant.component.startswith(INPUT_PREFIX):  # they read nothing but that input
        return None
    return f"it also cuts the gradient of parameters that are not the component's: {_some(others)}"


def _change(case: _Case) -> tuple[CertificateVerdict, str]:
    """Whether and where the function changed."""
    shifts_the_stream = case.found.run.stream_digest != case.baseline.run.stream_digest
    if case.baseline.out_of_reach and shifts_the_stream:
        case.checks["change"] = "cannot be told from another initialisation"
        return CertificateVerdict.REFUSED, (
            "the model keeps random numbers where they cannot be copied from, so a change cannot "
            "be told from another initialisation"
        )
    changed = {key for key in case.found.differences if _counts(case, key) and _exceeds(case, key)}
    given = _frozen(case) + _places(changed, "given")
    if given:
        return CertificateVerdict.CERTIFIED, f"legal, and changes {_and(given)}"
    randomised = _places(changed, "randomised")
    if randomised:
        return CertificateVerdict.INACTIVE_AT_INIT, _INACTIVE.format(_and(randomised))
    return _change_with_other_draws(case) or (CertificateVerdict.REFUSED, _nothing(case))


def _change_with_other_draws(case: _Case) -> tuple[CertificateVerdict, str] | None:
    """Judge a change that a random model shows only with further draws; None if it shows none."""
    where = f"{PART_WORDS['training']} with other draws"
    changed = {
        weights
        for weights, relative in case.found.redrawn.items()
        if relative > _threshold(case, f"{weights}/training")
    }
    for weights in sorted(changed):
        relative = case.found.redrawn[weights]
        case.checks[f"other draws, {weights} weights"] = f"changed by {relative:.2g}"
    if "given" in changed:
        return CertificateVerdict.CERTIFIED, f"legal, and changes {where}"
    return (CertificateVerdict.INACTIVE_AT_INIT, _INACTIVE.format(where)) if changed else None


def _nothing(case: _Case) -> str:
    found = {key: item for key, item in case.found.differences.items() if _counts(case, key)}
    key = max(found, key=lambda name: found[name].relative, default="")
    own = set(case.variant.own_values)
    if own and own == case.repeated_values:
        return f"it changes nothing: the initial values of {_some(own)} are the same without it"
    if not key or found[key].relative == 0:
        return f"it changes nothing{_unseen(case)}"
    relative, noise = found[key].relative, _noise(case, key)
    words = f"relative difference {relative:.1g}"
    is_small = relative <= max(noise, threshold(case.baseline.run.unit, 0.0))
    if not is_small and noise > relative / NOISE_MARGIN:
        return (
            f"its change cannot be told from rounding (relative difference {relative:.2g}; since "
            f"rounding alone makes one of {noise:.2g}, it would take {_threshold(case, key):.2g})"
        )
    if noise > relative / NOISE_MARGIN:
        words += f", where rounding alone makes one of {noise:.1g}"
    return f"it changes nothing beyond rounding ({words})"


def _unseen(case: _Case) -> str:
    """Say what an edit may still do where the outputs of one call are the same."""
    before, after = case.baseline.gradient_peaks, case.found.gradient_peaks
    least = MOST_ROUNDING + NOISE_MARGIN * max(_noise(case, f"{w}/gradients") for w in WEIGHTS)
    changed = {
        name
        for weights, peaks in after.items()
        for name in case._reached_on(weights)
        if abs(peaks.get(name, 0.0) / before[weights][name] - 1) > least
    }
    if changed:
        return f" but gradients ({_some(changed)})"
    return (
        " in one call; what later calls read is not compared"
        if case.baseline.run.keeps_state
        else ""
    )


def _counts(case: _Case, key: str) -> bool:
    is_indirect = key.endswith(("/gradients", "/inputs"))
    return not is_indirect or case.variant.kind is AblationKind.DISABLE


def _exceeds(case: _Case, key: str) -> bool:
    difference = case.found.differences[key]
    relative = difference.relative
    exceeds = not difference.identical and relative > _threshold(case, key)
    weights, _, part = key.partition("/")
    case.checks[f"{part}, {weights} weights"] = (
        f"changed by {relative:.2g}"
        if exceeds
        else "unchanged"
        if difference.identical
        else f"rounding only, {relative:.1g}"
    )
    return exceeds


def _threshold(case: _Case, key: str) -> float:
    return threshold(case.baseline.run.unit, _noise(case, key))


def _noise(case: _Case, key: str) -> float:
    """Response of a part to rounding alone, in the baseline or in the variant."""
    weights, _, part = key.partition("/")
    return max(side.noise_of(weights, part) for side in (case.baseline, case.found))


def _frozen(case: _Case) -> list[str]:
    """A component that no longer learns has changed, though not yet its output."""
    if case.variant.kind is not AblationKind.FREEZE:
        return []
    frozen = case.detached[0] & case._reached  # what got no gradient is frozen anyway
    return [f"what learns ({_some(frozen)} are frozen)"] if frozen else []


def _places(changed: set[str], weights: str) -> list[str]:
    words = PART_WORDS | {"inputs": "the batch"}
    return [word for part, word in words.items() if f"{weights}/{part}" in changed]


def _some(names: set[str] | list[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _LISTED
    return ", ".join(ordered[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
