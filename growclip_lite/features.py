"""Embeddings as a step of a scikit-learn pipeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from growclip_lite.errors import InputError
from growclip_lite.evaluate import embed_images, embed_texts
from growclip_lite.model import GrowCLIP


class GrowCLIPFeatures(TransformerMixin, BaseEstimator):
    """Pictures or texts -> unit-norm embeddings (n, E), by a checkpoint folder or a name on the Hub.

    X holds n items: texts; pictures of PIL, of any mode and size; or one array (n, 3, S, S) uint8. What X
    holds is told by its first item. Nothing is learnt: `fit` loads the checkpoint. Raises `InputError` for
    anything else.
    """

    def __init__(self, checkpoint: str = "checkpoints/scenes-laptop", revision: str | None = None) -> None:
        self.checkpoint = checkpoint
        self.revision = revision

    def fit(self, X: Sequence, y: object = None) -> GrowCLIPFeatures:
        self.model_ = GrowCLIP.from_pretrained(self.checkpoint, revision=self.revision)
        return self

    def transform(self, X: Sequence) -> np.ndarray:
        check_is_fitted(self, "model_")
        if len(X) == 0:
            return np.empty((0, self.model_.config.embed_dim), dtype=np.float32)
        if isinstance(X[0], str):
            return embed_texts(self.model_, list(X)).numpy()
        return embed_images(self.model_, pixels(self.model_, X)).numpy()

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """growclip0, growclip1, ...: so that `set_output(transform="pandas")` works."""
        check_is_fitted(self, "model_")
        return np.array([f"growclip{i}" for i in range(self.model_.config.embed_dim)], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.no_validation = True
        return tags


def pixels(model: GrowCLIP, pictures: Sequence) -> np.ndarray:
    """(n, 3, S, S) uint8 of PIL pictures, or of what is such an array already."""
    if isinstance(pictures, np.ndarray) and pictures.ndim == 4:
        size = model.config.image_size
        if pictures.dtype != np.uint8 or pictures.shape[1:] != (3, size, size):
            raise InputError(
                f"The pictures are {pictures.dtype} {pictures.shape}, but must be uint8 (n, 3, {size}, {size})."
            )
        return pictures
    try:
        return np.stack([model.preprocess(picture).numpy() for picture in pictures])
    except (AttributeError, TypeError) as error:
        raise InputError(
            f"The first item is a {type(pictures[0]).__name__}, but must be a text or a PIL picture."
        ) from error
