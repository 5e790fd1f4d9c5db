"""The user's own data: pictures of every kind, folders, tar shards, emoji, and the CIFAR-10 script."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import json
import os
import sys
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import CIFAR10

from growclip_lite import torchvision_fix
from growclip_lite.__main__ import main
from growclip_lite.data import emoji
from growclip_lite.data.folder import load_folder, read_captions
from growclip_lite.data.pictures import read_picture, to_pixels
from growclip_lite.data.records import Record, _assign_steps_by_amount, _class_steps, learn_templates
from growclip_lite.data.shards import load_shards
from growclip_lite.data.stream import fill
from growclip_lite.errors import InputError
from growclip_lite.profiles import get_profile
from growclip_lite.studies.jobs import setting_of

REPOSITORY = Path(__file__).parent.parent
SIZE = 8


def encoded(picture: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8))


def make_folder(folder: Path, rows: list[dict[str, str]], pictures: dict[str, bytes] | None = None) -> Path:
    """A folder with captions.csv; pictures that `pictures` does not give are noise."""
    folder.mkdir(parents=True)
    for number, image in enumerate(sorted({row["image"] for row in rows if row["image"]})):
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        (folder / image).write_bytes((pictures or {}).get(image) or encoded(noise(number)))
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    return folder


def make_rows(count: int = 40, **columns) -> list[dict[str, str]]:
    """Distinct pairs; a column is a fixed text or a function of the row's number."""
    values = {name: value if callable(value) else lambda i, value=value: value for name, value in columns.items()}
    return [
        {"image": f"pictures/{i}.png", "caption": f"thing number {i}"} | {name: str(f(i)) for name, f in values.items()}
        for i in range(count)
    ]


def in_one_step(count: int = 40, **columns) -> list[dict[str, str]]:
    return make_rows(count, step="1", **columns)


def captions_of(parts: list) -> set[str]:
    return {caption for part in parts for caption in part.captions}


# Pictures

RED = (255, 0, 0)
CLEAR_RED = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
PALETTE = Image.new("RGB", (4, 4), RED).quantize(4)
CLEAR_PALETTE = Image.open(io.BytesIO(encoded(PALETTE, transparency=PALETTE.getpixel((0, 0)))))
DEEP = Image.fromarray(np.full((4, 4), 32768, np.uint16))


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        pytest.param(Image.new("RGB", (4, 4), RED), RED, id="RGB"),
        pytest.param(Image.new("RGB", (1, 1), RED), RED, id="one pixel"),
        pytest.param(Image.new("RGB", (1, 3000), RED), RED, id="very long"),
        pytest.param(Image.new("L", (4, 4), 100), (100, 100, 100), id="grey"),
        pytest.param(Image.new("1", (4, 4), 1), (255, 255, 255), id="1 bit"),
        pytest.param(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), RED, id="CMYK"),
        pytest.param(PALETTE, RED, id="palette"),
        pytest.param(CLEAR_PALETTE, (255, 255, 255), id="palette with transparency"),
        pytest.param(CLEAR_RED, (255, 255, 255), id="RGBA"),
        pytest.param(Image.new("RGBA", (4, 4), (255, 0, 0, 128)), (255, 127, 127), id="half transparent"),
        pytest.param(Image.new("LA", (4, 4), (0, 0)), (255, 255, 255), id="LA"),
        pytest.param(DEEP, (128, 128, 128), id="16 bit"),
        pytest.param(Image.new("I", (4, 4), 32768), (128, 128, 128), id="I with 16 bits"),
        pytest.param(Image.new("I", (4, 4), 200), (200, 200, 200), id="I with 8 bits"),
        pytest.param(Image.new("F", (4, 4), 0.5), (128, 128, 128), id="F up to 1"),
        pytest.param(Image.new("F", (4, 4), 200.0), (200, 200, 200), id="F up to 255"),
    ],
)
def test_every_mode_becomes_rgb(picture: Image.Image, expected: tuple[int, int, int]):
    pixels = to_pixels(picture, SIZE)
    assert pixels.shape == (3, SIZE, SIZE) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int).mean(axis=(1, 2)) - expected).max() < 2


def test_files_of_every_format_are_read(tmp_path: Path):
    for name, data in {
        "cmyk.jpg": encoded(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG"),
        "deep.png": encoded(DEEP),
        "palette.gif": encoded(PALETTE, "GIF"),
        "picture.webp": encoded(Image.new("RGB", (9, 9), RED), "WEBP"),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert np.array_equal(read_picture(tmp_path / name, SIZE), read_picture(data, SIZE))


def test_exif_orientation_is_applied():
    picture = Image.new("RGB", (4, 4), "white")
    picture.paste("black", (0, 0, 2, 4))  # left half
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned a quarter to the right: left becomes top
    pixels = read_picture(encoded(picture, exif=turned), 4)
    assert pixels[:, :2].max() == 0 and pixels[:, 2:].min() == 255


def test_the_centre_is_kept():
    picture = Image.new("RGB", (30, 10), "white")
    picture.paste("black", (10, 0, 20, 10))
    assert to_pixels(picture, 5)[:, :, 1:-1].max() == 0 and to_pixels(picture, 5).max() < 30


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "not a picture", id="empty"),
        pytest.param(b"hello", "not a picture", id="text"),
        pytest.param(encoded(noise(0), "JPEG")[:-20], "(?i)truncated", id="truncated JPEG"),
        pytest.param(encoded(noise(0))[:-60], "(?i)truncated", id="truncated PNG"),
        pytest.param(encoded(Image.new("1", (10_000, 8_001))), "too many", id="too many pixels"),
    ],
)
def test_broken_pictures_are_refused_with_a_reason(data: bytes, reason: str):
    with pytest.raises(ValueError, match=reason):
        read_picture(data, SIZE)


def test_a_missing_picture_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="No such file"):
        read_picture(tmp_path / "none.png", SIZE)


# Folders


def test_a_plain_folder_becomes_a_stream(tmp_path: Path):
    stream = load_folder(make_folder(tmp_path / "mine", make_rows(200)), SIZE, 4, seed=0)
    assert stream.name == "mine" and stream.image_size == SIZE and stream.skipped == []
    assert [len(part) for part in stream.train] == [20, 20, 40, 80]
    assert sum(len(part) for part in stream.validation) == 20 and len(stream.retrieval) == 20
    assert stream.tasks == stream.validation_tasks == stream.step_tasks == []
    parts = [captions_of(stream.train), captions_of(stream.validation), captions_of([stream.retrieval])]
    assert len(set.union(*parts)) == 200


def test_a_seed_gives_the_same_stream_again(tmp_path: Path):
    folder = make_folder(tmp_path / "mine", make_rows(200))
    first, second, other = (load_folder(folder, SIZE, 3, seed) for seed in (1, 1, 2))
    assert first.train[0].captions == second.train[0].captions != other.train[0].captions
    assert np.array_equal(first.train[0].images, second.train[0].images)


def test_pictures_and_captions_stay_together(tmp_path: Path):
    stream = load_folder(make_folder(tmp_path / "mine", in_one_step()), SIZE, 1, seed=0)
    for image, caption in zip(stream.train[0].images, stream.train[0].captions, strict=True):
        number = caption.split()[-1]
        assert np.array_equal(image, read_picture(tmp_path / "mine" / "pictures" / f"{number}.png", SIZE))


def test_rows_of_one_picture_stay_in_one_split_and_duplicates_go(tmp_path: Path):
    rows = make_rows(300, image=lambda i: f"{i // 5}.png", step="1")
    stream = load_folder(make_folder(tmp_path / "mine", rows + rows), SIZE, 1, seed=0)
    splits = [captions_of(stream.train), captions_of(stream.validation)]
    assert [len(stream.train[0]), len(stream.validation[0])] == [240, 30]
    for captions in splits:
        pictures = {int(caption.split()[-1]) // 5 for caption in captions}
        assert len(pictures) * 5 == len(captions)
    assert len(stream.retrieval) == 6  # one caption per picture


def test_what_a_first_row_leaves_out_a_repeated_one_gives(tmp_path: Path):
    """The picture of row 41 is for testing, though its first row does not say so."""
    rows = in_one_step(41, split="", label="") + [make_rows(41, step="1", split="test", label="a kind")[40]]
    stream = load_folder(
        make_folder(tmp_path / "mine", [*rows, *in_one_step(60, split="test", label="b")[41:]]), SIZE, 1, 0
    )
    assert "thing number 40" in stream.retrieval.captions and "thing number 40" not in captions_of(stream.train)
    assert sorted(stream.tasks[0].labels) == [0, *[1] * 19]
    twice = [*rows, make_rows(41, step="1", split="val", label="")[40]]
    with pytest.raises(InputError, match="puts pictures/40.png in val, but it is in test already"):
        load_folder(make_folder(tmp_path / "twice", twice), SIZE, 1, 0)


def test_a_picture_occurs_once_in_retrieval_also_under_two_names(tmp_path: Path):
    copies = {f"pictures/{i}.png": encoded(noise(i // 2)) for i in range(80)}
    rows = in_one_step(80, split=lambda i: "test" if i < 20 else "train" if i < 60 else "val")
    stream = load_folder(make_folder(tmp_path / "mine", rows, copies), SIZE, 1, seed=0)
    assert len(stream.retrieval) == 10 and len({picture.tobytes() for picture in stream.retrieval.images}) == 10


def test_a_picture_with_two_labels_is_not_tested_on(tmp_path: Path):
    rows = in_one_step(60, split=lambda i: ("train", "val", "test")[i % 3], label=lambda i: f"kind {i % 2}")
    other = rows[2] | {"caption": "another caption", "label": "kind 1"}
    tests = [load_folder(make_folder(tmp_path / name, table), SIZE, 1, 0).tasks[0]
             for name, table in (("one", rows), ("two", [*rows, other]))]  # fmt: skip
    assert [len(task.labels) for task in tests] == [20, 19] and rows[2]["split"] == "test"


def test_given_steps_and_splits_are_used(tmp_path: Path):
    rows = make_rows(
        60,
        step=lambda i: "" if i % 6 == 0 else "1.0" if i < 40 else "2",
        split=lambda i: {0: "test", 1: "val"}.get(i % 6, "train"),
    )
    stream = load_folder(make_folder(tmp_path / "mine", rows), SIZE, 5, seed=0)
    assert [len(part) for part in stream.train] == [26, 14]
    assert [len(part) for part in stream.validation] == [7, 3]
    assert captions_of([stream.retrieval]) == {f"thing number {i}" for i in range(0, 60, 6)}


def test_a_step_without_validation_pairs_is_empty(tmp_path: Path):
    rows = make_rows(40, step=lambda i: 1 + i % 2, split=lambda i: ("val", "test")[i % 2] if i < 10 else "train")
    stream = load_folder(make_folder(tmp_path / "mine", rows), SIZE, 5, seed=0)
    assert stream.validation[1].images.shape == (0, 3, SIZE, SIZE)


def test_a_test_caption_occurs_once_in_retrieval(tmp_path: Path):
    rows = in_one_step(caption=lambda i: f"kind {i % 5}", split=lambda i: ("train", "val", "test")[i % 3])
    stream = load_folder(make_folder(tmp_path / "mine", rows), SIZE, 1, seed=0)
    assert sorted(stream.retrieval.captions) == [f"kind {i}" for i in range(5)]


@pytest.mark.parametrize("labelled", [(), ("train", "val")])
def test_studies_refuse_pairs_without_labels(tmp_path: Path, monkeypatch, capsys, labelled: tuple[str, ...]):
    splits = ["train", "train", "val", "test"]
    rows = make_rows(80, split=lambda i: splits[i % 4])
    rows = [row | {"label": f"kind {i % 3}" if row["split"] in labelled else ""} for i, row in enumerate(rows)]
    monkeypatch.chdir(make_folder(tmp_path / "mine", rows))
    assert main(["study", "growth", "--data", ".", "--profile", "smoke", "--results", str(tmp_path / "results")]) == 2
    assert ". has no labels to test on" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
    assert setting_of(".", get_profile("smoke"))["data"] == "mine"


def test_a_study_with_nothing_to_choose_by_is_refused_before_its_first_job(tmp_path: Path, capsys):
    splits = ["train", "train", "val", "test"]
    rows = make_rows(80, split=lambda i: splits[i % 4], step=lambda i: 1 if i % 4 == 2 else 1 + i // 40)
    rows = [row | {"label": f"kind {i % 3}" if row["split"] in ("train", "test") else ""} for i, row in enumerate(rows)]
    make_folder(tmp_path / "mine", rows)
    assert main(["study", "growth", "--data", str(tmp_path / "mine"), "--results", str(tmp_path / "results")]) == 2
    assert "nor two validation pairs in its last growth step" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_study_of_one_growth_step_is_refused_before_its_first_job(tmp_path: Path, monkeypatch, capsys):
    make_folder(tmp_path / "flat", in_one_step(label=lambda i: f"kind {i % 2}"))
    assert main(["study", "growth", "--data", str(tmp_path / "flat"), "--results", str(tmp_path / "results")]) == 2
    assert "one growth step only" in capsys.readouterr().err and not (tmp_path / "results").exists()
    monkeypatch.setattr("growclip_lite.studies.run.run_jobs", lambda *job: pytest.fail("reached"))
    with pytest.raises(pytest.fail.Exception):  # which trains from scratch, on all data, and so gets as far as its jobs
        main(["study", "sharing", "--data", str(tmp_path / "flat"), "--results", str(tmp_path / "results")])


def test_labels_become_a_task_with_prompts_like_the_captions(tmp_path: Path):
    animals = ["ant", "big_cat", "dog"]
    rows = make_rows(
        120,
        label=lambda i: animals[i % 3],
        caption=lambda i: f"look, {'an' if i % 3 == 0 else 'a'} {animals[i % 3].replace('_', ' ')} no. {i % 4}",
        step=lambda i: 2 if i % 3 == 2 else 1,
    )
    stream = load_folder(make_folder(tmp_path / "mine", rows), SIZE, 5, seed=0)
    (task,) = stream.tasks
    assert task.name == "label" and len(task.images) == len(task.labels) == 12 and task.chance == 1 / 3
    assert len(stream.validation_tasks[0].images) == 12
    assert {"ant", "a photo of an ant", "look, an ant no. 3"} <= set(task.prompts[0])
    assert {"a photo of a big cat", "look, a big cat no. 0"} <= set(task.prompts[1])
    first, second = stream.step_tasks
    assert first[0].prompts == task.prompts[:2] and second[0].prompts == task.prompts
    assert set(second[0].labels) == {2} and len(first[0].labels) + len(second[0].labels) == 12


def test_one_class_only_is_no_task(tmp_path: Path):
    stream = load_folder(make_folder(tmp_path / "mine", in_one_step(label="cat")), SIZE, 1, seed=0)
    assert stream.tasks == [] and len(stream.retrieval) == 4


def test_templates_choose_their_article():
    assert fill("An {} and a {}", "dog") == "A dog and a dog"
    assert fill("a {}", "ant") == "an ant"
    record = Record("row 2", "1.png", "An Owl at night", label="owl")
    assert learn_templates([record, record]) == ["A {} at night"]
    assert learn_templates([record]) == []


def test_any_caption_will_do_and_an_empty_one_is_listed(tmp_path: Path):
    odd = {
        1: 'Katze, die "schläft"\nund träumt',
        2: "一只红色的猫",
        3: "🐈 قطة",
        4: "word " * 50_000,
        5: "  ",
        6: "nan",
    }
    rows = in_one_step(caption=lambda i: odd.get(i, f"thing number {i}"))
    stream = load_folder(make_folder(tmp_path / "mine", rows), SIZE, 1, seed=0)
    captions = captions_of(stream.train) | captions_of(stream.validation) | captions_of([stream.retrieval])
    assert {'Katze, die "schläft" und träumt', "一只红色的猫", "🐈 قطة", ("word " * 50_000).strip(), "nan"} <= captions
    assert stream.skipped == ["row 7: empty caption"]


def test_a_few_broken_pictures_are_skipped_and_listed(tmp_path: Path):
    broken = {"pictures/3.png": encoded(noise(0), "JPEG")[:-200], "pictures/4.png": b"hello"}
    folder = make_folder(tmp_path / "mine", in_one_step(), broken)
    (folder / "pictures" / "5.png").unlink()
    stream = load_folder(folder, SIZE, 1, seed=0)
    assert [line.split(":")[0] for line in stream.skipped] == [f"pictures/{i}.png" for i in (3, 4, 5)]
    assert sum(len(part) for part in [*stream.train, *stream.validation, stream.retrieval]) == 37


def test_large_files_are_read_too(tmp_path: Path):
    large = {f"pictures/{i}.png": encoded(Image.effect_noise((300, 300), 100)) for i in range(39)}
    pictures = large | {"pictures/39.png": b"broken"}
    stream = load_folder(make_folder(tmp_path / "mine", in_one_step(), pictures), SIZE, 1, seed=0)
    assert len(stream.train[0]) == 31 and stream.skipped[0].startswith("pictures/39.png: ")


def test_copies_of_a_picture_are_drawn_into_one_split(tmp_path: Path):
    copies = {f"pictures/{i}.png": encoded(noise(i // 2)) for i in range(80)}
    stream = load_folder(make_folder(tmp_path / "mine", in_one_step(80), copies), SIZE, 1, seed=0)
    parts = (stream.train[0], stream.validation[0], stream.retrieval)
    train, validation, test = ({picture.tobytes() for picture in part.images} for part in parts)
    assert [len(train), len(validation), len(test)] == [32, 4, 4] and not train & validation and not train & test
    told = in_one_step(80, split=lambda i: ("train", "val", "test", "train")[i % 4])
    stream = load_folder(make_folder(tmp_path / "told", told, copies), SIZE, 1, seed=0)
    assert len(stream.train[0]) == 40  # who names the splits gets them
    told = in_one_step(80, split=lambda i: "test" if i < 8 else "")
    stream = load_folder(make_folder(tmp_path / "test told", told, copies), SIZE, 1, seed=0)
    train, validation = (
        {picture.tobytes() for picture in part.images} for part in (stream.train[0], stream.validation[0])
    )
    assert [len(train), len(validation)] == [32, 4] and not train & validation


def test_a_copy_without_a_split_goes_where_its_picture_was_put(tmp_path: Path):
    copies = {f"pictures/{i}.png": encoded(noise(i // 2)) for i in range(80)}
    told = in_one_step(80, split=lambda i: "test" if i < 16 and i % 2 else "val" if i in (16, 18) else "")
    stream = load_folder(make_folder(tmp_path / "held out", told, copies), SIZE, 1, seed=0)
    parts = (stream.train[0], stream.validation[0], stream.retrieval)
    assert [captions_of([part]) for part in parts[1:]] == [
        {f"thing number {i}" for i in range(16, 20)},
        {f"thing number {i}" for i in range(0, 16, 2)},  # retrieval has every picture once
    ]
    train, validation, test = ({picture.tobytes() for picture in part.images} for part in parts)
    assert len(train) == 30 and not train & validation and not train & test and not validation & test
    told = in_one_step(80, split=lambda i: "train" if i < 40 and i % 2 else "")
    stream = load_folder(make_folder(tmp_path / "train", told, copies), SIZE, 1, seed=0)
    parts = (stream.train[0], stream.validation[0], stream.retrieval)
    train, validation, test = ({picture.tobytes() for picture in part.images} for part in parts)
    assert [len(train), len(validation), len(test)] == [32, 4, 4] and not train & validation and not train & test


@pytest.mark.parametrize("named", [("train", "test"), ("test", "train")])
def test_a_copy_of_pictures_in_two_splits_is_held_out(tmp_path: Path, named: tuple[str, str]):
    copies = {f"pictures/{i}.png": encoded(noise(max(i - 2, 0))) for i in range(40)}  # 0, 1 and 2 are the same
    told = in_one_step(40, split=lambda i: named[i] if i < 2 else "test" if i > 35 else "")
    stream = load_folder(make_folder(tmp_path / "mine", told, copies), SIZE, 1, seed=0)
    held_out = {picture.tobytes() for picture in stream.retrieval.images}
    assert to_pixels(noise(0), SIZE).tobytes() in held_out and "thing number 2" not in captions_of(stream.train)


def test_a_name_that_no_file_can_have_is_skipped(tmp_path: Path):
    folder = make_folder(tmp_path / "mine", in_one_step())
    with (folder / "captions.csv").open("a") as file:
        file.write(f"{'a' * 300}.png,a long name,1\n")
    stream = load_folder(folder, SIZE, 1, seed=0)
    assert len(stream.train[0]) == 32 and len(stream.skipped) == 1 and "too long" in stream.skipped[0]


def one_picture_in_two_splits(i: int) -> str:
    return "test" if i == 39 else "train"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(in_one_step(image="../secret.png"), "within the folder", id="out of the folder"),
        pytest.param(in_one_step(image="a/../../secret.png"), "within the folder", id="out by a detour"),
        pytest.param(in_one_step(image="/secret.png"), "within the folder", id="absolute"),
        pytest.param(in_one_step(image="C:\\secret.png"), "within the folder", id="absolute on Windows"),
        pytest.param(in_one_step(image="none.png"), "1 of 1 pictures .* cannot be read", id="no picture"),
        pytest.param(in_one_step(caption=""), "no row with an image and a caption", id="no caption"),
        pytest.param(make_rows(step=lambda i: 1 + 2 * (i % 2)), "step 2 has no training pair", id="step gap"),
        pytest.param(make_rows(step=lambda i: 2 + i % 2), "step 1 has no training pair", id="no first step"),
        pytest.param(
            make_rows(step=lambda i: 1 + i % 2, split=lambda i: ("train", "val")[i % 2]),
            "step 2 has no training pair",
            id="step of validation only",
        ),
        pytest.param(in_one_step(caption="a cat"), "too few test pairs that differ", id="one caption"),
        pytest.param(
            in_one_step(split=lambda i: "val" if i % 5 == 0 else "train")
            + [{"image": "1.png", "caption": f"view {i}", "step": "", "split": "test"} for i in range(5)],
            "too few test pairs that differ",
            id="one picture",
        ),
        pytest.param(make_rows(step=lambda i: i), "row 2 .* has the step '0'", id="step 0"),
        pytest.param(make_rows(step=lambda i: "" if i == 3 else 1), "row 5 .* has the step ''", id="one step missing"),
        pytest.param(make_rows(step="first"), "has the step 'first'", id="step in words"),
        pytest.param(in_one_step(split="training"), "row 2 .* has the split 'training'", id="unknown split"),
        pytest.param(
            in_one_step(image="1.png", split=one_picture_in_two_splits), "one split only", id="a picture in two splits"
        ),
        pytest.param(in_one_step(9), "7 training pairs in the first growth step", id="too few pairs"),
        pytest.param(make_rows(40), "2 training pairs in the first growth step", id="too few pairs per step"),
        pytest.param(in_one_step(20), "2 validation pairs, .* at least 4", id="too few to validate"),
        pytest.param(in_one_step(split="test"), "0 training pairs", id="only test"),
        pytest.param(make_rows(step="9" * 5000), "steps must be 1, 2, 3", id="step of many digits"),
        pytest.param(make_rows(**{"a" * 1_100_000: "1"}), "Row 1 .* cannot be read", id="huge header"),
    ],
)
def test_bad_tables_are_refused_in_one_sentence(tmp_path: Path, rows: list[dict[str, str]], message: str):
    folder = tmp_path / "mine"
    folder.mkdir()
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    (folder / "pictures").mkdir()
    for number, image in enumerate(("1.png", *(f"pictures/{i}.png" for i in range(len(rows))))):
        (folder / image).write_bytes(encoded(noise(number)))
    with pytest.raises(InputError, match=message) as error:
        load_folder(folder, SIZE, 5, seed=0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param(None, "has no captions.csv", id="no table"),
        pytest.param(b"", "is empty", id="empty table"),
        pytest.param(b"image,caption\n", "no row with an image and a caption", id="header only"),
        pytest.param(b"picture,text\na.png,a cat\n", "lacks the column image and caption", id="no column"),
        pytest.param(b"image;caption\na.png;a cat\n", "lacks the column image and caption", id="semicolons"),
        pytest.param(b"image\na.png\n", "lacks the column caption", id="one column missing"),
        pytest.param("image,caption\na.png,Bär\n".encode("latin-1"), "not UTF-8", id="Latin 1"),
        pytest.param("image,caption\na.png,Bär\n".encode("utf-16"), "not UTF-8", id="UTF 16"),
        pytest.param(
            b"image,caption\na.png,cat, sitting\n",
            "Row 2 .* 3 fields.* in double quotes",
            id="comma in the first caption",
        ),
        pytest.param(
            b"image,caption\na.png,cat\n\nb.png,cat, sitting, still\n",
            "Row 4 .* has 4 fields, but there are 2 columns; put captions with commas in double quotes",
            id="commas in a caption",
        ),
        pytest.param(b'image,caption\na.png,"cat\nb.png,dog\n', "Row 2 .* close all double quotes", id="open quote"),
        pytest.param(b'image,caption\na.png,"cat" sits\n', "Row 2 .* close all double quotes", id="after a quote"),
        pytest.param(b"image,cap\0tion\na.png,cat\n", "has NUL bytes", id="NUL in the header"),
        pytest.param("image,caption\na.png,cat\n".encode("utf-16-le"), "has NUL bytes", id="UTF 16 without a mark"),
        pytest.param(b"image,caption\na.png," + b"x" * 1_100_000, "Row 2 .* larger than field limit", id="huge field"),
        pytest.param(b"image,Caption,caption\na.png,a,b\n", "column caption more than once", id="doubled column"),
    ],
)
def test_unreadable_tables_are_refused_in_one_sentence(tmp_path: Path, table: bytes | None, message: str):
    if table is not None:
        (tmp_path / "captions.csv").write_bytes(table)
    before = csv.field_size_limit()
    with pytest.raises(InputError, match=message) as error:
        load_folder(tmp_path, SIZE, 5, seed=0)
    assert "\n" not in str(error.value) and csv.field_size_limit() == before


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(b'image,caption,label\na.png,"cat, sitting",cat\nb.png,dog\n', id="short row"),
        pytest.param(b'\n\nimage,caption,label\n\na.png,"cat, sitting",cat\n  \nb.png,dog,\n\n', id="blank lines"),
        pytest.param(b'image,caption,label\ra.png,"cat, sitting",cat\rb.png,dog,\r', id="CR"),
        pytest.param(
            b'\xef\xbb\xbf"Image", CAPTION ,label,more\r\na.png,"cat,\r\n sitting",cat\r\nb.png,dog', id="Excel"
        ),
        pytest.param(b'label,x,caption,image,\ncat,"1,2","cat, sitting",a.png,\n,"say ""x""",dog,b.png,\n', id="order"),
    ],
)
def test_tables_of_many_forms_are_the_same(tmp_path: Path, table: bytes):
    (tmp_path / "captions.csv").write_bytes(table)
    records, skipped = read_captions(tmp_path)
    found = [(record.image, record.caption, record.label) for record in records]
    assert found == [("a.png", "cat, sitting", "cat"), ("b.png", "dog", "")] and not skipped


def test_a_table_from_a_spreadsheet_is_read(tmp_path: Path):
    folder = make_folder(tmp_path / "mine", in_one_step())
    text = (folder / "captions.csv").read_text(encoding="utf-8").replace("image,caption", "Image, Caption")
    (folder / "captions.csv").write_text(text.replace("pictures/", "pictures\\"), encoding="utf-8-sig")
    assert len(load_folder(folder, SIZE, 1, seed=0).train[0]) == 32


# Shards


def make_shard(path: Path, samples: dict[str, dict[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for key, parts in samples.items():
            for suffix, data in parts.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


def make_samples(numbers: range, **parts) -> dict[str, dict[str, bytes]]:
    plain = {"png": lambda i: encoded(noise(i)), "txt": lambda i: f"thing number {i}".encode()} | parts
    return {f"{i:04d}": {suffix: part(i) for suffix, part in plain.items()} for i in numbers}


def test_shards_become_a_stream(tmp_path: Path):
    for shard in range(2):
        make_shard(tmp_path / f"{shard:03d}.tar", make_samples(range(100 * shard, 100 * shard + 100)))
    stream = load_shards(str(tmp_path / "{000..001}.tar"), SIZE, 4, seed=0)
    assert stream.name == "{000..001}.tar"
    assert [len(part) for part in stream.train] == [20, 20, 40, 80]
    assert sum(len(part) for part in stream.validation) == 20 and len(stream.retrieval) == 20
    number = int(stream.train[0].captions[0].split()[-1])
    assert np.array_equal(stream.train[0].images[0], to_pixels(noise(number), SIZE))


@pytest.mark.parametrize("form", ["folder", "shards"])
def test_memory_does_not_hold_the_users_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str):
    """A few kB a pair, against the 49 of a picture of 128 pixels; and nothing is left where they were kept."""
    monkeypatch.setenv("GROWCLIP_CACHE", str(tmp_path / "cache"))
    count, size = 200, 128
    label = {"label": lambda i: f"kind {i % 3}"} if form == "folder" else {"cls": lambda i: f"kind {i % 3}".encode()}
    if form == "folder":
        source = make_folder(tmp_path / "mine", make_rows(count, **label))
    else:
        source = make_shard(tmp_path / "a.tar", make_samples(range(count), **label))
    tracemalloc.start()
    stream = load_folder(source, size, 4, seed=0) if form == "folder" else load_shards(str(source), size, 4, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.2 * count * 3 * size**2 and not list((tmp_path / "cache").iterdir())
    for part in (*stream.train, *stream.validation, stream.retrieval):
        for picture, caption in zip(part.images, part.captions, strict=True):
            number = int(caption.split()[-1])
            given = source / "pictures" / f"{number}.png" if form == "folder" else encoded(noise(number))
            assert np.array_equal(picture, read_picture(given, size))
    tests = stream.tasks[0]
    assert sum(len(task.images) for tasks in stream.step_tasks for task in tasks) == 20
    assert np.array_equal(np.asarray(tests.images), tests.images[:]) and len(tests.images) == 20


def a_digit(i: int) -> bytes:
    return b"%d" % (i % 2)


def a_text(i: int) -> bytes:
    return b"a thing, %d" % i


def step_only(i: int) -> bytes:
    return json.dumps({"step": 1 + i % 2}).encode()


def facts(i: int) -> bytes:
    return json.dumps({"caption": f"a kind {i % 2} thing, {i}", "label": i % 2, "step": 1 + i % 2}).encode()


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"json": facts}, id="json"),
        pytest.param({"json": step_only, "cls": a_digit, "txt": a_text}, id="cls"),
        pytest.param({"json": step_only, "label.txt": a_digit, "txt": a_text}, id="label.txt"),
    ],
)
def test_labels_and_steps_of_shards(tmp_path: Path, parts: dict):
    samples = make_samples(range(60), **parts)
    if "txt" not in parts:
        for sample in samples.values():
            del sample["txt"]
    stream = load_shards(str(make_shard(tmp_path / "a.tar", samples)), SIZE, 5, seed=0)
    assert len(stream.train) == 2 and len(stream.tasks[0].prompts) == 2 and len(stream.tasks[0].images) == 6


def test_null_in_a_shards_json_is_not_given(tmp_path: Path):
    nothing = json.dumps({"caption": None, "label": None, "step": None}).encode()
    samples = make_samples(range(60), json=lambda i: nothing)
    stream = load_shards(str(make_shard(tmp_path / "a.tar", samples)), SIZE, 2, seed=0)
    assert not stream.tasks and not any("None" in caption for part in stream.train for caption in part.captions)


def test_copies_of_a_picture_stay_in_one_split(tmp_path: Path):
    samples = make_samples(range(80), png=lambda i: encoded(noise(i // 2)))
    stream = load_shards(str(make_shard(tmp_path / "a.tar", samples)), SIZE, 1, seed=0)
    sides = [{picture.tobytes() for picture in part.images} for part in (stream.train[0], stream.validation[0])]
    assert [len(side) for side in sides] == [32, 4] and not sides[0] & sides[1]


def test_bad_samples_are_skipped_and_listed(tmp_path: Path):
    samples = make_samples(range(60))
    samples["0003"]["png"] = b"broken"
    samples["0004"]["txt"] = b" "
    samples["0005"] = {"txt": b"no picture"}
    samples["0006"]["json"] = b"{"
    samples["0007"]["txt"] = b"\xff"
    samples["0008"]["json"] = b'{"a":' + b"[" * 100_000
    stream = load_shards(str(make_shard(tmp_path / "a.tar", samples)), SIZE, 2, seed=0)
    assert sorted(line.split(" in a.tar: ")[0] for line in stream.skipped) == [f"{i:04d}" for i in range(3, 9)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda data: None, "There is no shard", id="missing"),
        pytest.param(lambda data: data[: 1536 * 5 + 700], "cannot be read", id="cut in a picture"),
        pytest.param(lambda data: data[: 1536 * 5], "cannot be read", id="cut between two files"),
        pytest.param(lambda data: b"hello" * 1000, "cannot be read", id="no tar"),
        pytest.param(lambda data: b"", "cannot be read", id="no bytes"),
        pytest.param(lambda data: bytes(10240), "no usable sample", id="empty tar"),
    ],
)
def test_bad_shards_are_refused(tmp_path: Path, damage, message: str):
    data = damage(make_shard(tmp_path / "good.tar", make_samples(range(40))).read_bytes())
    if data is not None:
        (tmp_path / "bad.tar").write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        load_shards(str(tmp_path / "bad.tar"), SIZE, 1, seed=0)
    assert "\n" not in str(error.value)


def test_shards_without_captions_or_with_odd_braces_are_refused(tmp_path: Path):
    samples = make_samples(range(40), txt=lambda i: b"")
    with pytest.raises(InputError, match="no usable sample"):
        load_shards(str(make_shard(tmp_path / "a.tar", samples)), SIZE, 1, seed=0)
    with pytest.raises(InputError, match="brace notation"):
        load_shards("{000..001.tar", SIZE, 1, seed=0)


# Emoji


@pytest.fixture(scope="module")
def font() -> Path:
    try:
        return emoji.find_font()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def drawable(font: Path) -> list[emoji.Emoji]:
    return emoji.drawable_emoji(32)


def test_emoji_grow_by_version(drawable: list[emoji.Emoji], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(emoji, "drawable_emoji", lambda size: drawable)
    monkeypatch.setattr(emoji, "RENDERINGS", 1)
    stream = emoji.load_emoji(16, seed=0)
    assert 3 <= len(stream.train) <= 5 and min(len(part) for part in stream.train) >= 100
    assert len(stream.retrieval) >= emoji.MIN_NEWEST
    assert sum(len(part) for part in stream.validation) >= 100

    def spoken_of(parts: list) -> set[str]:
        prefixes = tuple(caption.replace("{}", "") for caption in emoji.CAPTIONS if caption != "{}")
        return {next((c.removeprefix(p) for p in prefixes if c.startswith(p)), c) for c in captions_of(parts)}

    trained, validated, tested = spoken_of(stream.train), spoken_of(stream.validation), spoken_of([stream.retrieval])
    assert not trained & validated and not trained & tested and not validated & tested
    assert "flag of Norway" in trained and not any(name.startswith("flag of ") for name in validated)
    name, kind = stream.tasks
    assert name.name == "name" and len(name.prompts) == emoji.NAMED_PER_STEP * len(stream.train)
    assert kind.name == "kind" and all(len(prompts) > 1 for prompts in kind.prompts)
    assert [len(tasks) for tasks in stream.step_tasks] == [1] * len(stream.train)


def test_only_what_the_font_knows_is_drawn(font: Path, drawable: list[emoji.Emoji]):
    drawn = {one.text: one for one in drawable}
    assert "\U0001f600" in drawn and drawn["\U0001f600"].name == "grinning face"
    assert len({one.glyph.tobytes() for one in drawn.values()}) == len(drawn)
    opened = emoji._open_font(font)
    assert emoji._draw(opened, "\U0001f600\u200d\U0001f600", 32) is None  # two side by side
    assert emoji._draw(opened, " ", 32) is None


def test_without_a_font_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(emoji, "FONT_PATHS", ())
    monkeypatch.setattr(emoji.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="apt-get install fonts-noto-color-emoji"):
        emoji.load_emoji(16, seed=0)


# CIFAR-10


@pytest.fixture(scope="module")
def script():
    specification = importlib.util.spec_from_file_location(
        "prepare_cifar10", REPOSITORY / "data_scripts" / "prepare_cifar10.py"
    )
    module = importlib.util.module_from_spec(specification)
    sys.modules["prepare_cifar10"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def test_cifar10_folder_becomes_a_stream(script, tmp_path: Path):
    for split, amount in (("train", 30), ("test", 2)):
        for number, label in enumerate(script.CLASSES):
            (tmp_path / "source" / split / label).mkdir(parents=True)
            for i in range(amount):
                data = encoded(noise(100 * number + i), "JPEG")
                (tmp_path / "source" / split / label / f"{i:04d}.jpg").write_bytes(data)
    out = tmp_path / "out"
    assert script.main(["--source", str(tmp_path / "source"), "--out", str(out)]) == 0
    stream = load_folder(out, SIZE, 1, seed=0)
    assert [len(part) for part in stream.train] == [18, 18, 36, 72, 144]
    assert sum(len(part) for part in stream.validation) == 12 and len(stream.tasks[0].images) == 20
    spoken = " ".join(captions_of(stream.train))
    assert "an airplane" in spoken and "a airplane" not in spoken and "a truck" in spoken
    assert sorted(os.listdir(tmp_path)) == ["out", "source"]


def test_cifar10_archive_is_read(script, tmp_path: Path):
    if not CIFAR10.is_file():
        pytest.skip("there is no cifar10-jpeg.tar.xz; set GROWCLIP_DATA to its folder")
    assert script.main(["--source", str(CIFAR10), "--out", str(tmp_path / "out"), "--limit", "300"]) == 0
    with open(tmp_path / "out" / "captions.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300 and {row["label"] for row in rows} == set(script.CLASSES)
    assert 25 <= sum(row["split"] == "test" for row in rows) <= 75
    assert all((tmp_path / "out" / row["image"]).is_file() for row in rows)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param("none", "There is no", id="missing"),
        pytest.param("empty", "has no picture train/airplane", id="empty"),
        pytest.param("broken.tar.xz", "cannot be read as a tar archive", id="broken"),
        pytest.param("empty.tar", "has no picture train/airplane", id="empty tar"),
    ],
)
def test_bad_cifar10_sources_end_with_status_2(script, tmp_path: Path, capsys, source: str, message: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.tar.xz").write_bytes(b"\xfd7zXZ\x00broken")
    (tmp_path / "empty.tar").write_bytes(bytes(10240))
    before = sorted(os.listdir(tmp_path))
    assert script.main(["--source", str(tmp_path / source), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and sorted(os.listdir(tmp_path)) == before


def test_an_existing_cifar10_folder_is_kept(script, tmp_path: Path, capsys):
    assert script.main(["--source", "none", "--out", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err


# torchvision


@pytest.fixture
def no_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty package folder in front of all others; torchvision counts as not imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("torchvision", None)
    importlib.invalidate_caches()


def test_a_matching_torchvision_is_imported_as_it_is(no_torchvision: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torchvision_fix.torch.library, "Library", None)  # must not be needed
    (no_torchvision / "torchvision.py").write_text("__version__ = 'matching'")
    assert torchvision_fix.import_torchvision().__version__ == "matching"


def test_other_import_errors_of_torchvision_are_not_hidden(no_torchvision: Path):
    (no_torchvision / "torchvision.py").write_text("raise RuntimeError('something else')")
    with pytest.raises(RuntimeError, match="something else"):
        torchvision_fix.import_torchvision()


def test_the_installed_torchvision_works():
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    torchvision = torchvision_fix.import_torchvision()
    assert torchvision_fix.import_torchvision() is torchvision
    assert hasattr(importlib.import_module("torchvision.datasets"), "CIFAR10")


def test_validation_tasks_show_validation_pictures(tmp_path):
    rows = make_rows(60, step="1", split=lambda i: ("train", "val", "test")[i % 3], label=lambda i: f"kind {i % 2}")
    stream = load_folder(make_folder(tmp_path / "mine", rows), 8, 1, seed=0)
    tested, validated = ({p.tobytes() for p in tasks[0].images} for tasks in (stream.tasks, stream.validation_tasks))
    assert tested == {p.tobytes() for p in stream.retrieval.images} and validated == {
        p.tobytes() for p in stream.validation[0].images
    }


def test_steps_by_amount_are_drawn_at_random():
    records = [Record(f"row {i}", f"{i}.png", f"thing {i}") for i in range(64)]
    _assign_steps_by_amount(records, 3, np.random.default_rng(0))
    steps = [record.growth_step for record in records]
    assert np.bincount(steps).tolist() == [0, 16, 16, 32] and steps != sorted(steps)


def test_a_label_arrives_with_its_first_training_pair():
    def record(label, step):
        made = Record("row", "1.png", "a thing", label=label)
        made.growth_step = step
        return made

    train_records = [record("cat", 2), record("cat", 1), record("cat", 3), record("dog", 3), record("dog", 2)]
    assert _class_steps(train_records, [*train_records, record("emu", 0)], 3) == {"cat": 1, "dog": 2, "emu": 3}


def test_kinds_are_asked_of_emoji_never_trained_on(monkeypatch):
    glyph = Image.new("RGBA", (16, 16), (200, 30, 30, 255))
    invented = [
        emoji.Emoji(chr(0x1F600 + i), f"{emoji.KINDS[i % 8]} no {i}", float(i // 60), glyph) for i in range(360)
    ]
    asked, kind_task = [], emoji._kind_task

    def watch(held_out, kept, *more):
        asked.append([{e.name for e in held_out}, {e.name for step in kept for e in step}])
        return kind_task(held_out, kept, *more)

    monkeypatch.setattr(emoji, "drawable_emoji", lambda size: invented)
    monkeypatch.setattr(emoji, "RENDERINGS", 1)
    monkeypatch.setattr(emoji, "_kind_task", watch)
    stream = emoji.load_emoji(16, 0)
    captions = [caption for part in stream.train for caption in part.captions]
    (tested, trained), (validated, _) = asked
    assert {name for name in trained if any(name in caption for caption in captions)} == trained
    assert not any(name + " " in caption + " " for name in tested | validated for caption in captions)
    assert tested and validated and not tested & validated
