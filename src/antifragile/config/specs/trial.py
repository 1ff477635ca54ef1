"""The spec of one trial: architecture, mode, training options, seed.

It is all an engine needs besides data.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from antifragile.config._checks import Faults
from antifragile.config.architecture import Architecture
from antifragile.config.modes import Ablation, get_mode
from antifragile.config.perturbation import Perturbation
from antifragile.config.seeds import Pairing, SeedTree, TrialStreams
from antifragile.config.specs.checks import check_ablations, check_neurons, check_perturbations
from antifragile.config.specs.training import TrainingOptions

MAX_META_LOOPS = 10**7  # of one trial; the paper has 100


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """One trial of one mode on one architecture; with the data it determines every number."""

    dataset: str
    architecture: Architecture
    mode: str
    trial: int = 1
    meta_loops: int = 100
    seed: int = 1337
    pairing: Pairing = Pairing.PAIRED
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", get_mode(self.mode).name)
        faults = Faults("trial")
        faults.whole_number("trial", self.trial, minimum=1)
        faults.whole_number("meta_loops", self.meta_loops, minimum=1, maximum=MAX_META_LOOPS)
        faults.whole_number("seed", self.seed, minimum=0)
        faults.choice("pairing", self.pairing, list(Pairing))
        check_perturbations(faults, self.training, [self.mode])
        check_neurons(faults, [self.architecture], [self.mode], self.training)
        check_ablations(faults, self.training, [self.mode])
        faults.raise_if_any()
        object.__setattr__(self, "pairing", Pairing(self.pairing))

    def at(self, meta_loop: int) -> TrialSpec:
        """Return the trial in the mode of a meta-loop; another one only in a mode of stretches.

        Its random streams are those of `streams` for this meta-loop, not its own.
        """
        mode = get_mode(self.mode).at(meta_loop).name
        return self if mode == self.mode else replace(self, mode=mode)

    @property
    def ablation(self) -> Ablation | None:
        """The neuron that is zeroed in this trial's mode and kind of network."""
        return get_mode(self.mode).ablation_in(self.training.network)

    @property
    def options(self) -> TrainingOptions:
        """The training options in this trial's mode."""
        return self.training.in_mode(self.mode)

    @property
    def weight_decay(self) -> float:
        """AdamW's decoupled weight decay in this trial's mode."""
        options = self.training
        uses_decay = get_mode(self.mode).uses_decay
        return options.weight_decay if uses_decay else options.background_weight_decay

    @property
    def dropout(self) -> float:
        """Drop probability in this trial's mode, 0 outside ``dropout``."""
        return self.training.dropout if get_mode(self.mode).uses_dropout else 0.0

    @property
    def block_dropout(self) -> float:
        """Drop probability inside residual blocks in this trial's mode."""
        options, uses_dropout = self.training, get_mode(self.mode).uses_dropout
        return options.dropout if uses_dropout else options.block_dropout

    @property
    def perturbations(self) -> tuple[Perturbation, ...]:
        """Perturbations of the update equation in this trial's mode, in order."""
        return self.training.perturbations_in(self.mode)

    def streams(self, meta_loop: int = 1) -> TrialStreams:
        """The named random streams of this trial at a meta-loop.

        Init and order are keyed by (seed, architecture, trial), and by the mode as well when
        ``pairing`` is independent; the others are always keyed by the mode. When it is paired,
        that is the base of the mode that the meta-loop is trained in, without its modifiers: two
        modes that differ in a modifier draw the same until it acts.
        """
        trial = SeedTree(self.seed).child(self.architecture.name, self.trial)
        is_paired = self.pairing is Pairing.PAIRED
        own = trial.child(get_mode(self.mode).at(meta_loop).base if is_paired else self.mode)
        shared = trial if is_paired else own
        return TrialStreams(
            init=shared.child("init"),
            order=shared.child("order"),
            ablation=own.child("ablation"),
            dropout=own.child("dropout"),
            perturbation=own.child("perturbation"),
        )
