"""How good predictions are, and how sure one can be of it.

Labels are integers ``0 … c-1`` here (positions in a list of classes). Shapes: n test images, c classes,
r repeats (draws of the labels), g groups (patients, slides), b bootstrap resamples.
"""

from hundredfold.metrics.agreement import cohen_kappa, krippendorff_alpha
from hundredfold.metrics.certain import class_trials, flawless_accuracy
from hundredfold.metrics.counts import balanced_accuracy, confusion, macro_f1, recalls
from hundredfold.metrics.measures import (
    TINY,
    WITHOUT_TINY,
    Measure,
    interval_width,
    measure,
    resampled_accuracy,
)
from hundredfold.metrics.operating import (
    OperatingPoint,
    operating_points,
    predictive_values,
    prevalences,
    threshold,
)
from hundredfold.metrics.patients import Patients
from hundredfold.metrics.ranking import auroc
from hundredfold.metrics.referral import weighted_share
from hundredfold.metrics.reliability import Reliability, reliability
from hundredfold.metrics.resampling import MIN_GROUPS, Estimate, Resamples, group_codes
from hundredfold.metrics.tradeoff import GRID, Tradeoff, tradeoff

__all__ = [
    "GRID", "MIN_GROUPS", "TINY", "WITHOUT_TINY", "Estimate", "Measure", "OperatingPoint", "Patients",
    "Reliability", "Resamples", "Tradeoff", "auroc", "balanced_accuracy", "class_trials", "cohen_kappa",
    "confusion", "flawless_accuracy", "group_codes", "interval_width", "krippendorff_alpha", "macro_f1",
    "measure", "operating_points", "predictive_values", "prevalences", "recalls", "reliability",
    "resampled_accuracy", "threshold", "tradeoff", "weighted_share",
]
