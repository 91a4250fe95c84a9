"""Memory that a batch has freed is kept for the next batch."""

import resource
import subprocess
import sys

import pytest

PROBE = """
import resource, sys
import torch
from service.runtime.allocator import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    raise SystemExit(3)
torch.set_num_threads(1)
for round in range(30):
    if round == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 << 20)  # 64 MiB: above the threshold to which glibc adapts
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 10)
"""


def faults_a_round(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROBE, how], capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("this C library has no mallopt")
    return int(done.stdout)


def test_freed_block_is_reused_without_page_faults() -> None:
    pages = (64 << 20) // resource.getpagesize()
    assert faults_a_round("keep") < pages // 10 < faults_a_round("leave")
