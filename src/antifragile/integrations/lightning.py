"""Callbacks of Lightning's Trainer: the meta-loop, and perturbed update equations.

One epoch is one meta-loop:

    from antifragile.integrations.lightning import LightningFrustration
    frustration = LightningFrustration(monitor="val_acc", mode="hidden", seed=0)
    trainer = Trainer(max_epochs=20, callbacks=[frustration])

Noise in the trainer's optimizer:

    from antifragile.integrations.lightning import Perturb
    trainer = Trainer(max_epochs=20, callbacks=[Perturb(presets.msam(), seed=0)])

Source: PSA paper, section II.D.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from antifragile.engine.frustration.saving import (
    PackedEngine,
    SavedEngine,
    restore_saved_generators,
    unpack_engine,
)
from antifragile.errors import CheckpointError, UsageError
from antifragile.integrations.callback import FrustrationCallback
from antifragile.integrations.first_call import part_named
from antifragile.integrations.perturbation import SHARDED, PerturbCallback
from antifragile.optim.attach.saving import HandleState
from antifragile.optim.attach.selection import parameters_of
from antifragile.optim.rules import Rule

_SHARDED = ("FSDP", "DeepSpeed", "ModelParallel")
_AVERAGING = ("StochasticWeightAveraging", "WeightAveraging", "EMAWeightAveraging")
_SOURCE = "the checkpoint's state of LightningFrustration"


class LightningFrustration(FrustrationCallback):
    """Callback of Lightning's Trainer that runs Persistent Stochastic Ablation.

    From the second epoch on, each begins with the last known good state (LKG), in which a unit is
    zeroed where the mode says so; at the validation that ends the epoch the candidate is judged by
    ``monitor``; after the last one the bounty's holder is loaded into the model. Learning-rate
    schedules, step counts and logs go on. Everything that the next epochs depend on is in the
    trainer's own checkpoints, with the random generators' states, so that
    ``fit(ckpt_path=...)`` goes on exactly.

    The bounty, and whether the candidate was promoted and how many units were hit, are logged as
    ``frustration/bounty``, ``frustration/promoted`` and ``frustration/ablated``.

    Args are those of `FrustrationCallback`.

    Source: PSA paper, section II.D.
    """

    _package, _base, _extra, _parts = "lightning.pytorch", "Callback", "lightning", True
    _saved: SavedEngine | None = None
    _resumed: SavedEngine | None = None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Refuse, before anything is trained, what cannot work."""
        if stage != "fit":
            return
        strategy = type(trainer.strategy).__name__
        if any(name in strategy for name in _SHARDED):
            raise UsageError(
                f"strategy {strategy} shards the model over processes, where no process holds a "
                "unit whole; use strategy='ddp', or a single process."
            )
        for callback in trainer.callbacks:
            if type(callback).__name__ in _AVERAGING:
                raise UsageError(
                    f"{type(callback).__name__} and LightningFrustration both decide the final "
                    "weights; take one of them out of callbacks=."
                )

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the loop around the module, which is on its device now."""
        saved, self._saved = self._saved, None
        if saved is None and self._loop is not None and trainer.current_epoch > 0:
            saved = unpack_engine(self._loop.pack(), _SOURCE)  # fit was called once more
        self._start(pl_module, trainer.optimizers, saved)
        self._resumed = saved if trainer.world_size == 1 else None
        self._restore_generators()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse a trainer without a validation after each epoch, or one that is ahead of us."""
        _check_validation(trainer)
        if trainer.current_epoch > 0 and not (self._running().has_best or self._running().is_open):
            raise CheckpointError(
                "the checkpoint was made without LightningFrustration, so no last known good state "
                "is known; resume one that was made with it, or load the weights alone."
            )

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a meta-loop."""
        self._resumed = None
        loop = self._running()
        if loop.is_open:
            raise UsageError(
                f"epoch {trainer.current_epoch} ended without a validation after its last batch; "
                "validate at the end of every epoch, as with val_check_interval=1.0."
            )
        loop.begin()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Judge the candidate, if this validation ends the epoch."""
        loop = self._running()
        ends = trainer.is_last_batch or trainer.should_stop
        if trainer.sanity_checking or not loop.is_open or not ends:
            return
        if self.monitor not in trainer.callback_metrics:
            raise UsageError(
                f"no metric {self.monitor!r} was logged in the validation; log it there, as with "
                f"self.log({self.monitor!r}, ...); logged were: "
                f"{', '.join(sorted(trainer.callback_metrics)) or 'none'}."
            )
        loop.judge(trainer.callback_metrics[self.monitor], self.monitor)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log what was decided."""
        self._restore_generators()
        if not self.records or self._running().is_open:
            return
        record = self.records[-1]
        logged = {
            "frustration/bounty": record.bounty,
            "frustration/promoted": float(record.promoted),
            "frustration/ablated": float(len(record.ablated)),
        }
        pl_module.log_dict(logged, sync_dist=trainer.world_size > 1)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Load the bounty's holder."""
        self._finish()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave no hooks on the module; `best` still loads the bounty's holder."""
        if self._loop is not None:
            self._loop.close()

    def state_dict(self) -> dict[str, Any]:
        """Return what the trainer's checkpoint holds of this callback."""
        if self._loop is None:
            return {}
        packed = self._loop.pack()
        return {"header": json.dumps(packed.header), "tensors": dict(packed.tensors)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what the trainer's checkpoint held of this callback.

        Raises:
            CheckpointError: It is something else.
        """
        header, tensors = json.loads(state_dict["header"]), state_dict["tensors"]
        self._saved = unpack_engine(PackedEngine(header, tensors), _SOURCE)

    def _restore_generators(self) -> None:
        """Set the random generators to where they were when the checkpoint was saved.

        Twice, since Lightning draws the order of a first, unused epoch if the checkpoint was saved
        before the end of its own.
        """
        if self._resumed is not None:
            restore_saved_generators(self._resumed)


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
        _check_is_whole(trainer)
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


Perturb = LightningPerturb


def _parts_with(parameters: set[int], module: nn.Module) -> Iterator[nn.Module]:
    """List a module's direct parts that have some of the parameters; containers are opened."""
    for part in module.children():
        if isinstance(part, nn.ModuleList | nn.ModuleDict):
            yield from _parts_with(parameters, part)
        elif any(id(p) in parameters and p.requires_grad for p in part.parameters()):
            yield part


def _check_is_whole(trainer: Any) -> None:
    strategy = type(trainer.strategy).__name__
    if any(name in strategy for name in _SHARDED):
        raise UsageError(SHARDED.format(f"strategy {strategy}"))


def _check_validation(trainer: Any) -> None:
    if not trainer.enable_validation:
        raise UsageError(
            "the trainer validates nothing, so no candidate can be judged; give val_dataloaders "
            "and a validation_step, and no limit_val_batches=0."
        )
    if trainer.check_val_every_n_epoch != 1:
        raise UsageError(
            f"the trainer has check_val_every_n_epoch={trainer.check_val_every_n_epoch}, and every "
            "epoch's candidate is to be judged; use check_val_every_n_epoch=1."
        )
