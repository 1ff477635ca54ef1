"""The user's own arrays: what is made of good ones, and one sentence for each kind of bad ones."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antifragile.config.specs.training import Normalization
from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset
from antifragile.errors import DataError

PIXELS = np.arange(20 * 6, dtype=np.uint8).reshape(20, 2, 3)
LABELS = np.arange(20) % 2
GOOD = {"images": PIXELS, "labels": LABELS}
PAIRS = {
    f"{which}_{what}": GOOD[what][part]
    for which, part in (
        ("train", slice(0, 12)),
        ("validation", slice(12, 15)),
        ("test", slice(15, 20)),
    )
    for what in GOOD
}


def load(path: Path, how: str = "unit", **arrays: object) -> Dataset:
    if arrays:
        np.savez(path, **arrays)
    return load_dataset(f"npz:{path}", normalization=Normalization(how))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.npz"


def test_a_pair_is_split_80_10_10_with_the_papers_seed(path: Path) -> None:
    dataset = load(path, **GOOD)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1337))
    expected = torch.from_numpy(PIXELS.reshape(20, 6).copy()).float() / 255
    assert [split.n_samples for _, split in dataset.splits()] == [16, 2, 2]
    images = torch.cat([split.images for _, split in dataset.splits()])
    assert torch.equal(images, expected[order])
    assert torch.cat([s.labels for _, s in dataset.splits()]).tolist() == (order % 2).tolist()
    assert (dataset.name, dataset.n_inputs, dataset.n_classes) == (f"npz:{path}", 6, 2)
    assert dataset.description == "arrays of mine.npz"


def test_explicit_pairs_are_taken_as_they_are(path: Path) -> None:
    dataset = load(path, **PAIRS, something_else=np.zeros(3))
    assert [split.n_samples for _, split in dataset.splits()] == [12, 3, 5]
    assert torch.equal(dataset.test.images[0] * 255, torch.arange(90.0, 96.0))


def test_floats_are_scaled_by_the_range_of_the_training_images(path: Path) -> None:
    arrays = {key: v.astype(float) if "images" in key else v for key, v in PAIRS.items()}
    dataset = load(path, **arrays)
    assert (float(dataset.train.images.min()), float(dataset.train.images.max())) == (0.0, 1.0)
    assert float(dataset.test.images.max()) == pytest.approx(119 / 71)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float16, np.int64, np.float64])
def test_standardize_centres_the_training_images(path: Path, dtype: type) -> None:
    dataset = load(path, "standardize", images=PIXELS.astype(dtype), labels=LABELS)
    assert float(dataset.train.images.mean()) == pytest.approx(0, abs=1e-6)
    assert float(dataset.train.images.std(correction=0)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("value", [0, 7, 0.1, -3.5])
def test_constant_images_have_sd_one(path: Path, value: float) -> None:
    dataset = load(path, "standardize", images=np.full((20, 4), value), labels=LABELS)
    assert dataset.sd == 1.0
    assert not dataset.train.images.any()


def test_a_class_without_samples_still_counts(path: Path) -> None:
    assert load(path, images=PIXELS, labels=LABELS * 5).n_classes == 6


def with_value(value: float) -> np.ndarray:
    images = PIXELS.astype(float)
    images[3, 1, 1] = value
    return images


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": PIXELS}, "lacks labels; it has images"),
        ({"x_train": PIXELS}, "lacks images, labels; it has x_train"),
        ({**PAIRS, "images": PIXELS}, "has both images and train_images, train_labels"),
        ({"train_images": PIXELS, "train_labels": LABELS}, "lacks validation_images, validation_"),
        ({**GOOD, "labels": LABELS[:-1]}, "images has 20 images and labels 19 labels"),
        ({**PAIRS, "test_labels": LABELS}, "test_images has 5 images and test_labels 20 labels"),
        ({**GOOD, "labels": LABELS * 1.0}, r"labels must be a \(N,\) array of integers; .*float64"),
        ({**GOOD, "labels": LABELS > 0}, "labels must be .* of integers; .* of bool"),
        ({**GOOD, "labels": LABELS[:, None]}, r"labels must be .* got shape \(20, 1\)"),
        ({**GOOD, "labels": LABELS - 1}, "labels must be 0..C-1; got -1"),
        ({**GOOD, "labels": LABELS * 0}, "has one class only"),
        ({**GOOD, "labels": LABELS * 10**15}, "has label 1000000000000000 among 20 samples"),
        ({**GOOD, "labels": LABELS.astype(np.uint64) * 2**63}, "has label 9223372036854775808 "),
        ({**GOOD, "labels": np.array(list("ab") * 10)}, "labels must be .* of <U1"),
        ({**GOOD, "images": PIXELS[:, 0, 0]}, r"images must have shape \(N, ...\).* got \(20,\)"),
        ({**GOOD, "images": PIXELS[:, :0]}, r"at least one value per image; got \(20, 0, 3\)"),
        ({**GOOD, "images": np.array(5)}, r"images must have shape \(N, ...\).* got \(\)"),
        ({**GOOD, "labels": np.array(5)}, r"labels must be .* got shape \(\)"),
        ({**GOOD, "images": PIXELS * 1j}, "images must be numbers; got complex128"),
        ({**GOOD, "images": PIXELS.astype(object)}, "images cannot be read .*not of objects"),
        ({**GOOD, "labels": LABELS.astype(object)}, "labels cannot be read .*not of objects"),
        ({**GOOD, "images": with_value(np.nan)}, "images has 1 values that are not finite"),
        ({**GOOD, "images": with_value(-np.inf)}, "images has 1 values that are not finite"),
        ({**GOOD, "images": with_value(1e305)}, "images has 1 values that are not finite"),
        ({"images": PIXELS[:9], "labels": LABELS[:9]}, "has 9 samples, expected at least 10"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, "has 0 samples, expected at least 10"),
        (
            {**PAIRS, "test_images": PIXELS[:0], "test_labels": LABELS[:0]},
            "the test split has no samples",
        ),
        ({**PAIRS, "test_images": PIXELS[:5, 0]}, "test_images has 3 values .* train_images 6"),
        ({**PAIRS, "test_images": PIXELS[:5] / 2}, "both be uint8 or both not"),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    arrays: dict[str, np.ndarray], message: str, path: Path
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(path, **arrays)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_held_out_values_far_from_the_training_range_are_refused(path: Path) -> None:
    arrays = {key: v / 255 if "images" in key else v for key, v in PAIRS.items()}
    arrays["validation_images"][0, 0, 0] = 1e9
    with pytest.raises(DataError, match=r"validation images have values more than 1,000,000 times"):
        load(path, **arrays)


def test_paths_that_are_no_npz_file_are_named(tmp_path: Path, path: Path) -> None:
    with pytest.raises(DataError, match=r"mine\.npz does not exist; expected a file of numpy"):
        load(path)
    with pytest.raises(DataError, match="is a folder; expected a file"):
        load(tmp_path)
    with pytest.raises(DataError, match="is a folder; expected a file"):
        load_dataset("npz:")
    with pytest.raises(DataError, match="does not exist"):
        load_dataset("npz:a\0b")
    np.save(tmp_path / "one.npy", PIXELS)
    with pytest.raises(DataError, match="holds a single array"):
        load(tmp_path / "one.npy")


def test_pickles_are_never_loaded(path: Path) -> None:
    path.write_bytes(b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00.")
    with pytest.raises(DataError, match="is not an npz file or is damaged"):
        load(path)


def test_a_member_that_is_no_array_is_named(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"text")
        archive.writestr("labels", b"text")
    with pytest.raises(DataError, match=r"images is not an array|images cannot be read"):
        load(path)


def test_a_header_that_claims_the_moon_is_refused(path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 1048576), }"
    start = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", start)
        archive.writestr("labels.npy", start)
    with pytest.raises(DataError, match="images cannot be read"):
        load(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, 1000), junk=st.binary(max_size=8), cut=st.booleans())
def test_damaged_files_give_a_data_set_or_a_data_error(
    at: int, junk: bytes, cut: bool, path: Path
) -> None:
    np.savez(path, **GOOD)
    good = path.read_bytes()
    at %= len(good)
    path.write_bytes(good[:at] + junk + (b"" if cut else good[at + len(junk) :]))
    message = ""
    try:
        load(path)
    except DataError as error:
        message = str(error)
    assert "\n" not in message
