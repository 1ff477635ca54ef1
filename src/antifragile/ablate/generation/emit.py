"""Writing a variant: its folder, `variant.toml`, `change.diff`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from antifragile.ablate.generation.digests import DESCRIPTION
from antifragile.ablate.records import (
    AblationKind,
    AblationPlan,
    Component,
    Edit,
    NoLegalEdit,
    Planned,
    Project,
    Variant,
)
from antifragile.ablate.source.combine import DIFF
from antifragile.ablate.source.edits import edited, smallest_edits
from antifragile.ablate.source.text import decoded, diff_of, encoding_of

BASELINE = "baseline"
ChangedFiles = Mapping[str, tuple[bytes, bytes]]  # file -> (old content, new content)


def files_of(project: Project) -> tuple[str, ...]:
    """Return every file that a variant's folder holds."""
    entries = project.entries.values()
    names = [*project.sources, *(entry.file for entry in entries), *project.companions]
    return tuple(dict.fromkeys(names))


def needed_files(project: Project) -> tuple[str, ...]:
    """Return every file that the model runs with, those of installed packages too."""
    return (*files_of(project), *project.installed)


def write_files(project: Project, folder: Path, changed: Mapping[str, bytes]) -> None:
    """Write a project's files, some of them changed, the others byte for byte."""
    for file in files_of(project):
        content, target = changed.get(file), folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(project.root, file).read_bytes() if content is None else content)


def changed_files(project: Project, edits: Sequence[Edit]) -> ChangedFiles:
    """Return (old bytes, new bytes) of every file that the edits touch.

    Raises:
        NoLegalEdit: An edit's text cannot be written in the encoding of its file.
    """
    found = {}
    for file in dict.fromkeys(edit.file for edit in edits):
        content = Path(project.root, file).read_bytes()
        try:
            new = edited(content, [edit for edit in edits if edit.file == file])
        except UnicodeEncodeError as error:
            lost = error.object[error.start : error.end]
            raise NoLegalEdit(
                f"the encoding of {file}, {encoding_of(content)}, cannot write {lost!r}"
            ) from error
        found[file] = (content, new)
    return found


def write_variant(
    plan: AblationPlan,
    component: Component,
    kind: AblationKind,
    planned: Planned,
    changed: ChangedFiles,
    place: Path,
) -> Variant:
    """Write one variant's folder.

    Args:
        plan: The plan of the whole model: its files and their hashes.
        component: The component that is ablated.
        kind: The kind of ablation.
        planned: The edits and their effects.
        changed: The files that the edits touch, as `changed_files` returns them.
        place: The variant's folder.
    """
    project = plan.project
    write_files(project, place, {file: new for file, (_, new) in changed.items()})
    lines = [
        line
        for file, (old, new) in changed.items()
        for line in diff_of(old, new, f"a/{file}", f"b/{file}")
    ]
    (place / DIFF).write_bytes("".join(lines).encode())
    variant = Variant(
        component=component.name,
        kind=kind,
        folder=place.name,
        edited=tuple(changed),
        edits=tuple(
            edit
            for file, (old, new) in changed.items()
            for edit in smallest_edits(decoded(old), new.decode(encoding_of(old)), file=file)
        ),
        diff_lines=sum(1 for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")),
        parameter_delta=planned.parameter_delta,
        cut_parameters=planned.cut_parameters,
        own_values=planned.own_values,
        substitute=planned.substitute,
        removes=component.removes.get(kind),
        options=dict(planned.options),
        has_run=component.ran,
    )
    text = variant_toml(project, plan.sha256, variant)
    (place / DESCRIPTION).write_bytes(text.encode())
    return variant


def variant_toml(project: Project, sha256: Mapping[str, str], variant: Variant) -> str:
    """Return the description with which exactly this variant can be generated and run again."""
    delta = variant.parameter_delta
    lines = [
        "# What made this folder; the change itself is in change.diff.",
        f"component = {quoted(variant.component)}",
        f"kind = {quoted(variant.kind)}",
        *(f"{role} = {quoted(f'{e.file}:{e.function}')}" for role, e in project.entries.items()),
        f"search_paths = {quoted(list(project.search_paths))}",
        f"edited = {quoted(list(variant.edited))}",
        *([] if delta is None else [f"parameter_delta = {delta}"]),
        f"cut_parameters = {quoted(list(variant.cut_parameters))}",
        *([f"own_values = {quoted(list(variant.own_values))}"] if variant.own_values else []),
        *([f"substitute = {quoted(variant.substitute)}"] if variant.substitute else []),
        *([f"removes = {quoted(variant.removes)}"] if variant.removes else []),
        "",
        "[options]",
        *(f"{name} = {quoted(value)}" for name, value in variant.options.items()),
        "",
        "[sources]  # sha256 of the files before the change",
        *(f"{quoted(file)} = {quoted(value)}" for file, value in sha256.items()),
        "",
        "[companions]",
        f"files = {quoted([file for file in files_of(project) if file not in sha256])}",
    ]
    return "\n".join(lines) + "\n"


def quoted(value: object) -> str:
    """Write a text or a list of texts; JSON strings are TOML strings."""
    return json.dumps(value, ensure_ascii=False)
