"""Records of a trial: one frozen record per meta-loop, one result at the end.

Accuracies are counts of correct samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, kw_only=True)
class MetaLoopRecord:
    """The outcome of one meta-loop.

    Args:
        meta_loop: 1-based.
        validation_correct: Correct validation samples of this meta-loop's candidate.
        bounty: Most correct validation samples of a candidate up to this meta-loop.
        promoted: Whether the candidate became the LKG.
        ablated_layer: Linear layer of the ablated neuron (0-based), None without ablation; of the
            first one that was chosen, where a mode hits several.
        ablated_neuron: Its index in that layer.
        train_loss: Mean cross-entropy over the epoch's samples, in nats.
        seconds: Wall time.
        ablated_correct: Correct validation samples of the clone right after its ablation, before
            the epoch; None without ablation, or where a study does not ask for it.
    """

    meta_loop: int
    validation_correct: int
    bounty: int
    promoted: bool
    ablated_layer: int | None
    ablated_neuron: int | None
    train_loss: float
    seconds: float
    ablated_correct: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """A finished trial.

    Args:
        meta_loops: Number of meta-loops that were run.
        peak_correct: The bounty at the end (validation samples).
        peak_meta_loop: The meta-loop that reached it first.
        final_correct: Correct validation samples of the last candidate.
        test_correct: Correct test samples of the holder of the bounty at the end.
        robustness: Test counts of that network when damaged, where a study asks for them.
    """

    meta_loops: int
    peak_correct: int
    peak_meta_loop: int
    final_correct: int
    test_correct: int
    robustness: tuple[RobustnessRecord, ...] = ()


class Damage(StrEnum):
    """A kind of perturbation of a trained network or of its inputs."""

    HIDDEN_NEURONS = "hidden-neurons"
    WEIGHT_NOISE = "weight-noise"
    INPUT_NOISE = "input-noise"


@dataclass(frozen=True, kw_only=True)
class RobustnessRecord:
    """One draw of one kind and level of damage.

    Args:
        damage: The kind.
        level: As in `robustness.LEVELS`.
        draw: 1-based.
        test_correct: Correct test samples of the damaged network.
    """

    damage: Damage
    level: float
    draw: int
    test_correct: int
