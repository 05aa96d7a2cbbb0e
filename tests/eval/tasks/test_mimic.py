import datetime
from types import SimpleNamespace
from typing import Any

from medte_eval.tasks.benchmark.mimic import CC, DD, DI, HPI, LABEL_SETS, Columns, Diagnoses, Readmission
from medte_eval.tasks.building.workbench import Workbench


def stay(hadm_id: int, subject_id: int, day: float = 0.0, days: float = 4.0, **sections: str) -> Any:
    """A stay from a day on; all sections that readmission needs are there."""
    admitted = datetime.datetime(2180, 1, 1) + datetime.timedelta(days=day)
    rest = {"Brief Hospital Course": "fine", "Past Medical History": "none", "Discharge Condition": "good"}
    found = {**rest, CC: "pain", HPI: "long", DD: "gout", DI: "rest", **sections}
    return SimpleNamespace(
        hadm_id=hadm_id,
        subject_id=subject_id,
        admitted=admitted,
        discharged=admitted + datetime.timedelta(days=days),
        sections={name: text for name, text in found.items() if text},
    )


def bench(stays: list[Any], **options: Any) -> Workbench:
    return Workbench(lambda source: SimpleNamespace(stays=lambda: stays), **options)


def labels(stays: list[Any], days: int) -> dict[str, str]:
    return {row.id: row.label for row in Readmission(days).rows(bench(stays))}


def test_a_stay_is_1_if_the_next_begins_within_whole_days() -> None:
    stays = [
        stay(1, 1, day=0, days=4),
        stay(2, 1, day=7.9, days=4),  # 3.9 days later: 3 whole days
        stay(3, 1, day=15.9, days=4),  # 4 whole days later
        stay(4, 1, day=17, days=4),  # before the one before ended
        stay(5, 2, day=0),
        stay(6, 2, day=300),
        stay(7, 3, day=0),
    ]

    found = labels(stays, 3)

    assert {id_ for id_, label in found.items() if label == "1"} == {"1", "3"}
    assert sum(label == "0" for label in found.values()) == 2  # as many, out of 2, 4, 5, 6 and 7
    assert labels(list(reversed(stays)), 3) == found
    assert {id_ for id_, label in labels(stays, 30).items() if label == "1"} == {"1", "2", "3"}


def test_the_next_stay_counts_even_if_its_own_note_lacks_a_section() -> None:
    stays = [
        stay(1, 1, day=0),
        stay(2, 1, day=5, **{"Past Medical History": ""}),
        stay(3, 2, day=0),
        stay(4, 3, day=0, **{DI: ""}),
    ]

    assert labels(stays, 3) == {"1": "1", "3": "0"}


def test_without_both_classes_there_is_nothing_to_draw() -> None:
    assert labels([stay(1, 1)], 3) == {}


def test_a_diagnosis_must_be_a_phrase_whole_whatever_the_case() -> None:
    stays = [
        stay(1, 1, **{DD: "PNEUMONIA"}),
        stay(2, 2, **{DD: "pneumonia."}),
        stay(3, 3, **{DD: "Pneumonia and sepsis"}),
        stay(4, 4, **{DD: "Cellulitis", HPI: ""}),
        stay(5, 5, **{DD: "cellulitis", CC: "Red Leg", HPI: "Since May"}),
        stay(6, 6, **{DD: ""}),
    ]

    rows = list(Diagnoses(LABEL_SETS["Infectious_Diseases"]).rows(bench(stays)))

    assert [(row.id, row.label) for row in rows] == [("1", "Respiratory"), ("5", "Soft_Tissue")]
    assert rows[1].text == "Chief Complaint: Red Leg History of Present Illness: Since May"


def test_columns_of_pairs_lower_the_second_alone_and_are_drawn_first() -> None:
    stays = [stay(number, number, **{CC: f"Pain {number}", DD: "GOUT"}) for number in range(20)]
    stays.append(stay(99, 99, **{DD: ""}))
    work = bench(stays, max_rows=5)

    rows = list(Columns(CC, DD, paired=True).rows(work))

    assert len(rows) == 5
    assert {row.first[:4] for row in rows} == {"Pain"}
    assert {row.second for row in rows} == {"gout"}
    assert not work.differences
    whole = Columns(CC, DD, paired=False).rows(bench(stays))
    assert [row.second for row in whole] == ["GOUT"] * 20


def test_fewer_stays_than_the_benchmark_draws_are_told() -> None:
    work = bench([stay(1, 1), stay(2, 2)])

    assert len(list(Columns(CC, DD, paired=True).rows(work))) == 2
    assert "where the benchmark draws 16,384 and fails with fewer" in work.differences[0]
