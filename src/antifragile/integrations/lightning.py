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
from typing import Any

from antifragile.engine.frustration.saving import (
    PackedEngine,
    SavedEngine,
    restore_saved_generators,
    unpack_engine,
)
from antifragile.errors import CheckpointError, UsageError
from antifragile.integrations.callback import FrustrationCallback
from antifragile.integrations.lightning_perturb import LightningPerturb, is_sharded

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
        if is_sharded(trainer):
            raise UsageError(
                f"strategy {type(trainer.strategy).__name__} shards the model over processes, "
                "where no process holds a unit whole; use strategy='ddp', or a single process."
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


Perturb = LightningPerturb


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
