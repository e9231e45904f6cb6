"""A process at long work keeps its freed memory, and is as before afterwards."""

import gc
import resource
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from hundredfold.learn.draws import fit_and_tell
from hundredfold.process import one_thread

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


def blas_threads() -> set[int]:
    assert np.ones((2, 2)) @ np.ones((2, 2)) is not None  # NumPy's BLAS is loaded
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


class Watched:
    """A classifier that notes how many threads it was fitted on."""

    def fit(self, *_: object) -> None:
        with one_thread():  # a part of a classifier may ask for it, too
            pass
        self.threads = blas_threads()


def test_a_classifier_is_fitted_on_one_thread_and_the_others_come_back() -> None:
    with threadpool_limits(2, user_api="blas"):
        watched = Watched()
        assert fit_and_tell(watched, [[0.0]], [0])
        assert watched.threads == {1}
        assert blas_threads() == {2}
        with pytest.raises(ZeroDivisionError), one_thread():
            raise ZeroDivisionError
        assert blas_threads() == {2}
