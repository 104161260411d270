"""The import of TensorFlow."""

import sys

import pytest

from engine.tensorflow_import import quiet_import


def test_what_is_imported_does_without_matplotlib(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    with quiet_import(), pytest.raises(ImportError, match="matplotlib"):
        import matplotlib  # noqa: F401
    assert "matplotlib" not in sys.modules


def test_matplotlib_that_is_there_stays():
    import matplotlib as mpl

    with quiet_import():
        assert sys.modules["matplotlib"] is mpl
    assert sys.modules["matplotlib"] is mpl
