"""Perturbed update equations by the name of their preset, as a spec writes them.

The presets themselves are in `antifragile.optim.presets`. This table holds what a spec and a
planner must know without torch: names, options with defaults and bounds, the need of a closure.
`tests/engine/test_perturbation.py` compares it with the presets' own signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from antifragile._plugins import add_plugins
from antifragile.config._checks import Faults, shown
from antifragile.errors import SpecError, nearest

_HUGE = 1e18
_HOW = "name a preset, or write a table as in {preset = 'annealed_gradient_noise', eta = 0.1}"


@dataclass(frozen=True)
class Option:
    """One number of a preset; a whole number if its default is one.

    Args:
        default: Value where a spec gives none.
        least: Smallest allowed value.
        most: Largest allowed value.
    """

    default: float
    least: float = 0.0
    most: float = _HUGE

    def check(self, faults: Faults, key: str, value: object) -> None:
        """Add a fault if ``value`` is not allowed."""
        if isinstance(self.default, int):
            faults.whole_number(key, value, minimum=int(self.least))
        elif not _is_number(value) or not self.least <= value <= self.most:
            most = "" if self.most == _HUGE else f" and at most {self.most:g}"
            faults.add(
                f"{key} must be a number of at least {self.least:g}{most}; got {shown(value)}"
            )


@dataclass(frozen=True, kw_only=True)
class PresetFacts:
    """Facts about a preset that a spec and a planner need.

    Args:
        options: Options by name.
        needs_closure: Whether a step evaluates the gradient a second time, through a closure.
        batched: Whether the fleet can train many replicas of it at once, each with its own noise.
        rules: Makes the tuple of rules, given the options by name, for a preset that another
            package adds; those of `antifragile.optim.presets` are found there by name.
    """

    options: Mapping[str, Option] = field(default_factory=dict)
    needs_closure: bool = False
    batched: bool = True
    rules: Callable[..., tuple[Any, ...]] | None = None


PERTURBATIONS: dict[str, PresetFacts] = {
    "annealed_gradient_noise": PresetFacts(options={"eta": Option(0.01), "gamma": Option(0.55)}),
    "pgd": PresetFacts(
        options={"radius": Option(0.01), "threshold": Option(0.01), "wait": Option(10, least=1)}
    ),
    "sgld": PresetFacts(options={"temperature": Option(1.0), "n_samples": Option(1, least=1)}),
    "psgld": PresetFacts(
        options={
            "temperature": Option(1.0),
            "n_samples": Option(1, least=1),
            "decay": Option(0.99, most=1),
            "floor": Option(1e-5, least=1e-30),
        }
    ),
    "random_weight_perturbation": PresetFacts(options={"gamma": Option(0.01)}),
    "anti_pgd": PresetFacts(options={"scale": Option(0.01)}),
    "msam": PresetFacts(options={"rho": Option(0.3)}),
    "sam": PresetFacts(options={"rho": Option(0.05)}, needs_closure=True),
    "asam": PresetFacts(options={"rho": Option(0.5), "floor": Option(0.01)}, needs_closure=True),
    "sam_lagged": PresetFacts(options={"rho": Option(0.05)}),
    "asam_lagged": PresetFacts(options={"rho": Option(0.5), "floor": Option(0.01)}),
    "shrink_and_perturb": PresetFacts(
        options={
            "shrink": Option(0.6, most=1),
            "sigma": Option(0.01),
            "every": Option(1000, least=1),
        }
    ),
    "stochastic_reset": PresetFacts(
        options={"rate": Option(0.001, most=1), "fraction": Option(0.1, most=1)}
    ),
    "input_noise": PresetFacts(options={"scale": Option(0.1)}, batched=False),
}
"""Every preset by name, in the order of their modes; those of other packages come last."""

TOKEN_PRESETS = ("neftune",)
"""Presets that no spec can name, since they act on token ids, which no network of a study reads."""


def add_preset_plugins() -> None:
    """Add the presets of other packages (entry points ``antifragile.presets``) to the table."""
    add_plugins("antifragile.presets", PresetFacts, PERTURBATIONS)


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """A preset with all its options, those not given at their defaults.

    Args:
        preset: A name in `PERTURBATIONS`.
        options: Pairs of name and value, in the order of the table.
    """

    preset: str
    options: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, preset: str, given: Mapping[str, Any] | None = None) -> Perturbation:
        """Make a perturbation of a preset, with defaults for the options that are not given.

        Raises:
            SpecError: No such preset or option, or a value out of range; all faults at once.
        """
        faults, given = Faults(f"perturbation {shown(preset)}"), given or {}
        if preset in TOKEN_PRESETS:
            raise SpecError(
                f"preset {shown(preset)} acts on token ids, which the networks of a study do not "
                "read; use antifragile.perturb in your own training."
            )
        if preset not in PERTURBATIONS:
            add_preset_plugins()
        if preset not in PERTURBATIONS:
            raise SpecError(f"preset {shown(preset)} is unknown; {nearest(preset, PERTURBATIONS)}")
        known = PERTURBATIONS[preset].options
        faults.unknown_keys(given, known)
        for name, option in known.items():
            if name in given:
                option.check(faults, name, given[name])
        faults.raise_if_any()
        values = [(name, given.get(name, option.default)) for name, option in known.items()]
        options = tuple((name, type(known[name].default)(value)) for name, value in values)
        return cls(preset=preset, options=options)

    @classmethod
    def of_mapping(cls, values: Mapping[str, Any]) -> Perturbation:
        """Rebuild a perturbation from `to_mapping`."""
        given = dict(values)
        return cls.of(given.pop("preset"), given)

    @classmethod
    def parse(cls, text: str) -> Perturbation:
        """Read a command-line argument: ``"NAME"`` or ``"NAME:option=value,option=value"``.

        Raises:
            SpecError: No such preset or option, or a value that is no number.

        Example:
            >>> Perturbation.parse("annealed_gradient_noise:eta=0.1").words
            'annealed_gradient_noise(eta=0.1)'
        """
        name, _, rest = text.partition(":")
        given: dict[str, object] = {}
        for part in filter(None, rest.split(",")):
            key, _, value = part.partition("=")
            try:
                number = float(value)
            except ValueError:
                raise SpecError(
                    f"perturbation {shown(text)} has {shown(part)}; write NAME:option=number,..."
                ) from None
            given[key.strip()] = int(number) if number.is_integer() else number
        return cls.of(name.strip(), given)

    @property
    def facts(self) -> PresetFacts:
        """The preset's entry in `PERTURBATIONS`."""
        return PERTURBATIONS[self.preset]

    @property
    def words(self) -> str:
        """The preset with those options that are not the default: ``"pgd(radius=0.1)"``."""
        defaults = self.facts.options
        changed = [f"{n}={value:g}" for n, value in self.options if value != defaults[n].default]
        return f"{self.preset}({', '.join(changed)})" if changed else self.preset

    def to_mapping(self) -> dict[str, Any]:
        """Write plain values with every option, for JSON and TOML."""
        return {"preset": self.preset, **dict(self.options)}


def read_perturbations(faults: Faults, value: object) -> tuple[Perturbation, ...]:
    """Read ``training.perturb``: a list of preset names, or of tables of a preset with options."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        faults.add(f"perturb must be a list; got {shown(value)}: {_HOW}")
        return ()
    found = [read for item in value if (read := _read(faults, item)) is not None]
    names = [item.preset for item in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        faults.add(f"perturb lists {name!r} {names.count(name)} times")
    closures = [name for name in names if PERTURBATIONS[name].needs_closure]
    if len(set(closures)) > 1:
        faults.add(f"perturb has {' and '.join(closures)}, of which a step can have one")
    return tuple(found)


def _read(faults: Faults, item: object) -> Perturbation | None:
    if isinstance(item, Perturbation):
        return item
    given = {"preset": item} if isinstance(item, str) else item
    if not isinstance(given, Mapping) or not isinstance(given.get("preset"), str):
        faults.add(f"perturb has {shown(item)}, which is no preset: {_HOW}")
        return None
    options = {str(key): value for key, value in given.items() if key != "preset"}
    try:
        return Perturbation.of(given["preset"], options)
    except SpecError as error:
        for fault in error.faults or [str(error)]:
            faults.add(f"perturb: {fault}")
        return None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
