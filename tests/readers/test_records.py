import pickle

from es_ingest.records import ReadError


def test_read_error_pickles_with_its_parts() -> None:
    error = pickle.loads(pickle.dumps(ReadError("a.csv", "is empty")))
    assert (error.path, error.reason, str(error)) == ("a.csv", "is empty", "a.csv: is empty")
