"""Side-by-side measurements against what people use today; timing never decides a test.

`python -m bench` runs all; `python -m bench.encode` and `python -m bench.write` run one. Each alternates the ways it
compares, prints a table with medians and ratios, and writes JSON with `--json FILE`.
"""
