"""Repeating a study, or some of its rows, from its manifest; and finding a manifest.

The manifest says what was chosen. The variants are generated again where their folder is gone (they
come out the same to the byte, and their hashes are compared), so a clone of the sources and the
manifest are enough.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from antifragile._files import check_folder_path
from antifragile.ablate.certify.certificate import open_server
from antifragile.ablate.pipeline import INDEX, find_components, make_ablations
from antifragile.ablate.records import AblationKind
from antifragile.ablate.source.project import load_project
from antifragile.ablate.study.manifest import MANIFEST, manifest_file, with_metrics
from antifragile.errors import UsageError
from antifragile.store.ablation import AblationStore

_NEEDED = ("experiment", "seeds", "protocols", "design", "judgement", "arms", "project", "runs")


def old_choices(path: Path, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest, and the choices it holds; of the new ones only names and patterns count.

    Raises:
        UsageError: It cannot be read, or is not a manifest.
    """
    then = load_manifest(path)
    experiment, judged = then["experiment"], then["judgement"]
    looks = then["looks"]
    n_first = looks[0] if looks else len(then["seeds"])
    old = {
        "experiment": experiment.get("file"),
        "dataset": experiment.get("dataset"),
        "options": experiment.get("options", {}),
        "seeds": then["seeds"][:n_first],
        "protocol": then["protocols"][0] if len(then["protocols"]) == 1 else "both",
        "design": then["design"],
        "adaptive": bool(looks),
        "max_seeds": looks[-1] if looks else None,
        "metric": then["metric"],
        "direction": "higher" if then["higher_is_better"] else "lower",
        "alpha": judged["alpha"],
        "margin": judged["margin"],
        "only": given["only"] or [arm["name"] for arm in then["arms"]],
        "kinds": given["kinds"],
        "name": given["name"],
    }
    return then, old


def load_manifest(path: Path) -> dict[str, Any]:
    """Read an exported manifest.

    Raises:
        UsageError: It cannot be read, or is not a manifest.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the manifest {path}: {error}.") from error
    if not isinstance(manifest, dict) or any(key not in manifest for key in _NEEDED):
        raise UsageError(f"{path} is not the manifest of an ablation study.")
    return manifest


def repeat_folder(then: dict[str, Any], folder: Path, *, workers: int) -> None:
    """Generate the variants again if the folder is not there.

    Raises:
        UsageError: The sources are not where the manifest says, or do not run.
    """
    check_folder_path(folder)
    if (folder / INDEX).exists():
        return
    project = then["project"]
    kinds = sorted({AblationKind(arm["kind"]) for arm in then["arms"]})
    found = load_project(
        [Path(source) for source in project["source"]],
        project["build"],
        project["inputs"],
        project["step"],
    )
    framework = then.get("framework", "torch")
    with open_server(workers=workers, framework=framework) as server:
        plan = find_components(found, server=server, framework=framework)
        made = make_ablations(plan, folder, server=server)
        if {arm["name"] for arm in then["arms"]} - {v.folder for v in made.variants}:
            make_ablations(plan, folder, server=server, kinds=kinds)  # other kinds were asked for


def read_manifest(source: Path, study: str | None) -> tuple[dict[str, Any], Path]:
    """The manifest behind a folder of variants, a manifest's file or a store, with its folder.

    Raises:
        UsageError: There is none.
        StoreError: The store has no such study.
    """
    if source.is_dir():
        return load_manifest(_manifest_in(source, study)), source
    if source.suffix == ".json":
        return load_manifest(source), source.parent
    with AblationStore(str(source), create=False) as store:
        manifest = with_metrics(store.manifest(study), store)
    return manifest, Path(manifest["folder"])


def _manifest_in(folder: Path, study: str | None) -> Path:
    """The manifest of a study, or of the only one."""
    found = sorted(path.name for path in folder.glob("manifest*.json"))
    if not found:
        raise UsageError(f"{folder} holds no {MANIFEST}; run a study with 'ablate run' first.")
    wanted = MANIFEST if study is None else manifest_file(study)
    if study is None and len(found) == 1:
        wanted = found[0]
    if wanted not in found:
        names = ", ".join(found)
        raise UsageError(f"{folder} holds {names}; choose one by --study, or give its path.")
    return folder / wanted
