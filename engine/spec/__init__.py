"""The spec of an experiment: one YAML file, one declaration per option.

`values` holds options that have parts, `data_section` and `sections` declare all options, `checks` compares sections
with each other, `experiment` joins them, and `yaml` reads and writes them as text.
"""

from engine.spec.data_section import KERNELS, DataOptions
from engine.spec.experiment import FLOW_MATCHING, NORMALIZING_FLOW, RENAMED, SECTIONS, Spec
from engine.spec.sections import (
    INSEPARABLE,
    LEARNING_RATE_FACTORS,
    NEGATIVE_CONSTRAINTS,
    NONNEGATIVE_CONSTRAINTS,
    POINTWISE_LOSSES,
    RECURRENT,
    LaunchOptions,
    ModelOptions,
    TrainingOptions,
)
from engine.spec.values import Period, Region, ScaleRange, Source, Split, is_url
from engine.spec.yaml import dump_yaml, flow_yaml, load_yaml, with_settings

__all__ = [
    "FLOW_MATCHING",
    "INSEPARABLE",
    "KERNELS",
    "LEARNING_RATE_FACTORS",
    "NEGATIVE_CONSTRAINTS",
    "NONNEGATIVE_CONSTRAINTS",
    "NORMALIZING_FLOW",
    "POINTWISE_LOSSES",
    "RECURRENT",
    "RENAMED",
    "SECTIONS",
    "DataOptions",
    "LaunchOptions",
    "ModelOptions",
    "Period",
    "Region",
    "ScaleRange",
    "Source",
    "Spec",
    "Split",
    "TrainingOptions",
    "dump_yaml",
    "flow_yaml",
    "is_url",
    "load_yaml",
    "with_settings",
]
