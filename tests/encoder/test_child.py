"""What the process behind one device does, without the process."""

import logging
import pickle
import queue
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from medte_haystack.encoder.backends import child
from medte_haystack.encoder.backends.child import Failure, Vectors, portable, serve, unpacked
from medte_haystack.errors import MedTEError, ModelError


class Stumbling:
    """Computes some batches ahead; stumbles over 13."""

    device, precision, token_budget, parallel = "cpu", "fp32", 8, 2

    def embed(self, batches):
        ahead = []
        for batch in batches:
            if batch == [[13]]:
                raise ZeroDivisionError("thirteen")
            ahead.append(np.asarray(batch, dtype=np.float32))
            if len(ahead) > 2:
                yield ahead.pop(0)
        yield from ahead


class Kept:
    def __init__(self):
        self.all = []

    def put(self, answer):
        self.all.append(answer)


class TestChild:
    def test_batches_read_ahead_of_a_failing_one_are_answered_too(self):
        waiting, answers = queue.SimpleQueue(), Kept()
        for number in (10, 11, 12, 13, 14):
            waiting.put((number, [[number]]))
        serve(Stumbling(), waiting, answers)
        serve(Stumbling(), waiting, answers)
        assert [answer.number for answer in answers.all] == [10, 11, 12, 13, 14]
        for answer in answers.all:
            if answer.number == 13:
                assert isinstance(answer, Failure)
                assert str(answer.error) == "thirteen"
            else:
                assert isinstance(answer, Vectors)
                assert answer.vectors.tolist() == [[answer.number]]

    @pytest.mark.parametrize("lost", [True, False])
    def test_it_ends_when_its_gpu_is_lost(self, monkeypatch, capsys, lost):
        def synchronize(device):
            assert device == "cuda:1"
            if lost:
                raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore")

        class Ended(BaseException):
            pass

        def end(status):
            raise Ended(status)

        monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
        monkeypatch.setattr(child.os, "_exit", end)
        waiting, answers, backend = queue.SimpleQueue(), Kept(), Stumbling()
        backend.device = "cuda:1"
        for number in (13, 14):
            waiting.put((number, [[number]]))
        with pytest.raises(Ended, match="1") if lost else nullcontext():
            serve(backend, waiting, answers)
            serve(backend, waiting, answers)
        assert [type(answer) for answer in answers.all] == ([Failure] if lost else [Failure, Vectors])
        assert ("cuda:1 no more, and ends: CUDA error: an illegal" in capsys.readouterr().err) == lost

    def test_ids_are_unpacked(self):
        flat, lengths = np.asarray([1, 2, 3, 4], dtype=np.int32), np.asarray([1, 0, 3], dtype=np.int32)
        assert unpacked(flat, lengths) == [[1], [], [2, 3, 4]]

    def test_an_error_that_survives_pickling_is_passed_on_as_it_is(self):
        error = portable(ModelError("no weights", path="/models/x"))
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.path) == (ModelError, "no weights", "/models/x")
        assert "no weights" in again.__notes__[0]

    def test_one_that_does_not_is_told(self):
        class Odd(Exception):
            def __init__(self, one, two):
                super().__init__(f"{one} and {two}")

        error = portable(Odd("this", "that"))
        assert isinstance(pickle.loads(pickle.dumps(error)), MedTEError)
        assert str(error) == "Odd: this and that"

    def test_logging_is_forwarded(self):
        forwarding = child.Forwarding(logging.WARNING)
        forwarding.answers = Kept()
        logger = logging.Logger("medte_haystack.some")
        logger.addHandler(forwarding)
        logger.warning("%d tokens", 5)
        logger.info("not this")
        assert forwarding.answers.all == [child.Log("medte_haystack.some", logging.WARNING, "5 tokens")]
