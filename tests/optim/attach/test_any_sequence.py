"""Whatever is done between steps, in any order: clean weights stay those of two twins.

The first twin has no rules and is given the gradients that the perturbed optimizer saw. The second
has the same rules and seed, and is trained alone: nobody evaluates, saves, copies or rests it, and
where a checkpoint is loaded it is trained anew up to there.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from antifragile.optim import Handle, perturb
from tests.optim.small_training import BASES, NEEDS_CLOSURE, Optimizer, batch, network, rules_of

MOVES_WEIGHTS = ("pgd", "sgld", "psgld", "shrink_and_perturb", "stochastic_reset")
PRESETS = (
    "annealed_gradient_noise",
    "random_weight_perturbation",
    "anti_pgd",
    "msam",
    "sam",
    "asam_lagged",
    "input_noise",
    *MOVES_WEIGHTS,
)


class Training:
    """A model, its optimizer, and a handle where it is perturbed."""

    def __init__(self, preset: str | None, base: str) -> None:
        self.preset = preset
        self.model = network()
        self.optimizer: Optimizer = BASES[base](self.model.parameters())
        self.handle: Handle | None = None
        self.attach(0)

    def attach(self, seed: int) -> None:
        if self.preset is not None:
            rules = rules_of(self.preset)
            self.handle = perturb(self.optimizer, rules, model=self.model, seed=seed)

    def attach_anew(self, seed: int) -> None:
        assert self.handle is not None
        self.handle.remove()
        self.attach(seed)

    def forward(self, number: int) -> Tensor:
        x, y = batch(number)
        return cross_entropy(self.model.train()(x), y)

    def step(self, number: int) -> None:
        def closure() -> Tensor:
            self.optimizer.zero_grad()
            loss = self.forward(number)
            loss.backward()
            return loss

        if self.preset in NEEDS_CLOSURE:
            self.optimizer.step(closure)
        else:
            closure()
            self.optimizer.step()

    def write(self, scale: float) -> None:
        """Scale the weights behind the back of autograd, as clipping and averaging do."""
        with self.handle.clean() if self.handle is not None else torch.no_grad():
            for parameter in self.model.parameters():
                parameter.data.mul_(scale)

    def saved(self) -> list[Any]:
        return copy.deepcopy([self.model.state_dict(), self.optimizer.state_dict()])

    def load(self, saved: list[Any], *, model_first: bool = True) -> None:
        weights, state = copy.deepcopy(saved)
        loads: list[Callable[[], Any]] = [
            lambda: self.model.load_state_dict(weights),
            lambda: self.optimizer.load_state_dict(state),
        ]
        for load in loads if model_first else loads[::-1]:
            load()


def parameters(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def assert_equal(some: list[Tensor], others: list[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


class Sequences(RuleBasedStateMachine):
    """Random sequences of what a training loop and its surroundings do."""

    preset: str
    base: str

    @initialize()
    def begin(self) -> None:
        self.number = 0
        self.ours = Training(self.preset, self.base)
        self.undisturbed = Training(self.preset, self.base)
        self.unperturbed = Training(None, self.base)
        self.done: list[Callable[[Training], None]] = []
        self.kept: tuple[list[Any], list[Any], list[Callable[[Training], None]], int] | None = None

    def do(self, act: Callable[[Training], None]) -> None:
        """Do the same to our training and to its twin of the same rules."""
        self.done.append(act)
        act(self.ours)
        act(self.undisturbed)

    def begin_a_step(self, begins: bool) -> None:
        """Put the perturbation in by a forward, which a step may follow or not."""
        if begins:
            number = self.number
            self.do(lambda training: training.forward(number) and None)

    @property
    def handle(self) -> Handle:
        assert self.ours.handle is not None
        return self.ours.handle

    def check(self, weights: list[Tensor]) -> None:
        with self.undisturbed.handle.clean():  # type: ignore[union-attr]
            assert_equal(weights, parameters(self.undisturbed.model))
        if self.preset not in MOVES_WEIGHTS:
            assert_equal(weights, parameters(self.unperturbed.model))

    @rule()
    def train(self) -> None:
        self.number += 1
        number = self.number
        self.do(lambda training: training.step(number))
        pairs = zip(self.ours.model.parameters(), self.unperturbed.model.parameters(), strict=True)
        for ours, plain in pairs:
            plain.grad = None if ours.grad is None else ours.grad.clone()
        self.unperturbed.optimizer.step()
        self.check(parameters(self.ours.model))  # with model= weights are clean after a step

    @rule(begins=st.booleans())
    def evaluate(self, begins: bool) -> None:
        self.begin_a_step(begins)
        x, _ = batch(999)
        with torch.no_grad():
            scores = self.ours.model.eval()(x)
            state = dict(self.undisturbed.model.named_buffers())
            with self.undisturbed.handle.clean():  # type: ignore[union-attr]
                state |= {k: v.detach() for k, v in self.undisturbed.model.named_parameters()}
                plain = functional_call(network().eval(), state, x)
        assert torch.equal(scores, plain)
        self.check(parameters(self.ours.model))

    @rule(begins=st.booleans())
    def save(self, begins: bool) -> None:
        self.begin_a_step(begins)
        saved = self.ours.saved()
        self.kept = saved, self.unperturbed.saved(), list(self.done), self.number
        self.check([saved[0][name] for name, _ in self.ours.model.named_parameters()])

    @rule(begins=st.booleans(), model_first=st.booleans())
    def load(self, begins: bool, model_first: bool) -> None:
        if self.kept is None:
            self.save(False)
            self.train()
        assert self.kept is not None
        self.begin_a_step(begins)
        ours, unperturbed, done, self.number = self.kept
        self.ours.load(ours, model_first=model_first)
        self.unperturbed.load(unperturbed)
        self.undisturbed, self.done = Training(self.preset, self.base), list(done)
        for act in done:
            act(self.undisturbed)
        self.train()

    @rule(begins=st.booleans())
    def load_own_state(self, begins: bool) -> None:
        self.begin_a_step(begins)
        self.ours.optimizer.load_state_dict(copy.deepcopy(self.ours.optimizer.state_dict()))

    @rule(begins=st.booleans())
    def look_at_clean_weights(self, begins: bool) -> None:
        self.begin_a_step(begins)
        with self.handle.clean():
            self.check(parameters(self.ours.model))

    @rule(begins=st.booleans())
    def rest(self, begins: bool) -> None:
        self.begin_a_step(begins)
        self.handle.rest()
        self.check(parameters(self.ours.model))

    @rule(begins=st.booleans(), seed=st.integers(0, 3))
    def perturb_again(self, begins: bool, seed: int) -> None:
        self.begin_a_step(begins)
        self.handle.remove()
        self.check(parameters(self.ours.model))
        self.ours.attach(seed)
        self.done.append(lambda training: training.attach_anew(seed))
        self.undisturbed.attach_anew(seed)

    @rule(begins=st.booleans(), scale=st.sampled_from([0.5, 0.9, 1.1]))
    def write(self, begins: bool, scale: float) -> None:
        self.begin_a_step(begins)
        self.do(lambda training: training.write(scale))
        self.unperturbed.write(scale)

    @rule(begins=st.booleans(), pickles=st.booleans())
    def copy(self, begins: bool, pickles: bool) -> None:
        self.begin_a_step(begins)
        model = self.ours.model
        copied = pickle.loads(pickle.dumps(model)) if pickles else copy.deepcopy(model)
        self.check(parameters(copied))
        copied.train()(batch(5)[0])
        self.check(parameters(copied))

    def teardown(self) -> None:
        if hasattr(self, "ours"):
            self.handle.remove()
            self.check(parameters(self.ours.model))


@pytest.mark.parametrize("base", ["sgd-momentum", "adam"])
@pytest.mark.parametrize("preset", PRESETS)
def test_any_sequence_leaves_the_weights_of_the_twins(preset: str, base: str) -> None:
    class Machine(Sequences):
        pass

    Machine.preset, Machine.base = preset, base
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
