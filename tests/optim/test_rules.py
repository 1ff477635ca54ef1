"""A rule is valid once built; parts that do not fit are refused in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from antifragile.errors import UsageError
from antifragile.optim import (
    PRESETS,
    Along,
    Anti,
    Constant,
    Cosine,
    Curvature,
    Gaussian,
    GradVariance,
    On,
    Place,
    Power,
    Preconditioned,
    RatioToGradient,
    Revive,
    Rule,
    Samplewise,
    Toward,
    presets,
)


def test_a_rule_parses_its_place() -> None:
    assert Rule("grad", Gaussian(), 0.1).where is Place.GRAD


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rule("gradient", Gaussian(), 0.1), "did you mean 'grad'"),
        (lambda: Rule("nowhere at all", Gaussian(), 0.1), "expected one of grad, input, step"),
        (lambda: Rule("grad", "gaussian", 0.1), "expected one such as Gaussian"),
        (lambda: presets.shrink_and_perturb(shrink=-1), "shrink is -1; expected a finite number"),
        (lambda: Rule("grad", Gaussian(), -0.1), "scale is -0.1; expected a finite number"),
        (lambda: Rule("grad", Gaussian(), float("nan")), "scale is nan"),
        (lambda: Rule("grad", Gaussian(), "big"), "scale is 'big'"),
        (lambda: Rule("grad", Gaussian(), 0.1, params="("), "no regular expression"),
        (lambda: Rule("grad", Gaussian(), 0.1, params=3), "params is 3"),
        (lambda: Rule("input", Along(), 0.1), "an input rule cannot use"),
        (lambda: Rule("input", Gaussian(), 0.1, params="matrices"), "acts on no parameter"),
        (lambda: Rule("grad", Gaussian(), 0.1, inputs="x"), "inputs names what 'input' acts on"),
        (lambda: Rule("input", Gaussian(), 0.1, inputs=3), "inputs is 3; expected None"),
        (lambda: Rule("input", Gaussian(), 0.1, inputs=()), "inputs is (); expected None"),
        (lambda: Rule("input", Gaussian(), 0.1, inputs=["x", 3]), "inputs is ['x', 3]"),
        (lambda: Rule("weight", Samplewise(Gaussian()), 0.1), "acts on 'input' alone"),
        (lambda: presets.neftune(-5), "alpha is -5; expected a finite number"),
        (lambda: Rule("grad", Toward(), 0.1), "acts on 'step' alone"),
        (lambda: Rule("grad", Preconditioned(Gaussian()), 0.1), "acts on 'step' alone"),
        (lambda: Rule("step", Along(exact=True), 0.1), "acts on 'weight' alone"),
        (lambda: Rule("weight", Anti(Gaussian()), 0.1), "it is taken out before the next"),
        (lambda: Along("nose"), "expected 'grad' or 'momentum'"),
        (lambda: Along("momentum", exact=True), "has no exact form"),
        (lambda: Anti(Along()), "can be drawn again"),
        (lambda: Toward("moon"), "'zero', 'start' or 'fresh'"),
        (lambda: Toward("zero", fraction=1.5), "at most 1"),
        (lambda: Constant(-1), "the constant scale is -1"),
        (lambda: Power(-1.0), "eta is -1.0"),
        (lambda: Cosine(1.0, 0), "the cosine's steps is 0"),
        (lambda: On(1.0, start=5, until=3), "until is 3"),
        (lambda: On(-1.0), "scale is -1.0"),
        (lambda: RatioToGradient(-0.5), "the ratio is -0.5"),
        (lambda: Revive(0.1, fraction=0.0), "the fraction is 0.0; expected a finite number above"),
        (lambda: Revive(0.1, fraction=0.5, release=0.1), "the release is 0.1"),
        (lambda: Curvature(0.1, largest=0.5), "largest is 0.5"),
        (lambda: GradVariance(0.1, target=0.0), "the target is 0.0"),
        (lambda: presets.stochastic_reset(rate=2.0), "the rate is 2.0"),
        (lambda: presets.annealed_gradient_noise(eta=-1), "eta is -1"),
        (lambda: presets.sam(rho=-0.05), "scale is -0.05"),
    ],
)
def test_wrong_parts_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_rules_without_arguments(name: str) -> None:
    rules = PRESETS[name]()
    assert rules
    assert all(isinstance(rule, Rule) for rule in rules)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_says_its_equation_and_source(name: str) -> None:
    text = PRESETS[name].__doc__ or ""
    assert "``" in text.splitlines()[0] or "``" in text.splitlines()[2]
    assert "Source: " in text


def test_there_are_fifteen_presets() -> None:
    assert list(PRESETS) == [
        "annealed_gradient_noise",
        "pgd",
        "sgld",
        "psgld",
        "random_weight_perturbation",
        "anti_pgd",
        "msam",
        "sam",
        "asam",
        "sam_lagged",
        "asam_lagged",
        "shrink_and_perturb",
        "stochastic_reset",
        "input_noise",
        "neftune",
    ]


def test_a_signature_does_not_depend_on_where_a_function_lies() -> None:
    one = Rule("grad", Gaussian(), 0.1, params=lambda name, p: True)
    other = Rule("grad", Gaussian(), 0.1, params=lambda name, p: False)
    assert one.signature == other.signature
    assert one.signature != Rule("grad", Gaussian(), 0.2, params=lambda name, p: True).signature
