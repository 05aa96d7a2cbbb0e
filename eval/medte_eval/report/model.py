"""What a report says, whatever it is shown as. All of it is JSON-able by `dataclasses.asdict`; scores are in [0, 1]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medte_eval.comparison import Comparison
from medte_eval.report.standings import Leaderboard
from medte_eval.results import PREFIXES


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that has no part in the report.

    :param file: Its name.
    :param reason: Why.
    :param damaged: Whether it should have a part, and cannot be read.
    """

    file: str
    reason: str
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """A task that could not be run; see `Failure.to_dict`.

    :param system: None if it failed on all systems.
    """

    task: str
    system: str | None
    exit_status: int
    message: str


@dataclass(frozen=True, slots=True)
class Setup:
    """A system with its settings and its model: what is measured.

    :param mark: A, B, C, …: stands for it where there is little room.
    :param system: The system, with what tells it from the others.
    :param model: The model, likewise; None for a system without one.
    :param settings: All that decides what it finds, by name.
    """

    mark: str
    system: str
    model: str | None
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """System and model."""
        return self.system if self.model is None else f"{self.system}, {self.model}"

    @property
    def prefixed(self) -> bool:
        """Whether its model puts something before queries or passages."""
        return any(map(self.settings.get, PREFIXES))


@dataclass(frozen=True, slots=True)
class Scored:
    """One task on one setup.

    :param mark: The setup's.
    :param score: The main score; None if it could not be computed.
    :param scores: All scores that are printed, by name.
    :param documents: Documents searched, or texts encoded.
    :param chunks: Vectors searched.
    :param truncated: Texts that lost their end.
    :param index_seconds: Until it could search.
    :param search_seconds: Of all queries.
    :param timed: What the following times are of; None where no latency was measured, and so for the others.
    :param p50_ms: Median of single queries.
    :param p99_ms: What 99 % of them are within.
    :param queries_per_second: One after the other.
    :param vector_bytes: Memory that the searched vectors want, by `es_ingest.planning`; 0 without vectors, None if it
        is not known, such as that of a pipeline's own stores.
    :param index_bytes: Size of the index on disk; None without one.
    :param at_most: How many documents it gives at most, where that is fewer than were asked for; so nothing that was
        asked for more can be put beside its latency.
    :param learned_from: From how many of the task's own queries its weights were learned.
    :param notes: What a reader of the score must know.
    :param file: Name of its ``*.run.json``.
    """

    mark: str
    score: float | None
    scores: Mapping[str, float | None]
    documents: int
    chunks: int
    truncated: int
    index_seconds: float | None
    search_seconds: float | None
    timed: str | None
    p50_ms: float | None
    p99_ms: float | None
    queries_per_second: float | None
    vector_bytes: int | None
    index_bytes: int | None
    at_most: int | None
    learned_from: int | None
    notes: tuple[str, ...]
    file: str


@dataclass(frozen=True, slots=True)
class Published:
    """A published score of a task.

    :param model: As its source calls it.
    :param source: Where it is published.
    """

    model: str
    source: str
    score: float


@dataclass(frozen=True, slots=True)
class TaskScores:
    """All that is known of a task.

    :param benchmark: The leaderboard that it counts for.
    :param source: What the benchmark made it of, as people call that; None of other tasks.
    :param items: Queries or pairs; texts, where there is neither.
    :param sampled_queries: How many queries were asked, where not all were.
    :param reduced: Whether its data is a part of what it should be.
    :param top_k: How many documents each asked for, both where it was scored and where it was timed.
    :param data_sha256: Hash or revision of its data.
    :param published_as: Name under which its scores are published; None if they are not.
    :param published: The best first.
    """

    name: str
    type: str
    description: str
    main_score: str
    benchmark: str
    source: str | None
    items: int
    sampled_queries: int | None
    reduced: bool
    top_k: int | None
    data_sha256: str | None
    scores: Sequence[Scored]
    published_as: str | None = None
    published: Sequence[Published] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """A setup beside the model alone, on one task.

    :param mark: The setup's.
    :param baseline: That of its model alone, exact search by mteb.
    :param compared: The test; ``a`` is the baseline. Its ``p`` is of this test alone.
    :param p_adjusted: The same when as many differences are looked at as the report has (Benjamini and Hochberg).
    :param verdict: ``better`` or ``worse``, if by more than chance; else ``even``, or ``untested``.
    """

    mark: str
    baseline: str
    compared: Comparison
    p_adjusted: float | None
    verdict: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A document of a query.

    :param id: Its id.
    :param rank: Where it was found, from 1; None if it was not.
    :param grade: Its judgement; 0 without one.
    :param title: Only if texts were asked for.
    """

    id: str
    rank: int | None
    grade: int
    title: str | None = None


@dataclass(frozen=True, slots=True)
class WorstQuery:
    """A query of which little was found.

    :param id: Its id.
    :param text: Only if texts were asked for.
    :param score: Its nDCG@10.
    :param relevant: How many relevant documents there are.
    :param wanted: Some of them, the best found first.
    :param found: What was found first.
    """

    id: str
    text: str | None
    score: float
    relevant: int
    wanted: Sequence[Hit]
    found: Sequence[Hit]


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst queries of a task on a setup.

    :param queries: How many queries there are.
    :param empty: How many of them have nothing relevant among the first ten.
    :param shown: The worst of them.
    """

    task: str
    mark: str
    queries: int
    empty: int
    shown: Sequence[WorstQuery]


@dataclass(frozen=True, slots=True)
class Report:
    """What folders of results say.

    :param folders: Their names.
    :param dates: Days of the oldest and of the newest result, ISO 8601, UTC.
    :param versions: Of the packages that made the results: names to versions.
    :param has_texts: Whether it holds texts of queries and documents.
    """

    folders: Sequence[str]
    dates: tuple[str, str] | None
    versions: Mapping[str, Sequence[str]]
    setups: Sequence[Setup]
    leaderboards: Sequence[Leaderboard]
    tasks: Sequence[TaskScores]
    differences: Sequence[Difference]
    worst: Sequence[Worst]
    failures: Sequence[Failed]
    left_out: Sequence[LeftOut]
    notes: Sequence[str]
    has_texts: bool

    def setup(self, mark: str) -> Setup:
        """Return the setup of a mark."""
        return next(one for one in self.setups if one.mark == mark)

    def task(self, name: str) -> TaskScores:
        """Return the task of a name."""
        return next(one for one in self.tasks if one.name == name)
