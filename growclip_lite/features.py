"""Embeddings as a step of a scikit-learn pipeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from growclip_lite.errors import InputError
from growclip_lite.evaluate import embed_images, embed_texts
from growclip_lite.model import GrowCLIP


class GrowCLIPFeatures(TransformerMixin, BaseEstimator):
    """Pictures or texts -> unit-norm embeddings (n, E), by a checkpoint folder or a name on the Hub.

    X holds n items: texts; pictures of PIL, of any mode and size; or is one array (n, 3, S, S) uint8.
    Nothing is learnt: `fit` loads the checkpoint. Raises `InputError` for anything else.
    """

    def __init__(self, checkpoint: str, revision: str | None = None) -> None:
        self.checkpoint = checkpoint
        self.revision = revision

    def fit(self, X: Sequence, y: object = None) -> GrowCLIPFeatures:
        self.model_ = GrowCLIP.from_pretrained(self.checkpoint, revision=self.revision)
        return self

    def transform(self, X: Sequence) -> np.ndarray:
        check_is_fitted(self, "model_")
        if len(X) == 0:
            return np.empty((0, self.model_.config.embed_dim), dtype=np.float32)
        if isinstance(X, np.ndarray) and X.ndim == 4:
            return embed_images(self.model_, checked(self.model_, X)).numpy()
        items = list(X)  # a Series would be indexed by its labels
        kind = next((kind for kind in (str, Image.Image) if isinstance(items[0], kind)), None)
        for number, item in enumerate(items):
            if kind is None or not isinstance(item, kind):
                raise InputError(f"Item {number} is a {type(item).__name__}; all must be texts, or all PIL pictures.")
        if kind is str:
            return embed_texts(self.model_, items).numpy()
        return embed_images(self.model_, np.stack([self.model_.preprocess(item) for item in items])).numpy()

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


def checked(model: GrowCLIP, images: np.ndarray) -> np.ndarray:
    """Raises `InputError` unless the array holds pictures as the model takes them."""
    size = model.config.image_size
    if images.dtype != np.uint8 or images.shape[1:] != (3, size, size):
        raise InputError(f"The pictures are {images.dtype} {images.shape}, but must be uint8 (n, 3, {size}, {size}).")
    return images
