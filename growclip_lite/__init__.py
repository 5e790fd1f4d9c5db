"""growclip-lite: contrastive language-image pre-training in which the architecture grows with the data."""

from growclip_lite.architecture import Architecture
from growclip_lite.data.load import load_stream
from growclip_lite.evaluate import evaluate
from growclip_lite.grow import grow
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.inherit import inherit
from growclip_lite.model import GrowCLIP
from growclip_lite.open_clip_style import create_model_and_transforms, get_tokenizer

__all__ = [
    "Architecture",
    "GrowCLIP",
    "GrowthSpace",
    "create_model_and_transforms",
    "evaluate",
    "get_tokenizer",
    "grow",
    "inherit",
    "load_stream",
]
