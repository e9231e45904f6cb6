"""``hundredfold serve``: a predictor behind HTTP."""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

from hundredfold.config import ServeSettings, verb
from hundredfold.errors import SettingsError
from hundredfold.progress import say

if TYPE_CHECKING:
    from hundredfold.serve.guard import Terms

__all__ = ["serve"]

VARIABLE = "HUNDREDFOLD_TOKEN"
SHORTEST = 16


@verb(ServeSettings)
def serve(settings: ServeSettings) -> None:
    """Answer over HTTP what images are, until it is told to end.

    Images come as files of a form or as the body of a request, and answers are JSON; ``/`` is a page that
    says how. Nothing of what comes is written anywhere. See ``docs/serve.md``.

    Raises:
        SettingsError: a token is needed or too short, or a prevalence does not fit the predictor.
        ModelFileError: the predictor is damaged or was edited.
        InputError: the port cannot be had.
    """
    terms = _terms(settings)
    from hundredfold.web.listening import bound

    listening = bound(settings.port, settings.host)
    with closing(listening):
        from hundredfold.data.sandbox import awaken

        awaken()
        from hundredfold.data.rows import existing
        from hundredfold.predict.predictor import Predictor
        from hundredfold.serve.app import make_app
        from hundredfold.serve.measures import Measures
        from hundredfold.serve.server import run
        from hundredfold.serve.service import Service

        place = existing(settings.predictor, "a predictor folder, or a run that holds one")
        predictor = Predictor.load(place)
        shares = None if settings.stated is None else predictor.shares(settings.stated)
        service = Service(
            predictor, Measures(), shares=shares, batch=settings.embed_batch, wait=settings.wait,
            queue=settings.queue,
        )
        with closing(service):
            app = make_app(service, terms, most_images=settings.most_images, log=_log)
            address = f"http://{settings.host}:{listening.getsockname()[1]}/"
            run(app, listening, lambda: say(f"Answering at {address} ; Ctrl-C ends it."))
    say("Ended; what was asked is answered.")


def _terms(settings: ServeSettings) -> Terms:
    """On which terms requests are answered.

    Raises:
        SettingsError: the service would answer everybody.
    """
    from hundredfold.serve.guard import Terms
    from hundredfold.web.asking import LOOPBACK

    token = settings.token or os.environ.get(VARIABLE) or None
    here = settings.host in LOOPBACK
    if token is None and not here:
        raise SettingsError(
            f"a token is needed where the service is not for this machine alone: --host {settings.host}",
            where="token", remedy=f"Set {VARIABLE} to a secret, as `openssl rand -hex 32` gives one.",
        )
    if token is not None and not (len(token) >= SHORTEST and token.isascii() and token.isprintable()):
        raise SettingsError(
            f"expected a token of {SHORTEST} ASCII characters or more, found {len(token)}", where="token",
            remedy="Take one that nobody can guess, as `openssl rand -hex 32` gives it.",
        )
    names = frozenset(name.lower() for name in settings.names)
    return Terms(
        token, names | LOOPBACK if here or names else None, settings.most_mb * 1_000_000,
        settings.body_seconds, settings.answer_seconds,
    )


def _log(line: str) -> None:
    say(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {line}")
