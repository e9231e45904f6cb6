"""Decoding in other processes, on all cores: a crash or a bomb costs one image and not the run.

On Linux a decoder's process gets 3 GB at most. macOS keeps no such limit; there as everywhere, what a header
claims is checked before memory is taken, and a process that dies is replaced.
"""

from __future__ import annotations

import atexit
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from hundredfold.data.channel import FORK, NUMBER, Limits, receive, send
from hundredfold.data.image import Pixels
from hundredfold.errors import HundredfoldError, ImageError
from hundredfold.process import cores

__all__ = ["TRIES", "Answer", "DeadError", "Worker", "answers", "awaken", "hire", "why_ended"]

T = TypeVar("T")

#: What a task came to: facts and pixels, or why there are none.
Answer: TypeAlias = tuple[dict[str, Any], Pixels | None] | ImageError

#: Images that wait at a worker, so that it never waits for us; and finished ones that wait for their turn.
AHEAD, FINISHED = 8, 16
#: Bytes of finished pixels that may lie between a worker and us; a system may grant less.
BUFFER = 1 << 22
DEFAULT = Limits()
#: A worker may have been killed for another's memory: an image has two tries.
TRIES = 2


def answers(
    items: Sequence[T], task: Callable[[T], Mapping[str, Any]], *, limits: Limits = DEFAULT
) -> Generator[Answer]:
    """Do a task for each item on all cores; answers come in the order of the items, and few wait in memory.

    Args:
        items: what there is to do something about.
        task: item → ``do`` and the arguments of the function of that name (:mod:`hundredfold.data.nursery`).
        limits: what one process may take.

    Returns:
        For each item its facts and pixels, or an :class:`ImageError`: one that the function raised, or
        ``crashed`` or ``too_slow``, where it ended its process twice.

    Raises:
        HundredfoldError: the processes cannot be started.
    """
    crew = _Crew(len(items), lambda place: task(items[place]), limits)
    try:
        yield from crew.answers()
    finally:
        crew.dismiss()


class _Nursery:
    """The process that forks the workers; one for each process of ours, and for as long as it lives."""

    _here: _Nursery | None = None
    _lock = threading.Lock()

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair()
        self.owner = os.getpid()
        paths = os.pathsep.join(path for path in sys.path if path)
        # One thread each for the libraries below the decoders: a forked process has no others.
        alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        # -P: the folder one stands in, which may hold anything, is no place to import from.
        command = [sys.executable, "-P", "-m", "hundredfold.data.nursery", str(theirs.fileno())]
        self.process = subprocess.Popen(  # noqa: S603 - our own module
            command, pass_fds=[theirs.fileno()], env={**os.environ, **alone, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        theirs.close()
        atexit.register(self.close)

    @classmethod
    def here(cls) -> _Nursery:
        """The nursery of this process, started if need be."""
        with cls._lock:
            found = cls._here
            if found is None or found.owner != os.getpid() or found.process.poll() is not None:
                cls._here = found = cls()
            return found

    def fork(self, limits: Limits) -> tuple[int, socket.socket]:
        """A new worker: its process number, and the socket to speak to it."""
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        with theirs:
            return self._ask(FORK.pack(*limits), [theirs.fileno()]), ours

    def ended(self, number: int) -> int:
        """How a worker ended, as :func:`os.waitpid` says it; waits for the end."""
        return self._ask(NUMBER.pack(number), [])

    def _ask(self, message: bytes, descriptors: list[int]) -> int:
        try:
            with self._lock:
                socket.send_fds(self.control, [message], descriptors)
                data = self.control.recv(NUMBER.size, socket.MSG_WAITALL)
            return int(NUMBER.unpack(data)[0])
        except (OSError, struct.error):
            raise HundredfoldError(
                "the processes that decode images cannot be started, or were ended",
                remedy="Try again; `python -m hundredfold.data.nursery` says what is amiss at their start.",
            ) from None

    def close(self) -> None:
        """End it, if it is ours; a process forked from ours may hold the socket, so closing is not enough."""
        if self.owner == os.getpid():
            with suppress(OSError):
                self.control.shutdown(socket.SHUT_RDWR)
            self.process.wait()
        self.control.close()


class DeadError(Exception):
    """A process that decodes no more."""


@dataclass
class Worker:
    """A process that decodes, and the tasks it was given."""

    nursery: _Nursery
    limits: Limits
    todo: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.number, self.channel = self.nursery.fork(self.limits)

    def give(self, place: int, task: Mapping[str, Any], sent: Pixels | None = None) -> None:
        """Have it do a task, with what is sent along."""
        self.todo.append(place)
        with suppress(ConnectionError):  # it is found dead where its answer is read
            send(self.channel, task, sent)

    def hear(self) -> Answer:
        """What came of the first of its tasks.

        Raises:
            DeadError: it died, or speaks no language of ours.
        """
        try:
            facts, pixels = receive(self.channel)
        except (OSError, ValueError, KeyError, TypeError):
            raise DeadError from None
        self.todo.popleft()
        if "reason" in facts:
            return ImageError(str(facts["reason"]), str(facts["sentence"]))
        return facts, pixels

    def end(self) -> int:
        """Stop it, at once if it is at work, and tell how it ended."""
        with suppress(OSError):
            self.channel.shutdown(socket.SHUT_RDWR)
        self.channel.close()
        if self.todo:
            with suppress(ProcessLookupError):
                os.kill(self.number, signal.SIGKILL)
        return self.nursery.ended(self.number)


class _Crew:
    """The workers at so many tasks, each of them told by its place."""

    def __init__(self, count: int, task: Callable[[int], Mapping[str, Any]], limits: Limits) -> None:
        self.count, self.task, self.limits = count, task, limits
        self.begun, self.again = 0, list[int]()
        self.done: dict[int, Answer] = {}
        self.tries: Counter[int] = Counter()
        self.nursery = _Nursery.here()
        self.selector = selectors.DefaultSelector()
        self.workers: list[Worker] = []
        for _ in range(min(cores(), count)):
            self._hire()

    def answers(self) -> Iterator[Answer]:
        for place in range(self.count):
            while place not in self.done:
                self._feed(place + len(self.workers) * FINISHED)
                for key, _ in self.selector.select():
                    self._hear(key.data)
            yield self.done.pop(place)

    def dismiss(self) -> None:
        self.selector.close()
        for worker in self.workers:
            with suppress(HundredfoldError):
                worker.end()

    def _hire(self) -> None:
        worker = Worker(self.nursery, self.limits)
        self.workers.append(worker)
        self.selector.register(worker.channel, selectors.EVENT_READ, worker)

    def _feed(self, limit: int) -> None:
        """Give every worker as many tasks as it may have, the idle ones first, but none beyond ``limit``."""
        for many in range(AHEAD):
            for worker in self.workers:
                if len(worker.todo) == many and (place := self._next(limit)) is not None:
                    worker.give(place, self.task(place))

    def _next(self, limit: int) -> int | None:
        if self.again:
            return self.again.pop(0)
        if self.begun == min(limit, self.count):
            return None
        self.begun += 1
        return self.begun - 1

    def _hear(self, worker: Worker) -> None:
        place = worker.todo[0] if worker.todo else None
        try:
            answer = worker.hear()
        except DeadError:
            self._replace(worker)
            return
        assert place is not None  # who has nothing to do says nothing
        self.done[place] = answer

    def _replace(self, worker: Worker) -> None:
        """Another worker takes over; the image at which this one died, its first, has one more try."""
        self.selector.unregister(worker.channel)
        self.workers.remove(worker)
        todo, status = [*worker.todo], worker.end()
        if todo:
            self.tries[todo[0]] += 1
            why = why_ended(status, self.limits)
            if why.reason == "too_slow" or self.tries[todo[0]] == TRIES:
                self.done[todo.pop(0)] = why
        self.again = sorted([*self.again, *todo])
        self._hire()


def awaken() -> None:
    """Start what decoders are forked from, which takes a moment, while something else is loaded."""
    _Nursery.here()


def hire(limits: Limits = DEFAULT) -> Worker:
    """A process that decodes, for who gives it tasks one by one.

    Raises:
        HundredfoldError: it cannot be started.
    """
    return Worker(_Nursery.here(), limits)


def why_ended(status: int, limits: Limits) -> ImageError:
    """The reason for which a worker ended."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGPROF:
        return ImageError("too_slow", f"decoding took over {limits.seconds:g} s of processor time")
    code = os.waitstatus_to_exitcode(status)
    how = f"by {signal.Signals(number).name}" if number else f"with exit code {code}"
    return ImageError("crashed", f"its decoder was ended {how}, twice; the file is damaged or made to harm")
