"""How good predictions are, and how sure one can be of it.

Labels are integers ``0 … c-1`` here (positions in a list of classes). Shapes: n test images, c classes,
r repeats (draws of the labels), g groups (patients, slides), b bootstrap resamples.
"""

from hundredfold.metrics.counts import balanced_accuracy, confusion, macro_f1, recalls
from hundredfold.metrics.measures import Measure, measure, paired_difference
from hundredfold.metrics.ranking import auroc
from hundredfold.metrics.resampling import MIN_GROUPS, Resamples, group_codes

__all__ = [
    "MIN_GROUPS", "Measure", "Resamples", "auroc", "balanced_accuracy", "confusion", "group_codes",
    "macro_f1", "measure", "paired_difference", "recalls",
]
