import pytest

from bench.encode.shapes import minilm_folder
from bench.encode.texts import Counter, check_sets
from medte_haystack.encoder import Tokeniser


@pytest.fixture(scope="module")
def count() -> Counter:
    return Counter(minilm_folder(), 256)


def test_lengths_are_those_of_our_own_tokeniser(corpus, count):
    texts = [*corpus.answers[:20], "", "naïve café"]
    tokeniser = Tokeniser(minilm_folder(), 256, 30522)
    assert count.of("some", texts).lengths == [len(ids) for ids in tokeniser(texts).ids]


def test_sets_are_the_same_every_time_and_cost_no_more_than_the_answers(corpus, count):
    answers, questions, long = corpus.sets(["answers", "questions", "long"], 12, count)
    assert (len(answers.texts), len(questions.texts), len(long.texts)) == (12, 48, 3)
    assert corpus.sets(["answers"], 12, count)[0] == answers
    assert set(long.lengths) <= set(range(250, 257))
    assert all(question in corpus.questions for question in questions.texts)
    assert answers.tokens == sum(answers.lengths) > max(questions.tokens, long.tokens)


@pytest.mark.parametrize("tokens", [16, 100, 256])
def test_texts_of_a_length_have_it_but_for_a_cut_word(corpus, count, tokens):
    made = count.of("made", corpus.of_length(count, tokens, 5))
    assert len(made.texts) == 5
    assert all(tokens - 5 <= length <= tokens for length in made.lengths)


def test_queries_have_exactly_the_length_asked_for_and_differ(corpus, count):
    queries = corpus.queries(count, 12, 100)
    assert count.of("queries", queries).lengths == [12] * 100
    assert len(set(queries)) == 100


def test_an_unknown_set_is_told_with_the_known_ones():
    with pytest.raises(ValueError, match="'poems'; the sets are answers, questions, long"):
        check_sets(["answers", "poems"])
