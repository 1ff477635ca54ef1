"""Loops by hand around a perturbed optimizer, and twins in which each feature is written out.

A case trains the same few steps twice: as a user would, and as the twin does. Both return the
weights as one vector; they are to be equal bit for bit.
"""

from __future__ import annotations

import copy
import io
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel

from antifragile.optim import PRESETS, Rule, perturb
from benchmarks.trust.perturb_resume import OFTEN

SEED, STEPS, RATE, CLIP = 3, 12, 0.1, 0.05
EXACT = ("sam", "asam")
Pair = tuple[Tensor, Tensor]
Case = Callable[[str], Pair]


def rules_of(preset: str) -> tuple[Rule, ...]:
    """A preset, with what acts rarely by default made to act within the steps."""
    return PRESETS[preset](**OFTEN.get(preset, {}))


def network() -> nn.Sequential:
    """8-16-3."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


def batch(number: int) -> tuple[Tensor, Tensor]:
    """16 samples and their classes."""
    generator = torch.Generator().manual_seed(100 + number)
    x = torch.randn(16, 8, generator=generator)
    return x, torch.randint(0, 3, (16,), generator=generator)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """SGD with momentum, the optimizer of all cases."""
    return torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)


def weights(model: nn.Module) -> Tensor:
    """All parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()]).clone()


class Loop:
    """A model, its optimizer, and a perturbation.

    Args:
        preset: The preset.
        called: Makes the module that is called of the model, as `torch.compile` does.
    """

    def __init__(self, preset: str, called: Callable[[Any], Any] = lambda model: model) -> None:
        self.preset, self.model = preset, network()
        self.optimizer = sgd(self.model)
        self.handle = perturb(self.optimizer, rules_of(preset), model=self.model, seed=SEED)
        self.called = called(self.model)

    def train(
        self,
        numbers: range = range(STEPS),
        *,
        finish: Callable[[], None] = lambda: None,
        per_step: Callable[[nn.Module], None] = lambda model: None,
    ) -> Tensor:
        """Train one step per batch.

        Args:
            numbers: Numbers of the batches.
            finish: Acts on the gradients, as clipping does.
            per_step: Acts after a step.

        Returns:
            The weights.
        """
        self.called.train()
        for number in numbers:

            def closure(number: int = number) -> Tensor:
                self.optimizer.zero_grad()
                x, y = batch(number)
                loss = cross_entropy(self.called(x), y)
                loss.backward()
                finish()
                return loss

            if self.preset in EXACT:
                self.optimizer.step(closure)
            else:
                closure()
                self.optimizer.step()
            per_step(self.model)
        return weights(self.model)


def halves(number: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Both halves of a batch."""
    yield from zip(*(part.split(8) for part in batch(number)), strict=True)


def plain(preset: str) -> Pair:
    """Stop, save, load into fresh objects and go on; the twin runs through."""
    first, again = Loop(preset), Loop(preset)
    first.train(range(5))
    file = io.BytesIO()
    torch.save([first.model.state_dict(), first.optimizer.state_dict()], file)
    file.seek(0)
    saved, state = torch.load(file, weights_only=True)
    again.model.load_state_dict(saved)
    again.optimizer.load_state_dict(state)
    return again.train(range(5, STEPS)), Loop(preset).train()


def accumulation(preset: str) -> Pair:
    """Two backward passes per step; the twin adds the two gradients itself."""
    one, twin = Loop(preset), Loop(preset)
    for number in range(STEPS):
        one.optimizer.zero_grad()
        for x, y in halves(number):
            loss = cross_entropy(one.model(x), y) / 2
            loss.backward()
        if preset in EXACT:  # the closure adds to what is there, as a trainer's does
            one.optimizer.step(lambda loss=loss: loss)
        else:
            one.optimizer.step()
        parameters = list(twin.model.parameters())
        taken = [
            torch.autograd.grad(cross_entropy(twin.model(x), y) / 2, parameters)
            for x, y in halves(number)
        ]
        for parameter, first, second in zip(parameters, *taken, strict=True):
            parameter.grad = first + second
        twin.optimizer.step()
    return weights(one.model), weights(twin.model)


def clipping(preset: str) -> Pair:
    """Clip by `clip_grad_norm_`; the twin multiplies the gradients by hand."""
    one, twin = Loop(preset), Loop(preset)

    def by_hand() -> None:
        found = [p.grad for p in twin.model.parameters() if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in found]))
        for gradient in found:
            gradient.mul_((CLIP / (norm + 1e-6)).clamp(max=1.0))

    clip = nn.utils.clip_grad_norm_
    clipped = one.train(finish=lambda: clip(one.model.parameters(), CLIP) and None)
    return clipped, twin.train(finish=by_hand)


def grad_scaler(preset: str) -> Pair:
    """Train with a gradient scaler, with a power of two that float32 divides away again."""
    one, scaler = Loop(preset), torch.amp.GradScaler("cpu", init_scale=1024.0)
    for number in range(STEPS):
        one.optimizer.zero_grad()
        x, y = batch(number)
        scaler.scale(cross_entropy(one.model(x), y)).backward()
        scaler.step(one.optimizer)
        scaler.update()
    return weights(one.model), Loop(preset).train()


def scheduler(preset: str) -> Pair:
    """Let the learning rate fall by a scheduler; the twin sets it by hand."""
    one, twin = Loop(preset), Loop(preset)
    schedule = torch.optim.lr_scheduler.LambdaLR(one.optimizer, lambda n: 1 / (1 + n))
    steps = iter(range(1, STEPS + 1))

    def set_rate(model: nn.Module) -> None:
        twin.optimizer.param_groups[0]["lr"] = RATE * (1 / (1 + next(steps)))

    return one.train(per_step=lambda model: schedule.step()), twin.train(per_step=set_rate)


def distributed_checkpoint(preset: str) -> Pair:
    """Save and load by `torch.distributed.checkpoint`; the twin runs through."""
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    first, again = Loop(preset), Loop(preset)
    first.train(range(5))
    with tempfile.TemporaryDirectory() as folder:
        model, optimizer = get_state_dict(first.model, first.optimizer)
        checkpoint.save({"model": model, "optimizer": optimizer}, checkpoint_id=folder)
        model, optimizer = get_state_dict(again.model, again.optimizer)
        state = {"model": model, "optimizer": optimizer}
        checkpoint.load(state, checkpoint_id=folder)
        set_state_dict(
            again.model,
            again.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )
    return again.train(range(5, STEPS)), Loop(preset).train()


def compiled(preset: str) -> Pair:
    """Train the compiled model; the twin is not compiled."""
    one = Loop(preset, lambda model: torch.compile(model, backend="eager"))
    return one.train(), Loop(preset).train()


def averages(preset: str) -> Pair:
    """Average the weights of every step in training; the twin averages what it kept of them."""
    one, twin = Loop(preset), Loop(preset)
    kept: list[nn.Module] = []
    during = AveragedModel(one.model)
    one.train(per_step=during.update_parameters)
    twin.train(per_step=lambda model: kept.append(copy.deepcopy(model)))
    after = AveragedModel(network())
    for model in kept:
        after.update_parameters(model)
    return weights(during.module), weights(after.module)


def deepcopied(preset: str) -> Pair:
    """Copy the model where a perturbation is in; the twin's weights are those after its step."""
    one, twin = Loop(preset), Loop(preset)
    copies, steps = [], []
    one.train(finish=lambda: copies.append(weights(copy.deepcopy(one.model))))
    twin.train(per_step=lambda model: steps.append(weights(model)))
    every = 2 if preset in EXACT else 1  # SAM calls the closure twice
    expected = [weights(network()), *steps[:-1], steps[-1]]
    return torch.cat([*copies[::every], weights(one.model)]), torch.cat(expected)


def restarts(preset: str) -> Pair:
    """Train three times in one process, as a search over hyperparameters does."""
    found = [Loop(preset) for _ in range(3)]
    return torch.cat([loop.train() for loop in found]), Loop(preset).train().repeat(3)


CASES: dict[str, Case] = {
    "plain": plain,
    "accumulation": accumulation,
    "clipping": clipping,
    "GradScaler": grad_scaler,
    "scheduler": scheduler,
    "DCP": distributed_checkpoint,
    "torch.compile": compiled,
    "EMA/SWA": averages,
    "deepcopy": deepcopied,
    "restarts": restarts,
}
"""Columns of the table that need torch alone."""
