import tracemalloc

import pytest

from es_ingest.data import medquad_sample
from es_ingest.planning.survey import survey
from es_ingest.readers import read
from es_ingest.records import Deleted, Malformed, ReadError, Record
from medte_haystack.encoder import TokenSplitter
from medte_haystack.index import Chunk


def record(name, text="Asthma narrows the airways.", title="", **meta):
    return Record(name, title, text, meta, f"notes.jsonl:{name}")


@pytest.mark.parametrize(("chunk_tokens", "overlap", "prefix"), [(None, 0, ""), (64, 16, "passage: ")])
def test_it_counts_what_the_encoder_would_see(encoder, chunk_tokens, overlap, prefix):
    """The reference: every chunk made one by one, and counted as the encoder counts."""
    records = [item for item in read([str(medquad_sample())], "medquad") if isinstance(item, Record)][:300]
    splitter = TokenSplitter(encoder.tokeniser, chunk_tokens=chunk_tokens, overlap=overlap)
    found = survey(records, splitter, prefix, threads=2)

    def framed(text):
        return len(encoder.tokeniser.hf_tokenizer.encode(prefix + text).ids)

    chunks = [
        Chunk(one.id, piece.text, title=one.title).embedded_text
        for one in records
        for piece in splitter.split(one.text, title=one.title)
    ]
    assert found.of_chunks.number == len(chunks) > len(records)
    assert found.of_chunks.counts.total() == found.sample.seen
    assert sorted(found.of_chunks.counts.elements()) == sorted(map(framed, chunks))
    wholes = [framed(Chunk(one.id, one.text, title=one.title).embedded_text) for one in records]
    assert sorted(found.of_records.counts.elements()) == sorted(wholes)
    assert sorted(found.sample.texts()) == sorted(chunks)
    computed = encoder.tokeniser([prefix + text for text in chunks])
    assert found.of_chunks.total(encoder.max_tokens) == sum(map(len, computed.ids))
    assert found.of_chunks.over(encoder.max_tokens) == len(computed.truncated)


def test_a_title_that_takes_the_model_truncates(splitter):
    found = survey([record("a", text="word " * 300, title="title " * 300)], splitter)
    assert found.of_chunks.over(256) == found.of_chunks.number > 1


def test_what_is_no_record_is_counted_and_the_first_are_named(splitter):
    rows = [Malformed(f"notes.jsonl:{number}", "no text") for number in range(9)]
    found = survey([*rows, record("a"), record("a"), record("b", bad="\ud800")], splitter)
    assert (found.records, found.malformed, found.repeats.count, found.refused) == (3, 9, 1, 1)
    assert survey([Deleted("a", "here"), record("a"), Deleted("b", "here")], splitter).deletions == 2
    assert found.first_malformed == [(f"notes.jsonl:{number}", "no text") for number in range(5)]


def test_no_records(splitter):
    found = survey([], splitter, threads=3)
    assert (found.records, found.of_chunks.number, found.text_bytes, found.complete) == (0, 0, 0, True)


def test_no_more_is_read_than_asked_for(splitter):
    items = iter([record(str(number)) for number in range(10)])
    found = survey(items, splitter, most=4)
    assert (found.records, found.complete) == (4, False)
    assert len(list(items)) == 5
    assert survey([record("a")], splitter, most=1).complete


def test_text_bytes_are_those_of_the_stored_documents(splitter):
    short, long = survey([record("a", "é")], splitter), survey([record("a", "éé", topic="x" * 100)], splitter)
    assert long.text_bytes - short.text_bytes == 2 + len('"topic":"",') + 100


def test_a_broken_source_is_raised(splitter):
    def broken():
        yield record("a")
        raise ReadError("notes.jsonl", "gone")

    with pytest.raises(ReadError, match="gone"):
        survey(broken(), splitter)


def test_memory_does_not_grow_with_the_corpus(splitter):
    def peak(records):
        tracemalloc.start()
        survey((record(str(number), "Note. " * 20) for number in range(records)), splitter)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(5000), peak(20_000)
    assert many - few < 8 * 15_000 + 500_000  # a hash of each id, and what the moment brings


def test_nor_with_metadata(splitter):
    tracemalloc.start()
    survey((record(str(number), notes=f"{number:<300000}") for number in range(100)), splitter)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10_000_000, "of 30 MB"


def test_progress_is_told(splitter):
    told = []

    class Shown:
        def update(self, **totals):
            told.append(totals)

    survey((record(str(number)) for number in range(2000)), splitter, progress=Shown())
    assert told[-1]["records"] >= 1000
    assert told[-1]["chunks"] == told[-1]["records"]
    assert told[-1]["tokens"] > told[-1]["chunks"]
