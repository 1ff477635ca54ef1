"""One registry of named data sets, and the one way to load any of them.

``mnist`` and ``fashion-mnist`` are verified files, found or downloaded; ``digits`` and ``tiny``
need no file; ``npz:PATH`` is the user's own arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from antifragile.config.run import Normalization
from antifragile.data.embedded import DIGITS_SUMMARY, TINY_SUMMARY, load_digits, load_tiny
from antifragile.data.files import Access
from antifragile.data.image_sets import IMAGE_SETS, is_present, load_image_set
from antifragile.data.npz import PREFIX, load_npz
from antifragile.data.splits import Dataset
from antifragile.errors import DataError, nearest


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """A named data set before it is loaded.

    Args:
        name: What users write.
        summary: One line about it.
        load: Called as ``load(access=..., normalization=...)``.
        is_present: Whether loading needs no download; raises like `load` on corrupted files.
    """

    name: str
    summary: str
    load: Callable[..., Dataset]
    is_present: Callable[[Access], bool]


_SOURCES: dict[str, DatasetSource] = {}


def register_dataset(source: DatasetSource) -> DatasetSource:
    """Add a data set under its name; a second one of the same name is our own mistake."""
    assert source.name not in _SOURCES, f"data set {source.name!r} is registered twice"
    assert not source.name.startswith(PREFIX), f"{PREFIX} is for files"
    _SOURCES[source.name] = source
    return source


def dataset_sources() -> tuple[DatasetSource, ...]:
    """All registered data sets, in order of registration."""
    return tuple(_SOURCES.values())


def dataset_names() -> tuple[str, ...]:
    """Their names."""
    return tuple(_SOURCES)


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
        normalization: How pixels become inputs.
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
    return _SOURCES[name].load(access=access, normalization=how)


def _parse_normalization(text: str) -> Normalization:
    try:
        return Normalization(text)
    except ValueError:
        raise DataError(
            f"unknown normalization {text!r}; {nearest(str(text), map(str, Normalization))}"
        ) from None


def _without_files(load: Callable[[Normalization], Dataset]) -> Callable[..., Dataset]:
    def load_it(*, access: Access, normalization: Normalization) -> Dataset:
        return load(normalization)

    return load_it


for _image_set in IMAGE_SETS:
    register_dataset(
        DatasetSource(
            name=_image_set.name,
            summary=_image_set.summary,
            load=partial(load_image_set, _image_set),
            is_present=partial(is_present, _image_set),
        )
    )
for _name, _summary, _load in (
    ("digits", DIGITS_SUMMARY, load_digits),
    ("tiny", TINY_SUMMARY, load_tiny),
):
    register_dataset(
        DatasetSource(
            name=_name, summary=_summary, load=_without_files(_load), is_present=lambda _: True
        )
    )
