"""Decoders that wait for images to come: as many processes as there are cores, each with one at a time."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np

from hundredfold.data.channel import LARGEST, Limits
from hundredfold.data.sandbox import TRIES, Answer, DeadError, Worker, hire, why_ended
from hundredfold.errors import HundredfoldError, ImageError
from hundredfold.process import cores

__all__ = ["Decoders"]


class Decoders:
    """Processes that decode the bytes they are sent; one that crashes is replaced, and costs one image.

    Args:
        limits: what one of them may take.

    Raises:
        HundredfoldError: they cannot be started.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for _ in range(cores()):
            self._idle.put(hire(limits))
        self._threads = ThreadPoolExecutor(cores(), thread_name_prefix="decoders")

    def submit(self, data: bytes, task: Mapping[str, Any]) -> Future[Answer]:
        """Have the bytes of an image decoded; one that is cancelled before its turn takes no time.

        Args:
            data: of the image's file.
            task: what :func:`~hundredfold.data.prepare.prepare_sent` is to do with it.
        """
        return self._threads.submit(self._decode, data, {"do": "prepare_sent", **task})

    def close(self) -> None:
        """End the processes, once they are through with what they are at."""
        self._threads.shutdown(cancel_futures=True)
        while not self._idle.empty():
            with suppress(HundredfoldError):
                self._idle.get().end()

    def _decode(self, data: bytes, task: Mapping[str, Any]) -> Answer:
        if not data:
            return ImageError("empty", "the file has no bytes")
        if len(data) > LARGEST:
            return ImageError("too_large", f"the file has over {LARGEST:,} bytes")
        worker, why = self._idle.get(), ImageError("crashed", "its decoder was ended")
        try:
            for _ in range(TRIES):
                worker.give(0, task, np.frombuffer(data, np.uint8))
                try:
                    return worker.hear()
                except DeadError:
                    with suppress(HundredfoldError):  # whoever could tell how is gone, too
                        why = why_ended(worker.end(), self.limits)
                    worker = hire(self.limits)
                if why.reason == "too_slow":
                    break
            return why
        finally:
            self._idle.put(worker)
