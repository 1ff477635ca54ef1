"""The handle of a perturbed optimizer: clean weights, metrics, state, and removal.

It joins the core (`perturbed_optimizer.py`) with the hooks that drive it (`hooks/step.py`,
`hooks/model.py`, `saving.py`). The optimizer stays the object it was, and so does the training
loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from antifragile.errors import UsageError
from antifragile.optim.attach.clean_weights import TransientWeights
from antifragile.optim.attach.hooks.copies import CleanCopies
from antifragile.optim.attach.hooks.model import hook_model
from antifragile.optim.attach.hooks.others import WeightClaim
from antifragile.optim.attach.hooks.step import StepHooks
from antifragile.optim.attach.metrics import metrics_of
from antifragile.optim.attach.perturbed_optimizer import PerturbedOptimizer
from antifragile.optim.attach.saving import HandleState, StateHooks, load

HANDLE = "_antifragile_handle"
"""The attribute of an optimizer that holds its handle."""


class Handle:
    """The object that `perturb` returns.

    Args:
        core: The perturbed optimizer. Its hooks are registered here.
        called: Modules whose calls are the model's forwards; by default the model itself.
    """

    def __init__(self, core: PerturbedOptimizer, called: Sequence[nn.Module] = ()) -> None:
        self._core = core
        model = core.model if core.acts_in_forwards else None
        on_model = [] if model is None else hook_model(core, model, called)
        on_weights = [CleanCopies(core), WeightClaim(core)]
        self._hooks: list[Any] = [
            *StepHooks(core).hooks,
            *StateHooks(core).hooks,
            *on_model,
            *on_weights,
        ]
        setattr(core.optimizer, HANDLE, self)

    @property
    def step_number(self) -> int:
        """Number of the present step, 0-based."""
        return self._core.step_number

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the noise, one per replica."""
        return self._core.seeds

    @property
    def weights(self) -> TransientWeights:
        """The parameters as the next gradient sees them, and their clean values."""
        self._core.put_in()
        return self._core.weights

    def clean(self) -> AbstractContextManager[None]:
        """Keep the weights clean inside a ``with`` block; put the same perturbation back after."""
        return self._core.clean()

    def rest(self) -> None:
        """Bring the clean weights back until the next forward in training mode.

        Raises:
            UsageError: The handle does not know the model, or weights were written while the
                perturbation was in.
        """
        if self._core.model is None:
            raise UsageError("rest() needs the model; pass model= to perturb(), or use clean().")
        self._core.enter_evaluation()

    def remove(self) -> None:
        """Bring the clean weights back and take every hook away; once more changes nothing."""
        self._core.remove()
        for hook in self._hooks:
            hook.remove()
        if getattr(self._core.optimizer, HANDLE, None) is self:
            delattr(self._core.optimizer, HANDLE)

    detach = remove

    def update_bn(self, loader: Iterable[Any], device: int | torch.device | None = None) -> None:
        """Measure the statistics of batch norms anew, with clean weights and inputs.

        Those of training are of perturbed weights, and may be far from the clean ones'.

        Args:
            loader: Batches of training data, as `torch.optim.swa_utils.update_bn` takes them.
            device: Where the batches are sent before the forward; None leaves them.

        Raises:
            UsageError: The handle does not know the model.
        """
        model = self._core.model
        if model is None:
            raise UsageError("update_bn needs the model; pass model= to perturb().")
        with self.clean():
            update_bn(loader, model, device=device)

    def metrics(self) -> list[dict[str, Any]]:
        """Measure what each rule adds at present.

        Returns:
            One dict per rule: ``where``, ``scale`` (its value), ``noise_norm``, ``gradient_norm``
            (of the last step; None before the first step after the first call), ``ratio`` of the
            two, ``controller`` (its state). Numbers, or (R,) tensors with replicas.
        """
        self._core.tracks = True
        return [metrics_of(self._core, attached) for attached in self._core.attached]

    def state_dict(self) -> HandleState:
        """Collect everything that a resumed run needs; also part of ``optimizer.state_dict()``."""
        return HandleState.of(self._core)

    def load_state_dict(self, state: HandleState) -> None:
        """Continue from a saved state; the optimizer's own state must have been loaded before.

        Raises:
            CheckpointError: The state is of other rules, parameters or replicas, or the weights
                were saved with the perturbation in them.
        """
        load(self._core, state)
