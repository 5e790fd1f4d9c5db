"""Device and precision, and what is computed where."""

import numpy as np
import pytest
import torch

from growclip_lite import devices
from growclip_lite.data import scene_stream
from growclip_lite.data.drawing import render
from growclip_lite.data.scenes import concepts_at
from growclip_lite.devices import default_device, fast_dtype


@pytest.mark.parametrize(("brief", "dtype"), [(0.5, torch.bfloat16), (0.7, torch.float32)])
def test_bfloat16_is_taken_where_it_is_clearly_faster(brief, dtype, monkeypatch):
    seconds = {torch.float32: 1.0, torch.bfloat16: brief}
    monkeypatch.setattr(devices, "seconds_of_product", lambda dtype, device: seconds[dtype])
    assert fast_dtype.__wrapped__("cpu") is dtype


def test_a_gpu_is_taken_where_there_is_one(monkeypatch):
    for there, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert default_device() == device


def test_training_pairs_are_drawn_on_that_device(monkeypatch):
    asked = []

    def drawn(scenes, size, kinds, device):
        asked.append(device)
        return render(scenes, size, kinds)

    monkeypatch.setattr(scene_stream, "default_device", lambda: "cuda")
    monkeypatch.setattr(scene_stream, "render", drawn)
    (pairs,) = scene_stream.make_pairs(5, concepts_at(1, 3, 24), 24, 16, [0])
    assert asked == ["cuda"] and pairs.images.dtype == np.uint8 and len(pairs) == 5
