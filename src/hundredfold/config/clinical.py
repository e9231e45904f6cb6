"""Settings of what a clinician reads: operating points, sites, subgroups, prevalences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from hundredfold.config.base import Settings

__all__ = ["ClinicalChoices", "OperatingChoices", "ReportChoices", "Resampled", "SourceChoices"]

#: Resamples of which 2.5 % are one: the ends of an interval of fewer would be made up.
FEWEST = 40


def _enough(count: int) -> int:
    if 0 < count < FEWEST:
        raise ValueError(f"expected at least {FEWEST} for 95 % intervals, or 0 for none")
    return count


#: How many resamples, where intervals are wanted.
Resampled: TypeAlias = Annotated[int, AfterValidator(_enough)]


class OperatingChoices(Settings):
    """What a clinician reads, of the classifier that the report speaks of."""

    sensitivity: float | None = Field(
        None, gt=0, le=1,
        description="Choose for each class, on held-out training labels, the threshold that reaches this "
        "sensitivity [default: the classifier's own decision].",
    )
    specificity: float | None = Field(
        None, gt=0, le=1, description="The same for a specificity, in place of a sensitivity."
    )
    subgroups: tuple[str, ...] = Field(
        (), description="Columns of the labels whose values are judged apart, comma-separated: sex,age_band."
    )

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.sensitivity is not None and self.specificity is not None:
            raise ValueError("expected a target for sensitivity or for specificity, found both")
        return self

    @property
    def operating_point(self) -> tuple[Literal["sensitivity", "specificity"], float] | None:
        """What the thresholds are to reach; ``None`` for the classifier's own decision."""
        if self.sensitivity is not None:
            return "sensitivity", self.sensitivity
        return None if self.specificity is None else ("specificity", self.specificity)


class ClinicalChoices(OperatingChoices):
    """The same, measured at the number of labels that the report speaks of."""

    leave_one_site_out: bool = Field(
        False, description="Judge each site's test images also by labels of the other sites only."
    )


class ReportChoices(Settings):
    """Whom the predictive values are for."""

    prevalence: tuple[str, ...] = Field(
        (),
        description="Share of classes among the patients you have in mind, as melanoma=0.02,nevus=0.9; the "
        "other classes divide the rest as in the test set [default: all as in the test set].",
    )

    #: What may stand in place of shares.
    words: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.word is not None:
            return self
        shares = self.prevalences
        if len(shares) < len(self.prevalence):
            raise ValueError("a class stands twice among the prevalences")
        if any(not 0 < share < 1 for share in shares.values()) or sum(shares.values()) > 1 + 1e-6:
            raise ValueError("expected prevalences between 0 and 1, in all at most 1")
        return self

    @property
    def word(self) -> str | None:
        """What stands in place of shares."""
        return self.prevalence[0] if len(self.prevalence) == 1 and self.prevalence[0] in self.words else None

    @property
    def prevalences(self) -> dict[str, float]:
        """Class → share, as stated."""
        return dict(self._class_and_share(text) for text in self.prevalence)

    @classmethod
    def _class_and_share(cls, text: str) -> tuple[str, float]:
        name, _, share = text.rpartition("=")
        try:
            return name.strip(), float(share)
        except ValueError:
            others = "".join(f", or the word {word} alone" for word in cls.words)
            raise ValueError(
                f"expected CLASS=SHARE{others}, found {text!r}; a name with a comma stands in double quotes"
            ) from None


class SourceChoices(ReportChoices):
    """Where the images come from."""

    words: ClassVar[tuple[str, ...]] = ("audit", "labels")

    prevalence: tuple[str, ...] = Field(
        (),
        description="Share of classes where the images come from, as melanoma=0.02,nevus=0.9; the others "
        "divide the rest as the predictor's labels do. Or audit: as in its audit set; or labels: as its "
        "labels, if they were drawn at random. The label is then the most probable class [default: "
        "probabilities and sets as if all classes were equally common].",
    )

    @property
    def stated(self) -> Mapping[str, float] | Literal["audit", "labels"] | None:
        """What is said of the shares; ``None`` for all alike."""
        if self.word is not None:
            return "audit" if self.word == "audit" else "labels"
        return self.prevalences or None
