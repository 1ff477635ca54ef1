"""Every case, in one list."""

from __future__ import annotations

from tests.model.units.cases.attention import ATTENTION
from tests.model.units.cases.convolutions import CONVOLUTIONS
from tests.model.units.cases.image_blocks import IMAGE_BLOCKS
from tests.model.units.cases.language_models import LANGUAGE_MODELS
from tests.model.units.cases.mlps import MLPS
from tests.model.units.cases.normed_streams import NORMED_STREAMS
from tests.model.units.cases.products import PRODUCTS
from tests.model.units.cases.recurrent import RECURRENT
from tests.model.units.cases.residual_mlps import RESIDUAL_MLPS
from tests.model.units.cases.shared_weights import SHARED_WEIGHTS
from tests.model.units.cases.skips import SKIPS
from tests.model.units.expected import Case

CASES: list[Case] = [
    *MLPS,
    *CONVOLUTIONS,
    *SKIPS,
    *RESIDUAL_MLPS,
    *NORMED_STREAMS,
    *IMAGE_BLOCKS,
    *ATTENTION,
    *LANGUAGE_MODELS,
    *PRODUCTS,
    *RECURRENT,
    *SHARED_WEIGHTS,
]
