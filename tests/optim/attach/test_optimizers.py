"""Optimizers that cannot be perturbed, or whose moments are not known, are refused by name."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from antifragile.errors import UsageError
from antifragile.optim import PRESETS, Gaussian, Rule, perturb, presets
from tests.optim.small_training import (
    NEEDS_CLOSURE,
    are_equal,
    batch,
    network,
    rules_of,
    take_steps,
    weights_of,
)

UNKNOWN = [torch.optim.Adamax, torch.optim.ASGD, torch.optim.Rprop, torch.optim.Adagrad]


@pytest.mark.parametrize("kind", UNKNOWN)
def test_preconditioned_noise_needs_known_squares(kind: Any) -> None:
    optimizer = kind([nn.Parameter(torch.zeros(3))], lr=1e-3)
    with pytest.raises(UsageError, match=f"squares of the optimizer, and those of {kind.__name__}"):
        perturb(optimizer, presets.psgld(n_samples=1000))


@pytest.mark.parametrize("kind", [torch.optim.ASGD, torch.optim.Rprop])
def test_a_reset_needs_known_moments(kind: Any) -> None:
    optimizer = kind([nn.Parameter(torch.zeros(3))], lr=1e-3)
    with pytest.raises(UsageError, match=f"moments of the optimizer, and those of {kind.__name__}"):
        perturb(optimizer, presets.stochastic_reset())


@pytest.mark.parametrize(
    "kind",
    [
        torch.optim.SGD,
        torch.optim.Adam,
        torch.optim.AdamW,
        torch.optim.NAdam,
        torch.optim.RAdam,
        torch.optim.Adamax,
        torch.optim.RMSprop,
        torch.optim.Adagrad,
        torch.optim.Adadelta,
    ],
)
def test_a_reset_zeroes_every_moment(kind: Any) -> None:
    options = {"momentum": 0.9} if kind in (torch.optim.SGD, torch.optim.RMSprop) else {}
    model = network()
    optimizer = kind(model.parameters(), lr=1e-3, **options)
    take_steps(model, optimizer, [0])
    perturb(optimizer, presets.stochastic_reset(rate=1.0, fraction=1.0, params=None))
    take_steps(model, optimizer, [1])
    for state in optimizer.state.values():
        moments = {k: v for k, v in state.items() if isinstance(v, torch.Tensor) and v.ndim}
        assert moments
        assert not any(moment.any() for moment in moments.values()), moments.keys()


class Lookahead(torch.optim.Optimizer):
    """Steps toward slow weights at every second step, with hooks as pytorch_optimizer's has them.

    Args:
        optimizer: The optimizer inside.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.param_groups, self.defaults = optimizer.param_groups, optimizer.defaults
        self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = {}, {}  # type: ignore[assignment]
        self._patch_step_function()
        self.n_steps = 0
        self.slow = [p.detach().clone() for p in self.parameters()]

    def parameters(self) -> list[torch.Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def step(self, closure: Any = None) -> Any:
        loss = self.optimizer.step(closure)
        self.n_steps += 1
        if self.n_steps % 2 == 0:
            self.pull()
        return loss

    @torch.no_grad()
    def pull(self) -> None:
        for parameter, slow in zip(self.parameters(), self.slow, strict=True):
            slow.lerp_(parameter, 0.5)
            parameter.copy_(slow)


class Climbing(torch.optim.Optimizer):
    """Has hooks and groups of its own at first, and then those of an optimizer that it makes."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})
        self.base_optimizer = torch.optim.SGD(self.param_groups)
        self.param_groups = self.base_optimizer.param_groups

    def step(self, closure: Any = None) -> None:
        raise NotImplementedError


def plain() -> torch.optim.SGD:
    return torch.optim.SGD([nn.Parameter(torch.zeros(3))], lr=0.1)


@pytest.mark.parametrize(
    ("wrapper", "message"),
    [
        (
            lambda: Lookahead(plain()),
            r"Lookahead wraps .*\(SGD\).*inside: perturb\(wrapper\.optimizer,",
        ),
        (
            lambda: Lookahead(Lookahead(plain())),
            r"\(SGD\).*perturb\(wrapper\.optimizer\.optimizer,",
        ),
        (lambda: Climbing(plain().param_groups), r"Climbing.*perturb\(wrapper\.base_optimizer,"),
    ],
)
def test_a_wrapper_is_refused_with_what_to_perturb(wrapper: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        perturb(wrapper(), presets.annealed_gradient_noise())


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_an_optimizer_inside_a_wrapper_is_perturbed_as_beside_it(
    preset: str, caplog: pytest.LogCaptureFixture
) -> None:
    found, closure = [], preset in NEEDS_CLOSURE
    for is_inside in (False, True):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        wrapper = Lookahead(optimizer)
        perturb(optimizer, rules_of(preset), model=model, seed=0)
        for number in range(5):
            stepping = wrapper if is_inside else optimizer
            take_steps(model, stepping, [number], closure=closure)
            if not is_inside and number % 2:
                wrapper.pull()
        found.append(weights_of(model))
    assert are_equal(*found)
    assert "another optimizer" not in caplog.text


@pytest.mark.parametrize("closure", [False, True])
def test_a_wrapper_around_weights_that_are_perturbed_at_all_times_is_refused(closure: bool) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    perturb(optimizer, presets.anti_pgd())
    with pytest.raises(UsageError, match=r"Lookahead reads and writes .* of SGD.*pass model= to"):
        take_steps(model, Lookahead(optimizer), [0], closure=closure)


@pytest.mark.parametrize(
    ("optimizer", "is_told"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1), False),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), True),
        (lambda p: torch.optim.Adam(p, lr=0.1), True),
    ],
)
def test_langevin_noise_beside_momentum_is_told(
    optimizer: Any, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        perturb(optimizer([nn.Parameter(torch.zeros(3))]), presets.sgld())
    assert ("samples another distribution" in caplog.text) is is_told


def test_a_group_that_is_left_out_takes_no_share_of_a_common_norm() -> None:
    model = network()
    groups = [
        {"params": list(model[0].parameters())},
        {"params": list(model[3].parameters()), "perturb": False},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    handle = perturb(optimizer, presets.sam_lagged(0.5), model=model)
    take_steps(model, optimizer, [0])
    pairs = zip(handle.weights.parameters, handle.weights.clean_weights(), strict=True)
    moved = torch.cat([(p.detach() - c).flatten() for p, c in pairs])
    assert float(moved.norm()) == pytest.approx(0.5, abs=1e-5)


def test_default_seeds_differ_and_leave_torchs_generator_alone() -> None:
    def drawn(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        before, found, used = torch.get_rng_state(), [], []
        for _ in range(2):
            weight = nn.Parameter(torch.zeros(100))
            optimizer = torch.optim.SGD([weight], lr=1.0)
            used.append(perturb(optimizer, Rule("grad", Gaussian(), 1.0)))
            weight.grad = torch.zeros(100)
            optimizer.step()
            found.append(weight.detach())
        assert torch.equal(before, torch.get_rng_state())
        for handle in used:
            handle.remove()
        return found

    first, second = drawn(0)
    assert not torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip((first, second), drawn(0), strict=True))
    assert not torch.equal(first, drawn(1)[0])


def test_a_model_that_was_compiled_before_evaluates_clean_weights() -> None:
    torch._dynamo.reset()
    model = network()
    compiled = torch.compile(model, backend="eager")
    x = torch.randn(16, 8)
    compiled(x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    handle = perturb(optimizer, Rule("weight", Gaussian(), 0.1), model=model)
    with handle.clean():
        clean = [p.detach().clone() for p in model.parameters()]
    take_steps(compiled, optimizer, [0])
    compiled.train()
    compiled(x)
    assert not torch.equal(model[0].weight, clean[0])
    compiled.eval()
    compiled(x)
    assert all(torch.equal(a, b) for a, b in zip(clean, model.parameters(), strict=True))


@pytest.mark.parametrize("preset", ["sgld", "annealed_gradient_noise", "anti_pgd", "sam"])
def test_a_step_that_calls_its_bases_step_is_perturbed_once(preset: str) -> None:
    class Calling(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    found = []
    for kind in (torch.optim.SGD, Calling):
        model = network()
        optimizer = kind(model.parameters(), lr=0.1)
        handle = perturb(optimizer, rules_of(preset), model=model, seed=0)
        take_steps(model, optimizer, range(3), closure=preset in NEEDS_CLOSURE)
        assert handle.step_number == 3
        found.append(weights_of(model))
    assert are_equal(*found)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
def test_a_compiled_step_is_perturbed_once() -> None:
    found = []
    for compiles in (False, True):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        handle = perturb(optimizer, presets.anti_pgd(), model=model, seed=0)
        step = torch.compile(optimizer.step, backend="eager") if compiles else optimizer.step
        for number in range(3):
            x, y = batch(number)
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            step()
        assert handle.step_number == 3
        found.append(weights_of(model))
    assert are_equal(*found)
