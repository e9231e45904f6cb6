"""Paragraphs on the encoder: its pre-training, if there was one, and the features that it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hundredfold.report.paper.telling import Telling, and_, pointer
from hundredfold.report.paper.trace import FACTS, Place, count, percent, plain
from hundredfold.report.paper.works import backbone_work
from hundredfold.report.tables import stages_of
from hundredfold.report.words import shown
from hundredfold.views.modalities import MODALITIES, Modality

__all__ = ["features_paragraph", "pretraining_paragraph", "pretraining_source"]

SYMMETRIES = {
    "mirror": ", averaged over the image and its mirror image",
    "dihedral": ", averaged over the eight turned and mirrored versions of the image",
}
OTHERS = {
    "initial": "the same network before pre-training",
    "pretrained": "the pre-trained encoder",
    "adapted": (
        "the network before pre-training taken twice, as it came and with the batch-normalisation statistics "
        "of the training images"
    ),
    "thumbnail": "thumbnails of the images with histograms of their colours, without any network",
}
NOTHING = (
    "No encoder was trained for this; the weights were taken as they were, and whether they had learned from "
    "some of these images is not known."
)
ELSEWHERE = "The encoder is of another run, which tells how it was made."
THUMBNAIL = "thumbnail"
#: unit of time → its seconds, for times of two units or more
UNITS = (("h", 3600), ("min", 60))
PRECISIONS = {"bfloat16": "bfloat16 mixed precision", "float32": "float32", "float64": "float64"}


def pretraining_source(t: Telling) -> tuple[str, tuple[str, ...], Mapping[str, Any]] | None:
    """File, path and facts of the pre-training: this run's own, else that of the encoder it was given."""
    if t.material.pretraining:
        return FACTS, ("pretrain",), t.material.pretraining
    if t.at is None or t.at.encoder not in t.material.embeddings:
        return None
    provenance = t.material.embeddings[t.at.encoder].encoder.get("provenance") or {}
    file = f"embeddings/{t.at.encoder}/embeddings.json"
    known = provenance.get("method") == "DINO" and "settings" in provenance
    return (file, ("encoder", "provenance"), provenance) if known else None


def pretraining_paragraph(t: Telling) -> str:
    """What was pre-trained on what, with which settings; or that nothing was."""
    if (source := pretraining_source(t)) is None:
        if t.at is None or t.at.encoder == THUMBNAIL:  # no network, hence no weights
            return ""
        found = t.material.embeddings.get(t.at.encoder)
        return ELSEWHERE if found is None or _is_trained(found.encoder) else NOTHING
    file, path, facts = source

    def told(meaning: str, *at: object, write: Callable[[Any], str] = plain) -> str:
        return t.trace.number(meaning, Place(file, pointer(*path, *at)), write)

    settings = facts.get("settings") or {}
    own = file == FACTS
    parts = [_what(t, facts, told, own=own), _views(facts, settings, told), _method(t, settings, told)]
    parts += [_optimiser(t, facts, settings, told), _end(t, own=own)]
    return " ".join(part for part in parts if part)


def _is_trained(encoder: Mapping[str, Any]) -> bool:
    """Whether an encoder, or one of those joined in it, was pre-trained."""
    parts = encoder.get("parts") or [encoder]
    return any((part.get("provenance") or {}).get("method") == "DINO" for part in parts)


Told = Callable[..., str]


def _what(t: Telling, facts: Mapping[str, Any], told: Told, *, own: bool) -> str:
    name = str(facts.get("backbone", "a network"))
    works = {backbone_work(name): None, "timm": None}
    described = f"An encoder, {shown(name)} {t.cite(*works)}, was pre-trained by self-distillation"
    paper = (facts.get("settings") or {}).get("preset") == "paper"
    setting = f"as in {t.cite('dino', 'nielsen')}" if paper else t.cite("dino", "nielsen")
    return (
        f"{described} without labels (DINO {setting}), {_began(facts)}on "
        f"{told('images pre-trained on', 'images', write=count)} {_side(t, facts, own=own)}."
    )


def _side(t: Telling, facts: Mapping[str, Any], *, own: bool) -> str:
    """Whose images these were, and what is known of test images among them.

    The curve counts them: labels that came after the training, test splits that take turns and an encoder of
    another run may have put some there that the training was not asked to see.
    """
    counted = t.material.evaluation.get("transductive")
    name = "pretrained" if own or t.at is None else t.at.encoder
    if own and facts.get("transductive"):
        return "images without their labels, the test images among them"
    if (counted or {}).get(name):
        number = t.fact("test images that pre-training saw", "curve", "transductive", name)
        return f"images without their labels; {number} of the test images were among them"
    if t.outer and counted is None:
        return (
            "images without their labels; since every labelled image was a test image once, these were among "
            "them"
        )
    if own:
        return "images of the training side, without their labels; test images had no part in it"
    return "images, without their labels" + (
        "" if counted is None else "; none of the test images was recognised among them"
    )


def _began(facts: Mapping[str, Any]) -> str:
    """Which weights it started from, where that is known."""
    if (weights := facts.get("weights")) is None:
        return ""
    if weights == "random":
        return "starting from random weights, "
    kind, _, where = str(weights).partition(":")
    named = {"file": "the weights in", "timm": "timm's weights"}.get(kind)
    return f"starting from {named} {shown(where)}, " if named else f"starting from {shown(weights)}, "


def _views(facts: Mapping[str, Any], settings: Mapping[str, Any], told: Told) -> str:
    if "modality" not in settings:
        return ""

    def area(kind: str) -> str:
        ends = [told(f"area of a {kind} crop, as a share", "settings", f"{kind}_scale", end,
                     write=percent) for end in (0, 1)]
        return " to ".join(ends)

    crops = (
        f"Of each image two global crops ({area('global')} of its area, "
        f"{told('side of a global crop in px', 'image_size')} px a side)"
    )
    if facts.get("local_crops"):
        crops += (
            f" and {told('local crops', 'local_crops')} of a smaller part ({area('local')}, "
            f"{told('side of a local crop in px', 'local_size')} px)"
        )
    crops += " were drawn at random"
    name = str(settings["modality"])
    changes = and_(_changes(MODALITIES[name])) if name in MODALITIES else ""
    if not changes:
        return f"{crops}."
    return f"{crops} and changed at random by {changes} (the setting “{shown(name)}” of the software)."


def _changes(modality: Modality) -> list[str]:
    """What the views of a modality undergo, in words."""
    done = {
        "horizontal flips": modality.flip_horizontal, "vertical flips": modality.flip_vertical,
        "rotation": modality.rotation, "perspective": modality.perspective,
        "jitter of brightness and contrast": max(modality.brightness, modality.contrast) * modality.jitter_p,
        "jitter of saturation and hue": max(modality.saturation, modality.hue) * modality.jitter_p,
        "greyscale": modality.greyscale_p, "Gaussian blur": max(modality.blur_p),
        "solarisation": max(modality.solarise_p),
    }
    return [words for words, strength in done.items() if strength]


def _method(t: Telling, settings: Mapping[str, Any], told: Told) -> str:
    if not settings:
        return ""

    def set_to(meaning: str, name: str) -> str:
        return told(meaning, "settings", name)

    ends = [set_to(f"teacher temperature {end}", f"teacher_temperature{name}")
            for end, name in (("at the start", ""), ("after warm-up", "_end"))]
    warm = ends[0] if ends[0] == ends[1] else f"{ends[0]} rising to {ends[1]}"
    centring = (
        f"Sinkhorn–Knopp centring {t.cite('sinkhorn')}" if settings["centring"] == "sinkhorn"
        else f"a centre averaged with momentum {set_to('centre momentum', 'centre_momentum')}"
    )
    koleo = (
        f", and the KoLeo regulariser {t.cite('koleo')} with weight {set_to('KoLeo weight', 'koleo')}"
        if settings.get("koleo") else ""
    )
    return (
        "The student's outputs for all crops were matched to the teacher's for the global ones. The "
        f"projection head had {set_to('layers of the head', 'head_layers')} layers of width "
        f"{set_to('width of the head', 'head_hidden')}, a bottleneck of "
        f"{set_to('bottleneck of the head', 'head_bottleneck')} and "
        f"{told('prototypes', 'prototypes', write=count)} outputs; the temperatures were "
        f"{set_to('student temperature', 'student_temperature')} (student) and {warm} (teacher), with "
        f"{centring}{koleo}. The teacher was the moving average of the student, with a momentum rising from "
        f"{told('teacher momentum at the start', 'momentum')} to 1."
    )


def _optimiser(t: Telling, facts: Mapping[str, Any], settings: Mapping[str, Any], told: Told) -> str:
    steps = (
        f"{told('steps', 'steps', write=count)} steps of {told('batch size', 'batch_size', write=count)} "
        f"images ({told('epochs', 'epochs')} epochs)"
    )
    if not settings:
        return f"It ran {steps}."

    def set_to(meaning: str, name: str) -> str:
        return told(meaning, "settings", name)

    left_open = "warmup" in (facts.get("defaults") or {})
    warmup = ("defaults", "warmup", "value") if left_open else ("settings", "warmup")
    warm = told("share of the steps of warm-up", *warmup, write=percent)
    root = "" if settings["learning_rate_rule"] == "linear" else "the root of "
    optimiser = f"AdamW {t.cite('adamw')}"
    extras = [
        f"adaptive gradient clipping {t.cite('clipping')} at {set_to('gradient clipping', 'clip')}"
        if settings.get("clip") else "",
        f"learning rates falling by a factor of {set_to('layer-wise decay', 'layer_decay')} from layer to "
        f"layer {t.cite('layer_decay')}" if settings.get("layer_decay", 1) < 1 else "",
        f"stochastic depth of {set_to('stochastic depth', 'drop_path')}" if settings.get("drop_path") else "",
    ]
    beside = "".join(f", {extra}" for extra in extras if extra)
    low = (
        f" The first {told('steps at low resolution', 'low_steps', write=count)} steps used crops of half "
        "the "
        "size." if facts.get("low_steps") else ""
    )
    rates = (
        f"{set_to('peak learning rate', 'learning_rate')} times {root}the batch size / 256",
        set_to("last learning rate", "learning_rate_end"),
    )
    decay = (set_to("first weight decay", "weight_decay"), set_to("last weight decay", "weight_decay_end"))
    precision = PRECISIONS.get(str(facts["precision"]), shown(facts["precision"]))
    return (
        f"{optimiser} made {steps}, with a learning rate that rose over the first {warm} of the steps to "
        f"{rates[0]} and fell along a cosine to {rates[1]}, and a weight decay from {decay[0]} to {decay[1]} "
        f"along a cosine{beside}, in {precision}.{low}"
    )


def _end(t: Telling, *, own: bool) -> str:
    if not own:
        return "This was done in another run, and only its encoder was used here."
    metrics = t.material.metrics
    stage = (t.material.state.get("stages") or {}).get("pretrain") or {}
    if stage.get("status", "done") != "done":
        return "It was not finished when this was written: not all of these steps were made."
    told = "The teacher after the last step, without the head, was the encoder."
    if metrics is not None and "seconds" in metrics and metrics["seconds"].notna().any():
        seconds = metrics["seconds"].sum()
        unit, by = next(((unit, by) for unit, by in UNITS if seconds >= 2 * by), ("s", 1))
        time = t.trace.number(
            f"time of pre-training in {unit}", Place("metrics.jsonl", "seconds", "sum", by=by),
            lambda value: f"{value:.3g}",
        )
        told += f" It took {time} {unit}{_hardware(t)}."
    return told


def _hardware(t: Telling) -> str:
    hardware = t.material.pretraining.get("hardware")
    if not isinstance(hardware, Mapping):
        return ""
    number = t.fact("processes", "pretrain", "hardware", "processes")
    cores = t.fact("cores", "pretrain", "hardware", "cores")
    each = "" if hardware["processes"] == 1 else f" in {number} processes"
    return f" on {shown(hardware['device'], 80)}{each} (processor cores: {cores})"


def features_paragraph(t: Telling) -> str:
    """What stood for an image, and what it was compared with."""
    if t.at is None or (found := t.material.embeddings.get(t.at.encoder)) is None:
        return ""
    file, facts = f"embeddings/{t.at.encoder}/embeddings.json", found.encoder
    numbers = t.trace.number("numbers that stand for an image", Place(file, "/encoder/dimension"))
    first = (facts.get("parts") or [facts])[0]
    told = [f"Each image was represented by {numbers} numbers, {_origin(t, facts)}"]
    path = ("encoder", "parts", 0) if facts.get("parts") else ("encoder",)
    if first.get("stages"):
        stages = t.trace.number("stages of the network", Place(file, pointer(*path, "stages")))
        told[0] += f" with the mean maps of the last {stages} stages of the network beside it"
    if first.get("size"):
        size = t.trace.number("side of the encoded images in px", Place(file, pointer(*path, "size")))
        told[0] += f", at {size} px a side"
    told[0] += SYMMETRIES.get(str(first.get("symmetry")), "") + "."
    assert t.material.curve is not None
    every = (str(name) for name in t.material.curve["encoder"].unique())
    others = [name for name in every if name not in (t.at.encoder, "shortcut")]
    if others:
        named = and_([_other(t, name, held=bool(first.get("stages"))) for name in others])
        told.append(f"For comparison, the same was done with {named}.")
    return " ".join(told)


def _other(t: Telling, name: str, *, held: bool) -> str:
    """Features to compare with, and whether maps of the last stages are in them, where those differ in it."""
    words = OTHERS.get(name, f"the features of {shown(name)}")
    if (found := t.material.embeddings.get(name)) is None or name == THUMBNAIL:
        return words
    if bool(stages_of(found.encoder)) == held:
        return words
    return f"{words} ({'without these maps' if held else 'and the mean maps of its last stages'})"


def _origin(t: Telling, facts: Mapping[str, Any]) -> str:
    assert t.at is not None
    own = {
        "pretrained": "the output of the frozen pre-trained encoder",
        "initial": "the output of the frozen encoder as it was before pre-training",
        "adapted": f"the outputs, side by side, of {OTHERS['adapted']}", "thumbnail": OTHERS["thumbnail"],
    }
    if t.at.encoder in own:
        return own[t.at.encoder]
    name = str(facts.get("name"))
    work = t.cite(*{backbone_work(name): None, "timm": None}) if facts.get("kind") == "backbone" else ""
    weights = f", weights {shown(facts['source'])}" if facts.get("source") else ""
    return f"the output of the frozen encoder {shown(name)} {work}{weights}".rstrip()
