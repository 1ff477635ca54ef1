"""Where the four files are looked for, what happens to bad ones, and the real MNIST."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.data import random_split

from antifragile.config.specs.study import StudySpec
from antifragile.config.specs.training import Normalization
from antifragile.data import datasets, image_sets
from antifragile.data.datasets import load_dataset
from antifragile.data.files import Access
from antifragile.data.image_sets import FASHION_MNIST, MNIST, is_present, load_image_set
from antifragile.data.splits import Dataset
from antifragile.errors import DataError, WorldError
from antifragile.study.runner import run_study
from tests.data.data_fakes import Mini, Server

Serve = Callable[..., Server]
UNIT = Normalization.UNIT


def load(mini: Mini, data_dir: Path | None = None, **options: object) -> Dataset:
    access = Access(data_dir=data_dir, **{"download": False, **options})
    return load_image_set(mini.image_set, access=access, normalization=UNIT)


def test_the_training_file_is_cut_as_random_split_cuts_it(mini: Mini, tmp_path: Path) -> None:
    dataset = load(mini, mini.write(tmp_path / "mini"))
    generator = torch.Generator().manual_seed(1337)
    pixels = torch.from_numpy(mini.arrays["train-images"]).flatten(1).float() / 255
    for split, part in zip(
        (dataset.train, dataset.validation),
        random_split(range(60), [50, 10], generator=generator),
        strict=True,
    ):
        assert torch.equal(split.images, pixels[list(part.indices)])
        assert split.labels.tolist() == [i % 10 for i in part.indices]
    assert dataset.test.labels.tolist() == list(range(10))


def test_standardize_uses_the_published_constants(mini: Mini, tmp_path: Path) -> None:
    access = Access(data_dir=mini.write(tmp_path))
    how = Normalization.STANDARDIZE
    dataset = load_image_set(mini.image_set, access=access, normalization=how)
    assert (dataset.mean, dataset.sd) == (0.5, 0.25)
    assert torch.equal(dataset.test.images, (load(mini, tmp_path).test.images - 0.5) / 0.25)


@pytest.mark.parametrize("inside", ["mini", "."])
@pytest.mark.parametrize("origin", ["data_dir", "environment", "cache"])
def test_files_are_found_in_every_place(
    inside: str,
    origin: str,
    mini: Mini,
    tmp_path: Path,
    user_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = user_cache if origin == "cache" else tmp_path / "place"
    mini.write(place / inside)
    if origin == "environment":
        monkeypatch.setenv("ANTIFRAGILE_DATA", str(place))
    assert load(mini, place if origin == "data_dir" else tmp_path / "empty").test.n_samples == 10


def test_each_file_falls_through_to_the_next_place(
    mini: Mini, tmp_path: Path, user_cache: Path
) -> None:
    mini.write(tmp_path / "some", leave_out=("train-labels.gz",))
    mini.write(user_cache / "mini", leave_out=("train-images.gz",))
    assert load(mini, tmp_path / "some").train.n_samples == 50


def test_uncompressed_files_do_as_well(mini: Mini, tmp_path: Path) -> None:
    for name, content in mini.contents.items():
        (tmp_path / name).write_bytes(content)
    assert load(mini, tmp_path).train.n_samples == 50


def test_missing_files_are_named_with_the_folder_to_put_them_in(
    mini: Mini, tmp_path: Path, user_cache: Path
) -> None:
    mini.write(tmp_path, leave_out=("train-labels.gz", "test-labels.gz"))
    with pytest.raises(DataError) as caught:
        load(mini, tmp_path)
    assert str(caught.value) == (
        "data set 'mini' lacks 2 of its 4 files: downloading is switched off. Put "
        f"train-labels.gz, test-labels.gz into {tmp_path / 'mini'}; "
        f"looked in {tmp_path}, {user_cache}."
    )
    assert not user_cache.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: good[:-5],
        lambda good: b"",
        lambda good: b"\x1f\x8b" + good[5:],
        lambda good: good[:20] + bytes([good[20] ^ 1]) + good[21:],
        lambda good: Mini(seed=9).archives["train-images.gz"],
    ],
)
def test_a_corrupted_file_is_named_and_never_replaced(
    damage: Callable[[bytes], bytes], mini: Mini, serve: Serve, tmp_path: Path
) -> None:
    path = mini.write(tmp_path / "mini") / "train-images.gz"
    bad = damage(path.read_bytes())
    path.write_bytes(bad)
    server = serve(mini.archives)
    with pytest.raises(DataError) as caught:
        load(mini, tmp_path, download=True, mirrors=(server.url,))
    message = str(caught.value)
    assert message.startswith(f"{path} is corrupted")
    assert mini.image_set.files[0].content_sha256 in message
    assert "sha256" in message.split("expected")[0]
    assert "delete it or put a fresh copy in its place" in message
    assert path.read_bytes() == bad
    assert server.asked == []


def test_missing_files_are_downloaded_once_into_the_cache(
    mini: Mini, serve: Serve, tmp_path: Path, user_cache: Path
) -> None:
    server = serve(mini.archives)
    for _ in range(2):
        load(mini, download=True, mirrors=(server.url,))
    assert sorted(server.asked) == sorted(f"/{name}" for name in mini.archives)
    assert sorted(p.name for p in (user_cache / "mini").iterdir()) == sorted(mini.archives)


def test_downloads_go_into_data_dir_when_one_is_given(
    mini: Mini, serve: Serve, tmp_path: Path, user_cache: Path
) -> None:
    mini.write(tmp_path / "d", leave_out=("test-labels.gz",))
    server = serve(mini.archives)
    load(mini, tmp_path / "d", download=True, mirrors=(server.url,))
    assert server.asked == ["/test-labels.gz"]
    assert (tmp_path / "d" / "mini" / "test-labels.gz").is_file()
    assert not user_cache.exists()


def test_a_failed_download_says_what_to_do_by_hand(
    mini: Mini, serve: Serve, tmp_path: Path
) -> None:
    server = serve({"train-images.gz": mini.archives["train-images.gz"]})
    with pytest.raises(DataError) as caught:
        load(mini, tmp_path, download=True, mirrors=(server.url,))
    message = str(caught.value)
    assert "lacks 3 of its 4 files: cannot download train-labels.gz" in message
    assert "answered 404" in message
    assert f"Put train-labels.gz, test-images.gz, test-labels.gz into {tmp_path}/mini" in message
    assert len(server.asked) == 2  # the first file that no mirror has ends it


def test_a_data_dir_that_is_a_file_is_refused(
    mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(DataError, match=r"data_dir is the file .*expected the folder"):
        load(mini, file)
    monkeypatch.setenv("ANTIFRAGILE_DATA", str(file))
    with pytest.raises(DataError, match=r"\$ANTIFRAGILE_DATA is the file"):
        load(mini)


def test_an_unreadable_file_is_the_worlds_fault(
    mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    mini.write(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read anything, so pretend
    with pytest.raises(WorldError, match=r"cannot read .*train-images.gz: Permission denied"):
        load(mini, tmp_path)


def test_files_of_equal_names_outside_of_a_folder_are_told_apart(
    mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Mini(seed=1, name="other")
    object.__setattr__(other.image_set, "is_default_owner", False)
    monkeypatch.setattr(image_sets, "IMAGE_SETS", (mini.image_set, other.image_set))
    mini.write(tmp_path / "minis")
    other.write(tmp_path / "others")
    assert not is_present(other.image_set, Access(data_dir=tmp_path / "minis"))
    assert is_present(other.image_set, Access(data_dir=tmp_path / "others"))
    assert not is_present(mini.image_set, Access(data_dir=tmp_path / "others"))
    (tmp_path / "others" / "train-images.gz").write_bytes(b"neither")
    with pytest.raises(DataError, match="is corrupted"):
        is_present(mini.image_set, Access(data_dir=tmp_path / "others"))


def test_fashion_mnist_is_never_mistaken_for_mnist(mnist_dir: Path, tmp_path: Path) -> None:
    source = mnist_dir / "mnist" if (mnist_dir / "mnist").is_dir() else mnist_dir
    found = next(source.glob("t10k-labels-idx1-ubyte*"))
    (tmp_path / "fashion-mnist").mkdir()
    (tmp_path / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(found.read_bytes())
    with pytest.raises(DataError, match=r"corrupted or another file: got .*, expected 0402a96d"):
        FASHION_MNIST.files[3].read_path(tmp_path / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(DataError, match=r"'fashion-mnist' lacks 4 of its 4 files"):
        load_dataset("fashion-mnist", data_dir=source, download=False)


def test_a_study_of_fashion_mnist_downloads_it_once(
    mini: Mini, serve: Serve, user_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registered set with a miniature's files and a mirror on this machine."""
    server = serve(mini.archives)
    small = replace(
        FASHION_MNIST, files=mini.image_set.files, n_validation=10, mirrors=(server.url,)
    )
    registered = datasets._SOURCES["fashion-mnist"]
    source = replace(
        registered, load=partial(load_image_set, small), is_present=partial(is_present, small)
    )
    monkeypatch.setitem(datasets._SOURCES, "fashion-mnist", source)
    spec = StudySpec.from_mapping(
        {
            "name": "clothes",
            "dataset": "fashion-mnist",
            "architectures": ["1*4"],
            "modes": ["none", "full"],
            "trials": 1,
            "meta_loops": 2,
        }
    )
    for name in ("first.db", "second.db"):
        assert run_study(spec, store=str(tmp_path / name)).n_run == 2
    assert sorted(server.asked) == sorted(f"/{name}" for name in mini.archives)
    assert {path.name for path in (user_cache / "fashion-mnist").iterdir()} == {*mini.archives}


def test_published_sets_know_their_files() -> None:
    for image_set in (MNIST, FASHION_MNIST):
        assert [file.archive_name for file in image_set.files] == [
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            "t10k-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
        ]
        assert [file.shape[0] for file in image_set.files] == [60000, 60000, 10000, 10000]
    sums = [file.content_sha256 for image_set in (MNIST, FASHION_MNIST) for file in image_set.files]
    assert len({*sums}) == 8
    assert all(re.fullmatch("[0-9a-f]{64}", text) for text in sums)


def test_real_mnist_has_the_papers_splits_and_zero_r(mnist_dir: Path) -> None:
    dataset = load_dataset("mnist", data_dir=mnist_dir, download=False)
    assert [split.images.shape for _, split in dataset.splits()] == [
        (50000, 784),
        (10000, 784),
        (10000, 784),
    ]
    assert [split.zero_r_correct for _, split in dataset.splits()] == [5640, 1102, 1135]
    assert [round(split.zero_r, 2) for _, split in dataset.splits()] == [11.28, 11.02, 11.35]
    assert (dataset.n_inputs, dataset.n_classes) == (784, 10)
    assert float(dataset.train.images.min()) == pytest.approx((0 - 0.1307) / 0.3081)
    assert float(dataset.train.images.max()) == pytest.approx((1 - 0.1307) / 0.3081)
    assert dataset.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
