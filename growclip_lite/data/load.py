"""Opens a stream by the name of its source. Sources are imported when they are asked for: some need much."""

from __future__ import annotations

from pathlib import Path

from growclip_lite.data.stream import Stream, check_seed
from growclip_lite.errors import InputError
from growclip_lite.profiles import get_profile

DRAWN = ("scenes", "hard-text", "hard-image")  # their test pictures depend on nothing that is trained on
BUILT_IN = (*DRAWN, "emoji")


def load_stream(source: str, profile: str = "laptop", seed: int = 0) -> Stream:
    """Opens a stream by the name of its source.

    `source` is `scenes` (built in; `hard-text` and `hard-image` are variants for a study), `emoji`
    (a colour-emoji font on this machine), a folder with `captions.csv`, or WebDataset tar shards such
    as `shards/{000..009}.tar`. `profile` sets the picture size and the amount of the built-in data.
    Raises `InputError` for anything else.
    """
    settings = get_profile(profile)
    check_seed(seed)
    folder = Path(source)
    if source == "scenes":
        from growclip_lite.data.scene_stream import load_scenes

        return load_scenes(settings, seed)
    if source in ("hard-text", "hard-image"):
        from growclip_lite.data.hard_scenes import load_hard_scenes

        return load_hard_scenes(source.removeprefix("hard-"), settings, seed)
    if source == "emoji":
        from growclip_lite.data.emoji import load_emoji

        return load_emoji(settings.image_size, seed)
    if source.endswith(".tar"):
        from growclip_lite.data.shards import load_shards

        return load_shards(source, settings.image_size, settings.growth_steps, seed)
    if folder.is_dir():
        from growclip_lite.data.folder import load_folder

        if folder.resolve().name in BUILT_IN:  # reports, cards and tables know data by name
            raise InputError(f"The folder {folder} is named like data that are built in; please rename it.")
        return load_folder(folder, settings.image_size, settings.growth_steps, seed)
    raise InputError(
        f"There is no data source {source!r}; give scenes, emoji, an existing folder with captions.csv, "
        "or tar shards such as 'shards/{000..009}.tar'."
    )


def load_tests(source: str, profile: str = "laptop", seed: int = 0) -> Stream:
    """As `load_stream`, for testing alone: the training pairs of `scenes`, which would be drawn first, are left out."""
    if source != "scenes":
        return load_stream(source, profile, seed)
    check_seed(seed)
    from growclip_lite.data.scene_stream import load_scene_tests

    return load_scene_tests(get_profile(profile))
