"""Workloads: the replicas to be trained together, as far as a planner needs to know them.

Shape letters: R replicas, M modes, B samples in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from antifragile.config.architecture import Architecture
from antifragile.config.modes import PAPER_MODES, Mode, get_mode
from antifragile.config.modifiers.records import OptimizerMemory, PromotionRule
from antifragile.config.networks import BlockNorm, Network
from antifragile.config.perturbation import Perturbation
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.fleet.layout import FlatLayout
from antifragile.fleet.native.library import BF16_FROM_INPUTS


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Replicas to be trained together.

    Args:
        architecture: The one architecture of all replicas.
        n_inputs: Values per image.
        n_classes: Logits.
        n_train: Training samples.
        n_validation: Validation samples.
        replicas: R, modes times trials.
        modes: M, replicas that share a batch; 1 when pairing is independent.
        placebos: Modes whose decay rounds away in float32, beside one that has none.
        batch_size: B.
        mode_order: Names of the M modes, in the order of the study.
        perturbations: Perturbations of the update equation that all replicas share.
        kept_rows: Rows of P numbers that a replica keeps beside its LKG, on average: other states
            of its promotion rule, moments of an optimizer that is not reset.
        network: The kind of network that the architecture names.
        block_norm: Normalisation before its residual blocks.
    """

    architecture: Architecture
    n_inputs: int = 784
    n_classes: int = 10
    n_train: int = 50_000
    n_validation: int = 10_000
    replicas: int = 60
    modes: int = 6
    placebos: int = 0
    batch_size: int = 256
    mode_order: tuple[str, ...] = PAPER_MODES
    perturbations: tuple[Perturbation, ...] = ()
    kept_rows: float = 0.0
    network: Network = Network.MLP
    block_norm: BlockNorm = BlockNorm.NONE

    @property
    def layout(self) -> FlatLayout:
        """The flat layout of one replica."""
        return FlatLayout(
            architecture=self.architecture,
            n_inputs=self.n_inputs,
            n_classes=self.n_classes,
            network=self.network,
        )

    @property
    def flops_per_meta_loop(self) -> float:
        """Operations of one replica and meta-loop: forward, both backward products, validation."""
        products = self.layout.n_parameters
        first = self.n_inputs * self.layout.sizes[1]  # has no gradient towards the pixels
        return 2.0 * (products * (3 * self.n_train + self.n_validation) - first * self.n_train)

    @property
    def rounded_share(self) -> float:
        """The share of those operations in layers whose operands bf16 products round."""
        sizes = self.layout.sizes
        samples = 3 * self.n_train + self.n_validation
        first = sizes[0] * sizes[1] * (samples - self.n_train)
        wide = sum(a * b for a, b in pairwise(sizes[1:]) if a >= BF16_FROM_INPUTS) * samples
        return 2.0 * (first + wide) / self.flops_per_meta_loop


def workload(specs: Sequence[TrialSpec], data: Dataset) -> Workload:
    """The workload that these trials make."""
    orders = {spec.streams().order.path for spec in specs}
    return Workload(
        architecture=specs[0].architecture,
        n_inputs=data.n_inputs,
        n_classes=data.n_classes,
        n_train=data.train.n_samples,
        n_validation=data.validation.n_samples,
        replicas=len(specs),
        modes=max(1, -(-len(specs) // len(orders))),
        batch_size=specs[0].training.batch_size,
        mode_order=tuple(dict.fromkeys(spec.mode for spec in specs)),
        perturbations=specs[0].perturbations,
        kept_rows=sum(_kept_rows(get_mode(spec.mode)) for spec in specs) / len(specs),
        network=specs[0].training.network,
        block_norm=specs[0].training.block_norm,
    )


def _kept_rows(mode: Mode) -> int:
    """Most rows that a replica of a mode keeps beside its LKG at a time."""
    most = 0
    for part in mode.parts:
        rule, memory = part.variation.promotion.rule, part.variation.optimizer
        others = {PromotionRule.GREEDY: 0, PromotionRule.PATIENCE: 2}.get(rule, 1)
        most = max(most, others + 2 * (memory is not OptimizerMemory.RESET))
    return most
