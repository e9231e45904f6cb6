"""Paragraphs on the images: what there was, how it was read, and who was on which side."""

from __future__ import annotations

from hundredfold.report.paper.telling import Telling, and_
from hundredfold.report.paper.trace import percent
from hundredfold.report.words import shown

__all__ = ["images_paragraph", "pixels_paragraph", "split_paragraph"]

#: so many classes are named in a sentence
NAMED = 12
FITS = {
    "pad": "made square by reflecting its borders", "crop": "cut to a centred square",
    "squash": "squashed to a square",
}
STAINS = {
    "white": "the colour of the glass of each image was brought to that of the training images",
    "reinhard": "the mean and spread of each channel in L*a*b* were brought to those of the training images",
}
ELSEWHERE = "The images were read and split in another run; its folder holds the numbers."


def images_paragraph(t: Telling) -> str:
    """How many images and labels there were, of which classes and how many groups."""
    scan, told = t.scan, []
    if dataset := t.material.state.get("dataset"):
        told.append(f"The data set was {shown(dataset['title'], 200)}.")
    if not scan:
        return " ".join([*told, ELSEWHERE])
    found = f"{t.fact('images found', 'scan', 'images')} images were found"
    if scan.get("rejected"):
        reasons = t.counted("images left out", scan["rejected"], "scan", "rejected")
        found += (
            f"; those that could not be used were left out ({reasons.replace('_', ' ')}), and "
            f"{t.fact('images used', 'scan', 'usable')} were used"
        )
    told.append(f"{found}.")
    return " ".join([*told, *_labels(t), *_groups(t), *_copies(t)])


def _labels(t: Telling) -> list[str]:
    if not t.scan.get("labelled"):
        return []  # they came after the scan: the evaluation counts them
    classes = t.scan["classes"]
    named = f" ({t.counted('labelled images', classes, 'scan', 'classes')})" if len(classes) <= NAMED else ""
    labelled = f"{t.fact('labelled images', 'scan', 'labelled')} of them"
    return [
        (f"{'All' if t.scan['labelled'] == t.scan['usable'] else labelled} bore a label, of "
        f"{t.fact('classes', 'scan', 'classes', take='number')} classes{named}.")
    ]


def _groups(t: Telling) -> list[str]:
    if not t.scan.get("groups"):
        return [] if t.material.evaluation.get("test_groups") else [  # they came with labels, after the scan
            ("No patients, slides or examinations were known, so images of one patient may be on both sides "
            "of the split.")
        ]
    of = f"{t.fact('groups', 'scan', 'groups')} groups (patients, slides or examinations)"
    if t.scan["grouped"] == t.scan["usable"]:
        return [f"They came from {of}."]
    return [
        (f"{t.fact('images with a group', 'scan', 'grouped')} images came from {of}; of the others no group "
        "was known, and each counted as one of its own.")
    ]


def _copies(t: Telling) -> list[str]:
    told = []
    if t.scan.get("duplicates"):
        told.append(
            f"{t.fact('images with exact copies', 'scan', 'duplicates')} images had exact copies"
            f"{'' if t.material.evaluation.get('leak') else ', which were kept on one side of the split'}."
        )
    if t.scan.get("contradictions"):
        told.append(
            f"{t.fact('copies with several labels', 'scan', 'contradictions')} of them bore more than one "
            "label and counted as unlabelled."
        )
    if t.scan.get("near_copies"):
        told.append(
            f"{t.fact('images with near-copies', 'scan', 'near_copies')} images were near-copies of another, "
            "found by their pixels, and counted as one group with it."
        )
    return told


def split_paragraph(t: Telling) -> str:
    """How the sides were drawn, and how many images are on each."""
    if not t.material.evaluation:
        return ""
    if not t.outer:
        return " ".join([_how(t), *_sizes(t)])
    number = t.fact("test splits", "curve", "outer_splits")
    return " ".join([(
        f"Each of {t.fact('test images', 'curve', 'test_images', take='sum')} labelled images was a test "
        f"image once, in one of {number} splits that took turns; no group was on both sides of one, so every "
        "classifier was judged on images of groups that it had not learned from."
    ), *_classes(t)])


def _how(t: Telling) -> str:
    if t.material.evaluation.get("test_set") == "audit":
        return (
            "The test images were an audit set, drawn at random (whole groups, where they were known) before "
            "any image was learned from or chosen to be labelled."
        )
    if t.material.state.get("dataset"):
        return shown(t.material.state["dataset"]["split"], 400)
    given = t.scan.get("sides_given")
    grouped = t.scan.get("groups") or t.material.evaluation.get("test_groups")
    by = "by whole groups and stratified by class" if grouped else "stratified by class"
    if t.scan and not t.scan.get("labelled"):
        return (
            "The labels came after the images had been scanned: a side that they gave was kept, else the "
            f"test set was drawn at random when they were read, {by}."
        )
    drawn = f"drawn at random before any training, {by}"
    if given is None:
        apart = "; no group was on both sides" if grouped and not t.material.evaluation.get("leak") else ""
        return f"A test set was held out{apart}."
    if given == 0:
        size = t.set("share of the labelled images to hold out", "scan", "test_size", write=percent)
        return f"The test set, about {size} of the labelled images, was {drawn}."
    number = t.fact("images whose side was given with the labels", "scan", "sides_given")
    rest = "" if given >= t.scan["labelled"] else f"; that of the others was {drawn}"
    return f"The side of {number} images was given with the labels{rest}."


def _sizes(t: Telling) -> list[str]:
    curve = t.material.evaluation
    told = [
        f"The training side held {t.fact('labelled training images', 'curve', 'train_images')} labelled "
        f"images, the test set {t.fact('test images', 'curve', 'test_images', take='sum')}"
        + (f" from {t.fact('test groups', 'curve', 'test_groups')} groups." if curve["test_groups"] else ".")
    ]
    if curve.get("audit_images_spared"):
        spared = t.fact("labelled audit images that took no part", "curve", "audit_images_spared")
        told.append(f"{spared} labelled images of an audit set took no part.")
    told += _classes(t)
    if curve.get("leak"):
        told.append(
            f"Test images or their groups were also on the training side ({shown(curve['leak'], 300)}); the "
            "figures are therefore too good."
        )
    if t.scan.get("near_copies_astride"):
        number = t.fact("test images with a near-copy in training", "scan", "near_copies_astride")
        told.append(
            f"By the given split {number} held-out images had a near-copy on the training side; the figures "
            "are therefore too good."
        )
    return told


def _classes(t: Telling) -> list[str]:
    """Classes that are in no figure, or that nothing could recognise."""
    told, curve = [], t.material.evaluation
    if curve.get("classes_left_out"):
        names = and_([shown(name) for name in curve["classes_left_out"]])
        least = t.set("training images that a class must have", "curve", "min_class_size")
        told.append(f"Classes with fewer than {least} labelled training images were left out: {names}.")
    if curve.get("classes_without_test_images"):
        names = and_([shown(name) for name in curve["classes_without_test_images"]])
        told.append(f"Without test images, hence in no figure: {names}.")
    if curve.get("classes_without_training_images"):
        names = and_([shown(name) for name in curve["classes_without_training_images"]])
        told.append(f"Without training images, hence never recognised: {names}.")
    return told


def pixels_paragraph(t: Telling) -> str:
    """How the images were read."""
    if not t.scan.get("pixel_size"):
        return ""
    side = t.fact("side of the stored images in px", "scan", "pixel_size")
    fit = FITS.get(str(t.setting("scan", "fit")), "made square")
    told = [f"Each image was decoded, {fit}, and resized to {side} px a side, with 8 bits a channel."]
    store = t.material.store
    if store is not None and store.window is not None:
        window = str(t.setting("scan", "window") or "the encoder's").replace("_", " ")
        told.append(f"CT was shown through one window in Hounsfield units ({window}).")
    if store is not None and store.value_range is not None:
        told.append(
            "Images of more than 8 bits were scaled by one range of grey values for the whole data set, "
            "taken "
            "from the training side."
        )
    if stain := t.scan.get("stain"):
        works = t.cite("reinhard") if stain["method"] == "reinhard" else ""
        told.append(f"Colours were normalised: {STAINS[stain['method']]} {works}".rstrip() + ".")
    return " ".join(told)
