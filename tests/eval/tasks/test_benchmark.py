import re
from collections import Counter
from types import SimpleNamespace

import pytest

from medte_eval.tasks.benchmark import BENCHMARK, split_name
from medte_eval.tasks.benchmark.mimic import LABEL_SETS as MIMIC_LABELS
from medte_eval.tasks.benchmark.sources import SOURCES
from medte_eval.tasks.benchmark.wikipedia import LABEL_SETS as WIKIPEDIA_LABELS
from medte_eval.tasks.building.workbench import Workbench

COUNTED = [task for task in BENCHMARK.values() if not task.reserve]


def test_the_benchmark_has_51_tasks_and_a_reserve() -> None:
    assert [task.number for task in COUNTED] == list(range(1, 52))
    assert Counter(task.kind for task in COUNTED) == {
        "Classification": 15,
        "Clustering": 12,
        "PairClassification": 12,
        "Retrieval": 12,
    }
    assert BENCHMARK["TrialsTitleDescriptionRetrieval"].reserve


def test_the_sources_have_as_many_tasks_as_the_benchmark_says() -> None:
    assert Counter(task.source for task in COUNTED) == {
        "mimic": 26,
        "wikipedia": 11,
        "pmc": 3,
        "trials": 3,
        "pubmed": 2,
        "medmcqa": 2,
        "medqa": 1,
        "medquad": 1,
        "biorxiv": 1,
        "medrxiv": 1,
    }
    assert {task.source for task in BENCHMARK.values()} == set(SOURCES)


def test_caps_and_scores_are_the_benchmarks() -> None:
    for task in COUNTED:
        labelled = task.kind in ("Classification", "Clustering")
        assert task.cap == (8192 if labelled and task.source != "pmc" else 16_384), task.name
        assert bool(task.labels) == labelled
    assert {task.kind: task.main_score for task in COUNTED} == {
        "Classification": "f1",
        "Clustering": "v_measure",
        "PairClassification": "similarity_f1",
        "Retrieval": "ndcg_at_10",
    }


def test_negatives_are_drawn_as_the_benchmark_draws_them() -> None:
    drawn = {task.number: (task.negatives.k, task.negatives.other_text) for task in COUNTED if task.negatives}

    assert drawn == {28: (32, False), 37: (64, False), 38: (64, False), 39: (64, False)} | dict.fromkeys(
        range(29, 35), (128, True)
    )


def test_a_language_model_takes_part_in_six_and_never_sees_a_note() -> None:
    assert [task.number for task in COUNTED if task.uses_llm] == [28, 37, 47, 49, 50, 51]
    assert all(SOURCES[task.source].public for task in COUNTED if task.uses_llm)
    assert [source.name for source in SOURCES.values() if not source.public] == ["mimic"]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("WikiSyndromesClustering", 4),
        ("WikiPainVsFeverClassification", ("Pain", "Fever")),
        ("WikiBroadMedicalTopicsClustering", ("Diseases and disorders", "Therapy", "Symptoms", "Pathology")),
        ("PmcImagingTypesClassification", ("MRI", "CT scan", "Ultrasound", "X-ray", "PET scan")),
        ("PmcDiagnosticVsTherapeuticClassification", ("Diagnostic", "Therapeutic")),
        ("MimicCancerTypesClustering", ("Breast_Cancer", "Prostate_Cancer", "Other")),
        ("MimicReadmission3DaysClassification", ("0", "1")),
    ],
)
def test_label_sets(name: str, labels: tuple[str, ...] | int) -> None:
    found = BENCHMARK[name].labels
    assert len(found) == labels if isinstance(labels, int) else found == labels


def test_phrases_and_categories_are_complete() -> None:
    assert {name: len(labels) for name, labels in WIKIPEDIA_LABELS.items()} == {
        "Syndromes": 4,
        "Pain vs Fever": 2,
        "Core Medical Specialties": 5,
        "Diagnostic and Interdisciplinary Fields": 5,
        "Disease by System": 5,
        "Broad Medical Topics": 4,
        "Surgical Specialties": 5,
        "Preventive and Community Health": 5,
    }
    assert {name: [len(phrases) for phrases in groups.values()] for name, groups in MIMIC_LABELS.items()} == {
        "Infectious_Diseases": [2, 1, 1, 1],
        "Abdominal_Conditions": [2, 4, 2],
        "Musculoskeletal_Disorders": [4, 2],
        "Neurological_Conditions": [3, 3],
        "Cancer_Types": [1, 1, 2],
        "Infectious_vs_NonInfectious_Conditions": [5, 5],
        "Neurological_vs_Musculoskeletal_Conditions": [4, 4],
        "Mortality_vs_Survivable_Conditions": [4, 4],
        "Cancer_vs_Chronic_Conditions": [3, 4],
    }


def test_original_names_are_those_of_the_benchmarks_results() -> None:
    assert all(re.match("(classification|clustering|pairclassification|retrieval)_", one.original) for one in COUNTED)
    assert len({task.original for task in COUNTED}) == 51
    assert BENCHMARK["WikiPainVsFeverClassification"].original == "classification_wiki_pain_vs_fever_dataset"
    assert BENCHMARK["MimicCancerTypesClustering"].original == "clustering_mimiciv_specific_Cancer_Types"
    assert (
        BENCHMARK["MimicHistoryComplaintPair"].original
        == "pairclassification_mimic_History_of_Present_Illness_vs_Chief_Complaint"
    )
    assert (
        BENCHMARK["TrialsTitleOutcomesRetrieval"].original
        == "retrieval_clinical_trials_officialTitle_vsprimaryOutcomes"
    )


def test_names_with_and_without_a_language_model() -> None:
    assert split_name("PubMedPair") == (BENCHMARK["PubMedPair"], False)
    assert split_name("PubMedPair.LLMFree") == (BENCHMARK["PubMedPair"], True)
    assert split_name("MedQAPair.LLMFree") is None
    assert split_name("Nothing") is None


def test_what_the_specification_leaves_open_is_told() -> None:
    for task in BENCHMARK.values():
        told = " ".join(task.differences)
        assert ("is taken once" in told) == (task.source in ("wikipedia", "pubmed"))
        assert ("cut into sections" in told) == (task.source == "mimic")
        assert ("has a discharge summary" in told) == ("Readmission" in task.name)


@pytest.mark.parametrize("name", ["BioRxivRetrieval", "MedRxivRetrieval"])
def test_preprints_are_read_until_the_cursor_exceeds_the_limit(name: str) -> None:
    asked: list[int] = []
    source = SimpleNamespace(preprints=lambda *, start, end, limit: asked.append(limit) or ())

    assert list(BENCHMARK[name].recipe.rows(Workbench(lambda _: source))) == []
    assert list(BENCHMARK[name].recipe.rows(Workbench(lambda _: source, max_rows=7))) == []

    pages = range(0, 32_768 + 1, 100)
    assert asked == [100 * len(pages), 7]


def test_questions_of_medqa_are_those_of_train_and_test() -> None:
    questions = [
        SimpleNamespace(id=f"{split}-1", question="Where?", options={"A": "here", "B": ""}, answer="A", split=split)
        for split in ("train", "validation", "test")
    ]
    bench = Workbench(lambda _: SimpleNamespace(questions=lambda: questions))

    pairs = list(BENCHMARK["MedQAPair"].recipe.rows(bench))

    assert [pair.id for pair in pairs] == ["train/train-1/A", "test/test-1/A"]
    assert bench.dropped == {"questions of the validation split": 1}
