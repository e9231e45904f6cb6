"""What the ranks of a job tell each other; alone, each of these functions answers at once."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from hundredfold.errors import HundredfoldError, TrainingError
from hundredfold.ranks import is_first, ranks

__all__ = [
    "Vote",
    "from_first",
    "gather_over_ranks",
    "group_size",
    "joined",
    "mean_over_ranks",
    "sum_over_ranks",
]

T = TypeVar("T")

#: Longest wait for another rank in the midst of a step, and at a save.
PATIENCE = timedelta(minutes=30)
POLL_SECONDS = 0.05
#: Most that the end of another rank waits for that of rank 0.
GRACE_SECONDS = 10.0
ENDED = "ended"


@contextmanager
def joined() -> Iterator[None]:
    """Join the other ranks for the block; an end of one of them becomes one sentence.

    Raises:
        TrainingError: another rank ended or cannot be reached.
    """
    if ranks() == 1:
        yield
        return
    try:
        _join()
        yield
    except (HundredfoldError, KeyboardInterrupt):
        _let_the_first_end()
        raise
    except RuntimeError as error:
        if not _is_loss_of_a_rank(error):
            raise
        raise TrainingError(
            f"another of the {ranks()} processes ended or cannot be reached, so this one ends too",
            remedy="Its own last words, or torchrun's list of failures, tell why. Go on with the same "
            "command and --resume, with as many processes as there are now.",
        ) from error
    finally:
        if is_first() and _shared:
            with suppress(RuntimeError):
                _shared[0].set(ENDED, "")
        _shared.clear()
    distributed.destroy_process_group()


def from_first(make: Callable[[], T]) -> T:
    """What ``make`` gives on rank 0, on every rank; the others wait, for hours if need be.

    Args:
        make: called on rank 0 only; gives what JSON can hold. Where it raises, the job ends.

    Examples:
        >>> from_first(lambda: {"steps": 3})
        {'steps': 3}
    """
    if not _shared:
        return make()
    key = str(next(_numbers))
    store = _shared[0]
    if is_first():
        value = make()
        store.set(key, json.dumps(value))
        return value
    while not store.check([key]):
        time.sleep(POLL_SECONDS)
    told: T = json.loads(store.get(key))
    return told


def group_size() -> int:
    """How many ranks have joined: 1 alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum over all ranks, through which gradients flow back to each of them.

    Examples:
        >>> sum_over_ranks(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    if not distributed.is_initialized():
        return value
    total: Tensor = _Sum.apply(value)
    return total


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean over all ranks, without gradient."""
    return sum_over_ranks(value.detach()) / group_size()


def gather_over_ranks(rows: Tensor) -> Tensor:
    """The rows of all ranks [r · n, …] from those of this one [n, …], rank 0 first; gradients flow back."""
    if not distributed.is_initialized():
        return rows
    places = rows.new_zeros(group_size(), *rows.shape)  # [r, n, …]
    places[distributed.get_rank()] = rows
    return sum_over_ranks(places).flatten(0, 1)


class Vote:
    """What any rank wishes, agreed on by all of them after the same step.

    The wishes of a step are told to the others while the next one is computed, so that nobody waits; alone
    they are granted at once.

    Examples:
        >>> with Vote() as vote:
        ...     vote(False, True), vote(True, False)
        ((False, True), (True, False))
    """

    def __init__(self) -> None:
        self._told: Tensor | None = None
        self._pending: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._pending is not None:
            self._pending.wait()

    def __call__(self, *wishes: bool) -> tuple[bool, ...]:
        """Tell the others, and give what was wished for in the step before (alone: in this one)."""
        if not distributed.is_initialized():
            return wishes
        granted = (False,) * len(wishes)
        if self._told is not None:
            self._pending.wait()
            granted = tuple(bool(told) for told in self._told.tolist())
        self._told = torch.tensor([float(wish) for wish in wishes])
        self._pending = distributed.all_reduce(self._told, distributed.ReduceOp.MAX, async_op=True)
        return granted


class _Sum(torch.autograd.Function):
    """An all-reduce; since every rank uses the sum, the gradients of all of them come back."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        return _all_reduced(value)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _all_reduced(gradient)


def _all_reduced(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


#: the place where rank 0 leaves notes for the others, and the numbers of the notes
_shared: list[Any] = []
_numbers = itertools.count()


def _let_the_first_end() -> None:
    """Wait until rank 0 has closed the run: torchrun kills it as soon as another rank has ended."""
    until = time.monotonic() + GRACE_SECONDS
    with suppress(RuntimeError):  # the store is gone: so is rank 0
        while not is_first() and _shared and time.monotonic() < until and not _shared[0].check([ENDED]):
            time.sleep(POLL_SECONDS)


def _join() -> None:
    store, number, count = next(rendezvous("env://", timeout=PATIENCE))
    # Neither a restart by torchrun nor a second training of the program may read the notes of the first.
    name = f"hundredfold/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{next(_numbers)}"
    _shared[:] = [PrefixStore(f"{name}/notes", store)]
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # Without the name of a backend both are made: gloo for what lies in main memory, NCCL for the devices.
    distributed.init_process_group(
        store=PrefixStore(name, store), rank=number, world_size=count,
        timeout=PATIENCE,
    )


def _is_loss_of_a_rank(error: RuntimeError) -> bool:
    signs = ("gloo", "NCCL", "onnection closed", "onnection reset", "roken pipe", "ProcessGroup")
    return isinstance(error, distributed.DistError) or any(sign in str(error) for sign in signs)
