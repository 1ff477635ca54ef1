"""The registry of named data sets, and the one function that loads any of them.

``mnist`` and ``fashion-mnist`` are verified files, found or downloaded; ``digits`` and ``tiny``
need no file; other packages can add more by entry points; ``npz:PATH`` is the user's own arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from antifragile._plugins import add_plugins
from antifragile.config.specs.training import Normalization
from antifragile.data import embedded, image_sets
from antifragile.data.files import Access
from antifragile.data.npz import PREFIX, load_npz
from antifragile.data.source import DatasetSource
from antifragile.data.splits import Dataset
from antifragile.errors import DataError, nearest

_SOURCES = {source.name: source for source in (*image_sets.SOURCES, *embedded.SOURCES)}


def dataset_sources() -> tuple[DatasetSource, ...]:
    """All registered data sets, in order of registration; those of plug-ins come last."""
    _add_plugins()
    return tuple(_SOURCES.values())


def _add_plugins() -> None:
    add_plugins("antifragile.datasets", DatasetSource, _SOURCES)


def load_dataset(
    name: str,
    *,
    data_dir: Path | None = None,
    normalization: Normalization = Normalization.STANDARDIZE,
    download: bool = True,
    progress: bool = False,
    mirrors: Sequence[str] | None = None,
) -> Dataset:
    """Load a data set by name.

    Args:
        name: A registered name, or ``npz:PATH``.
        data_dir: The first folder to look for files in, before ``$ANTIFRAGILE_DATA`` and the
            user's cache; downloads then go here instead of into the cache.
        normalization: The scale of pixels as inputs.
        download: Whether missing files may be downloaded.
        progress: Whether downloads show a bar on stderr.
        mirrors: Base addresses to download from instead of the publisher's, tried in order.

    Returns:
        Its three splits in memory, float32 images and int64 labels.

    Raises:
        DataError: Unknown, missing, truncated or corrupted.
        WorldError: A file or folder cannot be read or written.

    Example:
        >>> load_dataset("tiny").train.images.shape
        torch.Size([32, 16])
    """
    how = _parse_normalization(normalization)
    if name.startswith(PREFIX):
        return load_npz(name, normalization=how)
    if name not in _SOURCES:
        _add_plugins()
    if name not in _SOURCES:
        raise DataError(
            f"unknown data set {name!r}; {nearest(name, _SOURCES)} "
            f"Your own arrays are {PREFIX}PATH."
        )
    access = Access(
        data_dir=None if data_dir is None else Path(data_dir),
        download=download,
        progress=progress,
        mirrors=None if mirrors is None else tuple(mirrors),
    )
    return _SOURCES[name].load(access, how)


def _parse_normalization(text: str) -> Normalization:
    try:
        return Normalization(text)
    except ValueError:
        raise DataError(
            f"unknown normalization {text!r}; {nearest(str(text), map(str, Normalization))}"
        ) from None
