"""Emoji as a stream: pictures from a colour font on this machine, names and versions from Unicode.

Emoji grow by themselves: every year brings a new version with new ones. The growth steps follow these versions, and
the newest emoji are the test: a model that has never seen them must match their pictures to their names.

- Training: several renderings of each emoji (background, size, turn and place vary), each with a caption around its
  name. Skin tones are left out: they are half of all emoji, and at 32 pixels five copies of almost the same picture.
- Validation and the task "kind": a tenth of each step's emoji each, never trained on. Country flags are always
  trained on, since nobody can guess the name of a flag.
- Retrieval: the emoji of the newest versions, one picture each (45 with Debian 12's font: chance is 1/45).
- The task "name": new renderings of emoji from every step's training data, to be told from each other.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import emoji as unicode_emoji
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, features
from tqdm.auto import tqdm

from growclip_lite.data.stream import Pairs, Stream, Task, hold_out, tasks_by_step
from growclip_lite.errors import InputError

# Where Debian and Ubuntu, Arch, Fedora, macOS and Windows keep their emoji font.
FONT_PATHS = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",
    "/System/Library/Fonts/Apple Color Emoji.ttc",
    "C:/Windows/Fonts/seguiemj.ttf",
)
# Bitmap fonts have one size only: 109 in Noto's, 160 in Apple's. Windows' takes any.
FONT_SIZES = (109, 160)

# The last Unicode emoji version of each growth step. About 720, 310, 340, 190 and 290 emoji: a large old stock and
# then some years' news at a time.
STEP_VERSIONS = (0.6, 1, 3, 5, inf)
MIN_NEWEST = 40
# A character and a flag that do not exist: what the font draws for them, it draws for all it does not know.
UNKNOWN = ("\U0010ffff", "\U0001f1e6\U0001f1e6")
HELD_OUT_SHARE = 0.1
RENDERINGS = 16
CAPTIONS = ("{}", "an emoji of {}", "a drawing of {}", "a picture of {}", "a small icon of {}", "the symbol {}")

NAMED_PER_STEP = 40
NAMED_RENDERINGS = 4
# Words that many names share and that say what is seen; an emoji belongs to a kind if its name has just one of them.
KINDS = ("face", "man", "woman", "person", "heart", "hand", "arrow", "button")
KIND_PROMPTS = 24


@dataclass
class Emoji:
    """One emoji: its characters, its English name, its Unicode version and its picture (square, RGBA)."""

    text: str
    name: str
    version: float
    glyph: Image.Image

    @property
    def kind(self) -> int | None:
        """Index into `KINDS`, or None."""
        words = set(re.findall(r"\w+", self.name))
        kinds = [index for index, kind in enumerate(KINDS) if kind in words]
        return kinds[0] if len(kinds) == 1 else None


def load_emoji(image_size: int, seed: int) -> Stream:
    """The emoji that this machine can draw, as a stream. Raises `InputError` where there is no usable font."""
    steps, newest = split_by_version(drawable_emoji(2 * image_size))
    rng = np.random.default_rng(seed)
    train, validation, kept, kind_validation, kind_test = [], [], [], [], []
    for step in steps:
        plain = [emoji for emoji in step if not is_flag(emoji.text)]
        rest, held = hold_out(len(plain), 2 * HELD_OUT_SHARE, least=0, rng=rng)
        held = rng.permutation(held)
        for_validation, for_test = ([plain[i] for i in part] for part in np.array_split(held, 2))
        training = [plain[i] for i in rest] + [emoji for emoji in step if is_flag(emoji.text)]
        kept.append(training)
        kind_validation += for_validation
        kind_test += for_test
        train.append(_pairs([emoji for emoji in training for _ in range(RENDERINGS)], CAPTIONS, image_size, rng))
        validation.append(_pairs(for_validation, CAPTIONS[:1], image_size, rng))
    named = [[step[i] for i in rng.permutation(len(step))[:NAMED_PER_STEP]] for step in kept]
    name_task = _name_task(named, image_size, rng)
    introduced = [number for number, step in enumerate(named, start=1) for _ in step]
    return Stream(
        name="emoji",
        train=train,
        validation=validation,
        retrieval=_pairs(newest, CAPTIONS[:1], image_size, rng),
        tasks=[name_task, _kind_task(kind_test + newest, kept, image_size, rng)],
        validation_tasks=[_name_task(named, image_size, rng), _kind_task(kind_validation, kept, image_size, rng)],
        step_tasks=tasks_by_step(name_task, introduced, len(steps)),
    )


def find_font() -> Path:
    """The colour-emoji font of this machine. Raises `InputError` where there is none."""
    found = [Path(path) for path in FONT_PATHS]
    if shutil.which("fc-list"):
        command = ["fc-list", "--format", "%{file}\\n", ":lang=und-zsye:color=true"]
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        found += [Path(path) for path in sorted(listed.splitlines())]
    for path in found:
        if path.is_file():
            return path
    raise InputError("There is no colour-emoji font; install one (Debian: apt-get install fonts-noto-color-emoji).")


def drawable_emoji(size: int) -> list[Emoji]:
    """The emoji that the font can draw, (size, size) pixels each, oldest first. Raises `InputError` for none.

    Left out: what the font draws as nothing, as several pictures side by side (a sequence it does not know), or like
    an older emoji (its box for unknown characters, the base of an unknown sequence, flags of the same design).
    """
    path = find_font()
    font = _open_font(path)
    complex_layout = features.check("raqm")  # Without it, sequences cannot be joined into one picture.
    qualified = unicode_emoji.STATUS["fully_qualified"]
    candidates = [
        (facts["E"], text, _name(text, facts["en"]))
        for text, facts in unicode_emoji.EMOJI_DATA.items()
        if facts["status"] == qualified and "skin_tone" not in facts["en"]
    ]
    seen = {glyph.tobytes() for text in UNKNOWN if (glyph := _draw(font, text, size))}
    drawable = []
    # Of flags with one design the shortest name stays: Norway, not Bouvet Island.
    candidates.sort(key=lambda candidate: (candidate[0], len(candidate[2]), candidate[1]))
    for version, text, name in tqdm(candidates, "drawing emoji", disable=None):
        shown = text if complex_layout else text.replace("\ufe0f", "")
        if not complex_layout and len(shown) > 1:
            continue
        glyph = _draw(font, shown, size)
        if glyph is not None and glyph.tobytes() not in seen:
            seen.add(glyph.tobytes())
            drawable.append(Emoji(text, name, version, glyph))
    if not drawable:
        raise InputError(f"The font {path} draws no emoji; install Noto Color Emoji with bitmaps.")
    return drawable


def split_by_version(emoji: list[Emoji]) -> tuple[list[list[Emoji]], list[Emoji]]:
    """(training emoji per growth step, newest emoji): the newest versions that make `MIN_NEWEST` emoji are held out."""
    newest_from = inf
    for version in sorted({one.version for one in emoji}, reverse=True):
        newest_from = version
        if sum(one.version >= version for one in emoji) >= MIN_NEWEST:
            break
    older = [one for one in emoji if one.version < newest_from]
    steps: list[list[Emoji]] = [[] for _ in STEP_VERSIONS]
    for one in older:
        steps[next(step for step, last in enumerate(STEP_VERSIONS) if one.version <= last)].append(one)
    # An old font may end before the last step begins.
    return [step for step in steps if step], [one for one in emoji if one.version >= newest_from]


def render(emoji: Emoji, size: int, rng: np.random.Generator) -> np.ndarray:
    """One picture of the emoji, (3, size, size) uint8: light background, slightly varied size, turn and place."""
    background = tuple(int(value) for value in rng.integers(215, 256, 3))
    side = round(size * rng.uniform(0.75, 1))
    glyph = emoji.glyph.rotate(rng.uniform(-10, 10), Image.Resampling.BICUBIC).resize((side, side))
    picture = Image.new("RGB", (size, size), background)
    picture.paste(glyph, tuple(int(value) for value in rng.integers(0, size - side + 1, 2)), glyph)
    return np.asarray(picture).transpose(2, 0, 1)


def _pairs(emoji: Sequence[Emoji], captions: tuple[str, ...], size: int, rng: np.random.Generator) -> Pairs:
    """A rendering of each of the emoji, with its name in one of the captions."""
    texts = [str(rng.choice(captions)).replace("{}", one.name) for one in emoji]
    return Pairs(_render_all(emoji, size, rng), texts)


def _render_all(emoji: Sequence[Emoji], size: int, rng: np.random.Generator) -> np.ndarray:
    images = np.empty((len(emoji), 3, size, size), np.uint8)
    for row, one in enumerate(emoji):
        images[row] = render(one, size, rng)
    return images


def _name_task(steps: list[list[Emoji]], size: int, rng: np.random.Generator) -> Task:
    """Which of the known emoji is it? In new renderings; `steps` holds some emoji of each growth step."""
    emoji = [one for step in steps for one in step]
    images = _render_all([one for one in emoji for _ in range(NAMED_RENDERINGS)], size, rng)
    prompts = [[caption.replace("{}", one.name) for caption in CAPTIONS] for one in emoji]
    return Task("name", images, np.repeat(np.arange(len(emoji)), NAMED_RENDERINGS), prompts)


def _kind_task(held_out: list[Emoji], steps: list[list[Emoji]], size: int, rng: np.random.Generator) -> Task:
    """Of what kind is an emoji never seen before? A kind's prompts are names of its emoji in the training `steps`."""
    emoji = [one for one in held_out if one.kind is not None]
    prompts = []
    for kind in range(len(KINDS)):
        names = [one.name for step in steps for one in step if one.kind == kind]
        prompts.append([names[i] for i in rng.permutation(len(names))[:KIND_PROMPTS]])
    return Task("kind", _render_all(emoji, size, rng), np.array([one.kind for one in emoji]), prompts)


def is_flag(text: str) -> bool:
    """Whether it is the flag of a country (two regional letters) or of a region (tags after a black flag)."""
    return any(0x1F1E6 <= ord(character) <= 0x1F1FF or 0xE0020 <= ord(character) <= 0xE007F for character in text)


def _name(text: str, unicode_name: str) -> str:
    """The English name in plain words: ":thumbs_up:" becomes "thumbs up", and ":Chad:" becomes "flag of Chad"."""
    words = unicode_name.strip(":").replace("_", " ")
    return f"flag of {words}" if is_flag(text) else words


def _open_font(path: Path) -> ImageFont.FreeTypeFont:
    """The font in the one size it has. Raises `InputError` where it cannot be opened."""
    for size in FONT_SIZES:
        try:
            return ImageFont.truetype(str(path), size)
        except OSError as error:
            reason = error
    raise InputError(f"The font {path} cannot be opened ({reason}); please install it again.")


def _draw(font: ImageFont.FreeTypeFont, text: str, size: int) -> Image.Image | None:
    """The emoji on a transparent square of `size` pixels; None where nothing or more than one picture appears."""
    if font.getlength(text) > 1.5 * font.getlength("\U0001f600"):
        return None
    canvas = Image.new("RGBA", (3 * int(font.size), 3 * int(font.size)))
    ImageDraw.Draw(canvas).text((font.size // 2, font.size // 2), text, font=font, embedded_color=True)
    box = canvas.getbbox()
    return ImageOps.pad(canvas.crop(box), (size, size), Image.Resampling.BICUBIC) if box else None
