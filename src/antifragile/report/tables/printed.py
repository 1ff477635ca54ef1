"""The winners that can be read in the printed Table V, to compare with computed ones.

Its text copy breaks off in the L*4 family; the architectures after that have no entry.
"""

from __future__ import annotations

from collections.abc import Mapping

_ALL = "none decay dropout full hidden output"
_BY_WINNER = {
    "decay": "1*2048 1*4 2*30 2*16 4*29 4*17 9*9 3*3",
    "none": "1*1024 1*16 1*8 2*8 2*4 22*22 15*15 425*4",
    "dropout": "1*512 1*256 1*128 1*64 1*32 1*2 2*939 2*588 2*354 2*214 2*115 2*59 4*632 4*425 "
    "4*280 4*185 4*119 4*76 4*47 2*2 632*4",
    "full": "20*20 1*1",
    "hidden": "27*27 17*17",
    "output": "44*44 32*32 30*30 29*29 28*28 26*26 24*24 23*23 21*21 19*19 18*18 16*16 14*14 "
    "13*13 12*12 11*11 10*10 8*8 7*7 6*6 5*5 4*4",
    "none output": "25*25",
    "full output": "35*35",
    "hidden output": "31*31",
    "none decay dropout full output": "56*56",
    _ALL: "115*115 91*91 71*71",
}

PRINTED_WINNERS: Mapping[str, tuple[str, ...]] = {
    architecture: tuple(winners.split())
    for winners, architectures in _BY_WINNER.items()
    for architecture in architectures.split()
}
"""Architecture to the mode or modes of the Winner column. Source: PSA paper, table V."""
