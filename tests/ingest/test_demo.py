"""The demo's own parts, without its minutes of encoding."""

from es_ingest.demo import own_answer_shares
from es_ingest.records import Record
from es_ingest.search import Hit


class FakeSearcher:
    """Finds the asked document at a place that its question names."""

    def search_many(self, texts, *, top_k):
        hits = lambda ids: [Hit(one, 0.5, "", "", f"{one}#0", 0, 0, 1) for one in ids]  # noqa: E731
        places = {"q1": ["1", "x"], "q2": ["x", "2"], "q3": ["x", "y"]}
        assert top_k == 10
        return [hits(places[text]) for text in texts]


def test_shares_count_first_and_first_ten():
    records = [Record(str(n), "", "t", {"question": f"q{n}"}, "p") for n in (1, 2, 3)]
    records.append(Record("4", "", "t", {}, "p"))
    assert own_answer_shares(FakeSearcher(), records) == (1 / 3, 2 / 3, 3)
