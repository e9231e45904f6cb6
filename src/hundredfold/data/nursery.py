"""The processes in which untrusted bytes are decoded: each with limits, so that one image is all it can cost.

``python -m hundredfold.data.nursery N`` is a process without threads that loads the decoders once and forks
a worker whenever it is asked to through the socket with the descriptor N: milliseconds, also after a crash.
It is started and asked by :mod:`hundredfold.data.sandbox`.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import cv2

from hundredfold.data.channel import FORK, NUMBER, Limits, receive, send
from hundredfold.data.decode import quiet_decoders
from hundredfold.data.header import header
from hundredfold.data.image import Pixels
from hundredfold.data.prepare import prepare, prepare_sent, show, size_of
from hundredfold.errors import ImageError

__all__ = ["Task", "serve", "work"]

Task: TypeAlias = Callable[..., tuple[dict[str, Any], Pixels | None]]


def refuse(*, reason: str, sentence: str, **_: object) -> tuple[dict[str, Any], None]:
    """Say of an image that could not even be fetched why there is none.

    Raises:
        ImageError: always.
    """
    raise ImageError(reason, sentence)


TASKS: Mapping[str, Task] = {
    "prepare": prepare, "prepare_sent": prepare_sent, "show": show, "size_of": size_of, "header": header,
    "refuse": refuse,
}


def serve(control: socket.socket) -> None:
    """Fork a worker for every socket that comes, and tell how one ended to who sends its number."""
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, FORK.size, 1)
        if not message:  # who asked is gone
            return
        if not descriptors:
            control.sendall(NUMBER.pack(os.waitpid(NUMBER.unpack(message)[0], 0)[1]))
            continue
        if not (number := os.fork()):
            control.close()
            work(socket.socket(fileno=descriptors[0]), Limits(*FORK.unpack(message)))
            os._exit(0)
        os.close(descriptors[0])
        control.sendall(NUMBER.pack(number))


def work(channel: socket.socket, limits: Limits) -> None:
    """Do task after task, until the other end is closed; what a task raises is its answer."""
    _confine(limits.memory)
    with suppress(ConnectionError), quiet_decoders():
        while True:
            task, sent = receive(channel)
            task |= {} if sent is None else {"sent": sent}
            signal.setitimer(signal.ITIMER_PROF, limits.seconds)  # which ends the process
            facts, pixels = _answer(task.pop("do"), task, limits)
            signal.setitimer(signal.ITIMER_PROF, 0)
            send(channel, facts, pixels)


def _answer(name: str, task: Mapping[str, Any], limits: Limits) -> tuple[dict[str, Any], Pixels | None]:
    try:
        return TASKS[name](**task)
    except ImageError as error:
        reason, sentence = error.reason, error.sentence
    except MemoryError:
        reason, sentence = "too_large", f"it needs more than {limits.memory / 1e9:g} GB of memory"
    except Exception as error:  # noqa: BLE001 - a fault of ours costs this image; the place, no value, is told
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
        reason, sentence = "failed", f"it could not be prepared ({what})"
    return {"reason": reason, "sentence": sentence}, None


def _confine(memory: int) -> None:
    """Set the limits of this process: its memory, no core dump (it would hold pixels)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS knows the limit and does not keep it
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + memory
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        with suppress(OSError):  # if memory runs out, this is what shall go
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def main() -> None:
    """Serve the socket whose descriptor is named on the command line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us; we go when it goes
    cv2.setNumThreads(1)
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
