"""Predictor: encoder, classifier and class names in one folder, every file with its hash."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from hundredfold.data.recipe import Recipe
from hundredfold.data.splits import HELD_OUT
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.opening import load_encoder
from hundredfold.encode.protocol import EncoderLike, expected_pixels
from hundredfold.errors import ModelFileError, SettingsError
from hundredfold.learn.calibrate import Calibration
from hundredfold.learn.choose import Choice
from hundredfold.learn.classifiers import judge, make_pipeline
from hundredfold.learn.draws import fit_and_tell
from hundredfold.learn.trial import Trial
from hundredfold.metrics import prevalences
from hundredfold.predict.answers import Answers
from hundredfold.predict.conformal import Sets
from hundredfold.predict.estimator import FittedClassifier
from hundredfold.predict.folder import (
    AGAIN,
    CLASSIFIER_FILE,
    ENCODER_FOLDER,
    FACTS_FILE,
    load_classifier,
    open_folder,
    seal_folder,
)
from hundredfold.predict.memory import Memory, brought_up
from hundredfold.predict.novelty import Novelty
from hundredfold.predict.prevalence import Prevalence
from hundredfold.predict.thumbnails import Thumbnails
from hundredfold.predict.trusting import skops_io
from hundredfold.url import Url, fetched_folder, info_of, place

__all__ = ["Predictor"]


@dataclass(frozen=True)
class Predictor(FittedClassifier):
    """Labels new images.

    Attributes:
        encoder: pixels → vectors.
        pipeline: vectors → classes; a fitted scikit-learn pipeline.
        facts: classifier, classes, pixel_size, fit, value_range, window, stain, how many labels of which
            classes it learned from …; what ``predictor.json`` says.
        memory: the images that it learned from; a predictor of before remembers none.
        thumbnails: small pictures of those with a label, if it was asked to carry them.
    """

    encoder: EncoderLike
    pipeline: Pipeline
    facts: Mapping[str, Any] = field(repr=False)
    memory: Memory | None = field(default=None, repr=False)  # names of files are not for logs
    thumbnails: Thumbnails | None = field(default=None, repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the scores."""
        return tuple(str(name) for name in self.pipeline.classes_)

    @property
    def hash(self) -> str:
        """SHA-256 over the facts and the hashes of all files, as written; empty before :meth:`save`."""
        return str(self.facts.get("hash", ""))

    @classmethod
    def fit(
        cls, encoder: EncoderLike, embeddings: Embeddings, table: ImageTable, *,
        classifier: str = "svm", preset: str = "default", name: str = "", choice: Choice | None = None,
        calibration: Calibration | None = None, held_out: NDArray[np.float32] | None = None,
        sets: Sets | None = None, store: PixelStore | None = None,
    ) -> Self:
        """Fit a classifier to the labelled images of ``table`` that are not held out.

        Args:
            encoder: what made the embeddings.
            embeddings: vectors of the images of ``table``.
            table: the images with labels; test and audit images are left out.
            classifier: its name.
            preset: whose settings; see :func:`~hundredfold.learn.classifiers.make_classifier`.
            name: of the embeddings, as reports call their encoder.
            choice: how classifier and encoder were chosen, if they were; noted beside the predictor.
            calibration: what makes probabilities of such a classifier's scores.
            held_out: ``[k, c]`` scores of the labelled images, in the order of their ids, by fits that had
                seen neither them nor their groups; to be remembered.
            sets: what tells which classes cannot be ruled out, fitted to these.
            store: the pixels, so that it is remembered what the images look like.

        Raises:
            SettingsError: no classifier has that name.
            SplitError: the labels are of fewer than two classes.
            ModelFileError: the embeddings were made by another encoder.
        """
        _check_encoder(encoder, embeddings)
        train = Trial.labelled(table).train
        vectors = embeddings.of(train)
        labels = train.frame["label"].to_numpy(dtype=object).astype(str)
        classes, counts = np.unique(labels, return_counts=True)
        samples, features = vectors.shape
        pipeline = make_pipeline(
            classifier, samples=samples, features=features, classes=len(classes), preset=preset
        )
        converged = fit_and_tell(pipeline, vectors, labels)
        names = [str(one) for one in classes]
        facts = {
            "classifier": classifier,
            "preset": preset,
            "embeddings": name,
            "cross_validation": {} if choice is None else choice.accuracy,
            "classes": names,
            "labels": dict(zip(names, counts.tolist(), strict=True)),
            "converged": converged,
            "calibration": None if calibration is None else calibration.facts,
            "sets": None if sets is None else sets.facts,
            "audit": None if (audit := Prevalence.fit(table, names)) is None else audit.facts,
            "groups": int(train.frame["group"].nunique()),
            "held_out": int(table.usable.frame["split"].isin(HELD_OUT).sum()),
            "encoder": encoder.facts,
            "pixel_size": embeddings.pixel_size,
            # An encoder that learned nothing knows no range: the images that were embedded have it.
            **(embeddings.pixels or expected_pixels(encoder)),
        }
        memory = Memory.of(table, embeddings, names, scores=held_out)
        if store is not None:
            memory = memory.looked_at(store)
        novelty = Novelty.fit(memory)
        facts["novelty"] = None if novelty is None else novelty.facts
        return cls(encoder, pipeline, facts, memory)

    def answer(self, batch: NDArray[np.uint8], shares: NDArray[np.float64] | None = None) -> Answers:
        """All that can be said of square images uint8 ``[b, h, h, 3]``.

        Args:
            batch: the images.
            shares: how common the classes are where the images come from, see :meth:`shares`; by default all
                alike, and then the labels are the classifier's own decision.

        Raises:
            SettingsError: shares are given, and the predictor has no probabilities.
        """
        return self.judge(self.encoder.encode(batch), shares)

    def judge(self, vectors: NDArray[np.float32], shares: NDArray[np.float64] | None = None) -> Answers:
        """The same of vectors ``[b, d]`` that the encoder made."""
        labels, scores = judge(self.pipeline, vectors)
        novelty = self._novelty_of(vectors)
        if self.calibration is None:
            if shares is not None:
                raise _no_prevalence()
            return Answers(labels.astype(str), scores, None, vectors, novelty=novelty)
        probabilities = self.calibration.probabilities(scores, shares)
        if shares is not None:
            labels = np.array(self.classes)[probabilities.argmax(axis=1)]
        held = None
        if (sets := self.sets_at(shares)) is not None:  # a label of its own making is never left out
            held = sets.members(probabilities) | (labels[:, None] == np.array(self.classes))
        return Answers(labels.astype(str), scores, probabilities, vectors, held, novelty)

    def predict(self, batch: NDArray[np.uint8]) -> NDArray[np.str_]:
        """The classes ``[b]`` of square images uint8 ``[b, h, h, 3]``, as scikit-learn's estimators say them.

        They are the classifier's own decision; :meth:`answer` says more.
        """
        return self.answer(batch).labels

    def predict_proba(self, batch: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The probabilities ``[b, c]``, in the order of :attr:`classes`, if all classes were equally common.

        Raises:
            SettingsError: there were too few labels for probabilities.
        """
        found = self.answer(batch).probabilities
        if found is None:
            raise SettingsError(
                "the predictor gives scores and no probabilities",
                remedy="Take the scores of `answer`, or fit a predictor with --calibration to more labels.",
            )
        return found

    @cached_property
    def calibration(self) -> Calibration | None:
        """What makes probabilities of the scores; ``None`` where there were too few labels for that."""
        facts = self.facts.get("calibration")
        return None if facts is None else Calibration.of(facts)

    @cached_property
    def novelty(self) -> Novelty | None:
        """What tells unusual images; ``None`` where too few are known for that."""
        facts = self.facts.get("novelty")
        return None if facts is None or self.memory is None else Novelty.of(facts)

    def _novelty_of(self, vectors: NDArray[np.float32]) -> NDArray[np.float64] | None:
        if self.novelty is None or self.memory is None:
            return None
        return self.novelty.share(self.novelty.distance(vectors, self.memory))

    @cached_property
    def sets(self) -> Sets | None:
        """What tells which classes cannot be ruled out, if all are equally common; or ``None``."""
        facts = self.facts.get("sets")
        return None if facts is None else Sets.of(facts)

    def sets_at(self, shares: NDArray[np.float64] | None) -> Sets | None:
        """The same for other shares ``[c]`` of the classes: fitted anew to the held-out labels."""
        if shares is None or self.sets is None or self.calibration is None or self.memory is None:
            return self.sets
        if (key := shares.tobytes()) not in self._sets:
            known = self.memory.labelled
            held = self.calibration.probabilities(self.memory.scores[known], shares)
            self._sets[key] = Sets.fit(
                held, self.memory.codes[known], self.sets.coverage, self.sets.kind, shares
            )
        return self._sets[key]

    @cached_property
    def _sets(self) -> dict[bytes, Sets | None]:
        return {}

    @cached_property
    def audit(self) -> Prevalence | None:
        """How common the classes are in the audit set; ``None`` where none of it was labelled."""
        facts = self.facts.get("audit")
        return None if facts is None else Prevalence.of(facts)

    def shares(self, stated: Mapping[str, float] | Literal["audit", "labels"]) -> NDArray[np.float64]:
        """The share of each class ``[c]`` where images come from.

        Args:
            stated: class → share, the rest being divided as the labels; or "audit" for those of the audit
                set, "labels" for those of the labels, which must then have been drawn at random.

        Raises:
            SettingsError: a class is unknown, the shares of all do not make 1, or there is no audit set, or
                no probability.
        """
        if self.calibration is None:
            raise _no_prevalence()
        if stated == "audit":
            if self.audit is None:
                raise SettingsError(
                    "the predictor knows no labelled audit set", where="prevalence",
                    remedy="State the shares as CLASS=SHARE; or scan with --audit, label these images, and "
                    "fit again.",
                )
            return self.audit.shares(self.classes)
        labels = np.array([self.facts["labels"][name] for name in self.classes])
        return prevalences(labels, self.classes, {} if stated == "labels" else stated, of="labels")

    def save(self, folder: Path) -> Self:
        """Write encoder, classifier, memory and, last, ``predictor.json``; the folder appears whole.

        Returns:
            The same predictor, with the facts as written.
        """
        building = folder.with_name(f".{folder.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        self.encoder.save(building / ENCODER_FOLDER)
        skops_io().dump(self.pipeline, building / CLASSIFIER_FILE)
        if self.memory is not None:
            self.memory.save(building, self.classes)
        if self.thumbnails is not None:
            self.thumbnails.save(building)
        facts = seal_folder(building, self.facts)
        building.replace(folder)
        return replace(self, facts=facts)

    @staticmethod
    def is_at(place: Path | Url) -> bool:
        """Whether there is a predictor folder, or a run with one."""
        if isinstance(place, Url):
            return any(info_of(place / name) is not None for name in (FACTS_FILE, f"predictor/{FACTS_FILE}"))
        return (place / FACTS_FILE).is_file() or (place / "predictor" / FACTS_FILE).is_file()

    @classmethod
    def load(cls, given: str | Path | Url) -> Self:
        """Read what :meth:`save` wrote, here or behind a URL; a run directory stands for the predictor in it.

        Raises:
            InputError: there is none behind the URL.
            ModelFileError: a file is missing, damaged, edited, added, a pickle, or would load a foreign type;
                the folder is of another version; or its parts do not belong together.
        """
        folder = place(given)
        if isinstance(folder, Url):
            with fetched_folder(folder, FACTS_FILE, "predictor") as copy:
                return cls.load(copy)
        if not (folder / FACTS_FILE).is_file() and (folder / "predictor" / FACTS_FILE).is_file():
            folder = folder / "predictor"
        facts = open_folder(folder)
        encoder = load_encoder(folder / ENCODER_FOLDER)
        pipeline = load_classifier(folder / CLASSIFIER_FILE, str(facts.get("classifier")))
        found = cls(encoder, pipeline, facts, Memory.load(folder), Thumbnails.load(folder))
        found._check_whole(folder)
        if found.memory is None:
            return found
        return replace(found, memory=brought_up(found.memory, facts, folder))

    def _check_whole(self, folder: Path) -> None:
        """Make sure that the parts belong together: that they say something, and of the right length."""
        try:
            Recipe.of(self.facts)
            said = self.judge(np.zeros((1, self.encoder.dimension), dtype=np.float32))
            numbers = said.scores if said.probabilities is None else said.probabilities
            fits = [
                list(self.facts["classes"]) == list(self.classes) == list(self.facts["labels"]),
                numbers.shape == said.scores.shape == (1, len(self.classes)),
                bool(np.isfinite([said.scores, numbers]).all()), said.labels[0] in self.classes,
                self.memory is None or self.memory.fits(self.encoder.dimension, len(self.classes)),
            ]
        except Exception as error:
            raise _parts_of_several(folder, type(error).__name__) from error
        if not all(fits):
            raise _parts_of_several(folder, f"part {fits.index(False) + 1} of {len(fits)}")


def _parts_of_several(folder: Path, what: str) -> ModelFileError:
    return ModelFileError(
        f"the files are as they were written, but do not belong together ({what})", where=folder, remedy=AGAIN
    )


def _no_prevalence() -> SettingsError:
    return SettingsError(
        "the predictor gives scores and no probabilities, which a prevalence could change",
        where="prevalence", remedy="Leave it out, or fit a predictor with --calibration to more labels.",
    )


def _check_encoder(encoder: EncoderLike, embeddings: Embeddings) -> None:
    if embeddings.encoder.get("hash") != encoder.hash:
        raise ModelFileError(
            f"the vectors were made by another encoder: {embeddings.encoder.get('hash')}, not {encoder.hash}",
            where=encoder.name, remedy="Embed the images again with this encoder.",
        )
