"""Several ablations at once are certified like each of them alone, before anything trains them.

Two legal ablations need not be legal together: a sum that has lost its branch and its skip is
empty, two substitutes may no longer fit each other. So each combination gets the certificate of
`certify.certificate`, by the same checks in the same kind of process; one without is not run. Its
expected effect follows from its parts: it cuts what they cut, and its number of parameters changes
by what vanishes from any of them and what their substitutes add.

The certificate lies in the combination's folder, whose name is a hash of its parts, so that no
combination is certified twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from antifragile.ablate.certify.certificate import (
    COLD_IMPORTS,
    ModelError,
    certify,
    open_server,
)
from antifragile.ablate.designs.base import Configuration
from antifragile.ablate.discover.jobs import parameter_sizes
from antifragile.ablate.frameworks.subject import ModelCode
from antifragile.ablate.generate.emit import BASELINE
from antifragile.ablate.records import AblationKind, Certificate, CertificateVerdict, Variant
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.combine import CombineError
from antifragile.ablate.study.folder import RUNNABLE, AblationFolder, Arm, digest_of
from antifragile.ablate.study.manifest import ManifestCombination
from antifragile.errors import StoreError

CERTIFICATE = "certificate.json"
_WITH_OWN_CHECKS = (AblationKind.DISABLE, AblationKind.REINIT_FROZEN)


class Combinations:
    """The verdicts on a study's combinations; use it as a context manager.

    Args:
        folder: The variants.
        workers: Combinations certified at a time, by a server that is started when needed.
        server: Certifies them instead.
    """

    def __init__(
        self, folder: AblationFolder, *, workers: int = 1, server: Server | None = None
    ) -> None:
        self.folder, self._workers = folder, workers
        self._server, self._owns_server = server, server is None
        self._sizes: dict[str, int] | None = None
        self._is_first = True  # some of the first are also imported by a fresh Python
        self._places: dict[Configuration, str] = {}
        self.judged: dict[Configuration, tuple[CertificateVerdict, str]] = {}

    def __enter__(self) -> Combinations:
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None and self._owns_server:
            self._server.close()

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
        new: dict[Configuration, Path] = {}
        for configuration in dict.fromkeys(configurations):
            if len(configuration) < 2 or configuration in self.judged:
                continue
            try:
                place = self.folder.write_combination(sorted(configuration))
            except CombineError as error:
                self.judged[configuration] = (
                    CertificateVerdict.REFUSED,
                    str(error).removesuffix("."),
                )
                continue
            self._places[configuration] = place.relative_to(self.folder.path).as_posix()
            known = read_verdict(place / CERTIFICATE)
            if known is None:
                new[configuration] = place
            else:
                self.judged[configuration] = known
        if new:
            self._certify(new, listener)

    def refusal(self, configuration: Configuration) -> str | None:
        """The reason why a configuration may not run, as a clause; None if it may."""
        verdict, reason = self.judged.get(configuration, (CertificateVerdict.CERTIFIED, ""))
        return None if verdict in RUNNABLE else f"{verdict}: {reason}"

    def sha256(self, configuration: Configuration) -> str:
        """Hash of a configuration's files; of its parts' files if their edits clash."""
        names = sorted(configuration)
        if configuration in self.judged and configuration not in self._places:
            return self.folder.sha256_of_parts(names)
        return self.folder.sha256(names)

    def records(self) -> tuple[ManifestCombination, ...]:
        """The verdicts for a manifest; no folder where edits clash."""
        return tuple(
            ManifestCombination(
                ablated=tuple(sorted(configuration)),
                folder=self._places.get(configuration, ""),
                verdict=str(verdict),
                reason=reason,
            )
            for configuration, (verdict, reason) in self.judged.items()
        )

    def _certify(self, new: Mapping[Configuration, Path], listener: Callable[[str], None]) -> None:
        server, sizes = self._open(), self._parameter_sizes()
        variants = [self._variant(c, place, sizes) for c, place in new.items()]

        def listen(variant: Variant, certificate: Certificate) -> None:
            listener(variant.component)

        certificates = certify(
            self.folder.project,
            self.folder.path,
            variants,
            server=server,
            framework=self.folder.framework,
            cold_imports=COLD_IMPORTS if self._is_first else 0,
            listener=listen,
        )
        self._is_first = False
        for configuration, certificate in zip(new, certificates, strict=True):
            self.judged[configuration] = certificate.verdict, certificate.reason

    def _variant(
        self, configuration: Configuration, place: Path, sizes: Mapping[str, int]
    ) -> Variant:
        """The combination as one variant, with its expected effect."""
        arms = [self.folder.arm(name) for name in sorted(configuration)]
        kinds = [AblationKind(arm.kind) for arm in arms]
        baseline = self.folder.place([])
        return Variant(
            component=" + ".join(arm.name for arm in arms),
            kind=next((kind for kind in _WITH_OWN_CHECKS if kind in kinds), kinds[0]),
            folder=self._places[configuration],
            edited=tuple(
                file
                for file in self.folder.files
                if digest_of(place, [file]) != digest_of(baseline, [file])
            ),
            parameter_delta=joint_delta(arms, sizes),
            cut_parameters=self.folder.cut_parameters([arm.name for arm in arms]),
        )

    def _open(self) -> Server:
        if self._server is None:
            self._server = open_server(workers=self._workers, framework=self.folder.framework)
        return self._server

    def _parameter_sizes(self) -> dict[str, int]:
        if self._sizes is None:
            place = (self.folder.path / BASELINE).resolve()
            code = ModelCode.in_folder(self.folder.project, place, self.folder.framework)
            job = code.job(parameter_sizes)
            outcome = self._open().run_one(job)
            if outcome.failure is not None:
                raise ModelError(f"the unchanged model cannot be measured: {outcome.reason}.")
            self._sizes = dict(outcome.value)
        return self._sizes


def joint_delta(arms: Sequence[Arm], sizes: Mapping[str, int]) -> int:
    """Change in the number of parameters with all these ablations.

    Args:
        arms: The parts.
        sizes: Number of elements of each parameter of the baseline, by name.
    """
    vanished = {arm.name: set(arm.cut_parameters) - set(arm.detached) for arm in arms}
    total = -sum(sizes[name] for name in set().union(*vanished.values()))
    for arm in arms:
        others = set().union(*(vanished[other.name] for other in arms if other is not arm))
        is_inside_another = arm.cut_parameters and set(arm.cut_parameters) <= others
        if not is_inside_another:  # else its substitute went with what surrounds it
            total += arm.parameter_delta + sum(sizes[name] for name in vanished[arm.name])
    return total


def read_verdict(path: Path) -> tuple[CertificateVerdict, str] | None:
    """The verdict of a certificate that is there.

    Raises:
        StoreError: It is damaged.
    """
    if not path.exists():
        return None
    try:
        plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return CertificateVerdict(plain["verdict"]), str(plain["reason"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error!r}); remove it and run again.") from error
