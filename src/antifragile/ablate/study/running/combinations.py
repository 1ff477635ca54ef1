"""Several ablations at once are certified like each of them alone, before anything trains them.

Two legal ablations need not be legal together: a sum that has lost its branch and its skip is
empty, two substitutes may no longer fit each other. So each combination gets the certificate of
`certify.certificate`, by the same checks in the same kind of process; one without is not run. Its
expected effect follows from its parts: it cuts what they cut, and its number of parameters changes
by what vanishes from any of them and what their substitutes add.

The certificate lies in the combination's folder, whose name is a hash of its parts, so that no
combination is certified twice. It is made in a hidden folder and moves to its place with its
certificate, so what lies there is whole; one process at a time makes them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from antifragile._data_files import read_json
from antifragile._files import make_folder, move, remove_temporary_files
from antifragile._records import from_json
from antifragile.ablate.certify.certificate import COLD_IMPORTS, ModelError, certify
from antifragile.ablate.designs.base import Configuration
from antifragile.ablate.discovery.jobs import parameter_sizes
from antifragile.ablate.generation.digests import CERTIFICATE, added_or_changed, changed_since
from antifragile.ablate.generation.emit import BASELINE
from antifragile.ablate.generation.index import COMBINED
from antifragile.ablate.generation.locks import WORK, locked, told
from antifragile.ablate.records import AblationKind, Certificate, CertificateVerdict, Variant
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.combine import CombineError
from antifragile.ablate.study.folder import AblationFolder, Arm, digest_of
from antifragile.ablate.study.manifest import ManifestCombination
from antifragile.ablate.study.server import StudyCopies
from antifragile.errors import StoreError

_MAKING = "combining"
_WITH_OWN_CHECKS = (AblationKind.DISABLE, AblationKind.FREEZE)


class Combinations:
    """The verdicts on a study's combinations.

    Args:
        folder: The variants.
        copies: Copies of them in which their models run.
        certifier: Gives the server that certifies; called once there is something to certify.
    """

    def __init__(
        self, folder: AblationFolder, copies: StudyCopies, certifier: Callable[[], Server]
    ) -> None:
        self.folder, self.copies, self._certifier = folder, copies, certifier
        self._is_first = True  # some of the first are also imported by a fresh Python
        self.judged: dict[Configuration, ManifestCombination] = {}
        self._digests: dict[Configuration, Mapping[str, str]] = {}  # of certified combinations
        self._sha256: dict[Configuration, str] = {}  # of all files, when they were first asked for

    def judge(
        self, configurations: Iterable[Configuration], listener: Callable[[str], None]
    ) -> None:
        """Certify the combinations among these that have no certificate yet.

        Args:
            configurations: Configurations to be run; single ablations are certified already.
            listener: Called with the label of each that is certified now.

        Raises:
            ModelError: The unchanged model cannot be measured.
        """
        several = [c for c in dict.fromkeys(configurations) if len(c) > 1 and c not in self.judged]
        if all(map(self._has_certificate, several)):
            return
        out = self.folder.path
        with locked(out, "run", is_waiting=True), told(out):
            making = out / WORK / _MAKING
            shutil.rmtree(making, ignore_errors=True)
            try:
                if new := self._written(several, making):
                    self._certify(new, listener)
            finally:
                shutil.rmtree(making, ignore_errors=True)

    def refusal(self, configuration: Configuration) -> str | None:
        """The reason why a configuration may not run, as a clause; None if it may."""
        found = self.judged.get(configuration)
        if found is None or found.verdict.is_certified:
            return None
        return f"{found.verdict}: {found.reason}"

    def certified(self, configuration: Configuration) -> dict[str, str]:
        """The certified hashes of the files that a run of a configuration is made of."""
        names = sorted(configuration)
        single = names[0] if names else BASELINE
        found = self._digests[configuration] if len(names) > 1 else self.folder.digests[single]
        return {file: found.get(file, "") for file in self.folder.files}

    def sha256(self, configuration: Configuration) -> str:
        """Hash of a configuration's files; of its parts' files if their edits clash."""
        names = sorted(configuration)
        if configuration in self.judged and not self.judged[configuration].folder:
            return self.folder.sha256_of_parts(names)
        if configuration not in self._sha256:
            self._sha256[configuration] = self.folder.sha256(names)
        return self._sha256[configuration]

    def _has_certificate(self, configuration: Configuration) -> bool:
        """Take the certificate that a combination has; False if it has none."""
        place = self.folder.place(sorted(configuration))
        known = read_certificate(place / CERTIFICATE)
        if known is not None:
            self._check(place, known)
            self._take(configuration, place, known)
        return known is not None

    def _written(
        self, configurations: Iterable[Configuration], making: Path
    ) -> dict[Configuration, Path]:
        """Write those that still have no certificate, and note those whose edits clash."""
        new: dict[Configuration, Path] = {}
        for configuration in configurations:
            if configuration in self.judged or self._has_certificate(configuration):
                continue
            names = sorted(configuration)
            try:
                files = self.folder.combination(names)
            except CombineError as error:
                reason = str(error).removesuffix(".")
                self._note(configuration, "", CertificateVerdict.REFUSED, reason)
                continue
            place = self.folder.place(names)
            _remove_unfinished(place, files)
            new[configuration] = making / place.name
            for file, content in files.items():
                make_folder((making / place.name / file).parent)
                (making / place.name / file).write_bytes(content)
        return new

    def _note(
        self, configuration: Configuration, place: str, verdict: CertificateVerdict, reason: str
    ) -> None:
        ablated = tuple(sorted(configuration))
        self.judged[configuration] = ManifestCombination(
            ablated=ablated, folder=place, verdict=verdict, reason=reason
        )

    def _take(self, configuration: Configuration, place: Path, found: Certificate) -> None:
        self._digests[configuration] = found.files
        self._note(configuration, self._relative(place), found.verdict, found.reason)

    def _check(self, place: Path, found: Certificate) -> None:
        """Refuse a combination whose files are not those that were certified."""
        change = changed_since(place, found.files)
        if found.baseline_files != self.folder.digests[BASELINE]:
            change = "it was certified with another baseline"
        if change is not None:
            raise StoreError(f"{place}: {change}; remove that folder and run again.")

    def _relative(self, place: Path) -> str:
        return place.relative_to(self.folder.path).as_posix()

    def _certify(self, new: Mapping[Configuration, Path], listener: Callable[[str], None]) -> None:
        """Certify new combinations; each moves to its place with its certificate."""
        made = {place.name: configuration for configuration, place in new.items()}
        make_folder(self.folder.path / COMBINED)

        def listen(variant: Variant, certificate: Certificate) -> None:
            making = self.folder.path / variant.folder
            configuration = made[making.name]
            place = self.folder.place(sorted(configuration))
            move(making, place)
            self._take(configuration, place, certificate)
            listener(variant.component)

        certify(
            self.folder.project,
            self.folder.path,
            [self._variant(c, place) for c, place in new.items()],
            server=self._certifier(),
            framework=self.folder.framework,
            cold_imports=COLD_IMPORTS if self._is_first else 0,
            listener=listen,
        )
        self._is_first = False

    def _variant(self, configuration: Configuration, place: Path) -> Variant:
        """The combination as one variant, with its expected effect."""
        arms = [self.folder.arm(name) for name in sorted(configuration)]
        kinds = [AblationKind(arm.kind) for arm in arms]
        baseline = self.folder.place([])
        return Variant(
            component=" + ".join(arm.name for arm in arms),
            kind=next((kind for kind in _WITH_OWN_CHECKS if kind in kinds), kinds[0]),
            folder=self._relative(place),
            edited=tuple(
                file
                for file in self.folder.files
                if digest_of(place, [file]) != digest_of(baseline, [file])
            ),
            parameter_delta=joint_delta(arms, self._parameter_sizes),
            cut_parameters=self.folder.cut_parameters([arm.name for arm in arms]),
            own_values=self.folder.own_values([arm.name for arm in arms]),
        )

    @cached_property
    def _parameter_sizes(self) -> dict[str, int]:
        job = self.copies.code(self.folder.place([])).job(parameter_sizes)
        outcome = self._certifier().run_one(job)
        if outcome.failure is not None:
            why = self.copies.explained(outcome.reason)
            raise ModelError(f"the unchanged model cannot be measured: {why}.")
        return dict(outcome.value)


def _remove_unfinished(place: Path, files: Mapping[str, bytes]) -> None:
    """Remove a combination that was killed before its certificate was made.

    Raises:
        StoreError: It holds something else.
    """
    if not os.path.lexists(place):
        return
    remove_temporary_files(place)
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    if file := added_or_changed(place, hashes):
        raise StoreError(
            f"{file} is not part of that combination, which has no certificate; give {place} "
            "another name and run again."
        )
    shutil.rmtree(place)


def joint_delta(arms: Sequence[Arm], sizes: Mapping[str, int]) -> int:
    """Change in the number of parameters with all these ablations.

    Args:
        arms: The parts.
        sizes: Number of elements of each parameter of the baseline, by name.
    """
    vanished = {arm.name: set(arm.cut_parameters) - set(arm.detached or ()) for arm in arms}
    total = -sum(sizes[name] for name in set().union(*vanished.values()))
    for arm in arms:
        others = set().union(*(vanished[other.name] for other in arms if other is not arm))
        is_inside_another = arm.cut_parameters and set(arm.cut_parameters) <= others
        if not is_inside_another:  # else its substitute went with what surrounds it
            total += (arm.parameter_delta or 0) + sum(sizes[name] for name in vanished[arm.name])
    return total


def read_certificate(path: Path) -> Certificate | None:
    """The certificate that is there; None if there is none that names its files.

    Raises:
        StoreError: It is damaged.
    """
    if not path.exists():
        return None
    try:
        if not path.is_file():
            raise ValueError("it is no regular file")
        found: Certificate = from_json(Certificate, read_json(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error!r:.200}); remove it and run again.") from error
    return found if found.files else None
