"""ClinicalTrials.gov: studies in the register's own order, by version 2 of its API; or an export of its JSON.

The benchmark asks for whole studies; only the fields that it uses are asked for here, which changes neither which
studies come nor their order, and takes a twentieth of the bytes. The register grows daily: the same studies do not come
back another day.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import AliasPath, BaseModel, Field

from medte_eval.sources.access import Access, Host, Request
from medte_eval.sources.errors import SourceError, not_none
from medte_eval.sources.exports import JSON, files, rows
from medte_eval.sources.shapes import Text, checked, fetch_json

SOURCE = "ClinicalTrials.gov"
HOST = Host(SOURCE, "https://clinicaltrials.gov/api/v2", "MEDTE_CLINICALTRIALS_URL", interval=1.2)
_PAGE = 1000  # the API's own limit
_FIELDS = (
    "NCTId",
    "OfficialTitle",
    "DetailedDescription",
    "PrimaryOutcomeMeasure",
    "PrimaryOutcomeDescription",
    "PrimaryOutcomeTimeFrame",
)


def _at(*path: str) -> AliasPath:
    return AliasPath("protocolSection", *path)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A primary outcome; "" for what the register does not say of it."""

    measure: str
    description: str
    time_frame: str


@dataclass(frozen=True, slots=True)
class Study:
    """A study.

    :param id: NCT number.
    :param official_title: "" where there is none.
    :param detailed_description: "" where there is none.
    :param outcomes: Its primary outcomes.
    """

    id: str
    official_title: str
    detailed_description: str
    outcomes: tuple[Outcome, ...]


class _Outcome(BaseModel):
    measure: Text = ""
    description: Text = ""
    time_frame: Text = Field("", alias="timeFrame")


class _Study(BaseModel):
    nct: str = Field(validation_alias=_at("identificationModule", "nctId"), pattern="^NCT[0-9]{8}$")
    official_title: Text = Field("", validation_alias=_at("identificationModule", "officialTitle"))
    description: Text = Field("", validation_alias=_at("descriptionModule", "detailedDescription"))
    outcomes: list[_Outcome] = Field([], validation_alias=_at("outcomesModule", "primaryOutcomes"))

    def study(self) -> Study:
        outcomes = (Outcome(one.measure, one.description, one.time_frame) for one in self.outcomes)
        return Study(self.nct, self.official_title, self.description, tuple(outcomes))


class _Page(BaseModel):
    studies: list[_Study]
    next: Text = Field("", alias="nextPageToken")


@dataclass(frozen=True, slots=True)
class Trials:
    """ClinicalTrials.gov, or an export: JSON or JSON Lines of studies or of the API's pages, or a folder of them."""

    access: Access

    def studies(self, *, limit: int) -> Iterator[Study]:
        """Stream studies.

        :param limit: Most studies.
        :raises SourceError: If there are none, or they cannot be had or read.
        """
        export = self.access.export
        studies = self._exported(export) if export else self._fetched(limit)
        found = (study.study() for study in islice(studies, limit))
        return not_none(found, SOURCE, str(export or HOST.url), "gives no study")

    def _fetched(self, limit: int) -> Iterator[_Study]:
        asked = {"format": "json", "pageSize": str(min(limit, _PAGE)), "fields": "|".join(_FIELDS)}
        page = fetch_json(self.access, HOST.request("/studies", **asked), _Page, _check)
        yield from page.studies
        while page.next:
            page = fetch_json(self.access, HOST.request("/studies", **asked, pageToken=page.next), _Page, _check)
            yield from page.studies

    def _exported(self, export: Path) -> Iterator[_Study]:
        for path in files(SOURCE, export, JSON):
            for place, row in rows(SOURCE, path, "studies"):
                yield checked(_Study, row, SOURCE, place)


def _check(request: Request, value: dict[str, Any]) -> None:
    if value.get("studies") == []:
        raise SourceError(SOURCE, request.url, "gives a page without studies")
