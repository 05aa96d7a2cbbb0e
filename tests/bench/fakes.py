"""Ways for tests, loaded by real workers: they say how long they took, so that no test depends on the clock."""

import os
import sys
from pathlib import Path

import numpy as np


class FakeWay:
    """Gives the same vectors for the same texts, writes down when it was asked, and fails where it is told to."""

    def __init__(self, folder, device, name="fake", diary=None, fail="", noise=0.0):
        self.name = name
        self.diary = diary
        self.fail = fail
        self.noise = noise
        if fail == "load":
            raise ImportError("No module named 'optimum'\nsecond line")
        print("a library prints while it loads")

    def about(self):
        return {"precision": "fp32", "versions": {"fake": "1"}}

    def encode(self, texts, batch_size=None):
        if self.diary:
            with Path(self.diary).open("a") as file:
                file.write(f"{self.name} {len(texts)} {batch_size}\n")
        if self.fail == "encode":
            raise MemoryError("too many texts")
        if self.fail == "die":
            print("the last words", file=sys.stderr, flush=True)
            os._exit(3)
        print("a library prints while it encodes")
        vectors = np.ones((len(texts), 32), dtype=np.float32)
        vectors[:, 0] += self.noise
        return 1.0 if batch_size is None else 1.0 + abs(batch_size - 4), vectors

    def time_queries(self, queries):
        return {f"{self.name} encode": [0.001 * len(query) for query in queries]}
