"""What the tasks' sources are: licences, what they need, and how each is opened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medte_eval.sources.access import Access


@dataclass(frozen=True, slots=True)
class Source:
    """A source of tasks.

    :param name: As in ``--export NAME=PATH``.
    :param title: As people call it.
    :param reference: Its URL.
    :param licence: Licence of its texts in words.
    :param mteb_licence: The same as mteb knows it.
    :param domains: mteb's.
    :param export: What a local export of it is.
    :param open: Opens it.
    :param fetched: Whether it can be fetched from the network; else an export is needed.
    :param public: Whether texts of it may leave the machine.
    :param reads: Names of the files of an export that are read; none where all are.
    """

    name: str
    title: str
    reference: str
    licence: str
    mteb_licence: str
    domains: tuple[str, ...]
    export: str
    open: "Callable[[Access], Any]"
    fetched: bool = True
    public: bool = True
    reads: tuple[str, ...] = ()


def _opens(module: str, name: str, *more: str) -> "Callable[[Access], Any]":
    """Return what opens a source; its module is imported only then."""

    def opened(access: "Access") -> Any:
        return getattr(import_module(f"medte_eval.sources.{module}"), name)(access, *more)

    return opened


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        source.name: source
        for source in (
            Source(
                "wikipedia",
                "English Wikipedia",
                "https://en.wikipedia.org",
                "CC BY-SA 4.0: name the pages, and share alike",
                "cc-by-sa-4.0",
                ("Medical", "Encyclopaedic", "Written"),
                "JSON Lines of page extracts",
                _opens("wikipedia", "Wikipedia"),
            ),
            Source(
                "pmc",
                "PubMed Central",
                "https://pmc.ncbi.nlm.nih.gov/tools/openftlist/",
                "each article's own, in column licence; open-access subset",
                "multiple",
                ("Medical", "Academic", "Written"),
                "a folder with JATS XML for each query",
                _opens("pmc", "Pmc"),
            ),
            Source(
                "pubmed",
                "PubMed",
                "https://pubmed.ncbi.nlm.nih.gov",
                "free to use; the copyright of an abstract may lie with its publisher",
                "not specified",
                ("Medical", "Academic", "Written"),
                "PubMed XML",
                _opens("pubmed", "PubMed"),
            ),
            Source(
                "trials",
                "ClinicalTrials.gov",
                "https://clinicaltrials.gov",
                "public; name ClinicalTrials.gov and the date on which it was read",
                "https://clinicaltrials.gov/about-site/terms-conditions",
                ("Medical", "Government", "Written"),
                "JSON of studies or of the API's pages",
                _opens("trials", "Trials"),
            ),
            Source(
                "biorxiv",
                "bioRxiv",
                "https://www.biorxiv.org",
                "each preprint's own, in column licence",
                "multiple",
                ("Medical", "Academic", "Written"),
                "JSON Lines of the API's records",
                _opens("preprints", "Preprints", "biorxiv"),
            ),
            Source(
                "medrxiv",
                "medRxiv",
                "https://www.medrxiv.org",
                "each preprint's own, in column licence",
                "multiple",
                ("Medical", "Academic", "Written"),
                "JSON Lines of the API's records",
                _opens("preprints", "Preprints", "medrxiv"),
            ),
            Source(
                "medmcqa",
                "MedMCQA",
                "https://huggingface.co/datasets/openlifescienceai/medmcqa",
                "Apache 2.0",
                "apache-2.0",
                ("Medical", "Academic", "Written"),
                "its Parquet or JSON Lines files, a split's name in each",
                _opens("medmcqa", "MedMCQA"),
            ),
            Source(
                "medqa",
                "MedQA",
                "https://huggingface.co/datasets/GBaker/MedQA-USMLE-4-options",
                "CC BY 4.0",
                "cc-by-4.0",
                ("Medical", "Academic", "Written"),
                "its Parquet or JSON Lines files, a split's name in each",
                _opens("medqa", "MedQA"),
            ),
            Source(
                "medquad",
                "MedQuAD",
                "https://huggingface.co/datasets/lavita/MedQuAD",
                "CC BY 4.0",
                "cc-by-4.0",
                ("Medical", "Government", "Web", "Written"),
                "a MedQuAD folder or archive, or the hub's Parquet files",
                _opens("medquad", "fetch_medquad"),
            ),
            Source(
                "mimic",
                "MIMIC-IV",
                "https://physionet.org/content/mimic-iv-note/2.2/",
                "PhysioNet Credentialed Health Data License: texts and samples must not be passed on",
                "https://physionet.org/about/licenses/physionet-credentialed-health-data-license-150/",
                ("Medical", "Written"),
                "the folder of your own copy, with discharge.csv and admissions.csv",
                _opens("mimic", "MimicIV"),
                fetched=False,
                public=False,
                reads=("discharge.csv", "admissions.csv"),
            ),
        )
    }
)
