"""Device and precision, and what is computed where."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from growclip_lite import devices
from growclip_lite.data import scene_stream
from growclip_lite.data.drawing import render
from growclip_lite.data.scenes import concepts_at
from growclip_lite.devices import default_device, fast_dtype
from growclip_lite.files import cache_folder


@pytest.mark.parametrize(("brief", "dtype"), [(0.5, torch.bfloat16), (0.7, torch.float32)])
def test_bfloat16_is_taken_where_it_is_clearly_faster(brief, dtype, monkeypatch, tmp_path):
    monkeypatch.setenv("GROWCLIP_CACHE", str(tmp_path / "cache"))
    measure(monkeypatch, brief)
    assert fast_dtype.__wrapped__("cpu") is dtype


def measure(monkeypatch, brief: float) -> None:
    """The next measurement finds that bfloat16 takes this share of float32's time."""
    seconds = {torch.float32: 1.0, torch.bfloat16: brief}
    monkeypatch.setattr(devices, "seconds_of_product", lambda dtype, device: seconds[dtype])


def test_the_precision_is_decided_once_on_a_machine(monkeypatch, tmp_path):
    """Also for processes that start later, while the machine is busy with something else."""
    monkeypatch.setenv("GROWCLIP_CACHE", str(tmp_path))
    for brief in (0.3, 0.9):
        measure(monkeypatch, brief)
        assert fast_dtype.__wrapped__("cpu") is torch.bfloat16
    (kept,) = tmp_path.iterdir()
    assert kept.read_text() == "bfloat16"
    kept.unlink()

    def slow(dtype, device):  # while another process decides
        kept.write_text("bfloat16")
        return 1.0

    monkeypatch.setattr(devices, "seconds_of_product", slow)
    assert fast_dtype.__wrapped__("cpu") is torch.bfloat16


def test_where_nothing_can_be_kept_the_precision_is_measured(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GROWCLIP_CACHE", str(tmp_path / "file" / "cache"))
    measure(monkeypatch, 0.3)
    assert fast_dtype.__wrapped__("cpu") is torch.bfloat16


def test_a_home_is_not_needed_where_the_cache_is_given(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError("Could not determine home directory.")))
    monkeypatch.setenv("GROWCLIP_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


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
