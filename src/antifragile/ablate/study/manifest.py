"""The manifest of an ablation study: all that is needed to get any row of its report again.

It names the sources with their hashes, the experiment, versions, machine, seeds, what was declared
(design, metric, margin, level), every variant that was run or left out and why, and every run by
its key. Exported, it holds the metrics too, so a repeated run can be compared with it.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from antifragile import __version__
from antifragile._files import write_atomically
from antifragile.ablate.records import Entry
from antifragile.ablate.study.folder import AblationFolder
from antifragile.ablate.study.request import AblationRequest, PlannedRun
from antifragile.errors import UsageError
from antifragile.store.ablation import AblationStore
from antifragile.store.records import Environment

MANIFEST = "manifest.json"
DEFAULT_NAME = "ablation"


def make_manifest(
    request: AblationRequest,
    folder: AblationFolder,
    *,
    environment: Environment,
    metric: str,
    higher_is_better: bool,
    runs: Sequence[tuple[PlannedRun, str]],
    combinations: Sequence[dict[str, Any]],
    command: str,
) -> dict[str, Any]:
    """A study as plain data, without its metrics (those are in the store)."""
    return {
        "name": request.name,
        "file": manifest_file(request.name),
        "command": command,
        "versions": versions(environment),
        "environment": asdict(environment),
        "machine": {"platform": platform.platform(), "processors": os.cpu_count()},
        "framework": folder.framework,
        "folder": _shown(folder.path),
        "project": _project(folder),
        "experiment": _experiment(request),
        "metric": metric,
        "higher_is_better": higher_is_better,
        "protocols": [str(protocol) for protocol in request.protocols],
        "design": str(request.design),
        "seeds": list(request.seeds),
        "looks": list(request.looks),
        "judgement": asdict(request.judgement),
        "baseline_sha256": folder.sha256([]),
        "arms": [
            asdict(folder.arm(name)) | {"sha256": folder.sha256([name])} for name in request.arms
        ],
        "left_out": [list(item) for item in folder.left_out],
        "combinations": list(combinations),
        "runs": [
            {
                "key": key,
                "ablated": sorted(plan.ablated),
                "seed": plan.seed,
                "protocol": str(plan.protocol),
                "role": str(plan.role),
            }
            for plan, key in runs
        ],
    }


def versions(environment: Environment) -> dict[str, str]:
    """Of all that computes; a framework besides torch stands in the environment's kernel."""
    import torch  # a second of work that a report needs not do

    framework = environment.kernel.partition(", ")[2]
    return {
        "antifragile": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        **({"framework": framework} if framework else {}),
    }


def with_metrics(manifest: dict[str, Any], store: AblationStore) -> dict[str, Any]:
    """The manifest with what each of its runs gave."""
    found = store.ablation_runs(run["key"] for run in manifest["runs"])
    return manifest | {
        "runs": [
            run
            | {
                "metrics": found[run["key"]].metrics,
                "failure": found[run["key"]].failure,
                "seconds": round(found[run["key"]].seconds, 3),
            }
            for run in manifest["runs"]
            if run["key"] in found
        ]
    }


def differences(now: dict[str, Any], then: dict[str, Any]) -> tuple[int, list[str]]:
    """Compare the metrics of two manifests run by run.

    Returns:
        How many runs both have, and a sentence for each that differs in any bit.
    """
    then_by_run = {_identity(run): run for run in then["runs"] if run.get("metrics")}
    compared, found = 0, []
    for run in now["runs"]:
        other = then_by_run.get(_identity(run))
        if other is None or run.get("metrics") is None:
            continue
        compared += 1
        if run["metrics"] != other["metrics"]:
            found.append(
                f"{' + '.join(run['ablated']) or 'baseline'}, seed {run['seed']}, "
                f"{run['protocol']}: {other['metrics']} then, {run['metrics']} now."
            )
    return compared, found


def manifest_file(study: str) -> str:
    """The name of a study's manifest: several studies of one folder do not share one."""
    words = re.sub(r"[^A-Za-z0-9_.]+", "-", study).strip("-.")
    return MANIFEST if study == DEFAULT_NAME else f"manifest-{words}.json"


def write_manifest(manifest: dict[str, Any], folder: Path) -> Path:
    """Write it into the folder of variants."""
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    path = folder / str(manifest["file"])
    write_atomically(path, text.encode())
    return path


def check_same_sources(
    then: dict[str, Any], folder: AblationFolder, request: AblationRequest
) -> None:
    """Refuse to repeat a study on other files.

    Raises:
        UsageError: The baseline, an arm or the experiment has another hash.
    """
    changed = [] if then["baseline_sha256"] == folder.sha256([]) else ["the baseline"]
    if then["experiment"]["sha256"] != request.experiment.sha256:
        changed.append("the experiment")
    then_by_name = {arm["name"]: arm["sha256"] for arm in then["arms"]}
    changed += [n for n in request.arms if folder.sha256([n]) != then_by_name.get(n)]
    if changed:
        raise UsageError(
            f"the files differ from those of the manifest: {', '.join(changed)}; bring the old "
            "ones back, or run a study of its own without --manifest."
        )


def _identity(run: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(run["ablated"]), run["seed"], run["protocol"], run["role"]


def _project(folder: AblationFolder) -> dict[str, Any]:
    root = Path(folder.project.root)

    def entry(item: Entry | None) -> str | None:
        return None if item is None else f"{_shown(root / item.file)}:{item.function}"

    return {
        "source": [_shown(root / file) for file in folder.project.sources],
        "build": entry(folder.project.build),
        "inputs": entry(folder.project.inputs),
        "step": entry(folder.project.step),
    }


def _experiment(request: AblationRequest) -> dict[str, Any]:
    what = request.experiment
    if what.file is None:
        return {
            "dataset": what.dataset,
            "options": what.options.to_mapping(),
            "sha256": what.sha256,
        }
    return {"file": f"{_shown(what.file)}:{what.function}", "sha256": what.sha256}


def _shown(path: Path) -> str:
    """Relative to where we stand, if it lies below, so that a manifest can be taken elsewhere."""
    here, there = Path.cwd().resolve(), path.resolve()
    return str(there.relative_to(here)) if there.is_relative_to(here) else str(there)
