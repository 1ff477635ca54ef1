"""A folder of generated variants, read as the arms of a study.

`ablate generate` leaves OUT/baseline, OUT/<component>--<kind> and the index `ablations.json`. Only
variants with a certificate become arms. One that is certified but inactive at initialisation (a
zero-initialised branch, say) becomes one too: training may wake what it cuts, and if it does not,
the study says "identical"; the report marks it.

Several ablations at once are a combined folder below them; `write_combination` writes its files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from antifragile._records import MAY_BE_ABSENT
from antifragile._shown import sentence
from antifragile.ablate.designs.registry import DesignName
from antifragile.ablate.frameworks.registry import DEFAULT_FRAMEWORK
from antifragile.ablate.generation.digests import AGAIN, added_to, changed_since
from antifragile.ablate.generation.emit import BASELINE, files_of
from antifragile.ablate.generation.index import COMBINED, INDEX, disagreement, read_index
from antifragile.ablate.generation.names import slug
from antifragile.ablate.generation.replace import read_settled
from antifragile.ablate.records import Certificate, CertificateVerdict, Edit, Project, Variant
from antifragile.ablate.source.combine import combined_files
from antifragile.errors import StoreError, UsageError, nearest


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A certified variant, one ablation of a study.

    The manifest lists it as it is; what older manifests lack is None.

    Args:
        name: Its folder, unique in the study.
        component: The component that it cuts, as discovery named it.
        kind: The kind of ablation.
        removes: The operand that goes, where the component is an operator.
        cut_parameters: Parameters of the baseline that it takes away or detaches.
        detached: Those of them that are still there, without gradient.
        parameter_delta: Change in the number of parameters.
        own_values: Parameters that start from the variant's own values; None where all start from
            the baseline's.
        is_inactive: Changes nothing before training.
        sha256: Hash of the variant's files; empty where these were changed.
    """

    name: str
    component: str
    kind: str
    removes: str | None = field(default=None, metadata=MAY_BE_ABSENT)
    cut_parameters: tuple[str, ...]
    detached: tuple[str, ...] | None = field(default=None, metadata=MAY_BE_ABSENT)
    parameter_delta: int | None = field(default=None, metadata=MAY_BE_ABSENT)
    own_values: tuple[str, ...] | None = field(default=None, metadata=MAY_BE_ABSENT)
    is_inactive: bool
    sha256: str


@dataclass(frozen=True, kw_only=True)
class AblationFolder:
    """The output of `ablate generate`, as far as a study needs it.

    Args:
        path: The folder.
        project: The model as its author left it.
        arms: Certified variants, in the order they were generated.
        others: Variants that were not certified, with the reason.
        framework: Whose models they are, ``torch`` or ``keras``.
        versions: Keras and its back end on which the variants were certified; "" of torch.
        edits: The edits of each variant, by its folder; none where an older version kept none.
        digests: The hashes of all files of the baseline and each arm, as they were certified.
        data: The hashes of the small files beside the model then; none in older sets.
        command: The user's command that trains the model; empty where they gave none.
        started_in: The folder where it is started, absolute; empty in older sets.
        changed: A sentence on each arm whose files are not those that were certified.
    """

    path: Path
    project: Project
    arms: tuple[Arm, ...]
    others: tuple[tuple[Variant, Certificate], ...] = ()
    framework: str = DEFAULT_FRAMEWORK
    versions: str = ""
    edits: Mapping[str, tuple[Edit, ...]] = field(default_factory=dict)
    digests: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    started_in: str = ""
    changed: Mapping[str, str] = field(default_factory=dict)

    @property
    def left_out(self) -> tuple[tuple[str, str], ...]:
        """The variants that were not certified: folder or component and kind, reason."""
        return tuple(_reason(variant, certificate) for variant, certificate in self.others)

    @property
    def files(self) -> tuple[str, ...]:
        """All files of a variant, relative to its folder."""
        return files_of(self.project)

    def edited_by(self, arms: Sequence[str]) -> tuple[str, ...]:
        """The files of these that some of the arms edit."""
        own = self.digests[BASELINE]
        return tuple(
            file
            for file in self.files
            if any(self.digests[arm].get(file) != own.get(file) for arm in arms)
        )

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    def place(self, ablated: Sequence[str]) -> Path:
        """The folder of these arms' ablations; that of several has to be written first."""
        names = sorted(ablated)
        if len(names) < 2:
            return self.path / (names[0] if names else BASELINE)
        return self.path / COMBINED / self.sha256_of_parts(names)[:16]

    def combination(self, ablated: Sequence[str]) -> dict[str, bytes]:
        """The files with several arms' ablations, by their path in a folder.

        Raises:
            CombineError: Their edits clash.
            StoreError: No edits were kept, or the files differ from them.
        """
        edits = {name: self.edits[name] for name in sorted(ablated)}
        if not all(edits.values()):
            raise StoreError(
                f"{self.path / INDEX} was written by an older version and keeps no edits, so its "
                "variants cannot be combined; generate the variants again."
            )
        return combined_files(self.path, edits, self.files)

    def sha256(self, ablated: Sequence[str]) -> str:
        """Hash of the names and contents of a configuration's files."""
        if len(ablated) == 1:
            return self.arm(ablated[0]).sha256  # of the files that were certified
        return _digest_with_installed(self.place(ablated), self.project, self.data)

    def cut_parameters(self, ablated: Sequence[str]) -> tuple[str, ...]:
        """Parameters that a configuration takes away or detaches."""
        return tuple(sorted({p for name in ablated for p in self.arm(name).cut_parameters}))

    def own_values(self, ablated: Sequence[str]) -> tuple[str, ...]:
        """Parameters that keep a configuration's own initial values."""
        return tuple(sorted({p for name in ablated for p in self.arm(name).own_values or ()}))

    def sha256_of_parts(self, names: Sequence[str]) -> str:
        """Hash of the files of each of these arms alone."""
        digests = [(name, self.arm(name).sha256) for name in names]
        return hashlib.sha256(repr(digests).encode()).hexdigest()


def read_ablation_folder(path: Path, *, allows_changed: bool = False) -> AblationFolder:
    """Read the index of a generated folder; a set that is being replaced is read old or new.

    Args:
        path: The folder.
        allows_changed: Note arms whose files were changed, which `choose_arms` refuses; else one
            is an error.

    Raises:
        UsageError: There is none, or no variant in it was certified.
        StoreError: The index is damaged, or leads outside the folder; the files of the baseline or
            a certified variant are not those that were certified, or beside them lies another
            version of a file of the project, or what lies there says otherwise than the index.
    """
    return read_settled(path, partial(_read_folder, allows_changed=allows_changed))


def _read_folder(path: Path, *, allows_changed: bool) -> AblationFolder:
    index = path / INDEX
    if not index.is_file():
        raise UsageError(
            f"{path} holds no generated variants (no {INDEX}); make them with 'ablate generate "
            f"--out {path}'."
        )
    found = read_index(index)
    runnable = [(v, c) for v, c in found.pairs if c.verdict.is_certified]
    files = files_of(found.project)
    digests = _certified_digests(index, files, runnable)
    if (path / COMBINED).is_symlink():
        raise StoreError(f"{path / COMBINED} is a link; remove it and run again.")
    changed = {}
    for name in digests:
        if change := _change_of(path / name, found.project, digests[name]):
            changed[name] = change
    for variant, certificate in runnable:
        place = path / variant.folder
        if change := disagreement(place, found.project, variant, certificate):
            changed.setdefault(variant.folder, f"{place}: {change}; {AGAIN}.")
    if changed and (BASELINE in changed or not allows_changed):
        raise StoreError(changed.get(BASELINE) or next(iter(changed.values())))
    digest = partial(_digest_with_installed, project=found.project, data=found.data)
    return AblationFolder(
        path=path,
        project=found.project,
        arms=tuple(
            _arm(v, c, "" if v.folder in changed else digest(path / v.folder)) for v, c in runnable
        ),
        others=tuple((v, c) for v, c in found.pairs if not c.verdict.is_certified),
        framework=found.framework,
        versions=found.versions,
        edits={variant.folder: variant.edits for variant in found.variants},
        digests=digests,
        data=found.data,
        command=found.command,
        started_in=found.started_in,
        changed=changed,
    )


def _change_of(place: Path, project: Project, certified: Mapping[str, str]) -> str | None:
    """Say what is not as it was certified in the folder of the baseline or an arm; None if all is.

    Args:
        place: The folder.
        project: The model.
        certified: The hashes of the folder's files.
    """
    if change := changed_since(place, certified):
        return f"{place}: {change}; {AGAIN}."
    for file in added_to(place, certified):
        if Path(project.root, file).exists():
            return (
                f"{place / file} is not part of the variant, which runs with the "
                f"project's own {file}; remove it and run again."
            )
    return None


def _certified_digests(
    index: Path, files: Sequence[str], runnable: Sequence[tuple[Variant, Certificate]]
) -> dict[str, Mapping[str, str]]:
    """Return the certified hashes of the baseline and of each variant that may run."""
    digests: dict[str, Mapping[str, str]] = {}
    for variant, found in runnable:
        baseline = digests.setdefault(BASELINE, found.baseline_files)
        if found.baseline_files != baseline or not found.files.keys() & baseline.keys() >= {*files}:
            raise StoreError(
                f"{index}: the certificate of {variant.folder} does not name the files it was made "
                f"for, so it proves nothing about them; {AGAIN}."
            )
        digests[variant.folder] = found.files
    return digests


def choose_arms(
    folder: AblationFolder, design: DesignName, only: Sequence[str], kinds: Sequence[str]
) -> list[str]:
    """Names of the arms that a study is about.

    Args:
        folder: The variants.
        design: All but leave-one-out combine arms, and two cuts of one component cannot be made
            together, so they take the first of each component.
        only: Patterns (``*`` and ``?``) of folders or components; all when empty.
        kinds: Kinds of ablation; all when empty.

    Raises:
        UsageError: A pattern or kind fits nothing.
        StoreError: The files of a chosen arm are not those that were certified.
    """
    for pattern in only:
        if not any(_fits(arm, pattern) for arm in folder.arms):
            raise UsageError(_fits_none(folder, pattern))
    chosen = [
        arm
        for arm in folder.arms
        if (not only or any(_fits(arm, pattern) for pattern in only))
        and (not kinds or arm.kind in kinds)
    ]
    if not chosen:
        found = ", ".join(sorted({arm.kind for arm in folder.arms})) or "none"
        raise UsageError(f"{folder.path} has no certified variant to run; its kinds are: {found}.")
    if design is not DesignName.LEAVE_ONE_OUT:
        first: dict[str, Arm] = {}
        for arm in chosen:
            first.setdefault(arm.component, arm)
        chosen = list(first.values())
    for arm in chosen:
        if arm.name in folder.changed:
            raise StoreError(folder.changed[arm.name])
    return [arm.name for arm in chosen]


def _fits_none(folder: AblationFolder, pattern: str) -> str:
    """Say that a pattern fits no arm: what it fits has no certificate, or is not there."""
    found = [
        " ".join(_reason(variant, certificate))
        for variant, certificate in folder.others
        if any(fnmatch(name, pattern) for name in _names_of(variant))
    ]
    if found:
        more = f"; nor have {len(found) - 1} more a certificate" if found[1:] else ""
        said = f"--only {pattern!r} fits no certified variant of {folder.path}: {found[0]}{more}"
        return sentence(said)
    hint = nearest(pattern, {name for arm in folder.arms for name in (arm.name, arm.component)})
    return (
        f"--only {pattern!r} fits none of the {len(folder.arms)} certified variants of "
        f"{folder.path}; "
        f"{hint if hint.endswith('?') else f'they are listed in {INDEX} there.'}"
    )


def _names_of(variant: Variant) -> tuple[str, str]:
    """The names by which a variant is chosen: a refused one by the folder it would have had."""
    folder = variant.folder or slug(variant.component, variant.kind, variant.options)
    return folder, variant.component


def digest_of(folder: Path, files: Sequence[str]) -> str:
    """SHA-256 of files' names and contents."""
    digest = hashlib.sha256()
    for file in sorted(files):
        content = (folder / file).read_bytes()
        digest.update(f"{file} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _digest_with_installed(folder: Path, project: Project, data: Mapping[str, str]) -> str:
    """SHA-256 of a variant's files, and of those of installed packages that it needs."""
    own = digest_of(folder, files_of(project))
    if not project.installed:
        return own
    known = [(file, data.get(file)) for file in project.installed]
    return hashlib.sha256(repr((own, known)).encode()).hexdigest()


def _fits(arm: Arm, pattern: str) -> bool:
    return fnmatch(arm.name, pattern) or fnmatch(arm.component, pattern)


def _arm(variant: Variant, certificate: Certificate, sha256: str) -> Arm:
    cut = variant.cut_parameters
    return Arm(
        name=variant.folder,
        component=variant.component,
        kind=variant.kind,
        removes=variant.removes,
        cut_parameters=cut,
        detached=tuple(name for name in cut if name in certificate.without_gradient),
        parameter_delta=certificate.parameter_delta,
        own_values=variant.own_values or None,
        is_inactive=certificate.verdict is CertificateVerdict.INACTIVE_AT_INIT,
        sha256=sha256,
    )


def _reason(variant: Variant, certificate: Certificate) -> tuple[str, str]:
    what = variant.folder or f"{variant.component} {variant.kind}"
    return what, f"{certificate.verdict}: {certificate.reason}"
