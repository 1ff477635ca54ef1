"""Cost of every preset inside a training step, with naive loops and pytorch_optimizer's SAM family.

    OMP_NUM_THREADS=1 python -m benchmarks.speed.perturb_cost [--rounds 40] [--problems mlp cnn lm]

A contender is a model, a fused AdamW and a perturbation; its time is that of a whole step: forward,
backward, update. All contenders of a problem take turns of four steps, round after round, and the
best time of each counts but for the first of a turn, which finds the caches full of others'
weights; so other work on the machine hurts all alike. The table gives these times as
multiples of those without any perturbation. A naive loop is what one writes by hand: copy the
weights, add noise, take the gradient, copy them back.

    python -m benchmarks.speed.perturb_cost --memory

Memory is what the peak of a process's resident memory grows by with a perturbation, in bytes per
parameter.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from antifragile.optim import PRESETS, perturb
from benchmarks.speed.loops import network

Step = Callable[[], object]
THEIRS = ("SAM", "WSAM", "LookSAM", "FriendlySAM")
AIMS = {"mlp, batch 32": 1.25, "lm": 1.08}
AIMED = ("random_weight_perturbation", "msam", "sam_lagged")


class SmallCNN(nn.Sequential):
    """Two convolutions and two linear layers: 1.2 million parameters, as in PyTorch's example."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 32, 3),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(9216, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )


class SmallLM(nn.Module):
    """A causal transformer of six layers of width 384 over bytes: 10.7 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(256, 384), nn.Embedding(64, 384)
        layer = nn.TransformerEncoderLayer(384, 6, 1536, 0.0, "gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(384, 256)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, L) to logits (B, C, L)."""
        length = ids.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        hidden = self.tokens(ids) + self.places(torch.arange(length))
        logits: Tensor = self.head(self.layers(hidden, mask=mask, is_causal=True))
        return logits.transpose(1, 2)


@dataclass(frozen=True)
class Problem:
    """A model and one batch.

    Args:
        make: Makes the model.
        x: Its inputs.
        y: The targets of a cross entropy.
    """

    make: Callable[[], nn.Module]
    x: Tensor
    y: Tensor


def problems() -> dict[str, Problem]:
    """Make the problems, by name."""
    torch.manual_seed(0)
    found = {
        f"mlp, batch {size}": Problem(
            lambda: network((784, 512, 768, 256, 10)),
            torch.randn(size, 784),
            torch.randint(0, 10, (size,)),
        )
        for size in (32, 64, 256)
    }
    images, ids = torch.randn(64, 1, 28, 28), torch.randint(0, 256, (4, 65))
    found["cnn"] = Problem(SmallCNN, images, torch.randint(0, 10, (64,)))
    found["lm"] = Problem(SmallLM, ids[:, :-1], ids[:, 1:])
    return found


def contenders(problem: Problem) -> dict[str, Step]:
    """Make a step of every contender, by name."""
    steps = {"none": plain(problem, None)}
    not_here = "neftune" if problem.x.is_floating_point() else "input_noise"
    for name in PRESETS:
        if name != not_here:
            steps[name] = plain(problem, name)
    steps["naive gradient loop"] = naive_gradient(problem)
    steps["naive weight loop"] = naive_weight(problem)
    if find_spec("pytorch_optimizer") is not None:
        for name in THEIRS:
            steps[f"pytorch_optimizer {name}"] = theirs(problem, name)
    return steps


def plain(problem: Problem, preset: str | None) -> Step:
    """Make a training step with a preset of ours, or none."""
    model, optimizer = _model(problem)
    rules = () if preset is None else PRESETS[preset]()
    if rules:
        perturb(optimizer, rules, model=model, seed=0)
    closure = _closure(problem, model, optimizer)
    if any(rule.noise.needs_closure for rule in rules):
        return lambda: optimizer.step(closure)

    def step() -> None:
        closure()
        optimizer.step()

    return step


def naive_gradient(problem: Problem) -> Step:
    """Make a step that adds normal noise to the gradients, as one writes it by hand."""
    model, optimizer = _model(problem)
    closure = _closure(problem, model, optimizer)

    def step() -> None:
        closure()
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad.add_(torch.randn_like(parameter.grad), alpha=0.01)
        optimizer.step()

    return step


def naive_weight(problem: Problem) -> Step:
    """Make a step of random weight perturbation, as one writes it by hand."""
    model, optimizer = _model(problem)
    closure = _closure(problem, model, optimizer)
    matrices = [p for p in model.parameters() if p.ndim > 1]

    def step() -> None:
        with torch.no_grad():
            clean = [p.clone() for p in matrices]
            for p in matrices:
                norm = torch.linalg.vector_norm(p, dim=tuple(range(1, p.ndim)), keepdim=True)
                p.add_(torch.randn_like(p).mul_(norm), alpha=0.01)
        closure()
        with torch.no_grad():
            for p, value in zip(matrices, clean, strict=True):
                p.copy_(value)
        optimizer.step()

    return step


def theirs(problem: Problem, name: str) -> Step:
    """Make a step of pytorch_optimizer's SAM family on the same AdamW."""
    import pytorch_optimizer as library

    torch.manual_seed(1)
    model = problem.make()
    family, options = getattr(library, name), {"lr": 1e-6, "fused": True}
    head = (model,) if name == "WSAM" else ()
    optimizer = family(*head, model.parameters(), torch.optim.AdamW, **options)
    closure = _closure(problem, model, optimizer)

    def step() -> None:
        closure()  # their way: the gradients first, then the closure for the second ones
        optimizer.step(closure)

    return step


def _model(problem: Problem) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(1)
    model = problem.make()
    return model, torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)


def _closure(problem: Problem, model: nn.Module, optimizer: Any) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(problem.x), problem.y)
        loss.backward()
        return loss

    return closure


def best_seconds(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Measure the best wall time of each step, all taking turns."""
    best: dict[str, float] = {}
    for number in range(rounds + 1):
        for name, step in steps.items():
            for turn in range(4):
                begin = time.perf_counter()
                step()
                taken = time.perf_counter() - begin
                if number and turn:
                    best[name] = min(best.get(name, taken), taken)
    return best


def print_costs(names: list[str], rounds: int) -> None:
    """Print a Markdown table of all contenders, in multiples of a step without perturbation."""
    chosen = {key: value for key, value in problems().items() if key.split(",")[0] in names}
    found: dict[str, dict[str, float]] = {}
    for key, problem in chosen.items():
        turns = max(1, rounds // 8) if key == "lm" else rounds
        found[key] = best_seconds(contenders(problem), turns)
        gc.collect()
    milliseconds = [f"{found[key]['none'] * 1e3:.2f} ms" for key in chosen]
    print(f"\n| perturbation | {' | '.join(chosen)} |\n|---|{'---|' * len(chosen)}")
    print(f"| none | {' | '.join(milliseconds)} |")
    for name in dict.fromkeys(name for times in found.values() for name in times if name != "none"):
        cells = [
            f"{times[name] / times['none']:.2f}" if name in times else "-"
            for times in found.values()
        ]
        print(f"| {name if ' ' in name else f'`{name}`'} | {' | '.join(cells)} |")
    for key in AIMS.keys() & chosen.keys():
        worst = max(found[key][name] / found[key]["none"] for name in AIMED)
        print(f"\n{key}: the dearest of {', '.join(AIMED)} is {worst:.2f}; the aim is {AIMS[key]}.")


LAYOUTS: dict[str, tuple[torch.dtype, bool]] = {
    "float32": (torch.float32, False),
    "bfloat16": (torch.bfloat16, False),
    "float16": (torch.float16, False),
    "float32, channels last": (torch.float32, True),
    "bfloat16, channels last": (torch.bfloat16, True),
}


def memory_of(layout: str, preset: str) -> dict[str, float]:
    """Measure peak memory and time of a perturbation of convolutions of 9.4 million parameters.

    The gradients are set by hand: what is measured is the perturbation alone.
    """
    dtype, is_last = LAYOUTS[layout]
    layers = [nn.Conv2d(512, 512, 3, bias=False) for _ in range(4)]
    model = nn.Sequential(*layers).to(dtype)
    if is_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    n_parameters = sum(p.numel() for p in model.parameters())
    handle = None
    for p in model.parameters():
        p.grad = torch.full_like(p, 1e-3)
    if preset not in ("none", "naive weight loop"):
        torch.set_num_threads(1)
        handle = perturb(optimizer, PRESETS[preset](), model=model, seed=0)
    before, best = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, float("inf")
    for _ in range(6):
        begin = time.perf_counter()
        if handle is not None:
            handle._core.enter_training(model, (), {})
            handle._core.before_step(grad_scale=1.0)
            handle._core.after_step()
        elif preset == "naive weight loop":
            clean = [p.detach().clone() for p in model.parameters()]
            for p, value in zip(model.parameters(), clean, strict=True):
                norm = torch.linalg.vector_norm(value, dim=(1, 2, 3), keepdim=True)
                p.data.add_(torch.randn_like(value).mul_(norm), alpha=0.01)
            for p, value in zip(model.parameters(), clean, strict=True):
                p.data.copy_(value)
        best = min(best, time.perf_counter() - begin)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"bytes": (after - before) * 1024 / n_parameters, "ms": best * 1e3}


def print_memory() -> None:
    """Print a Markdown table by dtype and layout, each measured in a process of its own."""
    print("\n| weights | perturbation | bytes per parameter | ms for 9.4M parameters |")
    print("|---|---|---|---|")
    for layout in LAYOUTS:
        for preset in (*AIMED, "naive weight loop"):
            command = [sys.executable, "-m", "benchmarks.speed.perturb_cost", "--of"]
            done = subprocess.run([*command, layout, preset], capture_output=True, check=True)
            found = json.loads(done.stdout)
            print(f"| {layout} | {preset} | {found['bytes']:.1f} | {found['ms']:.1f} |")


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--problems", nargs="*", default=["mlp", "cnn", "lm"])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of:
        print(json.dumps(memory_of(*options.of)))
    elif options.memory:
        print_memory()
    else:
        print_costs(options.problems, options.rounds)


if __name__ == "__main__":
    main()
