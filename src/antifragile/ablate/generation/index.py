"""The index `ablations.json` of a folder of variants: what lies there, and what was certified.

It is the one list of what antifragile wrote: a folder that it does not name is the user's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath

from antifragile._data_files import read_json, read_toml
from antifragile._records import from_json
from antifragile._shown import visible
from antifragile.ablate.frameworks.registry import DEFAULT_FRAMEWORK
from antifragile.ablate.generation.digests import AGAIN, CERTIFICATE, DESCRIPTION
from antifragile.ablate.generation.emit import BASELINE, files_of
from antifragile.ablate.records import Certificate, Project, Variant
from antifragile.errors import StoreError

_LONGEST_NAME = 255  # bytes, on common file systems

INDEX = "ablations.json"
COMBINED = "combinations"  # below it `ablate run` puts several ablations at once


@dataclass(frozen=True, kw_only=True)
class VariantSet:
    """A folder's baseline and variants, as its index lists them.

    Args:
        project: The model as its author left it.
        framework: Whose models they are, ``torch`` or ``keras``.
        versions: Keras and its back end on which the variants were certified; "" of torch.
        variants: The variants, those without a folder too.
        certificates: The certificate of each.
        written: The hashes of all files of each folder as they were written; none in older sets.
        data: The hashes of the small files beside the model then; none in older sets.
        command: The user's command that trains the model; empty where they gave none.
        started_in: The folder where it is started, absolute; empty in older sets.
    """

    project: Project
    framework: str = DEFAULT_FRAMEWORK
    versions: str = ""
    variants: tuple[Variant, ...]
    certificates: tuple[Certificate, ...]
    written: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    started_in: str = ""

    @property
    def pairs(self) -> list[tuple[Variant, Certificate]]:
        """Each variant with its certificate."""
        return list(zip(self.variants, self.certificates, strict=True))

    def files_by_folder(self) -> dict[str, Mapping[str, str]]:
        """The hashes of each folder's files; in older sets those of the certified files alone."""
        found: dict[str, Mapping[str, str]] = {BASELINE: {}}
        for variant, certificate in self.pairs:
            if variant.folder:
                found[BASELINE] = certificate.baseline_files or found[BASELINE]
                found[variant.folder] = certificate.files
        return found | {name: self.written[name] for name in found.keys() & self.written.keys()}


def read_index(index: Path) -> VariantSet:
    """Read an index.

    Raises:
        StoreError: It is damaged, or leads outside its folder.
    """
    try:
        found: VariantSet = from_json(VariantSet, read_json(index))
        _check_paths(found.project, [v for v, c in found.pairs if v.folder or _is_certified(c)])
        for variant, certificate in found.pairs:
            if (variant.component, variant.kind) != (certificate.component, certificate.kind):
                raise ValueError(f"the certificate beside {variant.component!r:.80} is another's")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{index} is damaged or not finished ({error!r:.200}); {AGAIN}."
        ) from error
    return found


def disagreement(
    folder: Path, project: Project, variant: Variant, certificate: Certificate
) -> str | None:
    """Say, as a clause, what the files in a variant's folder say otherwise than the index.

    Args:
        folder: The variant's folder.
        project: The project of the index.
        variant: Its row in the index.
        certificate: Its certificate there.
    """
    try:
        path = folder / CERTIFICATE
        if path.exists() and from_json(Certificate, read_json(path)) != certificate:
            return f"{CERTIFICATE} and the certificate in {INDEX} differ"
        path = folder / DESCRIPTION
        said = read_toml(path) if path.exists() else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{path.name} is damaged ({error!r:.200})"
    listed = {
        "component": variant.component,
        "kind": variant.kind,
        **{role: f"{e.file}:{e.function}" for role, e in project.entries.items()},
        "search_paths": list(project.search_paths),
        "edited": list(variant.edited),
        "cut_parameters": list(variant.cut_parameters),
    }
    for name, value in listed.items():
        if said.get(name, value) != value:
            return f"{DESCRIPTION} says {name} = {said[name]!r:.80}, {INDEX} {value!r:.80}"
    return None


def _is_certified(certificate: Certificate) -> bool:
    return certificate.verdict.is_certified


def _check_paths(project: Project, variants: Sequence[Variant]) -> None:
    """Check that every file and folder of an index lies inside the set, each folder its own.

    Raises:
        ValueError: One does not, or the edits of a variant fit no file.
    """
    files, seen = files_of(project), {BASELINE, COMBINED}
    for text in (*files, *project.installed, *project.search_paths):
        if not is_inside(text):
            raise ValueError(f"{text!r:.80} is no path inside a variant's folder")
    for variant in variants:
        name = variant.folder
        if not is_inside(name) or len(PurePosixPath(name).parts) != 1:
            raise ValueError(f"{name!r:.80} is no name of a folder beside the index")
        if name.casefold() in seen:
            raise ValueError(f"{name!r:.80} is taken by another row, or by ourselves")
        seen.add(name.casefold())
        edits = sorted(variant.edits, key=lambda edit: (edit.file, edit.start, edit.end))
        overlap = any(a.file == b.file and a.end > b.start for a, b in pairwise(edits))
        if overlap or any(e.file not in files or not 0 <= e.start <= e.end for e in edits):
            raise ValueError(f"the edits of {name!r:.80} fit no file")


def is_inside(text: str) -> bool:
    """Whether a relative path leads nowhere outside the folder that it starts in."""
    path = PurePosixPath(text)
    is_name = visible(text, one_line=True) == text
    is_name &= all(len(part.encode("utf-8", "replace")) <= _LONGEST_NAME for part in path.parts)
    return bool(text) and is_name and not path.is_absolute() and ".." not in path.parts
