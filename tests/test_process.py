"""A process at long work keeps its freed memory, and is as before afterwards."""

import gc
import resource
import subprocess
import sys

import pytest

COUNT = """
import resource, sys, torch
from contextlib import nullcontext
from hundredfold.process import steady_process
with steady_process() if sys.argv[1] == "steady" else nullcontext():
    for turn in range(30):
        if turn == 15:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(25_000_000)  # 100 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_not_asked_for_again() -> None:
    pages = 100_000_000 // resource.getpagesize()
    assert page_faults("usual") > 10 * pages
    assert page_faults("steady") < pages


def test_the_search_for_garbage_is_as_before_afterwards() -> None:
    from hundredfold.process import steady_process

    with steady_process():
        assert gc.get_freeze_count() > 0
        assert gc.isenabled()
        with steady_process():
            pass
        assert gc.get_freeze_count() > 0  # the outer block still holds
    assert gc.get_freeze_count() == 0
