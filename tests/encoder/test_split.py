"""Pieces by the model's own tokens: where they stand, how long they are, where they are cut."""

import itertools

import pytest

from medte_haystack.encoder import TokenSplitter
from medte_haystack.encoder.tokenise import replace_surrogates
from medte_haystack.errors import EncoderOptionError

SENTENCES = [
    "Acromegaly is a hormonal disorder.",
    "It develops when the pituitary gland makes too much growth hormone.",
    "Hands and feet grow.",
    "Diagnosis rests on IGF-1 and an oral glucose tolerance test.",
    "Surgery is the first choice for most patients.",
]
PROSE = " ".join(SENTENCES * 12)
ODD_TEXTS = {
    "prose": PROSE,
    "paragraphs": "\n\n".join([PROSE[:700], PROSE[700:900], PROSE[900:2500]]),
    "one giant word": "x" * 5000,
    "giant compound": "pneumono-ultra-micro-" * 300,
    "chinese": "糖尿病是一种以高血糖为特征的代谢性疾病。它由多种原因引起。" * 40,
    "arabic": "مرض السكري هو اضطراب استقلابي مزمن. يتميز بارتفاع نسبة السكر في الدم. " * 40,
    "emoji": "👩🏽‍⚕️ says 🫀 is fine 🤒. " * 100,
    "surrogates": "fever \ud83d and chills \udc00. " * 100,
    "blank inside": "fever" + " " * 3000 + "chills" + "\n" * 500 + "rash " * 300,
    "nul": "fever\x00chills. " * 200,
    "combining": "e\u0301\u0302\u0303" * 800,
    "crlf": "First line.\r\nSecond line.\r\n\r\n" * 80,
}


@pytest.fixture(scope="module")
def tokeniser(encoder):
    return encoder.tokeniser


@pytest.mark.parametrize("name", ODD_TEXTS)
@pytest.mark.parametrize(("chunk_tokens", "overlap"), [(None, 0), (60, 0), (60, 20), (8, 4)])
def test_pieces_stand_where_they_say_and_fit(tokeniser, name, chunk_tokens, overlap):
    text = ODD_TEXTS[name]
    splitter = TokenSplitter(tokeniser, chunk_tokens=chunk_tokens, overlap=overlap)
    pieces = splitter.split(text)
    assert all(text[piece.start : piece.end] == piece.text for piece in pieces)
    assert all(piece.text == piece.text.strip() != "" for piece in pieces)
    assert max(tokeniser.count([piece.text for piece in pieces])) <= splitter.chunk_tokens
    assert [piece.start for piece in pieces] == sorted(piece.start for piece in pieces)
    covered = set().union(*(range(piece.start, piece.end) for piece in pieces))
    lost = [at for at, character in enumerate(text) if at not in covered and not character.isspace()]
    assert lost == []


def test_no_overlap_means_none(tokeniser):
    pieces = TokenSplitter(tokeniser, chunk_tokens=60).split(PROSE)
    assert len(pieces) > 5
    assert all(left.end <= right.start for left, right in itertools.pairwise(pieces))


def test_whole_sentences_where_they_fit(tokeniser):
    for piece in TokenSplitter(tokeniser, chunk_tokens=40).split(PROSE):
        assert piece.text.startswith(tuple(SENTENCES))
        assert piece.text.endswith(tuple(SENTENCES))


def test_overlap_repeats_at_most_so_many_tokens(tokeniser):
    pieces = TokenSplitter(tokeniser, chunk_tokens=60, overlap=20).split(PROSE)
    shared = [PROSE[right.start : left.end] for left, right in itertools.pairwise(pieces)]
    assert any(shared)
    assert max(tokeniser.count(shared)) <= 20


def test_what_fits_is_one_piece_without_the_white_space_around_it(tokeniser):
    splitter = TokenSplitter(tokeniser)
    (piece,) = splitter.split(" \n Acromegaly. Two sentences.\t")
    assert (piece.text, piece.start, piece.end) == ("Acromegaly. Two sentences.", 3, 29)
    (whole,) = splitter.split("word " * 254)
    assert tokeniser.count([whole.text]) == [254]


@pytest.mark.parametrize("text", ["", " ", "\n\t \u2003"])
def test_a_blank_text_has_no_pieces(tokeniser, text):
    assert TokenSplitter(tokeniser).split(text) == []


def test_surrogates_stay_in_the_pieces(tokeniser):
    text = ODD_TEXTS["surrogates"]
    pieces = TokenSplitter(tokeniser, chunk_tokens=50).split(text)
    clean = TokenSplitter(tokeniser, chunk_tokens=50).split(replace_surrogates(text))
    assert [(piece.start, piece.end) for piece in pieces] == [(piece.start, piece.end) for piece in clean]
    assert any("\ud83d" in piece.text for piece in pieces)


@pytest.mark.parametrize("chunk_tokens", [None, 200, 100])
@pytest.mark.parametrize("title_tokens", [1, 20, 100, 127])
def test_room_is_kept_for_a_title(tokeniser, chunk_tokens, title_tokens):
    title = " ".join(["disorder"] * title_tokens)
    pieces = TokenSplitter(tokeniser, chunk_tokens=chunk_tokens).split(PROSE, title=title)
    embedded = [f"{title} {piece.text}" for piece in pieces]
    assert max(tokeniser.count(embedded)) <= tokeniser.max_tokens - 2
    assert tokeniser(embedded).truncated == []


def test_a_small_chunk_gives_way_to_a_long_title_too(tokeniser):
    title = " ".join(["disorder"] * 180)  # 254 - 180 leave 74 for a piece
    pieces = TokenSplitter(tokeniser, chunk_tokens=100).split(PROSE, title=title)
    assert tokeniser([f"{title} {piece.text}" for piece in pieces]).truncated == []


def test_a_giant_title_leaves_half_of_a_chunk(tokeniser):
    pieces = TokenSplitter(tokeniser, chunk_tokens=100).split(PROSE, title="disorder " * 1000)
    sizes = tokeniser.count([piece.text for piece in pieces])
    assert 30 < max(sizes) <= 50


def test_many_texts_keep_their_own_titles(tokeniser):
    splitter = TokenSplitter(tokeniser, chunk_tokens=100)
    long = "disorder " * 200
    found = list(splitter.split_many([PROSE, PROSE, ""], titles=["", long, "Title"]))
    assert found == [splitter.split(PROSE), splitter.split(PROSE, title=long), []]
    assert len(found[0]) < len(found[1])


@pytest.mark.parametrize("chunk_tokens", [0, -5, 255])
def test_chunk_tokens_out_of_range(tokeniser, chunk_tokens):
    with pytest.raises(EncoderOptionError, match=f"a chunk of {chunk_tokens} tokens .* 1 to 254") as caught:
        TokenSplitter(tokeniser, chunk_tokens=chunk_tokens)
    assert (caught.value.chunk_tokens, caught.value.limit) == (chunk_tokens, 254)


@pytest.mark.parametrize("overlap", [-1, 51])
def test_overlap_out_of_range(tokeniser, overlap):
    with pytest.raises(EncoderOptionError, match=f"an overlap of {overlap} tokens .* take 0 to 50"):
        TokenSplitter(tokeniser, chunk_tokens=100, overlap=overlap)


def test_something_else_than_a_string(tokeniser):
    with pytest.raises(TypeError, match="text 1 is of type NoneType"):
        list(TokenSplitter(tokeniser).split_many(["fever", None]))


def test_lengths_that_were_counted_before_are_taken(tokeniser):
    splitter, texts = TokenSplitter(tokeniser), list(ODD_TEXTS.values())
    assert list(splitter.split_many(texts, lengths=tokeniser.count(texts))) == list(splitter.split_many(texts))
    assert len(next(iter(splitter.split_many([PROSE], lengths=[1])))) == 1
