"""Writing a variant: its folder, `variant.toml`, `change.diff`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from antifragile._files import safe_name
from antifragile.ablate.records import (
    AblationKind,
    AblationPlan,
    Component,
    Edit,
    Planned,
    Project,
    Variant,
)
from antifragile.ablate.source.edits import apply_edits, smallest_edits

BASELINE = "baseline"


def slug(component: str, kind: AblationKind, options: Mapping[str, str]) -> str:
    """Return a folder name: "gpt-transformer-h-3--identity", "attention-heads--drop-head-0"."""
    words = safe_name(component.replace("*", "any"), at_most=80).lower()
    return "-".join([f"{words}--{kind}", *options.values()])


def files_of(project: Project) -> tuple[str, ...]:
    """Return every file that a variant's folder holds."""
    entries = [project.build, project.inputs, *([project.step] if project.step else [])]
    names = [*project.sources, *(entry.file for entry in entries), *project.companions]
    return tuple(dict.fromkeys(names))


def write_files(project: Project, folder: Path, changed: Mapping[str, str]) -> None:
    """Write a project's files, some of them changed, the others byte for byte."""
    for file in files_of(project):
        text, target = changed.get(file), folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        original = Path(project.root, file)
        target.write_bytes(original.read_bytes() if text is None else text.encode("utf-8"))


def changed_texts(project: Project, edits: Sequence[Edit]) -> dict[str, tuple[str, str]]:
    """Return (old text, new text) of every file that the edits touch."""
    found = {}
    for file in dict.fromkeys(edit.file for edit in edits):
        text = Path(project.root, file).read_bytes().decode("utf-8")
        found[file] = (text, apply_edits(text, [edit for edit in edits if edit.file == file]))
    return found


def unified(texts: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return the unified diff of some files."""
    return [
        line
        for file, (old, new) in texts.items()
        for line in difflib.unified_diff(
            old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{file}", f"b/{file}"
        )
    ]


def write_variant(
    plan: AblationPlan, component: Component, kind: AblationKind, planned: Planned, out: Path
) -> Variant:
    """Write one variant's folder.

    Args:
        plan: The plan of the whole model: its files and their hashes.
        component: The component that is ablated.
        kind: The kind of ablation.
        planned: The edits and their effects.
        out: The output folder.
    """
    project = plan.project
    texts = changed_texts(project, planned.edits)
    name = slug(component.name, kind, planned.options)
    write_files(project, out / name, {file: new for file, (_, new) in texts.items()})
    lines = unified(texts)
    (out / name / "change.diff").write_text("".join(terminated(lines)), encoding="utf-8")
    variant = Variant(
        component=component.name,
        kind=kind,
        folder=name,
        edited=tuple(texts),
        edits=tuple(
            edit for file, pair in texts.items() for edit in smallest_edits(*pair, file=file)
        ),
        diff_lines=sum(1 for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")),
        parameter_delta=planned.parameter_delta,
        cut_parameters=planned.cut_parameters,
        own_values=planned.own_values,
        substitute=planned.substitute,
        options=dict(planned.options),
    )
    text = variant_toml(project, plan.sha256, variant)
    (out / name / "variant.toml").write_text(text, encoding="utf-8")
    return variant


def terminated(lines: Sequence[str]) -> list[str]:
    """End every line of a diff, also where a file does not end in a line break."""
    ends = "\n\\ No newline at end of file\n"
    return [line if line.endswith("\n") else line + ends for line in lines]


def variant_toml(project: Project, sha256: Mapping[str, str], variant: Variant) -> str:
    """Return the description with which exactly this variant can be generated and run again."""
    entries = {"build": project.build, "inputs": project.inputs, "step": project.step}
    delta = variant.parameter_delta
    lines = [
        "# What made this folder; the change itself is in change.diff.",
        f"component = {quoted(variant.component)}",
        f"kind = {quoted(variant.kind)}",
        *(f"{role} = {quoted(f'{e.file}:{e.function}')}" for role, e in entries.items() if e),
        f"search_paths = {quoted(list(project.search_paths))}",
        f"edited = {quoted(list(variant.edited))}",
        *([] if delta is None else [f"parameter_delta = {delta}"]),
        f"cut_parameters = {quoted(list(variant.cut_parameters))}",
        *([f"own_values = {quoted(list(variant.own_values))}"] if variant.own_values else []),
        *([f"substitute = {quoted(variant.substitute)}"] if variant.substitute else []),
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
