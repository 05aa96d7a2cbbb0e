import json

import numpy as np
import pytest

from bench.encode.ceiling import Dimensions
from bench.encode.results import cosines, rows, table
from bench.encode.session import Turns
from bench.encode.texts import TextSet
from bench.encode.ways import REFERENCE, WAYS

SHAPE = Dimensions(2, 32, 64)
TEXTS = TextSet("answers", ["one", "two"], [10, 30])
VECTORS = np.eye(2, 4, dtype=np.float32)


def _turns(*seconds, batch=32, vectors=VECTORS):
    return Turns(list(seconds), batch, {"peak_mb": 100.0}, vectors)


def _rows(turns, names, failed=None, rates=None, **more):
    about = {name: {"precision": "fp32"} for name in turns}
    return rows([WAYS[name] for name in names], TEXTS, turns, failed or {}, about, rates or {}, SHAPE, **more)


def test_a_row_is_made_of_the_median_round():
    turns = {REFERENCE: _turns(4.0, 8.0, 5.0), "medte-fp32": _turns(2.0, 1.0, 9.0, batch=None)}
    reference, ours = _rows(turns, [REFERENCE, "medte-fp32"], rates={"fp32": SHAPE.flops(TEXTS.lengths) / 1.0})
    assert (reference.tokens_per_second, reference.texts_per_second, reference.ratio) == (8.0, 0.4, 1.0)
    assert (ours.tokens_per_second, ours.ratio) == (20.0, 2.5)
    assert ours.ceiling_share == pytest.approx(0.5)
    assert ours.cosine_min == pytest.approx(1.0)
    json.dumps([reference.to_dict(), ours.to_dict()], allow_nan=False)


def test_what_failed_stands_in_the_table_with_its_reason():
    found = _rows({REFERENCE: _turns(1.0)}, [REFERENCE, "st-onnx"], {"st-onnx": "no optimum"})
    assert found[1].not_run == "no optimum"
    assert found[1].tokens_per_second is None
    shown = table("title", found)
    assert "sentence-transformers ONNX, batch 32" in shown
    assert "not run: no optimum" in shown


def test_without_the_reference_there_are_no_ratios_but_speeds():
    reference, ours = _rows({"medte-fp32": _turns(2.0)}, [REFERENCE, "medte-fp32"], {REFERENCE: "not installed"})
    assert reference.not_run == "not installed"
    assert (ours.ratio, ours.cosine_min, ours.tokens_per_second) == (None, None, 20.0)
    assert "20" in table("title", [reference, ours])


def test_the_best_batch_size_is_shown():
    (_, best) = _rows({REFERENCE: _turns(1.0), "st-fp32-best": _turns(1.0, batch=8)}, [REFERENCE, "st-fp32-best"])
    assert "best batch (8)" in table("title", [best])


def test_cosines_of_random_weights_are_left_out():
    (row,) = _rows({REFERENCE: _turns(1.0)}, [REFERENCE], real=False)
    assert (row.cosine_min, row.cosine_mean, row.ratio) == (None, None, 1.0)
    assert table("title", [row]).splitlines()[-1].split()[-3:-1] == ["-", "-"]


def test_cosines_do_not_depend_on_lengths():
    turned = np.array([[3.0, 0, 0, 0], [0, 3.0, 4.0, 0]], dtype=np.float32)
    assert cosines(VECTORS, turned) == pytest.approx((0.6, 0.8))
    assert cosines(None, turned) == (None, None)
