"""Predictor: encoder, classifier and class names in one folder, every file with its hash."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from skops.io.exceptions import UntrustedTypesFoundException

from hundredfold.data.splits import HELD_OUT
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.opening import load_encoder
from hundredfold.encode.protocol import EncoderLike, expected_pixels
from hundredfold.errors import ModelFileError, SettingsError
from hundredfold.files import hash_file, write_json
from hundredfold.learn.calibrate import Calibration
from hundredfold.learn.choose import Choice
from hundredfold.learn.classifiers import CLASSIFIERS, judge, make_pipeline
from hundredfold.learn.draws import fit_and_tell
from hundredfold.learn.transforms import YeoJohnson
from hundredfold.learn.trial import Trial
from hundredfold.metrics import prevalences
from hundredfold.predict.answers import Answers
from hundredfold.predict.conformal import Sets
from hundredfold.predict.estimator import FittedClassifier
from hundredfold.predict.memory import Memory
from hundredfold.predict.novelty import Novelty
from hundredfold.predict.prevalence import Prevalence
from hundredfold.rundir import software
from hundredfold.url import Url, fetched_folder, info_of

__all__ = ["Predictor"]

FACTS_FILE = "predictor.json"
CLASSIFIER_FILE = "classifier.skops"
ENCODER_FOLDER = "encoder"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Predictor(FittedClassifier):
    """Labels new images.

    Attributes:
        encoder: pixels → vectors.
        pipeline: vectors → classes; a fitted scikit-learn pipeline.
        facts: classifier, classes, pixel_size, fit, value_range, window, stain, how many labels of which
            classes it learned from …; what ``predictor.json`` says.
        memory: the images that it learned from; a predictor of before remembers none.
    """

    encoder: EncoderLike
    pipeline: Pipeline
    facts: Mapping[str, Any]
    memory: Memory | None = None

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
        sets: Sets | None = None,
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
        skops.io.dump(self.pipeline, building / CLASSIFIER_FILE)
        if self.memory is not None:
            self.memory.save(building, self.classes)
        files = {
            path.relative_to(building).as_posix(): hash_file(path)
            for path in sorted(building.rglob("*")) if path.is_file()
        }
        facts = {"schema_version": SCHEMA_VERSION, **self.facts, "software": software(), "files": files}
        facts["hash"] = _digest(facts)
        write_json(building / FACTS_FILE, facts)
        building.replace(folder)
        return replace(self, facts=facts)

    @staticmethod
    def is_at(place: Path | Url) -> bool:
        """Whether there is a predictor folder, or a run with one."""
        if isinstance(place, Url):
            return any(info_of(place / name) is not None for name in (FACTS_FILE, f"predictor/{FACTS_FILE}"))
        return (place / FACTS_FILE).is_file() or (place / "predictor" / FACTS_FILE).is_file()

    @classmethod
    def load(cls, folder: Path | Url) -> Self:
        """Read what :meth:`save` wrote, here or behind a URL; a run directory stands for the predictor in it.

        Raises:
            InputError: there is none behind the URL.
            ModelFileError: a file is missing, damaged, edited, a pickle, or would load a foreign type.
        """
        if isinstance(folder, Url):
            with fetched_folder(folder, FACTS_FILE, "predictor") as copy:
                return cls.load(copy)
        if not (folder / FACTS_FILE).is_file() and (folder / "predictor" / FACTS_FILE).is_file():
            folder = folder / "predictor"
        facts = _read_facts(folder)
        _check_files(folder, facts)
        encoder = load_encoder(folder / ENCODER_FOLDER)
        pipeline = _load_classifier(folder / CLASSIFIER_FILE, str(facts["classifier"]))
        return cls(encoder, pipeline, facts, Memory.load(folder))


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


def _digest(facts: Mapping[str, Any]) -> str:
    """SHA-256 over the facts, their own hash left out."""
    own = {name: value for name, value in facts.items() if name != "hash"}
    return hashlib.sha256(json.dumps(own, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _read_facts(folder: Path) -> dict[str, Any]:
    path = folder / FACTS_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"expected a predictor folder, found no readable {FACTS_FILE}", where=folder,
            remedy="Give the folder that `hundredfold fit` wrote, or the run that holds it.",
        ) from error
    if not isinstance(facts, dict) or facts.get("hash") != _digest(facts):
        raise ModelFileError(
            "the hash in the file is not that of its contents: it was edited or damaged", where=path,
            remedy="Copy the predictor again from where it was made, or fit it again.",
        )
    return facts


def _check_files(folder: Path, facts: Mapping[str, Any]) -> None:
    """Compare every file with its hash; the classifier first, because a pickle is the worst case."""
    classifier = folder / CLASSIFIER_FILE
    if classifier.is_file() and not zipfile.is_zipfile(classifier):
        raise ModelFileError(
            "expected a skops file, found another kind; pickles are never loaded", where=classifier,
            remedy="Fit the predictor again.",
        )
    for name, expected in facts["files"].items():
        path = folder / name
        found = hash_file(path) if path.is_file() else "no file"
        if found != expected:
            raise ModelFileError(
                f"expected the hash {expected}, found {found}: the file was edited, damaged or removed",
                where=path, remedy="Copy the predictor again from where it was made, or fit it again.",
            )


def _load_classifier(path: Path, name: str) -> Pipeline:
    """Load the pipeline if it is made of scikit-learn's types and ours alone."""
    try:
        pipeline = skops.io.load(path, trusted=_trusted_types(name))
    except UntrustedTypesFoundException as error:
        raise ModelFileError(
            f"the classifier would load types that are not trusted: {error}", where=path,
            remedy="Fit the predictor again; install the plug-in if the classifier came from one.",
        ) from error
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise ModelFileError(
            f"cannot read the classifier: {type(error).__name__}", where=path,
            remedy="Fit the predictor again.",
        ) from error
    if not isinstance(pipeline, Pipeline):
        raise ModelFileError(
            f"expected a pipeline, found {type(pipeline).__name__}", where=path,
            remedy="Fit the predictor again.",
        )
    return pipeline


def _trusted_types(name: str) -> list[str]:
    """Our transform, and the type registered here under the classifier's name; skops knows the rest."""
    own: set[type] = {YeoJohnson, type(CLASSIFIERS[name](2, 2))}
    return sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in own)
