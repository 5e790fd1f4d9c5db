"""The profiles: how much of everything a run takes. Plain values; a study replaces fields."""

from __future__ import annotations

from dataclasses import dataclass, replace

from growclip_lite.architecture import Architecture, ModelConfig
from growclip_lite.errors import InputError


@dataclass(frozen=True)
class Profile:
    """Amounts and settings of a run.

    Data: `image_size` S in pixels; `scene_pairs` pairs of the scenes stream after each growth step;
    `kinds` named kinds in the end; `wrong_captions` share of wrong captions; `validation_pairs` per
    growth step. Training: `iterations` in all growth steps together, of `batch_size` pairs each,
    shared out in proportion to |D_t| ** `share_power`. Search: see `GrowthSpace.at_step` and
    `SearchConfig`; the supernet is trained for `search_share` of the step's iterations.
    Inheriting: `momentum`, `reading` (A or B) and `operator`, see `inherit`. `replay` False trains
    every step on its new pairs only.
    """

    name: str
    image_size: int
    patch_size: int
    context_length: int
    embed_dim: int
    growth_steps: int
    scene_pairs: tuple[int, ...]
    kinds: int
    wrong_captions: float
    validation_pairs: int
    retrieval_pairs: int
    task_pictures: int
    start: Architecture
    iterations: int
    share_power: float
    batch_size: int
    learning_rate: float
    warmup: int
    budget_power: float
    search_share: float
    random_members: int
    evaluations: int
    scoring_pairs: int
    momentum: float = 1.0
    reading: str = "A"
    operator: str = "corner"
    replay: bool = True


LAPTOP = Profile(
    name="laptop", image_size=32, patch_size=8, context_length=24, embed_dim=64,
    growth_steps=4, scene_pairs=(8_000, 20_000, 50_000, 120_000), kinds=500, wrong_captions=0.05,
    validation_pairs=1_000, retrieval_pairs=1_000, task_pictures=1_000,
    start=Architecture(1, 2, 1, 2, 1, 2), iterations=2_200, share_power=0.25, batch_size=256,
    learning_rate=0.02, warmup=50,
    budget_power=0.5, search_share=0.03, random_members=1, evaluations=64, scoring_pairs=512,
)  # fmt: skip

STUDY = replace(
    LAPTOP, name="study", task_pictures=400, start=Architecture(1, 2, 1, 1, 1, 1), iterations=1_000, share_power=1.0,
)  # fmt: skip

# As `study`, but every growth step gets as many iterations, as if pairs came at equal intervals of time.
ONLINE = replace(
    STUDY, name="online", start=Architecture(1, 1, 1, 1, 1, 1), iterations=1_900, share_power=0.0, budget_power=0.75,
)  # fmt: skip

SMOKE = replace(
    LAPTOP, name="smoke", growth_steps=3, scene_pairs=(300, 600, 1_000), kinds=24,
    validation_pairs=64, retrieval_pairs=100, task_pictures=48,
    start=Architecture(1, 1, 1, 1, 1, 1), iterations=36, batch_size=64, warmup=3,
    evaluations=6, scoring_pairs=64,
)  # fmt: skip

GPU = replace(
    LAPTOP, name="gpu", image_size=64, embed_dim=256, growth_steps=5,
    scene_pairs=(30_000, 100_000, 300_000, 800_000, 2_000_000), kinds=2_000,  # 25 GB of pictures
    start=Architecture(2, 4, 2, 4, 1, 4), iterations=20_000, batch_size=1_024, scoring_pairs=2_048,
)  # fmt: skip


PROFILES = {profile.name: profile for profile in (SMOKE, STUDY, ONLINE, LAPTOP, GPU)}


TYPICAL_VOCABULARY = 1_000


def typical_config(profile: Profile) -> ModelConfig:
    """What does not grow, for counting costs before the words of the data are known."""
    p = profile
    return ModelConfig(p.image_size, p.patch_size, p.context_length, TYPICAL_VOCABULARY, p.embed_dim)


def get_profile(name: str) -> Profile:
    """The profile of that name; raises `InputError` for another."""
    if name not in PROFILES:
        raise InputError(f"There is no profile {name!r}; choose one of {', '.join(PROFILES)}.")
    return PROFILES[name]
