"""The data: the pixels of a folder, the cache, what is said when there is none, and augmentation against a search by hand."""

import io
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from labml_ws.experiment import cifar10
from labml_ws.experiment.cifar10 import (
    Images,
    augment,
    channel_stats,
    loader,
    normalize,
)
from labml_ws.experiment.decoding import DataError

# How the hub data set describes its columns, inside its parquet files.
SCHEMA = (
    '{"info": {"features": {"img": {"_type": "Image"}, "label": {"names": ["airplane", "automobile", "bird", "cat", "deer", '
    '"dog", "frog", "horse", "ship", "truck"], "_type": "ClassLabel"}}}}'
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own for each test, and no network for any."""
    called = []

    def connect(_: socket.socket, address: Any) -> None:
        called.append(address)
        raise ConnectionError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    yield tmp_path / "cache" / "labml_ws"
    assert called == []


def unreachable(*_: Any, **__: Any) -> Any:
    raise ConnectionError("Couldn't reach the Hub\nand this goes on for many lines")


def pixels(count: int, seed: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def png(array: np.ndarray) -> bytes:
    Image.fromarray(array).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def write_split(
    path: Path,
    images: np.ndarray,
    labels: list[int],
    column: str = "img",
    metadata: dict[str, str] | None = None,
) -> None:
    rows = [{"bytes": png(image), "path": f"{i}.png"} for i, image in enumerate(images)]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([(column, struct), ("label", pa.int64())], metadata=metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table([pa.array(rows, struct), pa.array(labels, pa.int64())], schema=schema), path
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three training images in two files, two test images, in the hub's schema and under the hub's names."""
    path = tmp_path / "tiny"
    train, test = pixels(3, seed=0), pixels(2, seed=1)
    write_split(
        path / "train-00000-of-00002.parquet",
        train[:2],
        [3, 1],
        metadata={"huggingface": SCHEMA},
    )
    write_split(
        path / "train-00001-of-00002.parquet", train[2:], [9], metadata={"huggingface": SCHEMA}
    )
    write_split(
        path / "test-00000-of-00001.parquet", test, [0, 5], metadata={"huggingface": SCHEMA}
    )
    return path


def fail(*_: Any, **__: Any) -> Any:
    raise AssertionError("must not be called")


def same(a: Images, b: Images) -> bool:
    return all(
        torch.equal(getattr(a, key), getattr(b, key))
        for key in ("train_x", "train_y", "test_x", "test_y")
    )


# A folder of parquet files


def test_a_folder_gives_the_very_pixels_and_labels_that_were_written(folder: Path) -> None:
    images = cifar10.load(str(folder))
    for x, written in ((images.train_x, pixels(3, seed=0)), (images.test_x, pixels(2, seed=1))):
        assert x.dtype == torch.uint8
        assert np.array_equal(x.permute(0, 2, 3, 1).numpy(), written)
    assert images.train_y.dtype == images.test_y.dtype == torch.int64
    assert (images.train_y.tolist(), images.test_y.tolist()) == ([3, 1, 9], [0, 5])


def test_a_folder_is_named_in_the_source_without_its_place_on_the_disk(folder: Path) -> None:
    assert cifar10.load(str(folder)).source == "folder tiny"


def test_photographs_may_be_flipped(folder: Path) -> None:
    assert cifar10.load(str(folder)).flip


def test_grey_images_become_three_equal_channels(tmp_path: Path) -> None:
    grey = pixels(2, seed=0)[..., 0]
    for split in ("train", "test"):
        write_split(
            tmp_path / "grey" / f"{split}.parquet",
            grey,
            [0, 1],
            metadata={"huggingface": SCHEMA},
        )
    x = cifar10.load(str(tmp_path / "grey")).train_x
    assert all(np.array_equal(x[:, c].numpy(), grey) for c in range(3))


def test_a_folder_whose_files_do_not_say_that_img_is_an_image_gives_the_same(
    folder: Path, tmp_path: Path
) -> None:
    for split, count, seed, labels in (("train", 3, 0, [3, 1, 9]), ("test", 2, 1, [0, 5])):
        write_split(tmp_path / "bare" / f"{split}.parquet", pixels(count, seed), labels)
    assert same(cifar10.load(str(tmp_path / "bare")), cifar10.load(str(folder)))


def test_the_second_time_nothing_is_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cifar10.load(str(folder))
    monkeypatch.setattr(cifar10, "decode", fail)
    assert same(cifar10.load(str(folder)), first)


def test_without_its_cache_the_second_time_decodes_again(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # That the test above can fail.
    cifar10.load(str(folder))
    for file in cache.iterdir():
        file.unlink()
    monkeypatch.setattr(cifar10, "decode", fail)
    with pytest.raises(AssertionError, match="must not be called"):
        cifar10.load(str(folder))


def test_changed_files_are_not_answered_from_the_old_cache(folder: Path) -> None:
    before = cifar10.load(str(folder))
    write_split(
        folder / "test-00000-of-00001.parquet",
        pixels(4, seed=2),
        [1, 2, 3, 4],
        metadata={"huggingface": SCHEMA},
    )
    after = cifar10.load(str(folder))
    assert after.test_y.tolist() == [1, 2, 3, 4]
    assert before.fingerprint != after.fingerprint


def test_a_save_that_fails_leaves_nothing_behind_and_the_next_load_works(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(tensors: dict[str, Tensor], path: Path, *_: Any) -> None:
        Path(path).write_bytes(b"half a file")
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(safetensors.torch, "save_file", interrupted)
        with pytest.raises(OSError, match="No space left"):
            cifar10.load(str(folder))
    assert list(cache.iterdir()) == []
    assert len(cifar10.load(str(folder)).train_y) == 3
    assert [file.suffix for file in cache.iterdir()] == [".safetensors"]


def test_the_cache_is_written_under_another_name_and_then_renamed(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, names = safetensors.torch.save_file, []

    def watched(tensors: dict[str, Tensor], path: Path, *more: Any) -> None:
        save(tensors, path, *more)
        names.extend(file.suffix for file in cache.iterdir())

    monkeypatch.setattr(safetensors.torch, "save_file", watched)
    cifar10.load(str(folder))
    assert len(names) == 1
    assert names[0] != ".safetensors"


# What is said when the data cannot be had


def sentence(call: Callable[[], Any]) -> str:
    """The error's message, which must be a single line."""
    with pytest.raises(DataError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("split", "found"), [("train", "test"), ("test", "train")])
def test_a_missing_split_is_named_by_its_pattern(folder: Path, split: str, found: str) -> None:
    for file in folder.glob(f"{split}*"):
        file.unlink()
    message = sentence(lambda: cifar10.load(str(folder)))
    assert f"expected train*.parquet and test*.parquet in {folder}" in message
    assert "--data" in message


def test_a_folder_that_does_not_exist_is_named_with_what_to_pass_instead(
    tmp_path: Path,
) -> None:
    message = sentence(lambda: cifar10.load(str(tmp_path / "nowhere")))
    assert f"{tmp_path / 'nowhere'}, found neither" in message
    assert "--data digits" in message


def test_other_columns_are_listed_beside_the_expected_ones(folder: Path) -> None:
    for split in ("train", "test"):
        for file in folder.glob(f"{split}*"):
            file.unlink()
        write_split(folder / f"{split}.parquet", pixels(2, seed=0), [0, 1], column="image")
    message = sentence(lambda: cifar10.load(str(folder)))
    assert "expected the columns img and label" in message
    assert "['image', 'label']" in message


def test_images_of_another_size_are_refused_by_their_size(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_split(
            tmp_path / f"{split}.parquet",
            pixels(2, 0, size=16),
            [0, 1],
            metadata={"huggingface": SCHEMA},
        )
    assert "32x32 pixels" in (message := sentence(lambda: cifar10.load(str(tmp_path))))
    assert "got 16x16" in message


def test_a_file_that_is_not_parquet_says_what_to_pass_instead(folder: Path) -> None:
    (folder / "test-00000-of-00001.parquet").write_bytes(b"not parquet at all")
    message = sentence(lambda: cifar10.load(str(folder)))
    assert f"could not read {folder}/test-00000-of-00001.parquet: it is damaged" in message
    assert "download it again" in message


def test_the_hub_without_a_network_names_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    message = sentence(lambda: cifar10.load("hub"))
    assert cifar10.HUB in message
    assert "--data DIR" in message
    assert "--data digits" in message


def test_a_hub_that_does_not_answer_is_not_asked_again_and_the_cache_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached, offline = cifar10.load_folder(str(folder)), []
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
    monkeypatch.setattr(
        datasets,
        "load_dataset",
        lambda _: offline.append(datasets.config.HF_HUB_OFFLINE) or cached,
    )
    assert cifar10.load().train_y.tolist() == [3, 1, 9]
    assert offline == [True]
    assert datasets.config.HF_HUB_OFFLINE is False


def test_the_hub_in_offline_mode_names_both_ways_out() -> None:
    message = sentence(cifar10.load)
    assert "--data DIR" in message
    assert "--data digits" in message


def test_the_hub_is_asked_for_cifar10_and_named_as_the_source(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        split: [str(file) for file in sorted(folder.glob(f"{split}*"))]
        for split in ("train", "test")
    }
    splits, asked = datasets.load_dataset("parquet", data_files=files), []
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, **_: asked.append(name) or splits
    )
    images = cifar10.load()
    assert asked == ["uoft-cs/cifar10"]
    assert images.source == "uoft-cs/cifar10 on the Hugging Face hub"
    assert images.train_y.tolist() == [3, 1, 9]


@pytest.mark.parametrize("offline", [True, False])
def test_asking_the_hub_in_vain_does_not_change_the_callers_offline_setting(
    offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    sentence(cifar10.load)
    assert datasets.config.HF_HUB_OFFLINE is offline


# Digits


def test_digits_are_1797_images_of_the_size_and_type_of_cifar10() -> None:
    images = cifar10.load("digits")
    assert len(images.train_y) + len(images.test_y) == 1797
    for x, y in ((images.train_x, images.train_y), (images.test_x, images.test_y)):
        assert (x.dtype, y.dtype) == (torch.uint8, torch.int64)
        assert x.shape == (len(y), 3, 32, 32)
        assert sorted(set(y.tolist())) == list(range(10))


def test_every_fifth_digit_is_for_testing_and_none_is_lost() -> None:
    from sklearn.datasets import load_digits

    raw, images = load_digits(), cifar10.load("digits")
    assert images.test_y.tolist() == raw.target[::5].tolist()
    assert images.train_y.tolist() == [
        label for i, label in enumerate(raw.target.tolist()) if i % 5
    ]
    # Averaging 4x4 pixels takes an enlarged image back to where it came from, but for its blur.
    small = F.avg_pool2d(images.test_x[:, 0].float() / 255 * 16, 4).numpy()
    for image, target in zip(small, raw.images[::5], strict=True):
        assert np.corrcoef(image.ravel(), target.ravel())[0, 1] > 0.9


def test_digits_are_the_same_every_time() -> None:
    first, second = cifar10.load("digits"), cifar10.load("digits")
    assert same(first, second)
    assert first.fingerprint == second.fingerprint


def test_digits_may_not_be_flipped() -> None:
    assert cifar10.load("digits").flip is False


def test_digits_need_neither_the_hub_nor_a_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", fail)
    cifar10.load("digits")
    assert not cache.exists()


@pytest.mark.parametrize("field", ["train_x", "train_y", "test_x", "test_y"])
def test_the_fingerprint_notices_a_single_changed_value(field: str) -> None:
    def images(change: int) -> Images:
        tensors = {
            "train_x": torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
            "train_y": torch.zeros(2, dtype=torch.int64),
            "test_x": torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
            "test_y": torch.zeros(2, dtype=torch.int64),
        }
        tensors[field].view(-1)[-1] += change
        return Images(**tensors, source="here")

    assert images(0).fingerprint == images(0).fingerprint != images(1).fingerprint


# Statistics


def test_channel_stats_are_the_float64_mean_and_standard_deviation() -> None:
    x = torch.from_numpy(pixels(7, seed=3)).permute(0, 3, 1, 2).contiguous()
    x[:, 1] //= 3
    mean, std = channel_stats(x)
    values = x.numpy().astype(np.float64) / 255
    assert mean.shape == std.shape == (3, 1, 1)
    np.testing.assert_allclose(mean.flatten(), values.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std.flatten(), values.std((0, 2, 3)), rtol=1e-6)


def test_normalized_images_have_mean_zero_and_variance_one_per_color() -> None:
    x = torch.from_numpy(pixels(7, seed=3)).permute(0, 3, 1, 2).contiguous()
    normalized = normalize(x, *channel_stats(x))
    assert normalized.dtype == torch.float32
    torch.testing.assert_close(normalized.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        normalized.var((0, 2, 3), correction=0), torch.ones(3), rtol=1e-5, atol=0
    )


# Augmentation


def candidates(image: Tensor, padding: int) -> Iterator[tuple[tuple[int, int, bool], Tensor]]:
    """Every crop of the padded image, mirrored or not, cut out with plain slices."""
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 2 * padding, width + 2 * padding)
    padded[:, padding : padding + height, padding : padding + width] = image
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[:, top : top + height, left : left + width]
            yield (top, left, False), crop
            yield (
                (top, left, True),
                torch.stack([crop[:, :, width - 1 - w] for w in range(width)], dim=2),
            )


def found(x: Tensor, augmented: Tensor, padding: int) -> list[tuple[int, int, bool]]:
    """For each image, the one crop that it became."""
    choices = []
    for image, result in zip(x, augmented, strict=True):
        matches = [
            choice for choice, crop in candidates(image, padding) if torch.equal(crop, result)
        ]
        assert len(matches) == 1
        choices += matches
    return choices


def noise(batch: int, height: int = 6, width: int = 5) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("padding", [0, 1, 4])
def test_each_augmented_image_is_a_crop_of_that_image_padded_with_zeros(padding: int) -> None:
    x = noise(20)
    assert len(found(x, augment(x, seeded(), padding), padding)) == 20


def test_all_crops_and_both_directions_are_drawn_about_equally_often() -> None:
    x = noise(600)
    choices = found(x, augment(x, seeded(), padding=2), padding=2)
    for place in (0, 1):
        counts = np.bincount([choice[place] for choice in choices], minlength=5)
        assert counts.min() > 80  # of 120 expected
    assert 240 < sum(choice[2] for choice in choices) < 360


def test_height_and_width_are_drawn_independently() -> None:
    x = noise(600)
    tops, lefts, flips = np.array(found(x, augment(x, seeded(), padding=2), padding=2)).T
    assert np.abs(np.corrcoef([tops, lefts, flips])[np.triu_indices(3, 1)]).max() < 0.15


def test_without_flip_no_image_is_mirrored() -> None:
    x = noise(100)
    assert not any(
        choice[2] for choice in found(x, augment(x, seeded(), padding=2, flip=False), padding=2)
    )


def test_the_same_seed_augments_alike_and_another_does_not() -> None:
    x = noise(20)
    assert torch.equal(augment(x, seeded(1)), augment(x, seeded(1)))
    assert not torch.equal(augment(x, seeded(1)), augment(x, seeded(2)))


def test_augmentation_draws_from_its_own_generator_only_and_leaves_the_images_alone() -> None:
    x, state = noise(20), torch.get_rng_state()
    result = augment(x, seeded())
    assert torch.equal(x, noise(20))
    assert torch.equal(state, torch.get_rng_state())
    assert result.is_contiguous()


# Batches


def epoch(seed: int | None, count: int = 20, batch_size: int = 6) -> list[list[int]]:
    y = torch.arange(count)
    return [labels.tolist() for _, labels in loader(torch.zeros(count, 1), y, batch_size, seed)]


def test_an_image_stays_with_its_label() -> None:
    y = torch.arange(20)
    for images, labels in loader(y[:, None] * 10, y, 6, seed=0):
        assert torch.equal(images[:, 0], labels * 10)


def test_the_same_seed_gives_the_same_batches_and_another_does_not() -> None:
    assert epoch(seed=1) == epoch(seed=1) != epoch(seed=2)


def test_the_order_depends_on_nothing_else_that_used_random_numbers() -> None:
    first = epoch(seed=1)
    torch.manual_seed(123)
    random.seed(5)
    np.random.seed(5)
    torch.rand(7)
    assert epoch(seed=1) == first


def test_a_seeded_epoch_is_shuffled_anew_each_time_and_made_of_full_batches() -> None:
    batches = loader(torch.zeros(20, 1), torch.arange(20), 6, seed=1)
    first, second = ([labels.tolist() for _, labels in batches] for _ in range(2))
    assert first != second
    assert [len(labels) for labels in first] == [6, 6, 6]
    assert len({label for labels in first for label in labels}) == 18


def test_without_a_seed_every_image_comes_once_in_order() -> None:
    assert epoch(seed=None) == [
        list(range(6)),
        list(range(6, 12)),
        list(range(12, 18)),
        [18, 19],
    ]


def test_a_batch_is_taken_with_one_index_and_not_image_by_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cifar10.Batches, "__getitem__", fail)
    assert len(epoch(seed=1)) == 3


def test_a_single_image_can_be_looked_up() -> None:
    x, y = cifar10.Batches(torch.arange(8).reshape(4, 2), torch.arange(4))[2]
    assert (x.tolist(), y.item()) == ([4, 5], 2)
