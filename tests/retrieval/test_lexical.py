"""What BM25 gets of a query; no server."""

import pytest

from medte_haystack.errors import IndexContractError
from medte_haystack.index import IndexInfo
from medte_haystack.retrieval import searchable, text_fields


def info(**fields):
    return IndexInfo("articles", 8, "cosine", "int8", None, fields)


@pytest.mark.parametrize("text", ['HMG-CoA (statins) AND [x~2] OR "', "a\x00b\x07 \u200b*", "Größe 血圧", "?"])
def test_no_character_is_taken_out(text):
    assert searchable(text) == text


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("The effect of the statins on a cell", "effect statins cell"),
        ("NO and vitamin A in IT", "NO vitamin A IT"),
        ("to be or not to be", "to be or not to be"),
        ("What are the symptoms of  measles?", "symptoms measles?"),
        ("What is (are) hepatitis C, and who has it?", "hepatitis C,"),
        ("How can I treat it? WHO advice", "I treat WHO advice"),
        ("Who may?", "Who may?"),
    ],
)
def test_stop_words_are_left_out_unless_there_is_nothing_else(text, sent):
    assert searchable(text) == sent


def test_a_lone_surrogate_is_replaced():
    assert searchable("x \ud800 b") == "x ? b"


@pytest.mark.parametrize(
    ("word", "words"), [("insulin", 256), ("血", 256), ("1,", 256), ("a-b", 128), ("😀", 256), ("☤", 256), ("™", 256)]
)
def test_of_a_long_query_the_first_256_words_are_kept(word, words):
    long = f"{word} " * 20_000
    kept = searchable(long)
    assert kept.split() == [word] * words
    assert searchable(long[:100]).split() == long[:100].split()


def test_a_text_without_blanks_is_cut_too():
    assert len(searchable("x," * 25_000)) == 512
    assert len(searchable("😀" * 50_000)) == 256
    assert len(searchable("x" * 500_000)) == 256 * 255  # an analyzer cuts it into words of 255


@pytest.mark.parametrize("blank", ["", "  \n\t"])
def test_blank(blank):
    with pytest.raises(IndexContractError, match="the query is empty"):
        searchable(blank)


def test_no_string():
    with pytest.raises(TypeError, match="the query is a list; it must be a string"):
        searchable(["a"])


def test_fields_are_those_that_are_analysed():
    assert text_fields(info(content="text", title="keyword", **{"title.text": "text"})) == ["content", "title.text"]
    assert text_fields(info(content="text", title="keyword")) == ["content"]
    assert text_fields(info(content="text", title="text")) == ["content", "title"]


def test_an_index_without_text():
    with pytest.raises(IndexContractError, match=r"'articles' has no text in 'content' .* lexical_fields"):
        text_fields(info(content="keyword"))
