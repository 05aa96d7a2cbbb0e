"""What language models are asked: the benchmark's six uses of one, in words of our own."""

from medte_eval.tasks.benchmark.task import Prompt

_WRITER = "You write clear and meaningful English sentences about medicine."
_ANONYMISER = "You help to anonymise medical texts: what you write keeps the meaning and gives no name or title away."
_BARE = "Answer with a JSON object alone, without any mark-up around it, with the keys "

LINKED_SENTENCES = Prompt(
    "linked-sentences",
    _WRITER,
    "Below is a document. Write two sentences that each say something of substance from it and that belong closely"
    " together. They must share neither keywords nor turns of phrase with each other. "
    + _BARE
    + '"sentence1" and "sentence2".',
    ("sentence1", "sentence2"),
)
QUESTION_AND_ANSWER = Prompt(
    "question-and-answer",
    _ANONYMISER,
    "Below is a scientific paper. Write a question that can be answered from it, and the answer. Neither may repeat"
    " the paper's title or its key phrases. " + _BARE + '"question" and "answer".',
    ("question", "answer"),
)
SEARCH_QUESTION = Prompt(
    "search-question",
    _ANONYMISER,
    "Below is a preprint. Write one question as a person would really type it into a search engine, to which this"
    " paper is the result to find. It may not repeat the title or key phrases of the paper. " + _BARE + '"question".',
    ("question",),
)
REWORDED_ANSWER = Prompt(
    "reworded-answer",
    _ANONYMISER,
    "Below are a question and its answer. Reword the answer so that it says the same and uses none of the question's"
    " keywords. Answer with the reworded text alone.",
)
