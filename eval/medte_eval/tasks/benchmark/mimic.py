"""MIMIC-IV: hospital stays by diagnosis or readmission, and sections of one discharge summary that belong together.

No language model ever sees a note.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medte_eval.tasks.benchmark.task import BenchmarkTask, HardNegatives, Kind, Recipe
from medte_eval.tasks.rows import Example, Match

if TYPE_CHECKING:
    from medte_eval.sources.mimic import Stay
    from medte_eval.tasks.building.workbench import Workbench

SOURCE = "mimic"
CC, HPI = "Chief Complaint", "History of Present Illness"
DD, DI = "Discharge Diagnosis", "Discharge Instructions"
_NEEDED = (CC, "Brief Hospital Course", HPI, "Past Medical History", DI, "Discharge Condition")
_DRAWN = 16_384  # stays that are drawn before pairs or queries are made of them

LABEL_SETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Infectious_Diseases": {
        "Respiratory": ("Pneumonia", "COPD exacerbation"),
        "Soft_Tissue": ("Cellulitis",),
        "Urinary_Tract": ("Urinary tract infection",),
        "Biliary_System": ("Choledocholithiasis",),
    },
    "Abdominal_Conditions": {
        "Obstructions": ("Small bowel obstruction", "Partial small bowel obstruction"),
        "Inflammatory": ("Acute appendicitis", "Acute cholecystitis", "Diverticulitis", "Pancreatitis"),
        "Pain": ("Abdominal pain", "Chest pain"),
    },
    "Musculoskeletal_Disorders": {
        "Osteoarthritis": (
            "Right knee osteoarthritis",
            "Left knee osteoarthritis",
            "Right hip osteoarthritis",
            "Left hip osteoarthritis",
        ),
        "Stenosis": ("Lumbar stenosis", "Cervical stenosis"),
    },
    "Neurological_Conditions": {
        "Seizure_Disorders": ("Epilepsy", "Seizure", "Seizures"),
        "Critical_Neurology": ("Acute ischemic stroke", "CNS lymphoma", "Syncope"),
    },
    "Cancer_Types": {
        "Breast_Cancer": ("Right breast cancer",),
        "Prostate_Cancer": ("PROSTATE CANCER",),
        "Other": ("AML", "Peripheral Arterial Disease"),
    },
    "Infectious_vs_NonInfectious_Conditions": {
        "Infectious_Conditions": (
            "Pneumonia",
            "Cellulitis",
            "Urinary tract infection",
            "Choledocholithiasis",
            "COPD exacerbation",
        ),
        "NonInfectious_Conditions": (
            "Small bowel obstruction",
            "Acute appendicitis",
            "Pancreatitis",
            "Right knee osteoarthritis",
            "Epilepsy",
        ),
    },
    "Neurological_vs_Musculoskeletal_Conditions": {
        "Neurological_Conditions": ("Seizure", "Acute ischemic stroke", "Syncope", "CNS lymphoma"),
        "Musculoskeletal_Conditions": (
            "Right knee osteoarthritis",
            "Left knee osteoarthritis",
            "Lumbar stenosis",
            "Cervical stenosis",
        ),
    },
    "Mortality_vs_Survivable_Conditions": {
        "Mortality_Conditions": ("Deceased", "Expired", "Patient expired", "Acute ischemic stroke"),
        "Survivable_Conditions": ("Abdominal pain", "Right knee osteoarthritis", "Epilepsy", "Pneumonia"),
    },
    "Cancer_vs_Chronic_Conditions": {
        "Cancer": ("Right breast cancer", "PROSTATE CANCER", "AML"),
        "Chronic_Conditions": (
            "Peripheral Arterial Disease",
            "Morbid obesity",
            "Lumbar stenosis",
            "COPD exacerbation",
        ),
    },
}


@dataclass(frozen=True)
class Diagnoses(Recipe):
    """A stay is an example of the group that its whole discharge diagnosis is a phrase of, whatever the case.

    :param groups: Labels to phrases.
    """

    groups: Mapping[str, tuple[str, ...]]

    def rows(self, bench: "Workbench") -> Iterator[Example]:
        """Make the examples."""
        label_of = {phrase.lower(): label for label, phrases in self.groups.items() for phrase in phrases}
        for stay in bench.open_source(SOURCE).stays():
            label = label_of.get(stay.sections.get(DD, "").lower())
            if label is not None and CC in stay.sections and HPI in stay.sections:
                yield Example(str(stay.hadm_id), _complaint_and_history(stay), label)


@dataclass(frozen=True)
class Readmission(Recipe):
    """A stay is of class 1 if the patient's next one began within so many whole days of its end, as many of 0 as of 1.

    :param days: How many; a stay that begins before the last one ended counts as 1, the last one as 0.
    """

    days: int

    def rows(self, bench: "Workbench") -> Iterator[Example]:
        """Make the examples: of the larger class a sample. The notes are read twice rather than held in memory."""
        source = bench.open_source(SOURCE)
        stays = sorted(
            (
                stay.subject_id,
                stay.admitted,
                stay.hadm_id,
                stay.discharged,
                all(name in stay.sections for name in _NEEDED),
            )
            for stay in source.stays()
        )
        classes: dict[str, list[int]] = {"0": [], "1": []}
        for (subject, _, hadm_id, discharged, complete), following in itertools.zip_longest(stays, stays[1:]):
            again = following is not None and following[0] == subject
            again = again and (following[1] - discharged).days <= self.days
            if complete:
                classes["1" if again else "0"].append(hadm_id)
        number = min(map(len, classes.values()))
        label_of = {hadm_id: label for label, found in classes.items() for hadm_id in bench.draw(found, number)}
        for stay in source.stays():
            if stay.hadm_id in label_of:
                yield Example(str(stay.hadm_id), _complaint_and_history(stay), label_of[stay.hadm_id])


@dataclass(frozen=True)
class Columns(Recipe):
    """Two sections of a stay.

    :param first: Heading of the first text.
    :param second: Heading of the second text.
    :param paired: Whether it is for pairs: the second text is in lower case.
    """

    first: str
    second: str
    paired: bool

    def rows(self, bench: "Workbench") -> Iterator[Match]:
        """Make the pairs of a sample of the stays that have both. The notes are read twice, as for `Readmission`."""
        source = bench.open_source(SOURCE)
        both = (stay.hadm_id for stay in source.stays() if self.first in stay.sections and self.second in stay.sections)
        drawn = set(bench.draw_exactly(both, _DRAWN) if self.paired else bench.draw(both, _DRAWN))
        for stay in source.stays():
            if stay.hadm_id in drawn:
                second = stay.sections[self.second]
                yield Match(str(stay.hadm_id), stay.sections[self.first], second.lower() if self.paired else second)


def _complaint_and_history(stay: "Stay") -> str:
    return f"{CC}: {stay.sections[CC]} {HPI}: {stay.sections[HPI]}"


_CUT = (
    "how notes are cut into sections is not published: here a heading begins a line, of two of one heading the first"
    " with text counts, and white space is collapsed",
)


def _diagnoses(number: int, name: str, kind: Kind, group: str) -> BenchmarkTask:
    scope = "general" if "_vs_" in group else "specific"
    return BenchmarkTask(
        number,
        name,
        kind,
        SOURCE,
        f"{kind.lower()}_mimiciv_{scope}_{group}",
        f"Chief complaint and history of a hospital stay by its discharge diagnosis ({group.replace('_', ' ')}).",
        Diagnoses(LABEL_SETS[group]),
        cap=8192,
        labels=tuple(LABEL_SETS[group]),
        differences=_CUT,
    )


def _readmission(number: int, days: int) -> BenchmarkTask:
    return BenchmarkTask(
        number,
        f"MimicReadmission{days}DaysClassification",
        "Classification",
        SOURCE,
        f"classification_mimiciv_readmission_{days}_days",
        f"Chief complaint and history of a hospital stay by whether the patient was admitted again within {days} days.",
        Readmission(days),
        cap=8192,
        labels=("0", "1"),
        differences=(*_CUT, "the stay that follows counts only if it has a discharge summary"),
    )


_SHORT = {CC: "Complaint", HPI: "History", DD: "Diagnosis", DI: "Instructions"}


def _columns(number: int, kind: Kind, first: str, second: str) -> BenchmarkTask:
    paired = kind == "PairClassification"
    stem = f"mimic_{first}_vs_{second}".replace(" ", "_")
    what = (
        f"{first} and {second.lower()} of one hospital stay, or of two that resemble each other."
        if paired
        else f"Given the {first.lower()} of a hospital stay, find its {second.lower()}."
    )
    return BenchmarkTask(
        number,
        f"Mimic{_SHORT[first]}{_SHORT[second]}{'Pair' if paired else 'Retrieval'}",
        kind,
        SOURCE,
        f"{kind.lower()}_{stem}",
        what,
        Columns(first, second, paired),
        cap=_DRAWN,
        negatives=HardNegatives(128, other_text=True) if paired else None,
        differences=_CUT,
    )


_COLUMNS = ((CC, DD), (HPI, CC), (DI, HPI), (CC, DI), (HPI, DD), (DI, CC))

TASKS = (
    _readmission(7, 3),
    _readmission(8, 30),
    _diagnoses(9, "MimicInfectiousDiseasesClassification", "Classification", "Infectious_Diseases"),
    _diagnoses(10, "MimicAbdominalConditionsClassification", "Classification", "Abdominal_Conditions"),
    _diagnoses(11, "MimicMusculoskeletalDisordersClassification", "Classification", "Musculoskeletal_Disorders"),
    _diagnoses(12, "MimicNeurologicalConditionsClassification", "Classification", "Neurological_Conditions"),
    _diagnoses(
        13,
        "MimicInfectiousVsNonInfectiousClassification",
        "Classification",
        "Infectious_vs_NonInfectious_Conditions",
    ),
    _diagnoses(
        14, "MimicNeuroVsMusculoskeletalClassification", "Classification", "Neurological_vs_Musculoskeletal_Conditions"
    ),
    _diagnoses(15, "MimicMortalityVsSurvivableClassification", "Classification", "Mortality_vs_Survivable_Conditions"),
    _diagnoses(23, "MimicInfectiousDiseasesClustering", "Clustering", "Infectious_Diseases"),
    _diagnoses(24, "MimicAbdominalConditionsClustering", "Clustering", "Abdominal_Conditions"),
    _diagnoses(25, "MimicCancerTypesClustering", "Clustering", "Cancer_Types"),
    _diagnoses(26, "MimicInfectiousVsNonInfectiousClustering", "Clustering", "Infectious_vs_NonInfectious_Conditions"),
    _diagnoses(27, "MimicCancerVsChronicClustering", "Clustering", "Cancer_vs_Chronic_Conditions"),
    *(_columns(29 + at, "PairClassification", *columns) for at, columns in enumerate(_COLUMNS)),
    *(_columns(40 + at, "Retrieval", *columns) for at, columns in enumerate(_COLUMNS)),
)
