"""Side-by-side measurements against what people use today; timing never decides a test.

`python -m bench` runs all with their defaults; `python -m bench.encode` (speed, memory, single queries), `python -m
bench.quality` (nDCG by precision), `python -m bench.write` and `python -m bench.ingest` (into Elasticsearch) and
`python -m bench.search` run one. What is timed takes turns. Each prints a table, and writes JSON with `--json FILE`.
"""
