"""A study: every combination of architectures, modes and trials, from a TOML file.

A spec is valid once built, has one canonical JSON form, and knows its trials in the order they
should run: trial 1 of every cell first, so that early results are fair to all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from antifragile._data_files import read_toml
from antifragile._records import to_json
from antifragile.config._checks import Faults, shown
from antifragile.config.architecture import Architecture
from antifragile.config.modes import PAPER_MODES
from antifragile.config.seeds import Pairing
from antifragile.config.specs.checks import check_ablations, check_neurons, check_perturbations
from antifragile.config.specs.evaluate import EvaluateOptions, Keep
from antifragile.config.specs.training import PRESETS, TrainingOptions
from antifragile.config.specs.trial import MAX_META_LOOPS, TrialSpec
from antifragile.config.specs.values import read_modes, read_values
from antifragile.errors import SpecError

_MAX_NAME = 200
_MAX_TRIALS = 10**6  # the paper has 5,880


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """The whole grid of one study: architectures, modes and trials.

    Args:
        name: The study's name in its store.
        dataset: A registered data set, or ``npz:PATH``.
        architectures: Shapes, in order.
        modes: Names of modes, in order, with modifiers and stretches as `config.modes` reads them.
        trials: Trials per cell.
        meta_loops: Meta-loops per trial.
        pairing: Which trials share initial weights and batch orders.
        seed: Root of every random stream.
        keep: Files kept of a finished trial.
        preset: The preset that `training` started from.
        training: The inner loop's numbers.
        evaluate: Measurements of each finished trial besides its accuracies.
    """

    name: str
    dataset: str
    architectures: tuple[Architecture, ...]
    modes: tuple[str, ...] = PAPER_MODES
    trials: int = 10
    meta_loops: int = 100
    pairing: Pairing = Pairing.PAIRED
    seed: int = 1337
    keep: Keep = Keep.LKG
    preset: str = "paper"
    training: TrainingOptions = field(default_factory=TrainingOptions)
    evaluate: EvaluateOptions = field(default_factory=EvaluateOptions)

    def __post_init__(self) -> None:
        faults = Faults(f"study {self.name!r}" if isinstance(self.name, str) else "study")
        _check_name(faults, self.name)
        if not isinstance(self.dataset, str) or not self.dataset:
            faults.add(f"dataset must be a name or 'npz:PATH'; got {shown(self.dataset)}")
        _check_no_repeats(faults, "architecture", [a.name for a in self.architectures])
        modes = read_modes(faults, self.modes)
        _check_no_repeats(faults, "mode", list(modes))
        check_perturbations(faults, self.training, modes)
        check_ablations(faults, self.training, modes)
        check_neurons(faults, self.architectures, modes, self.training)
        faults.whole_number("trials", self.trials, minimum=1, maximum=_MAX_TRIALS)
        faults.whole_number("meta_loops", self.meta_loops, minimum=1, maximum=MAX_META_LOOPS)
        faults.whole_number("seed", self.seed, minimum=0)
        faults.choice("pairing", self.pairing, list(Pairing))
        faults.choice("keep", self.keep, list(Keep))
        faults.choice("preset", self.preset, PRESETS)
        faults.raise_if_any()
        if self.n_trials > _MAX_TRIALS:
            raise SpecError(
                f"study {self.name!r}: architectures, modes and trials make {self.n_trials:,} "
                f"trials in all, a study has at most {_MAX_TRIALS:,}; use fewer."
            )
        object.__setattr__(self, "modes", modes)
        object.__setattr__(self, "pairing", Pairing(self.pairing))
        object.__setattr__(self, "keep", Keep(self.keep))

    @classmethod
    def from_toml(cls, path: Path) -> StudySpec:
        """Read a spec file.

        Raises:
            SpecError: The file is missing, not TOML, or has faults; all faults are listed.
        """
        try:
            data = read_toml(path)
        except FileNotFoundError:
            raise SpecError(f"no study spec at {path}; give the path of a TOML file.") from None
        except ValueError as error:  # syntax, encoding, a number of 5,000 digits
            raise SpecError(f"{path} is not valid TOML: {error}.") from error
        except OSError as error:
            raise SpecError(f"cannot read study spec {path}: {error.strerror}.") from error
        try:
            return cls.from_mapping(data)
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from error

    @classmethod
    def from_mapping(cls, data: Mapping[str, object]) -> StudySpec:
        """Build a spec from plain values, as TOML or JSON give them.

        ``architectures`` is a list of shapes or ``"paper"`` (the 98); ``modes`` a list of names
        or ``"paper"`` (the six).

        Raises:
            SpecError: Unknown keys, missing keys, bad values; all faults at once.
        """
        faults = Faults("study spec")
        values = read_values(faults, data, keys=[item.name for item in fields(cls)])
        try:
            spec = cls(**values)
        except SpecError as error:
            faults.extend(error)
        faults.raise_if_any()
        return spec

    @classmethod
    def from_json(cls, text: str) -> StudySpec:
        """Rebuild a spec from `canonical_json`."""
        return cls.from_mapping(json.loads(text))

    def to_mapping(self) -> dict[str, Any]:
        """Plain values; ``from_mapping`` of them is this spec again."""
        values: dict[str, Any] = to_json(self)
        return values | {
            "architectures": [architecture.name for architecture in self.architectures],
            "training": self.training.to_mapping(preset=self.preset),
            "evaluate": self.evaluate.to_mapping(),
        }

    def canonical_json(self) -> str:
        """One text per spec: sorted keys, no spaces."""
        return json.dumps(self.to_mapping(), sort_keys=True, separators=(",", ":"))

    @property
    def spec_id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:16]

    @property
    def n_trials(self) -> int:
        """Trials in the whole study."""
        return len(self.architectures) * len(self.modes) * self.trials

    def trial_specs(self) -> Iterator[TrialSpec]:
        """Every trial, trial 1 of all cells first."""
        for trial in range(1, self.trials + 1):
            for architecture in self.architectures:
                for mode in self.modes:
                    yield TrialSpec(
                        dataset=self.dataset,
                        architecture=architecture,
                        mode=mode,
                        trial=trial,
                        meta_loops=self.meta_loops,
                        seed=self.seed,
                        pairing=self.pairing,
                        training=self.training,
                    )

    def extended(self, *, trials: int | None = None, meta_loops: int | None = None) -> StudySpec:
        """The same study with more trials or meta-loops; the numbers are new totals.

        Raises:
            SpecError: A total is smaller than what the study already has.
        """
        trials = self.trials if trials is None else trials
        meta_loops = self.meta_loops if meta_loops is None else meta_loops
        for key, present, total in (
            ("trials", self.trials, trials),
            ("meta_loops", self.meta_loops, meta_loops),
        ):
            if total < present:
                raise SpecError(
                    f"study {self.name!r} already has {key} = {present}; an extension gives the "
                    f"new total, at least that; got {total}."
                )
        return replace(self, trials=trials, meta_loops=meta_loops)

    def differences(self, other: StudySpec) -> list[str]:
        """One clause per key in which the two specs differ: ``"seed: 1 here, 2 there"``."""
        mine, theirs = _flat(self.to_mapping()), _flat(other.to_mapping())
        return [
            f"{key}: {shown(mine.get(key, False), json.dumps)} against "
            f"{shown(theirs.get(key, False), json.dumps)}"
            for key in mine | theirs
            if mine.get(key, False) != theirs.get(key, False)
        ]


def _check_name(faults: Faults, name: object) -> None:
    if not isinstance(name, str) or not name.strip():
        faults.add(f"name must be a non-empty text; got {shown(name)}")
    elif len(name) > _MAX_NAME or not name.isprintable():
        faults.add(f"name must be at most {_MAX_NAME} printable characters")


def _check_no_repeats(faults: Faults, what: str, names: list[str]) -> None:
    if not names:
        faults.add(f"{what}s must list at least one {what}")
    for name in sorted({name for name in names if names.count(name) > 1}):
        faults.add(f"{what} {name!r} is listed {names.count(name)} times")


def _flat(values: Mapping[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        inner = value if isinstance(value, Mapping) else None
        flat |= {key: value} if inner is None else {f"{key}.{k}": v for k, v in inner.items()}
    return flat
