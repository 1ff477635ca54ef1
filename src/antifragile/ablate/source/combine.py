"""Several ablations in one set of files: the kept edits of variants of one baseline, merged.

Where one variant removes a piece in which another changes something, the removal alone remains
(code that is gone needs no further ablation). Any other overlap is refused: nobody could say which
of the two edits was meant to see the other's result.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from antifragile._files import make_folder, write_atomically
from antifragile.ablate.records import Edit
from antifragile.ablate.source.edits import apply_edits, edited
from antifragile.ablate.source.text import decoded, diff_of, encoded, parsed
from antifragile.errors import StoreError, UsageError

DIFF = "change.diff"


class CombineError(UsageError):
    """These variants cannot be applied together; the message says where they clash."""


def combine_variants(
    out: Path, variants: Mapping[str, Sequence[Edit]], files: Sequence[str], to: Path
) -> None:
    """Write a folder with several variants' edits, and its diff.

    Args:
        out: The folder that `generate` wrote: the baseline and the variants' folders.
        variants: The kept edits of each variant, by its folder relative to ``out``.
        files: The files of the baseline, relative to it.
        to: The new folder; written over when it is there.

    Raises:
        CombineError: Two edits overlap, or the result is not Python.
        StoreError: A variant's files differ from what its kept edits make.
    """
    for file, content in combined_files(out, variants, files).items():
        make_folder((to / file).parent)
        write_atomically(to / file, content, durable=False)


def combined_files(
    out: Path, variants: Mapping[str, Sequence[Edit]], files: Sequence[str]
) -> dict[str, bytes]:
    """Return the files of a folder with several variants' edits, its diff included.

    Args and errors are those of `combine_variants`.
    """
    merged, diff = dict[str, bytes](), list[str]()
    for file in files:
        base = (out / "baseline" / file).read_bytes()
        edits = {
            name: [edit for edit in kept if edit.file == file] for name, kept in variants.items()
        }
        for name, kept in edits.items():
            if (out / name / file).read_bytes() != edited(base, kept):
                raise StoreError(
                    f"{out / name / file} is not what its kept edits make of the baseline; "
                    "generate the variants again."
                )
        merged[file] = base
        if any(edits.values()):
            merged[file] = encoded(merge_edits(decoded(base), edits, file=file), base)
            diff += diff_of(base, merged[file], f"baseline/{file}", f"combined/{file}")
    return merged | {DIFF: "".join(diff).encode()}


def merge_edits(base: str, variants: Mapping[str, Sequence[Edit]], *, file: str) -> str:
    """Return the base with the edits of all variants.

    Args:
        base: A file's text without ablation.
        variants: The edits of this file in each variant, by the variant's name.
        file: Its name, for messages.

    Raises:
        CombineError: Two edits overlap, or the result is not Python.
    """
    _check_new_names(base, variants, file)
    kept: list[tuple[str, Edit]] = []
    for name, edits in variants.items():
        for edit in edits:
            kept = _with_edit(kept, name, edit, base)
    merged = apply_edits(base, [edit for _, edit in kept])
    try:
        parsed(merged)
    except SyntaxError as error:
        names = " and ".join(variants)
        raise CombineError(
            f"{names} cannot be applied together: {file}, line {error.lineno}, would not be "
            "Python. Run them one at a time."
        ) from error
    return merged


def _check_new_names(base: str, variants: Mapping[str, Sequence[Edit]], file: str) -> None:
    """Refuse variants that add different things under one name: the later would win unseen."""
    old = _bindings(base)
    seen: dict[str, tuple[str, set[str]]] = {}
    for variant, edits in variants.items():
        for name, meanings in _bindings(apply_edits(base, edits)).items():
            if name in old:
                continue
            other, before = seen.setdefault(name, (variant, meanings))
            if before != meanings:
                raise CombineError(
                    f"{other} and {variant} both add a {name!r} to {file}, not the same one, and "
                    "cannot be applied together; run them one at a time."
                )


def _bindings(text: str) -> dict[str, set[str]]:
    """Return the definitions and assignments of each name of a file, whatever its scope."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.setdefault(node.name, set()).add(ast.dump(node))
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (n for target in targets for n in ast.walk(target)):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    found.setdefault(name.id, set()).add(ast.dump(node))
    return found


def _with_edit(
    kept: list[tuple[str, Edit]], name: str, edit: Edit, base: str
) -> list[tuple[str, Edit]]:
    """Return the edits with one more: added, absorbed by a removal, or absorbing others."""
    others = [item for item in kept if item[0] != name and _touch(item[1], edit)]
    if any(other == edit or _removes(other, edit) for _, other in others):
        return kept
    for other_name, other in others:
        if not _removes(edit, other):
            line = base.count("\n", 0, edit.start) + 1
            raise CombineError(
                f"{other_name} and {name} change the same place ({edit.file}, line {line}) and "
                "cannot be applied together; run them one at a time."
            )
    return [item for item in kept if item not in others] + [(name, edit)]


def _touch(one: Edit, two: Edit) -> bool:
    """Whether they share a character, or insert at one place."""
    is_same_place = (one.start, one.end) == (two.start, two.end)
    return is_same_place or (one.start < two.end and two.start < one.end)


def _removes(one: Edit, two: Edit) -> bool:
    """Whether the first removes all that the second changes."""
    is_removal = one.text.strip() in ("", "pass") and one.end > one.start
    return is_removal and one.start <= two.start and two.end <= one.end
