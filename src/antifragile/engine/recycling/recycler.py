"""The renewal of neurons within an epoch, in the modes that do so."""

from __future__ import annotations

import torch
from torch import Tensor

from antifragile.config.modes import Recycling, get_mode
from antifragile.config.seeds import TrialStreams
from antifragile.config.specs.trial import TrialSpec
from antifragile.engine.recycling.choices import SilenceTest, dormant_neurons
from antifragile.engine.recycling.renewal import hidden_activations, renew_neurons
from antifragile.model.networks import LinearStack, SimpleMLP


class Recycler:
    """Draws neurons anew after the updates of one epoch; does nothing in most modes.

    Args:
        spec: The trial.
        streams: Its random streams at this meta-loop.
        model: The network.
        optimizer: Its AdamW.
        n_batches: Batches of the epoch.
    """

    def __init__(
        self,
        spec: TrialSpec,
        streams: TrialStreams,
        model: LinearStack,
        optimizer: torch.optim.Optimizer,
        n_batches: int,
    ) -> None:
        self._mode, self._stream = get_mode(spec.mode), streams.ablation
        self._law = spec.options.initialisation
        self._model, self._optimizer = model, optimizer
        is_tested = self._mode.recycling is Recycling.SILENT
        self._test = SilenceTest(model.sizes[1:-1], n_batches) if is_tested else None

    def after(self, update: int, images: Tensor) -> None:
        """Renew neurons after an update (1-based, over all meta-loops) on a batch (B, Nin)."""
        every = self._mode.recycle_every
        if self._mode.recycling is None or (every is not None and update % every):
            return
        assert isinstance(self._model, SimpleMLP), "checked in the spec"
        activations = hidden_activations(self._model, images)
        test = self._test
        chosen = dormant_neurons(activations) if test is None else test.silent_neurons(activations)
        stream = self._stream.child("recycled", update)
        renew_neurons(self._model, self._optimizer, chosen, stream=stream, law=self._law)
