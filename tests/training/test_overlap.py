import random
from dataclasses import replace

import pytest

from medte_haystack.training.near import NearTexts, grams_of, jaccard, words_of
from medte_haystack.training.overlap import Found, Overlap, canonical
from medte_haystack.training.pairs import Pair

ABSTRACT = (
    "Patients with acromegaly were followed for ten years after surgery of the pituitary gland. Growth hormone fell in"
    " most of them, and so did the size of hands and feet. We conclude that early surgery helps, and that those whose"
    " hormone does not fall within one year should be offered radiation, a somatostatin analogue, or a second operation"
    " by an experienced surgeon."
)
OTHER = (
    "Children with asthma used an inhaler with a counter or one without. The counter halved the number of days at which"
    " an empty inhaler was used, and visits to the emergency department were fewer by a third in the first winter."
)


def pair(anchor="What is unknown here?", positive="Nothing that was ever written.", **keys):
    return Pair("1", "source", anchor, positive, keys=keys)


def found(overlap, *given, **keys):
    return overlap.find(pair(*given, **keys))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sjögren's  SYNDROME,\n(type-2)", ["sjogren", "s", "syndrome", "type", "2"]),
        ("10\u00b5g ﬁbrosis_Straße", ["10μg", "fibrosis", "strasse"]),
        ("糖尿病 type", ["糖", "尿", "病", "type"]),
        ("___ !?", []),
        ("", []),
    ],
)
def test_words_are_without_case_accents_and_punctuation(text, words):
    assert words_of(text) == words


def test_the_jaccard_index_is_that_of_the_trigrams():
    first, second = (grams_of(text.split()) for text in ("a b c d e", "a b c d f"))
    assert jaccard(first, second) == 2 / 4
    assert jaccard(first, first) == 1


def test_near_texts_are_all_and_only_those_that_are_near_enough():
    dice = random.Random(3)
    vocabulary = [f"w{number}" for number in range(500)]
    texts = [[dice.choice(vocabulary) for _ in range(60)] for _ in range(300)]
    texts += [[word if dice.random() > 0.07 else "other" for word in text] for text in texts[:150]]
    grams = [grams_of(text) for text in texts]
    near = NearTexts(0.5)
    for one in grams[:200]:
        near.add(one)
    assert near.find(grams[0])[0] == 0
    for one in grams[200:]:  # added after a search
        near.add(one)

    pairs = sum(jaccard(first, second) >= 0.5 for first in grams for second in grams)
    hits = [(one, other) for one, its in enumerate(grams) for other in near.find(its)]

    assert all(jaccard(grams[one], grams[other]) >= 0.5 for one, other in hits)
    assert len(hits) > 0.99 * pairs
    assert pairs > 650


def test_a_pair_is_found_by_either_text_whatever_its_layout():
    overlap = Overlap()
    overlap.add("task", [OTHER])
    changed = OTHER.upper().replace(", ", " -- ").replace(" ", "\n")

    assert found(overlap, "A title of its own", changed) == Found("exact", ("task",))
    assert found(overlap, changed) == Found("exact", ("task",))
    assert found(overlap) is None


def test_every_task_is_named():
    overlap = Overlap()
    for task in ("a", "b", "c"):
        overlap.add(task, [OTHER] if task != "b" else [ABSTRACT])

    assert found(overlap, "A title of its own", OTHER) == Found("exact", ("a", "c"))


def test_a_text_with_some_words_changed_is_nearly_the_same():
    overlap = Overlap()
    overlap.add("task", [ABSTRACT])
    changed = ABSTRACT.replace("ten", "twelve").replace("most", "many").replace("helps", "is useful")

    assert found(overlap, "A title of its own", changed) == Found("near", ("task",))
    assert found(overlap, "A title of its own", OTHER) is None


def test_a_text_that_begins_as_another_is_found():
    overlap = Overlap()
    overlap.add("first part", [ABSTRACT])
    longer = f"{ABSTRACT} {OTHER} " + " ".join(f"and further {number}" for number in range(90))

    assert found(overlap, "A title of its own", longer) == Found("beginning", ("first part",))


def test_short_texts_of_one_pattern_are_not_taken_for_each_other():
    overlap = Overlap()
    overlap.add("task", ["What are the treatments for spinocerebellar ataxia type 1 in older people?"])

    assert found(overlap, "What are the treatments for spinocerebellar ataxia type 2 in older people?") is None


def test_a_text_of_a_word_or_two_counts_with_its_counterpart_alone():
    overlap = Overlap()
    overlap.add("task", ["Chest pain", "Pneumonia"])

    assert found(overlap, "chest PAIN", "The heart was normal, and so was the rest.") == Found("short", ("task",))
    assert found(overlap, "Pneumonia", "chest pain!") == Found("exact", ("task",))
    assert found(Overlap(exact_words=1), "chest pain") is None
    strict = Overlap(exact_words=1)
    strict.add("task", ["Chest pain"])
    assert found(strict, "chest pain") == Found("exact", ("task",))


@pytest.mark.parametrize(
    ("kind", "ours", "theirs"),
    [
        ("pmid", "0123", "PMID: 123"),
        ("pmcid", "PMC77", "77"),
        ("nct", "nct00000102", "NCT00000102"),
        ("doi", "https://doi.org/10.1101/2020.01.02.123456v2", "10.1101/2020.01.02.123456v1"),
        ("doi", "doi:10.1000/A(1)", "10.1000/a(1)"),
        ("medquad", "NIDDK:0000001-1", "NIDDK:0000001-3#2"),
        ("title", "Sjögren syndrome", "sjogren  Syndrome"),
        ("hadm_id", "20000001", "20000001 "),
    ],
)
def test_ids_come_before_texts_however_they_are_written(kind, ours, theirs):
    overlap = Overlap()
    overlap.add("task", ["A text that nobody else has."], {kind: theirs})

    assert found(overlap, **{kind: ours}) == Found("id", ("task",))
    assert found(overlap, **{kind: ours.replace("1", "5").replace("7", "5").replace("j", "t")}) is None
    assert found(overlap, other=ours) is None


def test_ids_of_preprints_alone_have_versions():
    assert canonical("doi", "10.1000/av2") == "10.1000/av2"


@pytest.mark.parametrize(("kind", "value"), [("doi", ""), ("doi", "n/a"), ("pmid", "unknown"), ("note_id", " ")])
def test_what_is_no_id_is_not_compared(kind, value):
    overlap = Overlap()
    overlap.add("task", ["A text that nobody else has."], {kind: value, "hadm_id": "7"})
    overlap.link(pair(hadm_id="7", subject_id=""))

    assert found(overlap, **{kind: value, "subject_id": ""}) is None


def test_ids_of_either_text_count_and_patients_are_not_mixed_up():
    overlap = Overlap()
    overlap.add("task", ["A text that nobody else has."], {"hadm_id": "7"})
    both = Pair("1", "s", "a", "b", keys={"hadm_id": "9", "subject_id": "2"})
    both = replace(both, anchor_keys={"hadm_id": "7", "subject_id": "1"})
    overlap.link(both)

    assert overlap.find(both) == Found("id", ("task",))
    assert found(overlap, subject_id="1") == Found("id", ("task",))
    assert found(overlap, subject_id="2") is None


def test_all_of_a_patient_goes_who_occurs_with_a_stay():
    overlap = Overlap()
    overlap.add("task", ["A text that nobody else has."], {"hadm_id": "7"})
    overlap.link(pair(hadm_id="7", subject_id="1"))
    overlap.link(pair(hadm_id="8", subject_id="2"))

    assert found(overlap, hadm_id="9", subject_id="1") == Found("id", ("task",))
    assert found(overlap, hadm_id="8", subject_id="2") is None
    assert found(overlap, hadm_id="1") is None


def test_a_single_text_is_held_if_it_is_long_enough():
    overlap = Overlap()
    overlap.add("task", [ABSTRACT, "Gout"])

    assert overlap.holds(ABSTRACT.replace("ten", "twelve"))
    assert not overlap.holds("gout")
    assert not overlap.holds(OTHER)
