"""Every setting of every verb, written once."""

from hundredfold.config.annotate import AnnotateSettings
from hundredfold.config.base import ResumableSettings, Settings, Verb, check_unchanged, verb
from hundredfold.config.check import CheckSettings
from hundredfold.config.clinical import ClinicalChoices, OperatingChoices, ReportChoices, SourceChoices
from hundredfold.config.compare import CompareSettings
from hundredfold.config.curve import CurveChoices, CurveSettings
from hundredfold.config.embed import EmbedChoices, EmbedSettings
from hundredfold.config.evaluate import EvaluateSettings
from hundredfold.config.export import ExportSettings
from hundredfold.config.fit import FitChoices, FitSettings, PredictSettings
from hundredfold.config.pretrain import FittedChoices, PretrainChoices, PretrainSettings
from hundredfold.config.reproduce import DatasetChoices, DatasetSettings, ReproduceSettings
from hundredfold.config.run import DemoSettings, EncoderChoices, ReportSettings, RunSettings
from hundredfold.config.scan import GroupChoices, ScanChoices, ScanSettings
from hundredfold.config.serve import ServeSettings
from hundredfold.config.suggest import SuggestSettings

__all__ = [
    "AnnotateSettings",
    "CheckSettings",
    "ClinicalChoices",
    "CompareSettings",
    "CurveChoices",
    "CurveSettings",
    "DatasetChoices",
    "DatasetSettings",
    "DemoSettings",
    "EmbedChoices",
    "EmbedSettings",
    "EncoderChoices",
    "EvaluateSettings",
    "ExportSettings",
    "FitChoices",
    "FitSettings",
    "FittedChoices",
    "GroupChoices",
    "OperatingChoices",
    "PredictSettings",
    "PretrainChoices",
    "PretrainSettings",
    "ReportChoices",
    "ReportSettings",
    "ReproduceSettings",
    "ResumableSettings",
    "RunSettings",
    "ScanChoices",
    "ScanSettings",
    "ServeSettings",
    "Settings",
    "SourceChoices",
    "SuggestSettings",
    "Verb",
    "check_unchanged",
    "verb",
]
