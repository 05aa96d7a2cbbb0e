"""What is said of a built task beside its rows."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from es_ingest.records import ReadError
from medte_eval.tasks.benchmark import BENCHMARK
from medte_eval.tasks.benchmark.sources import SOURCES
from medte_eval.tasks.benchmark.task import Kind

FORMAT = 1
MANIFEST = "manifest.json"
PRIVATE = (
    "Made of clinical notes under PhysioNet's credentialed licence. Texts, samples and whatever quotes them must not be"
    " shared, published, or sent to a service outside this machine."
)


class Manifest(BaseModel):
    """A built task.

    :param format: Of the folder.
    :param name: The task's, ``.LLMFree`` behind it where a language model took no part though the benchmark's does.
    :param task: Its name in the benchmark.
    :param description: What is asked, and how it differs from the benchmark.
    :param original: Its name in the benchmark's own result files.
    :param snapshot: Which replies of the source it was made of, from when; or which local export.
    :param rows: Rows of each table.
    :param sha256: Over all ids, texts and labels, in an order of their own: the data's revision.
    :param labels: Names of the label numbers.
    :param recipe: The options that decide the rows.
    :param differences: From the benchmark.
    :param dropped: Items of the source that gave no row, by the reason.
    :param licences: How many rows have which licence, where each text has its own.
    :param notice: What must be observed; "" for nothing beyond the licence.
    :param versions: Of what built it.
    :param built: When, UTC.
    """

    model_config = ConfigDict(extra="forbid")

    format: int
    name: str
    task: str
    number: int
    type: Kind
    main_score: str
    description: str
    original: str
    source: str
    reference: str
    licence: str
    notice: str
    snapshot: dict[str, Any]
    rows: dict[str, int]
    sha256: str
    labels: list[str]
    recipe: dict[str, Any]
    cap: int
    differences: list[str]
    dropped: dict[str, int]
    licences: dict[str, int]
    versions: dict[str, str]
    built: str

    @property
    def private(self) -> bool:
        """Whether it must not leave the machine, whatever the file says."""
        return not SOURCES[BENCHMARK[self.task].source].public

    def to_json(self) -> str:
        """Return it as a file's text."""
        return json.dumps(self.model_dump(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a built task.

    :raises ReadError: If there is none, or it is damaged or of another version.
    """
    path = folder / MANIFEST
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ReadError(str(folder), f"is no built task: it has no {MANIFEST}") from None
    except (OSError, ValueError):
        raise ReadError(str(path), "is damaged; build the task again") from None
    if isinstance(value, dict) and value.get("format") != FORMAT:
        raise ReadError(str(path), f"is of format {value.get('format')!r}, not {FORMAT}; build the task again")
    try:
        manifest = Manifest.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise ReadError(str(path), f"field {field!r}: {first['msg']}; build the task again") from None
    if manifest.task not in BENCHMARK:
        raise ReadError(str(path), f"tells of a task {manifest.task!r}, which is not known; build another")
    return manifest
