"""Public models as a new user would try them: what is found, certified, refused, and how fast.

    python -m benchmarks.trust.ablate_wild [CHECKOUTS] [--workers 4] [--only NAME ...]
                                           [--out FOLDER]

CHECKOUTS holds clones, each in a folder named owner+repository or repository; models out of
packages need the package installed. What is not there is named and skipped. For every model a
file with `build` and `inputs` is written beside copies of its files, and the command that a user
would type is timed: `antifragile ablate generate`. Two plain methods see the same models: every
leaf module in turn replaced by nn.Identity, and torch.fx.symbolic_trace. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.trust.wild_models import MODELS, Wild

CERTIFIED = ("certified", "certified-inactive-at-init")


def main() -> None:
    """Try every model whose clone is there, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", type=Path, nargs="?", default=None)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--out", type=Path, default=None, help="keep the variants here")
    parser.add_argument("--naive", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.naive is not None:
        print(json.dumps(naive(options.naive)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        home = (options.out or Path(scratch)).resolve()
        results = [
            (wild, try_out(wild, options.checkouts, home, options.workers))
            for wild in MODELS
            if options.only is None or any(word in wild.folder for word in options.only)
        ]
    print_tables([(wild, result) for wild, result in results if result is not None])


def try_out(wild: Wild, checkouts: Path | None, home: Path, workers: int) -> dict[str, Any] | None:
    """Copy a model's files, ablate it, and look at it with the plain methods."""
    root = wild.root(checkouts)
    if root is None:
        lack = "no such package" if wild.package else f"no clone in {checkouts or 'CHECKOUTS'}"
        print(f"{wild.name}: {lack}, skipped", file=sys.stderr)
        return None
    folder = home / wild.folder
    shutil.rmtree(folder, ignore_errors=True)
    wild.write(root, folder)
    began, used = time.perf_counter(), processor_seconds()
    said = command(wild, folder, workers)
    seconds, used = time.perf_counter() - began, processor_seconds() - used
    plain = subprocess.run(
        [sys.executable, __file__, "--naive", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        **json.loads(said),
        "seconds": seconds,
        "processor": used,
        "naive": json.loads(plain.stdout.splitlines()[-1]),
    }


def processor_seconds() -> float:
    """Processor seconds of all ended processes that we started."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def command(wild: Wild, folder: Path, workers: int) -> str:
    """Run the command that a user types; returns its JSON."""
    words = [sys.executable, "-m", "antifragile", "ablate", "generate", "--json"]
    words += [word for source in wild.sources for word in ("--source", source)]
    words += ["--build", "trial.py:build", "--inputs", "trial.py:inputs", "--out", "variants"]
    words += ["--workers", str(workers)]
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise SystemExit(f"{wild.name}: {ended.stderr}")
    return ended.stdout


def naive(folder: Path) -> dict[str, Any]:
    """Swap each leaf module for nn.Identity; trace with torch.fx; time a forward and backward."""
    sys.path.insert(0, str(folder))
    import torch
    from torch import fx
    from trial import build, inputs  # type: ignore[import-not-found]  # written by try_out

    torch.set_num_threads(1)
    reference = outputs_of(build, inputs, None)
    torch.manual_seed(0)
    model = build()
    leaves = [name for name, module in model.named_modules() if name and not any(module.children())]
    counts = {"leaves": len(leaves), "run": 0, "same shape": 0, "changed": 0}
    for name in leaves:
        try:
            found = outputs_of(build, inputs, name)
        except Exception:
            continue
        counts["run"] += 1
        same_shape = all(a.shape == b.shape for a, b in zip(found, reference, strict=True))
        counts["same shape"] += same_shape
        counts["changed"] += same_shape and any(
            not torch.equal(a, b) for a, b in zip(found, reference, strict=True)
        )
    try:
        fx.symbolic_trace(build())
        traced = True
    except Exception:
        traced = False
    return {**counts, "fx": traced, "ms": 1000 * seconds_of_a_step(build, inputs)}


def outputs_of(build: Any, inputs: Any, swapped: str | None) -> list[Any]:
    """Outputs in evaluation and training mode, with one module swapped for nn.Identity."""
    import torch

    torch.manual_seed(0)
    model = build()
    if swapped is not None:
        parent, _, name = swapped.rpartition(".")
        setattr(model.get_submodule(parent), name, torch.nn.Identity())
    torch.manual_seed(1)
    given = inputs()
    found: list[Any] = []
    for mode in (False, True):
        torch.manual_seed(2)
        found += tensors_in(model.train(mode)(*given))
    return [item.detach() for item in found]


def tensors_in(output: Any) -> list[Any]:
    """The tensors of an output, which may be a tuple or a dictionary of them."""
    import torch

    if isinstance(output, torch.Tensor):
        return [output]
    items = output.values() if isinstance(output, dict) else output
    nested = items if isinstance(items, Iterable) else ()
    return [tensor for item in nested for tensor in tensors_in(item)]


def seconds_of_a_step(build: Any, inputs: Any) -> float:
    """The fastest of five forward and backward passes."""
    model, given, best = build().train(), inputs(), float("inf")
    for _ in range(5):
        began = time.perf_counter()
        output, *_ = tensors_in(model(*given))
        output.sum().backward()
        best = min(best, time.perf_counter() - began)
    return best


def print_tables(results: list[tuple[Wild, dict[str, Any]]]) -> None:
    """The issue's table, the plain methods beside it, and every refusal with its reason."""
    print(
        "| model | step, ms | components | executed | with a certified variant | variants |"
        " certified | inactive at init | refused | failed | median diff lines | seconds |"
        " processor s |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for wild, result in results:
        print(f"| {wild.name} | {' | '.join(row(result))} |")
    print(
        "\n| model | leaf modules | nn.Identity runs | same shape | and changed | torch.fx traces |"
    )
    print("|---|--:|--:|--:|--:|---|")
    for wild, result in results:
        plain = result["naive"]
        numbers = [plain[key] for key in ("leaves", "run", "same shape", "changed")]
        traced = "yes" if plain["fx"] else "no"
        print(f"| {wild.name} | {' | '.join(map(str, numbers))} | {traced} |")
    for wild, result in results:
        print_refused(wild, result)


def row(result: dict[str, Any]) -> list[str]:
    """One model's numbers."""
    components, variants = result["components"], result["variants"]
    executed = [item["name"] for item in components if item["ran"]]
    covered = [name for name in executed if name in certified_components(variants)]
    statuses = [variant["status"] for variant in variants]
    lines = [variant["diff_lines"] for variant in variants if variant["folder"]]
    share = len(covered) / max(1, len(executed))
    return [
        f"{result['naive']['ms']:.0f}",
        str(len(components)),
        str(len(executed)),
        f"{len(covered)} ({share:.0%})",
        str(len(variants)),
        *(str(statuses.count(word)) for word in (*CERTIFIED, "refused", "failed")),
        f"{statistics.median(lines):g}" if lines else "-",
        f"{result['seconds']:.1f}",
        f"{result['processor']:.1f}",
    ]


def certified_components(variants: list[dict[str, Any]]) -> set[str]:
    """Components with at least one certified variant."""
    return {item["component"] for item in variants if item["status"] in CERTIFIED}


def print_refused(wild: Wild, result: dict[str, Any]) -> None:
    """Every refused variant, and executed components without a certified one, with reasons."""
    covered = certified_components(result["variants"])
    print(f"\n{wild.name}:\n")
    for item in result["variants"]:
        if item["status"] not in CERTIFIED:
            rest = "covered by another kind" if item["component"] in covered else "not covered"
            words = f"`{item['component']}` {item['kind']}, {item['status']}, {rest}"
            print(f"- {words}: {' '.join(item['reason'].split())}")
    tried = {item["component"] for item in result["variants"]}
    for item in result["components"]:
        if item["ran"] and item["name"] not in tried:
            print(f"- `{item['name']}` ({item['kind']}), not covered: {item['reason']}")
    for item in result["left_out"]:
        print(f"- `{item['name']}` ({item['kind']}), left out: {item['reason']}")


if __name__ == "__main__":
    main()
