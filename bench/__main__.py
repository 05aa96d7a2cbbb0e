"""Runs every measurement with its default settings."""

from bench import ingest, quality, write
from bench.encode.__main__ import main as measure_encoding
from bench.search.__main__ import main as measure_searching

if __name__ == "__main__":
    measure_encoding([])
    quality.main([])
    write.main([])
    ingest.main([])
    measure_searching([])
