"""The Frustration Engine: one readable meta-loop of Persistent Stochastic Ablation.

    lkg = a freshly initialised network, trained for one epoch
    repeat:
        candidate = clone(lkg)
        in a PSA mode: zero one random neuron of the candidate
        train the candidate for one epoch with a fresh optimizer
        if it beats the bounty on the validation split: lkg = candidate

The LKG itself is never ablated, so damage stays only if it was survived. Meta-loop 1 trains the
fresh initialisation un-ablated and is always promoted (the released code's behaviour).

Everything after meta-loop n is a function of the state at n and the trial's streams, which is
why a trial can stop and go on anywhere.

Source: PSA paper, section II.D and Fig. 4.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from antifragile.config.modes import get_mode
from antifragile.config.run import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.epoch import count_correct, exact_numerics, train_epoch
from antifragile.engine.policies import LastKnownGood, next_lkg
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.model.networks import SimpleMLP, Weights, clone_weights, initialise
from antifragile.model.neurons import AblationTarget, ablate, choose_target


@dataclass(frozen=True, kw_only=True)
class TrialState:
    """The state of a trial after a meta-loop: all that is needed to go on."""

    meta_loop: int
    lkg: LastKnownGood
    final_correct: int

    def on(self, device: str) -> TrialState:
        """Return the same state with its weights on another device."""
        weights = {name: value.to(device) for name, value in self.lkg.weights.items()}
        return replace(self, lkg=replace(self.lkg, weights=weights))


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
    model = SimpleMLP(spec.architecture, data.n_inputs, data.n_classes, dtype=dtype)
    model.to(data.train.images.device)
    state = start
    first = 1 if start is None else start.meta_loop + 1
    for meta_loop in range(first, spec.meta_loops + 1):
        with exact_numerics(threads):
            record, state = _one_meta_loop(model, spec, data, state, meta_loop, harm=harm)
        yield record, state


def initial_weights(
    spec: TrialSpec, data: Dataset, *, dtype: torch.dtype = torch.float32
) -> Weights:
    """Draw the trial's fresh network, on the CPU whatever device trains it."""
    model = SimpleMLP(spec.architecture, data.n_inputs, data.n_classes, dtype=dtype)
    initialise(model, generator=torch.Generator().manual_seed(spec.streams().init.key64))
    return clone_weights(model)


def finish(spec: TrialSpec, data: Dataset, state: TrialState, *, threads: int = 1) -> TrialResult:
    """Test the LKG once, at the end; the test split is never used for selection."""
    dtype = state.lkg.weights["layers.0.bias"].dtype
    model = SimpleMLP(spec.architecture, data.n_inputs, data.n_classes, dtype=dtype)
    model.to(data.test.images.device)
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


def _one_meta_loop(
    model: SimpleMLP,
    spec: TrialSpec,
    data: Dataset,
    state: TrialState | None,
    meta_loop: int,
    *,
    harm: bool,
) -> tuple[MetaLoopRecord, TrialState]:
    started = time.perf_counter()
    streams = spec.streams()
    target = None
    if state is None:
        model.load_state_dict(dict(initial_weights(spec, data, dtype=model.dtype)))
    else:
        target = _load_damaged(model, spec, data, state.lkg, meta_loop)
    ablated = count_correct(model, data.validation) if harm and target else None
    train_loss = train_epoch(model, data.train, spec, streams, meta_loop)
    correct = count_correct(model, data.validation)
    candidate = LastKnownGood(weights=clone_weights(model), bounty=correct, meta_loop=meta_loop)
    lkg = next_lkg(state.lkg if state else None, candidate)
    record = MetaLoopRecord(
        meta_loop=meta_loop,
        validation_correct=correct,
        bounty=lkg.bounty,
        promoted=lkg is candidate,
        ablated_layer=target.layer if target else None,
        ablated_neuron=target.neuron if target else None,
        train_loss=train_loss,
        seconds=time.perf_counter() - started,
        ablated_correct=ablated,
    )
    return record, TrialState(meta_loop=meta_loop, lkg=lkg, final_correct=correct)


def _load_damaged(
    model: SimpleMLP, spec: TrialSpec, data: Dataset, lkg: LastKnownGood, meta_loop: int
) -> AblationTarget | None:
    """Load the LKG into the model, with one neuron ablated in a PSA mode."""
    ablation = get_mode(spec.mode).ablation
    weights, target = lkg.weights, None
    if ablation is not None:
        sizes = spec.architecture.layer_sizes(data.n_inputs, data.n_classes)
        rng = spec.streams().ablation.generator(meta_loop)
        target = choose_target(ablation, sizes, rng=rng)
        weights = ablate(weights, target)
    model.load_state_dict(dict(weights))
    return target
