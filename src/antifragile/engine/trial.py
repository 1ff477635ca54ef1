"""One trial of a study: the paper's network and training recipe, meta-loop by meta-loop.

Everything after meta-loop n is a function of the state at n and the trial's streams, which is
why a trial can stop and go on anywhere.

Source: PSA paper, section II, and its released code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from antifragile.config.modes import get_mode
from antifragile.config.modifiers.records import OptimizerMemory, Promotion
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.epoch import count_correct, exact_numerics, fresh_adamw, train_epoch
from antifragile.engine.loop import MetaLoopOutcome, one_meta_loop
from antifragile.engine.moments import Moments, give_moments, take_moments
from antifragile.engine.policies import KeptStates, LastKnownGood, keep_states
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.model.damage import Masks, damage
from antifragile.model.networks import LinearStack, SimpleMLP, Weights, clone_weights, initialise
from antifragile.model.neurons import AblationTarget, target_at
from antifragile.model.ranks import neuron_values
from antifragile.model.resmlp import make_network
from antifragile.model.targets import choose_neurons, most_neurons


@dataclass(frozen=True, kw_only=True)
class TrialState:
    """The state of a trial after a meta-loop: all that is needed to go on.

    Args:
        kept: The LKG, and what else the mode's promotion rule keeps.
        final_correct: Correct validation samples of the last candidate.
        moments: The optimizer's memory, in a mode that does not reset it.
    """

    kept: KeptStates[int]
    final_correct: int
    moments: Moments | None = None

    @property
    def meta_loop(self) -> int:
        """Meta-loops so far."""
        return self.kept.progress.meta_loop

    @property
    def lkg(self) -> LastKnownGood[int]:
        """The state that the next candidate is cloned from."""
        return self.kept.lkg

    @property
    def best(self) -> LastKnownGood[int]:
        """The holder of the bounty: the LKG, unless the mode has another promotion rule."""
        return self.kept.best

    def on(self, device: str) -> TrialState:
        """Return the same state with its weights on another device."""
        weights = {
            slot: {name: value.to(device) for name, value in values.items()}
            for slot, values in self.kept.weights.items()
        }
        moments = self.moments and self.moments.on(device)
        return replace(self, kept=replace(self.kept, weights=weights), moments=moments)


class TrialCandidate:
    """The network that a trial's meta-loops damage and train.

    Args:
        spec: The trial.
        data: Its data set, on the device to train on.
        dtype: Type of weights and activations.
        moments: The optimizer's memory so far; None for none.
    """

    def __init__(
        self, spec: TrialSpec, data: Dataset, dtype: torch.dtype, moments: Moments | None = None
    ) -> None:
        self._spec, self._data, self.moments = spec, data, moments
        self._model = _network(spec, data, dtype).to(data.train.images.device)

    def initialise(self, meta_loop: int) -> None:
        """Load a fresh network, which nothing is remembered of."""
        drawn = initial_weights(self._spec, self._data, dtype=self._model.dtype, draw=meta_loop)
        self._model.load_state_dict(dict(drawn))
        self.moments = None

    def load(self, kept: KeptStates[int]) -> None:
        """Load a clone of the LKG."""
        self._model.load_state_dict(dict(kept.lkg.weights))

    @torch.no_grad()
    def damage(self, meta_loop: int, *, rate: int) -> Sequence[AblationTarget]:
        """Damage the network where its mode does, and return the neurons that are hit."""
        weights = dict(self._model.named_parameters())
        hits = choose_hits(self._spec, self._data, lambda: weights, meta_loop, rate=rate)
        masks = damage_clone(self._spec, self._data, weights, meta_loop, hits)
        zeroes = self._optimizer_at(meta_loop) is OptimizerMemory.ZEROED
        if hits.targets and self.moments is not None and zeroes:
            self.moments = self.moments.without(masks)
        return hits.targets

    def train_epoch(self, meta_loop: int) -> float:
        """Train for one epoch, with a fresh optimizer or its memory; return the mean loss."""
        spec, streams = self._spec.at(meta_loop), self._spec.streams(meta_loop)
        optimizer = fresh_adamw(self._model, spec)
        resets = self._optimizer_at(meta_loop) is OptimizerMemory.RESET
        if self.moments is not None and not resets:
            give_moments(self._model, optimizer, self.moments)
        loss = train_epoch(self._model, self._data.train, spec, streams, meta_loop, optimizer)
        self.moments = None if resets else take_moments(self._model, optimizer)
        return loss

    def score(self) -> int:
        """Count the correct validation samples."""
        return count_correct(self._model, self._data.validation)

    def keep(
        self, promotion: Promotion, kept: KeptStates[int] | None, score: int
    ) -> KeptStates[int]:
        """Judge the network, and keep a copy of its weights if the rule says so."""
        meta_loop = 1 if kept is None else kept.progress.meta_loop + 1
        most = most_rate(self._spec, self._data, meta_loop)
        return keep_states(promotion, kept, score, self._copy_weights, most_rate=most)

    def _copy_weights(self) -> Weights:
        return clone_weights(self._model)

    def _optimizer_at(self, meta_loop: int) -> OptimizerMemory:
        return get_mode(self._spec.mode).at(meta_loop).variation.optimizer


@dataclass(frozen=True, kw_only=True)
class Hits:
    """The neurons that a meta-loop hits, and the random stream as their choice left it."""

    targets: tuple[AblationTarget, ...] = ()
    rng: np.random.Generator | None = None


def choose_hits(
    spec: TrialSpec, data: Dataset, weights: Callable[[], Weights], meta_loop: int, *, rate: int
) -> Hits:
    """Choose the neurons that a meta-loop hits; none in a mode that hits none.

    Args:
        spec: The trial.
        data: Its data set.
        weights: Returns the network, which stays as it is; called where the choice has a rank.
        meta_loop: 1-based.
        rate: Number of neurons in an adaptive mode.
    """
    ablation = spec.at(meta_loop).ablation
    if ablation is None:
        return Hits()
    rng = spec.streams(meta_loop).ablation.generator(meta_loop)
    choice = get_mode(spec.mode).at(meta_loop).variation.targets
    values = None
    if choice.rank is not None:
        measured = _network(spec, data, torch.float64)
        assert isinstance(measured, SimpleMLP), "checked in the spec"
        values = neuron_values(choice.rank, weights(), measured, data.train)
    widths = _widths(spec, data)
    neurons = choose_neurons(ablation, choice, widths, rng=rng, rate=rate, values=values)
    targets = (target_at(ablation, widths, layer, neuron) for layer, neuron in neurons)
    return Hits(targets=tuple(targets), rng=rng)


def _widths(spec: TrialSpec, data: Dataset) -> tuple[int, ...]:
    """Neurons of every linear layer of a trial's network, the output layer last."""
    network = spec.training.network
    return spec.architecture.layer_sizes(data.n_inputs, data.n_classes, network)[1:]


def damage_clone(
    spec: TrialSpec, data: Dataset, weights: Weights, meta_loop: int, hits: Hits
) -> Masks:
    """Damage a clone of a trial's LKG in place; return the entries that were damaged.

    Args:
        spec: The trial.
        data: Its data set.
        weights: The clone.
        meta_loop: 1-based.
        hits: Neurons, as `choose_hits` chose them.
    """
    if hits.rng is None or not hits.targets:
        return {}

    def fresh() -> Weights:
        return initial_weights(spec, data, dtype=next(iter(weights.values())).dtype, draw=meta_loop)

    kind = get_mode(spec.mode).at(meta_loop).variation.damage
    return damage(weights, hits.targets, kind, rng=hits.rng, fresh=fresh)


def most_rate(spec: TrialSpec, data: Dataset, meta_loop: int) -> int:
    """Upper bound of a trial's adaptive rate; 1 where its mode has none."""
    targets = get_mode(spec.mode).at(meta_loop).variation.targets
    if not targets.adaptive:
        return 1
    return most_neurons(spec.at(meta_loop).ablation, targets, _widths(spec, data))


def meta_loops(
    spec: TrialSpec,
    data: Dataset,
    *,
    start: TrialState | None = None,
    dtype: torch.dtype = torch.float32,
    threads: int = 1,
    harm: bool = False,
) -> Iterator[tuple[MetaLoopRecord, TrialState]]:
    """Run the trial's meta-loops, yielding a record and the state after each.

    Args:
        spec: The trial; ``spec.meta_loops`` is the last meta-loop to run.
        data: Its data set, on the device to train on.
        start: Continue after this state instead of from a fresh network.
        dtype: Type of weights and activations.
        threads: Threads of torch inside this trainer; results can depend on it in the last bits.
        harm: Count every ablated clone on the validation split before its epoch, too.
    """
    candidate = TrialCandidate(spec, data, dtype, None if start is None else start.moments)
    kept, done = (None, 0) if start is None else (start.kept, start.meta_loop)
    for meta_loop in range(done + 1, spec.meta_loops + 1):
        promotion = get_mode(spec.mode).at(meta_loop).variation.promotion
        with exact_numerics(threads):
            outcome = one_meta_loop(candidate, kept, meta_loop, promotion=promotion, harm=harm)
        kept = outcome.kept
        yield (
            _record(outcome),
            TrialState(kept=kept, final_correct=outcome.score, moments=candidate.moments),
        )


def initial_weights(
    spec: TrialSpec, data: Dataset, *, dtype: torch.dtype = torch.float32, draw: int = 1
) -> Weights:
    """Draw a fresh network of a trial, on the CPU whatever device trains it.

    Args:
        spec: The trial.
        data: Its data set.
        dtype: Type of the weights.
        draw: Number of the draw: 1 for the network that the trial begins with, else the meta-loop
            that needs another.
    """
    model = _network(spec, data, dtype)
    stream = spec.streams().init
    key = (stream if draw == 1 else stream.child("again", draw)).key64
    generator = torch.Generator().manual_seed(key)
    initialise(model, generator=generator, law=spec.options.initialisation)
    return clone_weights(model)


def finish(spec: TrialSpec, data: Dataset, state: TrialState, *, threads: int = 1) -> TrialResult:
    """Test the best state once, at the end; the test split is never used for selection.

    It is the holder of the bounty, and the LKG as well under the paper's promotion rule.
    """
    best = state.best
    model = _network(spec, data, best.weights["layers.0.bias"].dtype).to(data.test.images.device)
    model.load_state_dict(dict(best.weights))
    with exact_numerics(threads):
        test_correct = count_correct(model, data.test)
    return TrialResult(
        meta_loops=state.meta_loop,
        peak_correct=best.bounty,
        peak_meta_loop=best.meta_loop,
        final_correct=state.final_correct,
        test_correct=test_correct,
    )


def _network(spec: TrialSpec, data: Dataset, dtype: torch.dtype) -> LinearStack:
    shape = spec.architecture, data.n_inputs, data.n_classes
    return make_network(spec.training, *shape, dtype=dtype)


def _record(outcome: MetaLoopOutcome[AblationTarget, int, KeptStates[int]]) -> MetaLoopRecord:
    first = outcome.targets[0] if outcome.targets else None
    return MetaLoopRecord(
        meta_loop=outcome.meta_loop,
        validation_correct=outcome.score,
        bounty=outcome.kept.progress.best.score,
        promoted=outcome.is_promoted,
        ablated_layer=first.layer if first else None,
        ablated_neuron=first.neuron if first else None,
        train_loss=outcome.train_loss,
        seconds=outcome.seconds,
        ablated_correct=outcome.damaged_score,
    )
