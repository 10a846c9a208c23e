"""Specs: what to run, as pydantic models that import no torch."""

from emabench.spec.data import AugmentationSpec, DataSpec, SecondView, ViewSpec
from emabench.spec.experiment import BenchSpec, ExperimentSpec, load_fields
from emabench.spec.fingerprint import fingerprint
from emabench.spec.linear_eval import AlsoSpec, KnnSpec, LinearEvalSpec, LinearSpec
from emabench.spec.model import SpecModel
from emabench.spec.pretrain import (
    BackboneSpec,
    EmaSpec,
    MethodSpec,
    MonitorSpec,
    OptimizerSpec,
    PretrainSpec,
    ScheduleSpec,
)
from emabench.spec.scope import EmaScope

__all__ = [
    "AlsoSpec",
    "AugmentationSpec",
    "BackboneSpec",
    "BenchSpec",
    "DataSpec",
    "EmaScope",
    "EmaSpec",
    "ExperimentSpec",
    "KnnSpec",
    "LinearEvalSpec",
    "LinearSpec",
    "MethodSpec",
    "MonitorSpec",
    "OptimizerSpec",
    "PretrainSpec",
    "ScheduleSpec",
    "SecondView",
    "SpecModel",
    "ViewSpec",
    "fingerprint",
    "load_fields",
]
