"""Whether modes, architectures and training options fit each other."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from antifragile.config._checks import Faults
from antifragile.config.architecture import Architecture
from antifragile.config.modes import Mode, get_mode, is_mode
from antifragile.config.modifiers.eligible import check_choice
from antifragile.config.modifiers.records import TargetChoice
from antifragile.config.networks import Network
from antifragile.config.specs.training import TrainingOptions
from antifragile.errors import UsageError

_MANY_CLASSES = 10**9


def check_perturbations(faults: Faults, training: TrainingOptions, modes: Iterable[str]) -> None:
    """Note every mode whose own preset cannot stand beside those of all modes."""
    common = {item.preset: item for item in training.perturb}
    closures = sorted(name for name, item in common.items() if item.facts.needs_closure)
    for mode in _parts(modes):
        own = mode.perturbation
        if mode.recycling and training.perturb:
            faults.add(
                f"mode {mode.name!r} draws neurons anew between updates, which training.perturb "
                "cannot stand beside; drop one of the two"
            )
        if own is None:
            continue
        if own.preset in common:
            faults.add(
                f"mode {mode.name!r} perturbs by {own.preset!r}, which training.perturb names for "
                "all modes; drop one of the two"
            )
        elif own.facts.needs_closure and closures:
            faults.add(
                f"mode {mode.name!r} and {closures[0]!r} of training.perturb both evaluate the "
                "gradient a second time, of which a step can have one"
            )


def check_neurons(
    faults: Faults,
    architectures: Iterable[Architecture],
    modes: Iterable[str],
    training: TrainingOptions,
    *,
    n_classes: int = _MANY_CLASSES,
) -> None:
    """Note every mode that names neurons which an architecture does not have.

    Args:
        faults: The list that faults are added to.
        architectures: The architectures.
        modes: Names of modes; unknown ones are left out.
        training: The training options.
        n_classes: Neurons of the output layer; without it these are not counted.
    """
    chosen = [mode for mode in _parts(modes) if mode.variation.targets != TargetChoice()]
    if chosen and training.network is not Network.MLP:
        faults.add(
            f"mode {chosen[0].name!r} chooses among the neurons of network 'mlp'; network "
            f"{str(training.network)!r} takes modifiers of the promotion, the optimizer and the "
            "damage only"
        )
        return
    for mode, architecture in product(chosen, architectures if chosen else ()):
        if mode.ablation is None:
            continue  # it needs residual blocks, which is said elsewhere
        widths = architecture.layer_sizes(1, n_classes)[1:]
        try:
            check_choice(mode.ablation.pool, mode.variation.targets, widths)
        except UsageError as error:
            faults.add(f"mode {mode.name!r} does not fit architecture {architecture}: {error}")


def _parts(modes: Iterable[str]) -> list[Mode]:
    """The modes of which these are made, without unknown ones."""
    known = [get_mode(mode) for mode in modes if is_mode(mode)]
    return list(dict.fromkeys(part for mode in known for part in mode.parts))


def check_ablations(faults: Faults, training: TrainingOptions, modes: Iterable[str]) -> None:
    """Note every mode that ablates, or draws anew, what the network does not have."""
    for mode in _parts(modes):
        if mode.recycling and training.network is not Network.MLP:
            faults.add(
                f"mode {mode.name!r} draws neurons of network 'mlp' anew, not of network "
                f"{str(training.network)!r}; use network 'mlp' or another mode"
            )
        if mode.needs_residual_blocks and training.network is Network.MLP:
            faults.add(
                f"mode {mode.name!r} ablates residual blocks, which network 'mlp' has not; use "
                "network 'resmlp' or mode 'hidden'"
            )
