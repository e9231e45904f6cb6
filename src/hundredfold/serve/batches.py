"""What several requests ask at the same time is answered in one go of the encoder."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

__all__ = ["Batches"]

A = TypeVar("A")
Q = TypeVar("Q")


class Batches(Generic[Q, A]):
    """A thread that answers questions together.

    It takes up what has come, waits a moment for more, and answers them all at once; while it is busy the
    next ones gather. Questions that were given up before their turn are left out.

    Args:
        answer: several questions → as many answers, in their order.
        most: questions answered at once.
        seconds: how long the first of them waits for others.
    """

    def __init__(self, answer: Callable[[Sequence[Q]], Sequence[A]], *, most: int, seconds: float) -> None:
        self._answer, self.most, self.seconds = answer, most, seconds
        self._asked: queue.SimpleQueue[tuple[Q, Future[A]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self.ended = False
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether questions are answered."""
        return self._thread.is_alive()

    def submit(self, question: Q) -> Future[A]:
        """Ask; an exception while it is answered is that of all the questions beside it, too."""
        future: Future[A] = Future()
        self._asked.put((question, future))
        return future

    def close(self) -> None:
        """Answer what was asked, and end."""
        self._asked.put(None)
        self._thread.join()

    def _run(self) -> None:
        while not self.ended:
            asked = self._gathered()
            if not asked:
                continue
            try:
                answers = self._answer([question for question, _ in asked])
                for (_, future), answer in zip(asked, answers, strict=True):
                    future.set_result(answer)
            except Exception as error:  # noqa: BLE001 - the thread lives on; who asked is told
                for _, future in asked:
                    if not future.done():
                        future.set_exception(error)

    def _gathered(self) -> list[tuple[Q, Future[A]]]:
        asked: list[tuple[Q, Future[A]]] = []
        until = None
        while len(asked) < self.most:
            try:
                left = None if until is None else max(0.0, until - time.monotonic())
                found = self._asked.get(timeout=left) if left != 0 else self._asked.get_nowait()
            except queue.Empty:
                break
            if found is None:
                self.ended = True
                break
            if found[1].set_running_or_notify_cancel():
                asked.append(found)
                until = until or time.monotonic() + self.seconds
        return asked
