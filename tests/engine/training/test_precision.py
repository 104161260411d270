"""Number formats by what the processor has."""

from __future__ import annotations

import pytest

from engine.spec import Spec
from engine.training import precision
from engine.training.assembly import with_precision
from engine.training.precision import of_cpu, of_gpus
from engine.training.workers import Workers

CPUINFO = "processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n\nprocessor\t: 1\n"


@pytest.mark.parametrize(
    ("cpuinfo", "policy"),
    [
        (CPUINFO, "mixed_bfloat16"),
        (CPUINFO.replace(" amx_bf16", ""), "float32"),  # AVX-512 alone has no matrix unit
        (CPUINFO.replace("amx_bf16", "amx_bf16x"), "float32"),
        ("processor : 0\nFeatures : fp asimd bf16\n", "float32"),
        ("", "float32"),
    ],
)
def test_a_processor_with_amx_takes_bfloat16(cpuinfo, policy):
    assert of_cpu(cpuinfo).policy == policy


@pytest.mark.parametrize(
    ("capabilities", "policy"),
    [
        ([(9, 0)], "mixed_bfloat16"),
        ([(8, 0), (8, 6)], "mixed_bfloat16"),
        ([(8, 0), (7, 5)], "float32"),
        ([(7, 0)], "float32"),
        ([None], "float32"),
    ],
)
def test_gpus_with_tensor_cores_for_it_take_bfloat16(capabilities, policy):
    details = [{"compute_capability": each} if each else {} for each in capabilities]
    assert of_gpus(details).policy == policy


@pytest.mark.parametrize(("cpuinfo", "policy"), [(CPUINFO, "mixed_bfloat16"), ("", "float32")])
def test_auto_becomes_what_suits_this_machine_and_all_else_stays(cpuinfo, policy, tmp_path, monkeypatch, capsys):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    plain = {"version": 1, "data": {"target": {"path": "hr.nc"}, "scale": 2}, "training": {"precision": "auto"}}
    found, why = with_precision(Spec.from_plain(plain), Workers(0, 1))
    assert found == Spec.from_plain(plain).replace(training={"precision": policy})
    assert why.startswith(f"precision {policy}: the processor")
    fixed = found.replace(training={"precision": "float32"})
    assert with_precision(fixed, Workers(0, 1)) == (fixed, "")
