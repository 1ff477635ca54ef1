"""Saving and resuming a perturbed run: our presets, and pytorch_optimizer's SAM family beside them.

    python -m benchmarks.trust.perturb_resume

Ten steps, save through torch.save, load into fresh objects, ten steps: the largest difference of
a weight to twenty steps in one go. pytorch_optimizer is asked the same where it is installed
(not a dependency of ours), with what else its users meet: what `step` returns, whether a
loop with a GradScaler and without a closure runs, whether parameters keep their storage.
"""

from __future__ import annotations

import argparse
import copy
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from antifragile.optim import PRESETS, perturb

BASES: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "SGD momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
    "fused AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "foreach Adam": lambda p: torch.optim.Adam(p, lr=0.01, foreach=True),
}
OFTEN: dict[str, dict[str, Any]] = {  # so that what acts rarely acts within ten steps
    "pgd": {"threshold": 10.0, "wait": 3},
    "shrink_and_perturb": {"every": 7},
    "stochastic_reset": {"rate": 0.3},
    "neftune": {"inputs": None},  # the network has no token ids
}
Make = Callable[[], tuple[nn.Module, Any]]


def network() -> nn.Sequential:
    """8-16-3 with batch norm."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def train(model: nn.Module, optimizer: Any, numbers: range, *, closure: bool | str) -> Any:
    """Steps on the batches with those numbers; returns what the last `step` returned."""
    returned = None
    model.train()
    for number in numbers:
        generator = torch.Generator().manual_seed(100 + number)
        x = torch.randn(16, 8, generator=generator)
        y = torch.randint(0, 3, (16,), generator=generator)

        def evaluate(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            return loss

        if closure is not True:  # "after first", pytorch_optimizer's way: gradients, then closure
            evaluate()
        returned = optimizer.step(evaluate) if closure else optimizer.step()
    return returned


def resume_difference(make: Make, *, closure: bool | str) -> float:
    """Largest difference of a weight, twenty steps against ten and ten."""
    model, optimizer = make()
    train(model, optimizer, range(20), closure=closure)
    straight = copy.deepcopy(model.state_dict())
    model, optimizer = make()
    train(model, optimizer, range(10), closure=closure)
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=False)
    model, optimizer = make()
    model.load_state_dict(weights)
    optimizer.load_state_dict(state)
    train(model, optimizer, range(10, 20), closure=closure)
    resumed = model.state_dict()
    return max(float((straight[k] - resumed[k]).abs().max()) for k in straight)


def ours(preset: str, base: str) -> Make:
    """A preset of ours on a base."""

    def make() -> tuple[nn.Module, Any]:
        model = network()
        optimizer = BASES[base](model.parameters())
        perturb(optimizer, PRESETS[preset](**OFTEN.get(preset, {})), model=model, seed=3)
        return model, optimizer

    return make


def theirs(name: str, base: str) -> Make:
    """One of pytorch_optimizer's SAM family on a base."""
    import pytorch_optimizer as library

    kind: Any = torch.optim.SGD if base.startswith("SGD") else torch.optim.AdamW
    options = {"lr": 0.1, "momentum": 0.9} if base == "SGD momentum" else {"lr": 0.01}

    def make() -> tuple[nn.Module, Any]:
        model = network()
        family = getattr(library, name)
        if name == "WSAM":
            return model, family(model, model.parameters(), kind, **options)
        if name == "BSAM":
            return model, family(model.parameters(), num_data=160)
        return model, family(model.parameters(), kind, **options)

    return make


def loop_without_closure(make: Make) -> str:
    """Say whether a loop with a GradScaler, as one writes it, runs."""
    model, optimizer = make()
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    with told() as problem:
        for number in range(3):
            generator = torch.Generator().manual_seed(number)
            x = torch.randn(16, 8, generator=generator)
            optimizer.zero_grad()
            scaler.scale(model(x).square().mean()).backward()
            scaler.step(optimizer)
            scaler.update()
    return problem[0] if problem else "runs"


def keeps_storage(make: Make, *, closure: bool | str) -> str:
    """Say whether parameters keep their storage."""
    model, optimizer = make()
    before = [p.data_ptr() for p in model.parameters()]
    train(model, optimizer, range(3), closure=closure)
    return "kept" if before == [p.data_ptr() for p in model.parameters()] else "moved"


@contextmanager
def told() -> Iterator[list[str]]:
    """Collects the name of an exception instead of raising it."""
    problem: list[str] = []
    try:
        yield problem
    except Exception as error:  # whatever another library raises is the result
        problem.append(type(error).__name__)


def facts(make: Make, *, closure: bool | str) -> list[str]:
    """One row: resume, return value, loop without closure, storage."""
    cells = []
    for ask in (
        lambda: f"{resume_difference(make, closure=closure):.3g}",
        lambda: type(train(*make(), range(2), closure=closure)).__name__,
        lambda: loop_without_closure(make),
        lambda: keeps_storage(make, closure=closure),
    ):
        with told() as problem:
            cells.append(ask())
        cells += problem
    return cells


def main() -> None:
    """Print two Markdown tables."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    print(f"| preset | {' | '.join(BASES)} |\n|---|{'---|' * len(BASES)}")
    for preset in PRESETS:
        closure = preset in ("sam", "asam")
        row = [resume_difference(ours(preset, base), closure=closure) for base in BASES]
        print(f"| `{preset}` | {' | '.join(f'{value:.3g}' for value in row)} |")
    print("\n| method | base | resume | `step` returns | GradScaler, no closure | storage |")
    print("|---|---|---|---|---|---|")
    for preset in ("sam", "asam", "sam_lagged", "msam"):
        for base in ("SGD momentum", "AdamW"):
            cells = facts(ours(preset, base), closure=preset in ("sam", "asam"))
            print(f"| ours, `{preset}` | {base} | {' | '.join(cells)} |")
    try:
        version = metadata.version("pytorch_optimizer")
    except metadata.PackageNotFoundError:
        print("\npytorch_optimizer is not installed; its rows are left out")
        return
    for name in ("SAM", "WSAM", "LookSAM", "FriendlySAM", "BSAM"):
        for base in ("SGD momentum", "AdamW"):
            whole = name in ("WSAM", "BSAM")  # whose closure takes the first gradient too
            cells = facts(theirs(name, base), closure=True if whole else "after first")
            print(f"| pytorch_optimizer {version} {name} | {base} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
