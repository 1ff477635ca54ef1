"""Modes with modifiers that together use every modifier: run by engine, fleet and checkpoints."""

from __future__ import annotations

from antifragile.config.modifiers.table import MODIFIERS

WITHOUT_MEMORY = (
    "hidden+patience=2",
    "none+patience=1x1",
    "dropout+always-accept",
    "hidden+restart=3",
    "full+count=3",
    "hidden+fraction=0.4+layers=0",
    "hidden+adaptive",
    "full+layers=0*3/1*1",
    "hidden+fixed=1/0",
    "hidden+least-magnitude",
    "full+most-magnitude+count=2",
    "hidden+least-activation",
    "full+most-activation",
    "hidden+least-gradient",
    "output+most-gradient",
    "hidden+dormant+reinit",
    "hidden+noise+patience=1",
    "output+reinit",
    "hidden+scattered+count=2",
    "dropout:2,hidden+patience=1:3,output:2",
    "decay:1,none+restart=2:4,hidden+always-accept:1",
)
WITH_MEMORY = (
    "none+continuous",
    "hidden+persistent",
    "dropout+persistent+restart=3",
    "hidden+persistent-zeroed+count=2",
    "full+patience=1+persistent-zeroed+scattered",
    "none:2,none+persistent:3,hidden+persistent-zeroed:2",
    "hidden+patience=1+persistent",
)
ONE_FLEET = WITHOUT_MEMORY + WITH_MEMORY
FLEETS_OF_THEIR_OWN = (
    "hidden+patience=2+learning-rate=0.02",
    "output+restart=2+initialisation=he",
    "none+learning-rate=0.02:2,hidden+learning-rate=0.02:3",
)
VARIANTS = ONE_FLEET + FLEETS_OF_THEIR_OWN
ENGINE_ONLY = (
    "redo+every=3",
    "redo+every=4+continuous",
    "snr",
    "snr+continuous",
    "hidden:2,snr:4",
    "hidden:2,redo+every=3:3,none:1",
    "none+learning-rate=0.02:2,hidden:3",
    "redo+every=3+initialisation=he",
    "sam+patience=1+persistent",
    "none:2,annealed_gradient_noise+persistent:3",
)


def unused_modifiers() -> set[str]:
    """Modifiers that no mode of the list has."""
    words = {
        word.partition("=")[0].partition(":")[0]
        for name in (*VARIANTS, *ENGINE_ONLY)
        for stretch in name.split(",")
        for word in stretch.split("+")[1:]
    }
    return {name for name, modifier in MODIFIERS.items() if not modifier.default} - words
