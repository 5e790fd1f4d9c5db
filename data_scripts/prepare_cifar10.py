"""Turns CIFAR-10 into a folder that `growclip grow --data OUT` reads: pictures and captions.csv.

The pictures come from JPEGs on disk (`--source`, a folder or a tar with `train/<class>/*.jpg` and
`test/<class>/*.jpg`), or, without `--source`, from torchvision's download. CIFAR-10 has classes but no captions, so
each picture gets one of a few templates. Training pictures arrive in five growth steps that double the data so far.
"""

from __future__ import annotations

import argparse
import csv
import io
import lzma
import re
import sys
import tarfile
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from growclip_lite.data.stream import fill, hold_out, step_sizes
from growclip_lite.errors import InputError
from growclip_lite.torchvision_fix import import_torchvision

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TEMPLATES = (
    "a photo of a {}",
    "a small picture of a {}",
    "a blurry photo of the {}",
    "a close-up of a {}",
    "a low resolution image of the {}",
    "a {} in the middle of the picture",
    "there is a {} here",
    "this is a {}",
)
GROWTH_STEPS = 5
VALIDATION_SHARE = 0.04  # 2,000 of the 50,000 training pictures
PICTURE_PATH = re.compile(r"(?:^|/)(train|test)/([a-z]+)/[^/]+\.(jpg|jpeg|png)$")


@dataclass
class Picture:
    """An encoded picture and its place in the data set; `split` is train or test."""

    split: str
    label: str
    suffix: str
    data: bytes


def from_folder(folder: Path) -> list[Picture]:
    """The pictures `train/<class>/*` and `test/<class>/*` of a folder."""
    pictures = []
    for path in tqdm(sorted(folder.rglob("*")), desc="reading", unit=" files", disable=None):
        match = PICTURE_PATH.search(path.as_posix())
        if match:
            pictures.append(Picture(*match.groups(), path.read_bytes()))
    return pictures


def from_tar(archive: Path) -> list[Picture]:
    """The same from a tar, compressed or not. Raises `InputError` where it is no tar or a broken one.

    Members are read, not extracted: the archive decides on no path that is written to.
    """
    pictures = []
    try:
        with tarfile.open(archive) as tar:
            for member in tqdm(tar, desc="reading", unit=" files", disable=None):
                match = PICTURE_PATH.search(member.name)
                if match and member.isfile():
                    pictures.append(Picture(*match.groups(), tar.extractfile(member).read()))
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{archive} cannot be read as a tar archive ({reason}); please fetch it again.") from error
    return pictures


def from_torchvision() -> list[Picture]:
    """The same from torchvision's download, as PNG. Raises `InputError` where it cannot be fetched."""
    import_torchvision()
    from torchvision.datasets import CIFAR10

    pictures = []
    with tempfile.TemporaryDirectory() as root:
        for split in ("train", "test"):
            try:
                dataset = CIFAR10(root, train=split == "train", download=True)
            except (OSError, RuntimeError) as error:
                raise InputError(
                    f"CIFAR-10 cannot be downloaded ({error}); connect to the internet, or give --source."
                ) from error
            for picture, label in tqdm(dataset, desc=split, unit=" pictures", disable=None):
                buffer = io.BytesIO()
                picture.save(buffer, "PNG")
                pictures.append(Picture(split, CLASSES[label], "png", buffer.getvalue()))
    return pictures


def read_source(source: Path | None) -> list[Picture]:
    """All pictures of the ten classes. Raises `InputError` where a class has no picture in one of the splits."""
    if source is None:
        pictures = from_torchvision()
    elif source.is_dir():
        pictures = from_folder(source)
    elif source.is_file():
        pictures = from_tar(source)
    else:
        raise InputError(f"There is no {source}; give --source a folder or tar with train/<class>/*.jpg.")
    found = {(picture.split, picture.label) for picture in pictures}
    for split in ("train", "test"):
        for label in CLASSES:
            if (split, label) not in found:
                raise InputError(f"{source} has no picture {split}/{label}/*.jpg; it must have all ten classes.")
    return [picture for picture in pictures if picture.label in CLASSES]


def plan(pictures: list[Picture], rng: np.random.Generator) -> list[tuple[str, str]]:
    """(split, step) of each picture, as written to captions.csv; test pictures belong to no step."""
    placed = [("test", "")] * len(pictures)
    training = np.array([i for i, picture in enumerate(pictures) if picture.split == "train"])
    kept, held = hold_out(len(training), VALIDATION_SHARE, GROWTH_STEPS, rng)
    for split, part in (("train", training[kept]), ("val", training[held])):
        steps = np.repeat(np.arange(1, GROWTH_STEPS + 1), step_sizes(len(part), GROWTH_STEPS))
        for index, step in zip(rng.permutation(part), steps, strict=True):
            placed[index] = (split, str(step))
    return placed


def write(pictures: list[Picture], out: Path, seed: int) -> None:
    """Writes captions.csv and the pictures to `out`, which appears only when it is complete."""
    rng = np.random.default_rng(seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        ready = Path(temporary, "ready")
        for split in ("train", "test"):
            for label in CLASSES:
                Path(ready, "pictures", split, label).mkdir(parents=True)
        numbers: Counter = Counter()
        with open(ready / "captions.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["image", "caption", "step", "label", "split"])
            placed = zip(pictures, plan(pictures, rng), strict=True)
            for picture, (split, step) in tqdm(placed, "writing", len(pictures), unit=" pictures", disable=None):
                group = f"{picture.split}/{picture.label}"
                path = f"pictures/{group}/{numbers[group]:04d}.{picture.suffix}"
                numbers[group] += 1
                (ready / path).write_bytes(picture.data)
                table.writerow([path, fill(str(rng.choice(TEMPLATES)), picture.label), step, picture.label, split])
        ready.rename(out)


def main(arguments: list[str] | None = None) -> int:
    """Runs the script and returns its exit status: 0, or 2 on bad input."""
    parser = argparse.ArgumentParser(description="Prepare CIFAR-10 as a folder with captions.csv.")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not exist yet")
    parser.add_argument("--source", type=Path, help="folder or tar with train/<class>/*.jpg; default: download")
    parser.add_argument("--limit", type=int, help="use only so many pictures, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="of captions, splits and steps (default: 0)")
    options = parser.parse_args(arguments)
    try:
        if options.limit is not None and options.limit < 1:
            raise InputError(f"--limit must be at least 1, not {options.limit}.")
        if options.out.exists():
            raise InputError(f"{options.out} exists already; remove it or choose another --out.")
        pictures = read_source(options.source)
        if options.limit is not None and options.limit < len(pictures):
            chosen = np.random.default_rng(options.seed).choice(len(pictures), options.limit, replace=False)
            pictures = [pictures[i] for i in np.sort(chosen)]
        write(pictures, options.out, options.seed)
    except (InputError, OSError) as error:
        print(f"prepare_cifar10: {error}", file=sys.stderr)
        return 2
    print(f"{len(pictures):,} pictures and captions.csv are in {options.out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
