"""What the service answers, written once: for programs as OpenAPI, and as a page that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["POLICY", "described", "page"]

STYLE = (files("hundredfold.serve") / "pages" / "page.css").read_text(encoding="utf-8")
DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
#: The page runs no script, loads nothing, and has this one style.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{DIGEST}'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
TEXT = {"type": "string"}
NUMBER = {"type": "number"}
OF_CLASSES = {"type": ["object", "null"], "additionalProperties": NUMBER}

ANSWER: Mapping[str, Any] = {
    "type": "object",
    "description": "What is said of one image, in the order in which the images were sent. One that cannot "
    "be used has only problem and sentence. Further members are those of the columns of `predict`.",
    "required": ["problem"],
    "properties": {
        "label": {**TEXT, "description": "The classifier's own decision; with --prevalence the most probable "
                                         "class."},
        "probabilities": {**OF_CLASSES, "description": "Of each class; they sum to 1."},
        "scores": {**OF_CLASSES, "description": "In their place, where there were too few labels for "
                                                "probabilities. A score is no probability."},
        "conformal_set": {"type": ["array", "null"], "items": TEXT,
                          "description": "The classes that cannot be ruled out, the most probable first; of "
                                         "several, a person should look."},
        "novelty": {**NUMBER, "description": "Share of known images that are less unusual than this one."},
        "unusual": {"enum": ["yes", "no"], "description": "Whether a person should look, since the image is "
                                                          "unlike those that were learned from."},
        "problem": {"type": ["string", "null"],
                    "description": "Why nothing is said: truncated, not_image, too_large, no_range …"},
        "sentence": {**TEXT, "description": "The same in words."},
    },
}


def _answer(what: str, schema: Mapping[str, Any] | None = None, kind: str = "application/json") -> Any:
    return {"description": what, **({} if schema is None else {"content": {kind: {"schema": schema}}})}


def _watching(summary: str, **answers: Any) -> dict[str, Any]:
    return {"get": {"summary": summary, "security": [], "responses": answers}}


ERROR = {"type": "object", "required": ["error"], "properties": {"error": TEXT}}
REFUSALS = {
    "400": _answer("The request holds no image, or a form that cannot be read.", ERROR),
    "401": _answer("The token is missing or wrong.", ERROR),
    "403": _answer("Asked under another name, or from a page elsewhere.", ERROR),
    "408": _answer("The request took too long to come.", ERROR),
    "413": _answer("The request has too many bytes or images.", ERROR),
    "503": _answer("Too much waits; Retry-After says when to try again.", ERROR),
}
BINARY = {"type": "string", "format": "binary"}
FORM = {"type": "object", "properties": {"image": {"type": "array", "items": BINARY}}}
PREDICTED = {
    "type": "object", "required": ["predictor", "answers"],
    "properties": {
        "predictor": {**TEXT, "description": "The hash of the predictor."},
        "answers": {"type": "array", "items": {"$ref": "#/components/schemas/Answer"}},
    },
}


def described(*, most_body: int, most_images: int, token: str | None) -> dict[str, Any]:
    """The description as an OpenAPI 3.1 object.

    Args:
        most_body: bytes that a request may have.
        most_images: images that it may hold.
        token: whether one is asked for; it is not told.
    """
    predict = {
        "summary": "Say what images are",
        "description": f"JPEG, PNG, TIFF, BMP, GIF or DICOM, told by content: one as the body, or up to "
        f"{most_images:,} as files of a form, and {most_body:,} bytes. An image that cannot "
        "be used is an answer, too. Nothing is kept, and neither a name of a file nor a tag comes back.",
        "parameters": [{
            "name": "frame", "in": "query", "schema": {"type": "integer", "minimum": 0},
            "description": "Which frame of a DICOM file that holds several.",
        }],
        "requestBody": {"required": True, "content": {
            "multipart/form-data": {"schema": FORM}, "image/*": {"schema": BINARY},
            "application/dicom": {"schema": BINARY}, "application/octet-stream": {"schema": BINARY},
        }},
        "responses": {"200": _answer("An answer an image.", PREDICTED), **REFUSALS},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hundredfold", "version": version("hundredfold"),
            "description": "A predictor fitted to few labels. It is no medical device.",
        },
        "paths": {
            "/predict": {"post": predict},
            "/predictor": {"get": {
                "summary": "What answers: its hash, classes, encoder and labels, what its sets promise, for "
                           "which prevalence",
                "responses": {"200": _answer("The predictor.", {"type": "object"}), "401": REFUSALS["401"]},
            }},
            "/metrics": {"get": {
                "summary": "What was done so far, for Prometheus",
                "responses": {"200": _answer("Counters.", TEXT, "text/plain"), "401": REFUSALS["401"]},
            }},
            "/health": _watching("Whether the process lives", **{"200": _answer("It does.")}),
            "/ready": _watching("Whether images would be answered", **{
                "200": _answer("They would."), "503": _answer("Too many wait."),
            }),
        },
        "components": {
            "schemas": {"Answer": ANSWER},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [] if token is None else [{"token": []}],
    }


def page(description: Mapping[str, Any]) -> str:
    """The description as HTML; nothing is loaded, and no script runs."""
    environment = Environment(
        loader=PackageLoader("hundredfold.serve", "pages"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        api=description, style=STYLE, answer=json.dumps(EXAMPLE, indent=2, ensure_ascii=False)
    )


EXAMPLE = {
    "predictor": "3f…", "answers": [
        {"label": "neutrophil", "probabilities": {"eosinophil": 0.04, "neutrophil": 0.96}, "problem": None},
        {"problem": "truncated", "sentence": "the JPEG is cut short."},
    ],
}
