"""How fast texts become vectors: what people use today and ours, on the same texts, in turns.

`python -m bench.encode --help` tells what it can do. The command itself computes nothing: every way to encode runs in a
worker process of its own (`worker`), which is started once and asked by lines of JSON (`process`), and only one of them
computes at a time. What a way is stands in one row of `ways`; the code behind the rows is in `theirs` and `ours`.
"""
