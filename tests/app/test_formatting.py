"""Numbers, sizes and ages as people read them; every expectation by hand."""

import pytest

from app import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.68213, "0.682"),
        (12345.6, "12346"),
        (-0.5, "-0.500"),
        (0, "0"),
        (1e-9, "1.00e-09"),
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
    ],
)
def test_numbers_have_three_significant_digits(value, text):
    assert formatting.number(value) == text


def test_counts_have_thin_spaces():
    assert formatting.count(1234567) == "1\u202f234\u202f567"
    assert formatting.count(None) == "–"


@pytest.mark.parametrize(("n_bytes", "text"), [(512, "512 bytes"), (1536, "1.50 KiB"), (3 * 1024**3, "3.00 GiB")])
def test_sizes(n_bytes, text):
    assert formatting.size(n_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.9, "59 s"), (75, "1 min 15 s"), (7300, "2 h 1 min"), (90000, "1 d 1 h"), (None, "–")]
)
def test_durations(seconds, text):
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(30, "just now"), (150, "2 min ago"), (7200, "2 h ago"), (172800, "2 d ago")]
)
def test_ages(seconds, text):
    assert formatting.age(1000.0, now=1000.0 + seconds) == text


def test_a_table_escapes_what_a_file_says():
    html = formatting.table({"<b>": "<script>alert(1)</script>"})
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
