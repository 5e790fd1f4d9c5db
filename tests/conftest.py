"""What all tests share: no user cache is touched, no network, one thread, and one finished run to look at."""

import os

os.environ["TQDM_DISABLE"] = "1"  # progress bars share stderr with the messages that tests look at
os.environ["HF_HUB_OFFLINE"] = "1"  # a folder that is missing may be a name on the Hub, which no test asks

import pytest
import torch
from tiny import tiny_profile, tiny_stream

from growclip_lite import train
from growclip_lite.grow import grow


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory):
    """Drawn scenes go to a folder of this test session."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROWCLIP_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The models of the tests are too small for more, and sums in a fixed order make runs comparable."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def saves_often(monkeypatch: pytest.MonkeyPatch):
    """The training state is saved every second iteration."""
    monkeypatch.setattr(train, "RECORD_EVERY", 2)
    monkeypatch.setattr(train, "SAVE_SECONDS", 0.0)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory):
    """A finished run on the tiny stream: its report and its folder. Read only."""
    out = tmp_path_factory.mktemp("tiny") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "RECORD_EVERY", 2)
        report = grow(tiny_stream(), tiny_profile(), out, seed=3)
    return report, out
