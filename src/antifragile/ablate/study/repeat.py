"""Repeating a study, or some of its rows, from its manifest; and finding a manifest.

The manifest says what was chosen. The variants are generated again where their folder is gone (they
come out the same to the byte, and their hashes are compared), so a clone of the sources and the
manifest are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from antifragile._files import check_folder_path
from antifragile._shown import is_address
from antifragile.ablate.certify.certificate import open_server
from antifragile.ablate.frameworks.registry import DEFAULT_FRAMEWORK
from antifragile.ablate.generation.emit import BASELINE
from antifragile.ablate.generation.index import INDEX
from antifragile.ablate.generation.replace import finish_replacement
from antifragile.ablate.pipeline import find_components, make_ablations
from antifragile.ablate.records import AblationKind
from antifragile.ablate.source.project import load_project
from antifragile.ablate.study.experiment import Experiment
from antifragile.ablate.study.folder import AblationFolder, choose_arms, read_ablation_folder
from antifragile.ablate.study.manifest import (
    AblationManifest,
    ManifestRun,
    manifest_from,
    with_metrics,
)
from antifragile.ablate.study.manifest_files import (
    MANIFEST,
    load_manifest,
    manifest_file,
    older_manifest_file,
)
from antifragile.ablate.study.request import AblationRequest
from antifragile.ablate.study.results import ChangedVariants
from antifragile.errors import AntifragileError, UsageError, nearest
from antifragile.store.ablation import AblationStore


def repeat_folder(then: AblationManifest, folder: Path, *, workers: int) -> None:
    """Generate the variants again if the folder is not there.

    Raises:
        UsageError: The sources are not where the manifest says, or do not run.
    """
    check_folder_path(folder)
    finish_replacement(folder)
    if (folder / INDEX).exists():
        return
    project = then.project
    named = {arm.kind for arm in then.arms}
    if unknown := named - set(AblationKind):
        raise UsageError(
            f"the manifest has the kind of ablation {min(unknown)!r:.60}, which this version does "
            f"not know; {nearest(min(unknown), AblationKind)}"
        )
    kinds = sorted(map(AblationKind, named))
    sources = [Path(source) for source in project.source]
    found = load_project(sources, project.build, project.inputs, project.step)
    framework = then.framework or DEFAULT_FRAMEWORK
    with open_server(workers=workers, framework=framework) as server:
        plan = find_components(found, server=server, framework=framework)
        made = make_ablations(plan, folder, server=server)
        if {arm.name for arm in then.arms} - {v.folder for v in made.variants}:
            make_ablations(plan, folder, server=server, kinds=kinds)  # other kinds were asked for


def repeat_request(
    then: AblationManifest,
    folder: AblationFolder,
    *,
    name: str,
    only: Sequence[str],
    kinds: Sequence[str],
) -> AblationRequest:
    """The study of a manifest once more, or some of its rows.

    Args:
        then: The manifest.
        folder: The variants.
        name: Name of the new study in the store.
        only: Patterns of folders or components; the arms of the manifest when empty.
        kinds: Kinds of ablation; all when empty.

    Raises:
        UsageError: The baseline, an arm or the experiment has another hash, or a pattern or kind
            fits nothing.
    """
    experiment = then.experiment
    request = AblationRequest(
        name=name,
        arms=choose_arms(folder, then.design, only or [arm.name for arm in then.arms], kinds),
        experiment=Experiment.chosen(
            experiment.file, experiment.dataset, experiment.options, experiment.command
        ),
        seeds=then.seeds,
        protocols=then.protocols,
        design=then.design,
        judgement=then.judgement,
        looks=then.looks,
        metric=then.metric,
        higher_is_better=then.higher_is_better,
        device=then.environment.device,
    )
    changed = [] if then.baseline_sha256 == folder.sha256([]) else ["the baseline"]
    if experiment.sha256 != request.experiment.sha256:
        changed.append("the experiment")
    then_by_name = {arm.name: arm.sha256 for arm in then.arms}
    changed += [n for n in request.arms if folder.arm(n).sha256 != then_by_name.get(n)]
    if changed:
        raise UsageError(
            f"the files differ from those of the manifest: {', '.join(changed)}; bring the old "
            "ones back, or run a study of its own without --manifest."
        )
    return request


def changed_variants(manifest: AblationManifest, folder: Path) -> ChangedVariants | None:
    """Find out which variants are no longer in a folder as they were run; None for none.

    Nothing has changed where the folder holds no set, which `repeat_folder` generates again.
    """
    if not (folder / INDEX).is_file():
        return None
    then = {BASELINE: manifest.baseline_sha256} | {arm.name: arm.sha256 for arm in manifest.arms}
    try:
        found = read_ablation_folder(folder)
        now = {BASELINE: found.sha256([])} | {arm.name: arm.sha256 for arm in found.arms}
    except (AntifragileError, OSError) as error:
        return ChangedVariants(folder=str(folder), names=tuple(then), reason=str(error))
    names = tuple(name for name, sha256 in then.items() if now.get(name) != sha256)
    return ChangedVariants(folder=str(folder), names=names) if names else None


def differences(now: AblationManifest, then: AblationManifest) -> tuple[int, list[str]]:
    """Compare the metrics of two manifests run by run.

    Returns:
        The number of runs that both have, and a sentence for each that differs in any bit.
    """
    then_by_run = {_identity(run): run for run in then.runs if run.metrics}
    compared, found = 0, []
    for run in now.runs:
        other = then_by_run.get(_identity(run))
        if other is None or run.metrics is None:
            continue
        compared += 1
        if run.metrics != other.metrics:
            found.append(
                f"{run.label}, seed {run.seed}, "
                f"{run.protocol}: {other.metrics} then, {run.metrics} now."
            )
    return compared, found


def read_manifest(source: str, study: str | None) -> tuple[AblationManifest, Path]:
    """The manifest behind a folder of variants, a manifest's file or a store, with its folder.

    Args:
        source: The path of one of them, or the URL of a store.
        study: Name of the study; None for the only one.

    Raises:
        UsageError: There is none.
        StoreError: The store has no such study.
    """
    path = Path(source)
    if not path.exists() and not is_address(source):
        raise UsageError(
            f"there is nothing at {source}; give a folder of variants, a manifest or a store."
        )
    if path.is_dir():
        return load_manifest(_manifest_in(path, study)), path
    if path.suffix == ".json" and not is_address(source):
        return load_manifest(path), path.parent
    with AblationStore(source, create=False) as store:
        stored = manifest_from(store.manifest(study), f"the entry in {store}")
        manifest = with_metrics(stored, store)
    return manifest, Path(manifest.folder)


def _manifest_in(folder: Path, study: str | None) -> Path:
    """The manifest of a study, or of the only one."""
    found = sorted(path.name for path in folder.glob("manifest*.json"))
    if not found:
        raise UsageError(f"{folder} holds no {MANIFEST}; run a study with 'ablate run' first.")
    wanted = MANIFEST if study is None else manifest_file(study)
    if study is None and len(found) == 1:
        wanted = found[0]
    elif study is not None and wanted not in found:
        older = folder / older_manifest_file(study)
        if older.name in found and load_manifest(older).name == study:
            wanted = older.name
    if wanted not in found:
        names = ", ".join(found)
        raise UsageError(f"{folder} holds {names}; choose one by --study, or give its path.")
    return folder / wanted


def _identity(run: ManifestRun) -> tuple[object, ...]:
    return run.ablated, run.seed, run.protocol, run.role
