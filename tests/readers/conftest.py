"""What tests of several readers need."""

import tracemalloc
from collections.abc import Callable, Iterable

import pytest


@pytest.fixture
def traced() -> Callable[[Callable[[], Iterable[object]]], tuple[int, int]]:
    """Count what a reader gives, and tell the most bytes that Python held meanwhile."""

    def count(read: Callable[[], Iterable[object]]) -> tuple[int, int]:
        tracemalloc.start()
        try:
            number = sum(1 for _ in read())
            return number, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return count
