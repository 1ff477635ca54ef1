"""Cost of a perturbation: per step against a pass over the parameters, a fused AdamW step, and
a whole training step.

    OMP_NUM_THREADS=1 taskset -c 0 python -m benchmarks.speed.perturb_overhead

All contenders take turns, round after round, and the best time of each counts, so that other work
on the machine hurts them alike. A step is timed after forward and backward of an MLP with batch
256, as in training. The overhead of a rule is the time of `optimizer.step()` with it less that
without; a pass is the same for a hook with `torch._foreach_mul_` over the parameters (warm: alone,
again and again).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch.nn.functional import cross_entropy

from antifragile.optim import Gaussian, Power, Rademacher, Rule, perturb
from benchmarks.speed.loops import network

WIDTHS = {"1M": (784, 512, 768, 256, 10), "10M": (784, 2048, 2560, 1280, 10)}
RULES: dict[str, Rule | None] = {
    "none": None,
    "a pass": None,
    "grad, signs": Rule("grad", Rademacher(), Power(1e-6)),
    "step, signs": Rule("step", Rademacher(), 1e-9),
    "weight, signs": Rule("weight", Rademacher(), 1e-6),
    "grad, normal": Rule("grad", Gaussian(), Power(1e-6)),
    "step, normal": Rule("step", Gaussian(), 1e-9),
    "weight, normal": Rule("weight", Gaussian(), 1e-6),
}
LIMITS = {"grad": 2.0, "step": 2.0, "weight": 4.0}


class Contender:
    """An MLP with its optimizer and perhaps a rule.

    Args:
        widths: Inputs, hidden layers, outputs.
        rule: The perturbation.
    """

    def __init__(self, widths: tuple[int, ...], rule: Rule | None) -> None:
        torch.manual_seed(0)
        self.model = network(widths)
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-6, fused=True)
        self.x, self.y = torch.randn(256, widths[0]), torch.randint(0, 10, (256,))
        if rule is not None:
            perturb(self.optimizer, rule)

    def gradients(self) -> None:
        """Forward and backward."""
        self.optimizer.zero_grad()
        cross_entropy(self.model(self.x), self.y).backward()

    def plain_pass(self, *_: object) -> None:
        """Once over the parameters, in place."""
        with torch.no_grad():
            torch._foreach_mul_(self.parameters, 1.0)

    def normal_pass(self) -> None:
        """Time that torch takes for normal noise over the parameters."""
        with torch.no_grad():
            for parameter in self.parameters:
                torch.empty_like(parameter).normal_()


def seconds(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def measure(widths: tuple[int, ...], rounds: int) -> dict[str, float]:
    """Best seconds by name; steps by the name of their rule."""
    contenders = {name: Contender(widths, rule) for name, rule in RULES.items()}
    in_step = contenders["a pass"]  # where the rules' work is done too
    in_step.optimizer.register_step_pre_hook(in_step.plain_pass)
    best: dict[str, float] = {}

    def note(name: str, value: float) -> None:
        best[name] = min(best.get(name, value), value)

    for _ in range(rounds):
        for name, contender in contenders.items():
            note(f"gradients, {name}", seconds(contender.gradients))
            note(name, seconds(contender.optimizer.step))
            if name == "none":
                note("warm pass", min(seconds(contender.plain_pass) for _ in range(3)))
    note("normal_", min(seconds(contenders["none"].normal_pass) for _ in range(5)))
    note("gradients", min(v for k, v in best.items() if k.startswith("gradients")))
    return best


def main() -> None:
    """Print a Markdown table per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    for name, widths in WIDTHS.items():
        best = measure(widths, options.rounds)
        count = sum((i + 1) * o for i, o in pairwise(widths))
        step = best["none"]
        one_pass = best["a pass"] - step
        print(
            f"\n{name}: {count:,} parameters, {torch.get_num_threads()} thread(s); a pass "
            f"{one_pass * 1e3:.3f} ms ({best['warm pass'] * 1e3:.3f} ms warm), "
            f"a fused AdamW step {step * 1e3:.3f} ms, forward and backward "
            f" {best['gradients'] * 1e3:.1f} ms, `normal_` {best['normal_'] * 1e3:.2f} ms\n"
        )
        print(
            "| rule | overhead ms | in passes | aim | of a fused AdamW step | of a training step |"
        )
        print("|---|---|---|---|---|---|")
        for rule in list(RULES)[2:]:
            extra = best[rule] - step
            limit = f"{LIMITS[rule.split(',')[0]]:.0f}" if "signs" in rule else ""
            print(
                f"| {rule} | {extra * 1e3:.3f} | {extra / one_pass:.1f} | {limit} "
                f"| {100 * extra / step:.0f} % | {100 * extra / (step + best['gradients']):.1f} % |"
            )


if __name__ == "__main__":
    main()
