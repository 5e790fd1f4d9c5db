"""growclip-lite: contrastive language-image pre-training in which the architecture grows with the data."""

from growclip_lite.architecture import Architecture
from growclip_lite.data.load import load_stream
from growclip_lite.evaluate import evaluate
from growclip_lite.grow import grow
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.inherit import inherit
from growclip_lite.model import GrowCLIP

__all__ = ["Architecture", "GrowCLIP", "GrowthSpace", "evaluate", "grow", "inherit", "load_stream"]
