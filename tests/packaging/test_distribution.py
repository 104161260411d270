"""The order in which tests/conftest.py hands out files."""

from pathlib import Path

from tests.conftest import DIVISIBLE, LONGEST

TESTS = Path(__file__).parents[1]


def test_every_file_that_is_named_exists_once() -> None:
    found = {name: len(list(TESTS.rglob(f"{name}.py"))) for name in (*LONGEST, *DIVISIBLE)}
    assert found == dict.fromkeys((*LONGEST, *DIVISIBLE), 1)
