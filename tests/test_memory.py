"""Freed memory stays with the process: the same work does not fault the same pages in again."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from growclip_lite.memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    print(-1)
    sys.exit()
def work():
    x = torch.ones(12_000_000)  # 48 MB: more than glibc keeps by itself
    return (x + 1).sum()
for _ in range(20):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    return int(subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_pages_are_kept():
    kept = faults("keep")
    if kept < 0:
        pytest.skip("the C library has no mallopt")
    assert kept < 0.1 * faults("default")


def test_other_systems_are_left_alone(monkeypatch):
    from growclip_lite.memory import keep_freed_memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory.__wrapped__() is False
