"""Several ablations in one set of files: variants of one baseline, merged edit by edit.

A variant differs from the baseline by a few spans. They are found again by comparing the texts line
by line, and inside changed lines word by word; the spans of several variants are then applied
together. Where one variant removes a piece in which another changes something, the removal alone
remains (what is gone needs no further ablation). Any other overlap is refused: nobody could say
which of the two edits was meant to see the other's result.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher, unified_diff
from pathlib import Path

from antifragile._files import make_folder, write_atomically
from antifragile.ablate.source.edits import Edit, apply_edits
from antifragile.errors import UsageError

_WORD = re.compile(r"\w+|[^\S\n]+|\n|.", re.DOTALL)
DIFF = "change.diff"


class CombineError(UsageError):
    """These variants cannot be applied together; the message says where they clash."""


def combine_variants(out: Path, folders: Sequence[str], files: Sequence[str], to: Path) -> None:
    """Write a folder with several variants' edits, and its diff.

    Args:
        out: What `generate` wrote: the baseline and the variants' folders.
        folders: Variants, relative to ``out``.
        files: The files of the baseline, relative to it.
        to: The new folder; written over when it is there.

    Raises:
        CombineError: Two edits overlap, or the result is not Python.
    """
    merged, diff = dict[str, str](), list[str]()
    for file in files:
        base = _text(out / "baseline" / file)
        texts = {name: _text(out / name / file) for name in folders}
        merged[file] = merge_texts(base, texts, file=file)
        old, new = base.splitlines(keepends=True), merged[file].splitlines(keepends=True)
        diff += unified_diff(old, new, f"baseline/{file}", f"combined/{file}")
    for file, text in merged.items():
        make_folder((to / file).parent)
        write_atomically(to / file, text.encode(), durable=False)
    write_atomically(to / DIFF, "".join(diff).encode(), durable=False)


def _text(path: Path) -> str:
    """A file's text with its line ends as they are."""
    return path.read_bytes().decode("utf-8")


def merge_texts(base: str, variants: dict[str, str], *, file: str) -> str:
    """The base with the edits of all variants.

    Args:
        base: A file's text without ablation.
        variants: The file's text in each variant, by the variant's name.
        file: Its name, for messages.

    Raises:
        CombineError: Two edits overlap, or the result is not Python.
    """
    _check_new_names(base, variants, file)
    kept: list[tuple[str, Edit]] = []
    for name, text in variants.items():
        for edit in text_edits(base, text, file=file):
            kept = _joined(kept, name, edit, base)
    merged = apply_edits(base, [edit for _, edit in kept])
    try:
        ast.parse(merged)
    except SyntaxError as error:
        names = " and ".join(variants)
        raise CombineError(
            f"{names} cannot be applied together: {file}, line {error.lineno}, would not be "
            "Python. Run them one at a time."
        ) from error
    return merged


def _check_new_names(base: str, variants: dict[str, str], file: str) -> None:
    """Refuse variants that add different things under one name: the later would win unseen."""
    old = _bindings(base)
    seen: dict[str, tuple[str, set[str]]] = {}
    for variant, text in variants.items():
        for name, meanings in _bindings(text).items():
            if name in old:
                continue
            other, before = seen.setdefault(name, (variant, meanings))
            if before != meanings:
                raise CombineError(
                    f"{other} and {variant} both add a {name!r} to {file}, not the same one, and "
                    "cannot be applied together; run them one at a time."
                )


def _bindings(text: str) -> dict[str, set[str]]:
    """What each name of a file is defined as or assigned, whatever its scope."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.setdefault(node.name, set()).add(ast.dump(node))
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (n for target in targets for n in ast.walk(target)):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    found.setdefault(name.id, set()).add(ast.dump(node))
    return found


def text_edits(base: str, text: str, *, file: str) -> Iterator[Edit]:
    """The spans in which a text differs from the base, smallest first found."""
    old, new = base.splitlines(keepends=True), text.splitlines(keepends=True)
    starts = [0]
    for line in old:
        starts.append(starts[-1] + len(line))
    for tag, i1, i2, j1, j2 in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag == "replace":
            yield from _word_edits(old[i1:i2], new[j1:j2], starts[i1], file)
        elif tag != "equal":
            yield Edit(file=file, start=starts[i1], end=starts[i2], text="".join(new[j1:j2]))


def _word_edits(old: Sequence[str], new: Sequence[str], offset: int, file: str) -> Iterator[Edit]:
    before, after = _WORD.findall("".join(old)), _WORD.findall("".join(new))
    places = [offset]
    for word in before:
        places.append(places[-1] + len(word))
    for tag, i1, i2, j1, j2 in SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        if tag != "equal":
            yield Edit(file=file, start=places[i1], end=places[i2], text="".join(after[j1:j2]))


def _joined(
    kept: list[tuple[str, Edit]], name: str, edit: Edit, base: str
) -> list[tuple[str, Edit]]:
    """The edits with one more: added, absorbed by a removal, or absorbing what it removes."""
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
    if one.start == one.end or two.start == two.end:
        inside = one.start < two.end and two.start < one.end
        return inside or (one.start, one.end) == (two.start, two.end)
    return one.start < two.end and two.start < one.end


def _removes(one: Edit, two: Edit) -> bool:
    """Whether the first removes all that the second changes."""
    is_removal = one.text.strip() in ("", "pass") and one.end > one.start
    return is_removal and one.start <= two.start and two.end <= one.end
