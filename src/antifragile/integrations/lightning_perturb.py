"""The callback of Lightning's Trainer that perturbs the update equation; found in `lightning`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from antifragile.errors import UsageError
from antifragile.integrations.first_call import part_named
from antifragile.integrations.perturbation import SHARDED, PerturbCallback
from antifragile.optim.attach.saving import HandleState
from antifragile.optim.attach.selection import parameters_of
from antifragile.optim.rules import Rule

_STRATEGIES = ("FSDP", "DeepSpeed", "ModelParallel")


class LightningPerturb(PerturbCallback):
    """Callback of Lightning's Trainer that perturbs the update equation.

    It perturbs the optimizer that ``configure_optimizers`` returned from the start of ``fit`` to
    its end, also an end by an exception. Validations, checkpoints and weight averages see clean
    weights. The perturbation is in the trainer's own checkpoints, so that ``fit(ckpt_path=...)``
    goes on exactly; a second ``fit`` by the same trainer goes on as well.

    The exact presets ``sam`` and ``asam`` need automatic optimisation, whose step has a closure,
    without accumulation.

    Args:
        *rules: Rules, tuples of them, or presets, as `antifragile.perturb` takes them.
        seed: Seed of the noise; None derives it from `torch.initial_seed`.
        per_rank: Whether every process draws its own noise.
        network: Name of the part of the module that is called first, as in ``"encoder"``; by
            default calls of the module and of its direct parts count.
        optimizer: Number of the optimizer, where ``configure_optimizers`` returns several.

    Raises:
        MissingExtraError: Lightning is not installed.
        UsageError: Something is no rule.
    """

    _package, _base, _extra = "lightning.pytorch", "Callback", "lightning"

    def __init__(
        self,
        *rules: Rule | Sequence[Rule],
        seed: int | None = None,
        per_rank: bool = False,
        network: str | None = None,
        optimizer: int | None = None,
    ) -> None:
        super().__init__(*rules, seed=seed, per_rank=per_rank, network=network)
        self._optimizer = optimizer
        self._saved: dict[str, Any] | None = None  # of a training that has ended
        self._resting = ExitStack()

    @property
    def state_key(self) -> str:
        """Name of this callback's state in a checkpoint, one for each optimizer."""
        return type(self).__name__ + ("" if self._optimizer is None else f"{self._optimizer}")

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Refuse, before anything is trained, what cannot work."""
        if stage != "fit":
            return
        if trainer.global_step == 0 or trainer.ckpt_path is not None:
            self._saved = None  # that of another training
        if is_sharded(trainer):
            raise UsageError(SHARDED.format(f"strategy {type(trainer.strategy).__name__}"))
        accumulates = trainer.accumulate_grad_batches
        if self._takes_second_gradients and accumulates > 1:
            raise UsageError(
                "an exact SAM rule takes the whole gradient twice, and accumulate_grad_batches="
                f"{accumulates} spreads it over batches; use sam_lagged or asam_lagged, or larger "
                "batches."
            )

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Perturb the optimizer, before it loads its part of a checkpoint."""
        optimizer = self._chosen(trainer.optimizers)
        if self._network is None:
            trained = {id(p) for p in parameters_of(optimizer)}
            called = (pl_module, *_parts_with(trained, pl_module))
        else:
            called = (part_named(pl_module, self._network),)
        self._attach(optimizer, pl_module, called)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Go on from a training that had ended when the checkpoint was saved, or just now."""
        saved, self._saved = self._saved, None
        if saved is not None and self.handle is not None:
            self.handle.load_state_dict(HandleState(saved))

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep weights and inputs clean while StochasticWeightAveraging updates batch norms."""
        if trainer.fit_loop._skip_backward and self.handle is not None:
            self._resting.enter_context(self.handle.clean())

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Give clean weights to those who average or swap them for the validation."""
        if self.handle is not None:
            self.handle.rest()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Give clean weights to whoever acts at the end of an epoch."""
        self._resting.close()
        if self.handle is not None:
            self.handle.rest()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Leave clean weights."""
        self.remove()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave clean weights."""
        self.remove()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave clean weights where nothing was trained, as with ``max_epochs=0``."""
        self.remove()

    def remove(self) -> None:
        """End the perturbation and leave clean weights; once more changes nothing."""
        self._resting.close()
        if self.handle is not None and self._saved is None:  # else training did not begin
            self._saved = dict(self.handle.state_dict())
        super().remove()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of a training that has ended.

        Before that the perturbation is in the optimizer's part of the checkpoint.
        """
        return {} if self._saved is None else {"ended": self._saved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what the trainer's checkpoint held of this callback."""
        self._saved = state_dict["ended"]

    def _chosen(self, optimizers: Sequence[torch.optim.Optimizer]) -> torch.optim.Optimizer:
        number, many = self._optimizer, len(optimizers)
        if many == 0:
            raise UsageError(
                "configure_optimizers returned no optimizer to perturb; let it return one, or take "
                "Perturb out of callbacks=."
            )
        if number is None and many > 1:
            raise UsageError(
                f"configure_optimizers returned {many} optimizers; say which is perturbed, as in "
                "Perturb(..., optimizer=0), and give each of the others a Perturb of its own."
            )
        if number is not None and not 0 <= number < many:
            raise UsageError(
                f"optimizer={number}, and configure_optimizers returned {many}; expected 0 to "
                f"{many - 1}."
            )
        return optimizers[number or 0]

    def _kept_by_copies(self) -> dict[str, Any]:
        return {**super()._kept_by_copies(), "_resting": ExitStack()}


def _parts_with(parameters: set[int], module: nn.Module) -> Iterator[nn.Module]:
    """List a module's direct parts that have some of the parameters; containers are opened."""
    for part in module.children():
        if isinstance(part, nn.ModuleList | nn.ModuleDict):
            yield from _parts_with(parameters, part)
        elif any(id(p) in parameters and p.requires_grad for p in part.parameters()):
            yield part


def is_sharded(trainer: Any) -> bool:
    """Whether a trainer's strategy shards the model over processes."""
    strategy = type(trainer.strategy).__name__
    return any(name in strategy for name in _STRATEGIES)
