"""What closed tabs leave free goes back to the system."""

import ctypes

import psutil
import pytest

from app.services.memory import release_free_memory

MIB = 2**20


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc keeps free memory like this")
def test_free_memory_between_blocks_in_use_goes_back():
    process = psutil.Process()
    blocks = [bytes(100_000) for _ in range(1000)]  # 95 MiB; smaller than what glibc maps by itself, 128 KiB
    kept = [bytearray(block) for block in blocks[::50]]  # after the others: these can't go back from the heap's end
    del blocks
    before = process.memory_info().rss
    release_free_memory()
    assert before - process.memory_info().rss > 50 * MIB
    assert len(kept) == 20
