"""The counts in memory are those of the library, which the other stores use."""

import time
from random import Random

import pytest
from limits import parse
from limits.aio.storage import MemoryStorage

from po_api.web.request_counts import MemoryCounts, StoredCounts


async def test_counts_in_memory_are_those_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(5)
    limit, now = parse("7/minute"), 1_800_000_000.0
    ours, theirs = MemoryCounts(), StoredCounts(MemoryStorage())
    monkeypatch.setattr(time, "time", lambda: now)
    outcomes = set()
    for _ in range(2000):
        now += random.uniform(0, random.choice([1, 10, 75, 190]))
        key = random.choice("ab")
        found, expected = await ours.hit(limit, "user", key), await theirs.hit(limit, "user", key)
        assert found[:2] == expected[:2]
        assert found.reset_seconds == pytest.approx(expected.reset_seconds, abs=1e-3)
        outcomes.add(found.is_allowed)
    assert outcomes == {True, False}
