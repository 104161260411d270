"""Number format that suits the processor, for `training.precision: auto`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
AMX = "amx_bf16"  # flag of processors with units for matrix products in bfloat16 (Intel Xeon, 4th generation and later)
TENSOR_CORES = (8, 0)  # least compute capability with bfloat16 in tensor cores (NVIDIA A100 and later)


@dataclass(frozen=True)
class Precision:
    """A number format, as Keras names its policy, and why it was chosen."""

    policy: str
    reason: str


def choose_precision() -> Precision:
    """Choose for the processor that TensorFlow computes on here: bfloat16 where it has units for it, else float32."""
    import tensorflow as tf  # what else is here is asked for without it

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return of_gpus([tf.config.experimental.get_device_details(gpu) for gpu in gpus])
    return of_cpu(cpuinfo())


def of_gpus(details: Iterable[dict[str, object]]) -> Precision:
    """Choose for GPUs; details : of each, as TensorFlow gives them."""
    given = [detail.get("compute_capability") for detail in details]
    known = [tuple(each) for each in given if isinstance(each, tuple | list)]
    if len(known) == len(given) and min(known) >= TENSOR_CORES:
        return Precision("mixed_bfloat16", "the GPU has tensor cores for bfloat16")
    return Precision("float32", "the GPU isn't known to have tensor cores for bfloat16")


def of_cpu(cpuinfo: str) -> Precision:
    """Choose for a processor; cpuinfo : content of /proc/cpuinfo."""
    if has_amx(cpuinfo):
        return Precision("mixed_bfloat16", "the processor has AMX for bfloat16")
    return Precision("float32", "the processor isn't known to have AMX for bfloat16")


def cpuinfo() -> str:
    """Give the system's description of the processor; empty where there is none."""
    return CPUINFO.read_text() if CPUINFO.exists() else ""


def has_amx(cpuinfo: str) -> bool:
    """True if a processor has units for matrix products in bfloat16; cpuinfo : content of /proc/cpuinfo."""
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    return AMX in flags.split()
