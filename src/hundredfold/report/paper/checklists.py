"""Two checklists that journals ask for: what a run answers of them, and what only the author can.

Numbers and contents of the items follow the published lists, in our own words: CLAIM 2024 (Tejani et al.
2024, Radiology: Artificial Intelligence 6(4), e240300), 44 items; TRIPOD+AI (Collins et al. 2024, BMJ 385,
e078378), 27 items, some in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hundredfold.learn.shortcuts import SHORTCUT
from hundredfold.report.paper.author import MISSING
from hundredfold.report.paper.learning import THUMBNAIL
from hundredfold.report.paper.telling import Telling

__all__ = ["CLAIM", "TRIPOD", "Asked", "key_of"]

METHODS, CARD, REPORT = "methods.md, “{}”", "this card, “{}”", "report.html, “{}”"
Answer = Callable[[Telling], str | None]


@dataclass(frozen=True)
class Asked:
    """An item: its number, what it asks for, and what a run answers; ``None`` where only the author can."""

    number: str
    asks: str
    answer: Answer


def key_of(checklist: str, item: Asked) -> str:
    """The key under which ``author.yaml`` answers an item.

    Examples:
        >>> key_of("CLAIM", CLAIM[6])
        'CLAIM 7'
    """
    return f"{checklist} {item.number}"


def _author(_: Telling) -> None:
    return None


def _in_methods(title: str, *, needs: Callable[[Telling], object] = lambda t: t.scan) -> Answer:
    return lambda t: METHODS.format(title) + "." if needs(t) else None


def _curve(t: Telling) -> object:
    return t.at


def _in_card(title: str, *, needs: Callable[[Telling], object] = _curve) -> Answer:
    return lambda t: CARD.format(title) + "." if needs(t) else None


def _source(t: Telling) -> str | None:
    told = METHODS.format("Images and labels") + " (a published data set)."
    return told if t.material.state.get("dataset") else None


def _left_out(t: Telling) -> str | None:
    told = "Images that could not be used: rejects.csv gives each reason."
    return f"{told} Criteria for patients: {MISSING}." if t.scan else None


def _subsets(t: Telling) -> str | None:
    return METHODS.format("Features and classifiers") + ": labels were drawn at random." if t.at else None


def _missing_data(t: Telling) -> str | None:
    if not t.scan:
        return None
    return (
        "Images without a label took no part in any figure; an image without a group counted as one of its "
        "own. "
        "Nothing was imputed."
    )


def _level(t: Telling) -> str | None:
    if not t.material.evaluation:
        return None
    if t.material.evaluation.get("leak"):
        return "Not disjoint: see “Limits”."
    if t.scan.get("groups") and t.scan["grouped"] == t.scan["usable"]:
        return "Group (patient, slide or examination)."
    if t.scan.get("groups") or t.material.evaluation.get("test_groups"):
        return "Group where it was known, else image."
    return "Image, with its copies: no groups were known."


def _ensemble(t: Telling) -> str | None:
    if t.at is None:
        return None
    if t.at.encoder == "adapted":
        return "One classifier on the features of two copies of one network; no ensemble of classifiers."
    if "+" in t.at.encoder:
        return "One classifier on the features of several encoders side by side; no ensemble of classifiers."
    return "One encoder and one classifier; no ensemble."


def _in_report(t: Telling, item: str) -> bool:
    """Whether the report has it; where none was written yet, it may."""
    return not t.fresh or f"{item}.csv" in t.fresh


def _trained(t: Telling) -> str | None:
    if t.at is not None and t.at.encoder == THUMBNAIL and not t.material.pretraining:
        return f"No network was trained: {METHODS.format(LEARNING)}."
    return _in_methods(ENCODER, needs=_curve)(t)


def _explained(t: Telling) -> str | None:
    told = (
        "Nearest labelled images, and maps where the encoder gives any; neither is evidence: report.html, "
        "chapter “Why”."
    )
    return told if t.at is not None and t.material.store is not None and _in_report(t, "why") else None


def _robust(t: Telling) -> str | None:
    if t.at is None:
        return None
    parts = [
        *(["over draws of labels"] if _several_draws(t) else []),
        *(["against what colour, brightness, size and source alone reach"] if _shortcuts(t) else []),
        *(["by subgroup"] if t.material.strata is not None else []),
    ]
    told = "; ".join(parts)
    return f"{told[:1].upper()}{told[1:]}: report.html." if parts else None


def _several_draws(t: Telling) -> bool:
    return t.material.curve is not None and bool(t.material.curve["repeat"].nunique() > 1)


def _shortcuts(t: Telling) -> bool:
    return t.material.curve is not None and bool((t.material.curve["encoder"].astype(str) == SHORTCUT).any())


def _internal(t: Telling) -> str | None:
    return f"{METHODS.format('Evaluation')} and {CARD.format('Figures')}." if t.at else None


def _failures(t: Telling) -> str | None:
    wrong = " and wrong images beside their nearest labelled ones" if _in_report(t, "errors") else ""
    return f"Confusion matrix{wrong}: report.html." if t.at and t.material.predictions is not None else None


def _limits(t: Telling) -> str | None:
    return CARD.format("Limits") + f"; others: {MISSING}." if t.at else None


def _protocol(t: Telling) -> str | None:
    told = f"Every setting: config.yaml. The study's protocol: {MISSING}."
    return told if t.material.settings else None


def _model(t: Telling) -> str | None:
    return "The predictor folder itself, with the hash of every file." if t.material.predictor else None


def _output(t: Telling) -> str | None:
    return METHODS.format("Features and classifiers") + "." if t.material.predictor else None


def _imbalance(t: Telling) -> str | None:
    told = (
        "As many labels of each class were drawn, where there were so many, and classes weighted alike where "
        "the method allows it."
    )
    return told if t.at else None


def _clusters(t: Telling) -> str | None:
    return CARD.format("Subgroups") + "." if t.material.strata is not None else None


def _calculated(t: Telling) -> str | None:
    return "hundredfold predict IMAGES --predictor FOLDER." if t.material.predictor else None


IMAGES, SIDES, ENCODER = "Images and labels", "Training and test images", "Encoder"
LEARNING, EVALUATION = "Features and classifiers", "Evaluation"

CLAIM: Sequence[Asked] = (
    Asked("1", "The title says that the study is on artificial intelligence, and of which kind", _author),
    Asked("2", "A summary of design, methods, results and conclusions", _author),
    Asked("3", "Background; what the method is for, and its role", _author),
    Asked("4", "Aims and hypotheses", _author),
    Asked("5", "Prospective or retrospective", _author),
    Asked("6", "Goal of the study", _author),
    Asked("7", "Where the data come from", _source),
    Asked("8", "Who and what was included and excluded", _left_out),
    Asked("9", "How the images were prepared", _in_methods(IMAGES)),
    Asked("10", "How parts of the data were selected", _subsets),
    Asked("11", "How patients were made unrecognisable", _author),
    Asked("12", "What was done about missing data", _missing_data),
    Asked("13", "How the images were acquired", _author),
    Asked("14", "How the reference standard was obtained", _author),
    Asked("15", "Why this reference standard", _author),
    Asked("16", "Who gave the labels, and with which training", _author),
    Asked("17", "How the test set was labelled", _author),
    Asked("18", "How far readers agree with each other and with themselves", _author),
    Asked(
        "19", "How data were assigned to the parts",
        _in_methods(SIDES, needs=lambda t: t.material.evaluation),
    ),
    Asked("20", "At which level the parts are disjoint", _level),
    Asked("21", "The intended size of the test set, and why", _author),
    Asked("22", "The model in detail", _in_methods(LEARNING, needs=_curve)),
    Asked(
        "23", "Software with versions",
        _in_methods("Software", needs=lambda t: t.material.state.get("software")),
    ),
    Asked("24", "How parameters were initialised", _trained),
    Asked("25", "How it was trained", _trained),
    Asked("26", "How the final model was selected", _in_methods(LEARNING, needs=_curve)),
    Asked("27", "Ensembles", _ensemble),
    Asked("28", "Metrics", _in_methods(EVALUATION, needs=_curve)),
    Asked("29", "Measures of significance and uncertainty", _in_methods(EVALUATION, needs=_curve)),
    Asked("30", "Analyses of robustness or sensitivity", _robust),
    Asked("31", "Methods of explanation", _explained),
    Asked("32", "Evaluation on data of the same source", _internal),
    Asked("33", "Test on data of another source", _author),
    Asked("34", "Registration of a clinical trial", _author),
    Asked(
        "35", "Numbers of patients or examinations included and excluded",
        _in_card("Data", needs=lambda t: t.scan),
    ),
    Asked("36", "Demographic and clinical characteristics in each part", _author),
    Asked("37", "Performance with its uncertainty, in all parts of the data", _in_card("Figures")),
    Asked("38", "Estimates of diagnostic accuracy with their precision", _in_card("Figures")),
    Asked("39", "Analysis of wrong answers", _failures),
    Asked("40", "Limitations", _limits),
    Asked("41", "What follows for practice; intended use and role", _author),
    Asked("42", "Where the protocol and further technical details are found", _protocol),
    Asked("43", "Whether software, model and data are available", _author),
    Asked("44", "Funding, and the role of funders", _author),
)
TRIPOD: Sequence[Asked] = (
    Asked("1", "The title names development or evaluation, the population and the outcome", _author),
    Asked("2", "An abstract by TRIPOD+AI's own list for abstracts", _author),
    Asked("3a", "Health-care context, why the model, and models that exist", _author),
    Asked("3b", "Target population, purpose in the pathway of care, users", _author),
    Asked("3c", "Known inequalities between groups of people", _author),
    Asked("4", "Objectives", _author),
    Asked("5a", "Sources of the data of development and evaluation, and how representative", _source),
    Asked("5b", "Dates of the data", _author),
    Asked("6a", "Setting, with number and place of centres", _author),
    Asked("6b", "Who was eligible", _left_out),
    Asked("6c", "Treatments, and how they were dealt with", _author),
    Asked(
        "7", "Preparation and checks of the data, alike for all groups of people or not",
        _in_methods(IMAGES),
    ),
    Asked("8a", "The outcome, how and when it was assessed, and why this one", _author),
    Asked("8b", "Who assessed an outcome that needs judgement", _author),
    Asked("8c", "Blinding of this assessment", _author),
    Asked("9a", "Which predictors were considered first, and why", _in_methods(LEARNING, needs=_curve)),
    Asked("9b", "All predictors, how and when measured", _in_methods(LEARNING, needs=_curve)),
    Asked(
        "9c", "Who assessed predictors that need judgement",
        lambda t: "None does: the images alone." if t.at else None,
    ),
    Asked("10", "Size of the study, and why it is enough", _author),
    Asked("11", "What was done about missing data", _missing_data),
    Asked(
        "12a", "How the data were used and divided",
        _in_methods(SIDES, needs=lambda t: t.material.evaluation),
    ),
    Asked("12b", "How predictors were transformed", _in_methods(LEARNING, needs=_curve)),
    Asked(
        "12c", "Kind of model, its building, tuning and internal validation",
        _in_methods(LEARNING, needs=_curve),
    ),
    Asked("12d", "Differences between clusters such as hospitals", _clusters),
    Asked("12e", "Measures and plots of performance", _in_methods(EVALUATION, needs=_curve)),
    Asked(
        "12f", "Updating of the model after its evaluation",
        lambda t: "None in this run." if t.at else None,
    ),
    Asked("12g", "How predictions were calculated", _calculated),
    Asked("13", "What was done about unequal classes", _imbalance),
    Asked("14", "What was done for fairness, and why", _author),
    Asked("15", "What the model puts out, and any thresholds", _output),
    Asked("16", "How development and evaluation data differ", _author),
    Asked("17", "Ethics committee and consent", _author),
    Asked("18a", "Funding, and the role of funders", _author),
    Asked("18b", "Conflicts of interest", _author),
    Asked("18c", "Where the protocol is", _protocol),
    Asked("18d", "Registration", _author),
    Asked("18e", "Whether the data are available", _author),
    Asked("18f", "Whether the code of the analysis is available", _author),
    Asked("19", "Involvement of patients and the public", _author),
    Asked(
        "20a", "Flow of participants, with and without the outcome",
        _in_card("Data", needs=lambda t: t.scan),
    ),
    Asked("20b", "Characteristics of the participants, overall and by source", _author),
    Asked("20c", "Evaluation data beside development data", _author),
    Asked("21", "Participants and outcomes in each analysis", _in_card("Data", needs=lambda t: t.scan)),
    Asked("22", "The full model, for use by others", _model),
    Asked("23a", "Performance with intervals, also in key subgroups", _in_card("Figures")),
    Asked("23b", "Differences of performance between clusters", _clusters),
    Asked("24", "Results of any updating", lambda t: "None in this run." if t.at else None),
    Asked("25", "Interpretation, fairness among it", _author),
    Asked("26", "Limitations and what they do to the results", _limits),
    Asked("27a", "How poor or missing input should be dealt with", _author),
    Asked("27b", "What users must do and know", _author),
    Asked("27c", "Next steps, with a view to use elsewhere", _author),
)
