"""One trial of a study: the paper's network and training recipe, meta-loop by meta-loop.

Everything after meta-loop n is a function of the state at n and the trial's streams, which is
why a trial can stop and go on anywhere.

Source: PSA paper, section II, and its released code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from antifragile.config.run import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.epoch import count_correct, exact_numerics, train_epoch
from antifragile.engine.loop import MetaLoopOutcome, one_meta_loop
from antifragile.engine.policies import LastKnownGood
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.model.networks import LinearStack, Weights, clone_weights, initialise
from antifragile.model.neurons import AblationTarget, ablate, choose_target
from antifragile.model.resmlp import make_network


@dataclass(frozen=True, kw_only=True)
class TrialState:
    """The state of a trial after a meta-loop: all that is needed to go on."""

    meta_loop: int
    lkg: LastKnownGood[int]
    final_correct: int

    def on(self, device: str) -> TrialState:
        """Return the same state with its weights on another device."""
        weights = {name: value.to(device) for name, value in self.lkg.weights.items()}
        return replace(self, lkg=replace(self.lkg, weights=weights))


class TrialCandidate:
    """The network that a trial's meta-loops damage and train.

    Args:
        spec: The trial.
        data: Its data set, on the device to train on.
        dtype: Type of weights and activations.
    """

    def __init__(self, spec: TrialSpec, data: Dataset, dtype: torch.dtype) -> None:
        self._spec, self._data, self._streams = spec, data, spec.streams()
        self._ablation = spec.ablation
        self._model = _network(spec, data, dtype).to(data.train.images.device)

    def initialise(self) -> None:
        """Load the trial's fresh network."""
        self.load(initial_weights(self._spec, self._data, dtype=self._model.dtype))

    def load(self, weights: Weights) -> None:
        """Load a clone of these weights."""
        self._model.load_state_dict(dict(weights))

    @torch.no_grad()
    def damage(self, meta_loop: int) -> AblationTarget | None:
        """Ablate one neuron in a PSA mode."""
        if self._ablation is None:
            return None
        rng = self._streams.ablation.generator(meta_loop)
        target = choose_target(self._ablation, self._model.sizes, rng=rng)
        ablate(dict(self._model.named_parameters()), target)
        return target

    def train_epoch(self, meta_loop: int) -> float:
        """Train for one epoch with a fresh optimizer; return the mean loss in nats."""
        return train_epoch(self._model, self._data.train, self._spec, self._streams, meta_loop)

    def score(self) -> int:
        """Count the correct validation samples."""
        return count_correct(self._model, self._data.validation)

    def copy_weights(self) -> Weights:
        """Copy the weights."""
        return clone_weights(self._model)


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
    candidate = TrialCandidate(spec, data, dtype)
    lkg, done = (None, 0) if start is None else (start.lkg, start.meta_loop)
    for meta_loop in range(done + 1, spec.meta_loops + 1):
        with exact_numerics(threads):
            outcome = one_meta_loop(candidate, lkg, meta_loop, harm=harm)
        lkg = outcome.lkg
        yield (
            _record(outcome),
            TrialState(meta_loop=meta_loop, lkg=lkg, final_correct=outcome.score),
        )


def initial_weights(
    spec: TrialSpec, data: Dataset, *, dtype: torch.dtype = torch.float32
) -> Weights:
    """Draw the trial's fresh network, on the CPU whatever device trains it."""
    model = _network(spec, data, dtype)
    generator = torch.Generator().manual_seed(spec.streams().init.key64)
    initialise(model, generator=generator, law=spec.training.initialisation)
    return clone_weights(model)


def finish(spec: TrialSpec, data: Dataset, state: TrialState, *, threads: int = 1) -> TrialResult:
    """Test the LKG once, at the end; the test split is never used for selection."""
    dtype = state.lkg.weights["layers.0.bias"].dtype
    model = _network(spec, data, dtype).to(data.test.images.device)
    model.load_state_dict(dict(state.lkg.weights))
    with exact_numerics(threads):
        test_correct = count_correct(model, data.test)
    return TrialResult(
        meta_loops=state.meta_loop,
        peak_correct=state.lkg.bounty,
        peak_meta_loop=state.lkg.meta_loop,
        final_correct=state.final_correct,
        test_correct=test_correct,
    )


def _network(spec: TrialSpec, data: Dataset, dtype: torch.dtype) -> LinearStack:
    shape = spec.architecture, data.n_inputs, data.n_classes
    return make_network(spec.training, *shape, dtype=dtype)


def _record(outcome: MetaLoopOutcome[AblationTarget, int]) -> MetaLoopRecord:
    return MetaLoopRecord(
        meta_loop=outcome.meta_loop,
        validation_correct=outcome.score,
        bounty=outcome.lkg.bounty,
        promoted=outcome.is_promoted,
        ablated_layer=outcome.target.layer if outcome.target else None,
        ablated_neuron=outcome.target.neuron if outcome.target else None,
        train_loss=outcome.train_loss,
        seconds=outcome.seconds,
        ablated_correct=outcome.damaged_score,
    )
