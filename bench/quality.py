"""What each precision costs in retrieval: nDCG@10 and recall@10 on SciFact and MedQuAD, by medte-eval's own tasks."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.alternating import parser, positive
from es_ingest.records import ReadError
from medte_haystack import Encoder
from medte_haystack.encoder import PRECISIONS
from medte_haystack.encoder.backends.memory import DeviceMemoryError
from medte_haystack.errors import EncoderOptionError, MedTEError

if TYPE_CHECKING:
    from medte_eval.tasks.retrieval import LocalRetrieval

SCORES = {"ndcg_at_10": "nDCG@10", "recall_at_10": "recall@10"}
REFERENCE = "fp32"
_ADVICE = "give its BEIR folder (corpus.jsonl, queries.jsonl, qrels/test.tsv) with --scifact DIR"


@dataclass(frozen=True, slots=True)
class Result:
    """One precision on one task.

    :param task: Name of the task.
    :param precision: As it was asked for.
    :param not_run: The reason why it did not run; None if it did.
    :param computed_in: The precision that the encoder says it computes in.
    :param scores: Of `SCORES`, in [0, 1].
    :param tokens_per_second: Of encoding the task's documents and queries.
    :param counts: Queries, documents and more, as medte-eval gives them.
    """

    task: str
    precision: str
    not_run: str | None = None
    computed_in: str | None = None
    scores: dict[str, float] | None = None
    tokens_per_second: float | None = None
    counts: dict[str, int] | None = None

    def to_dict(self, reference: "Result | None") -> dict[str, Any]:
        """Return it as JSON-able values, with the difference of its scores to the reference's."""
        found: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        found["difference"] = self.difference(reference)
        return found

    def difference(self, reference: "Result | None") -> dict[str, float] | None:
        """Return its scores less the reference's; None where one of the two has none."""
        if self.scores is None or reference is None or reference.scores is None:
            return None
        return {name: self.scores[name] - reference.scores[name] for name in SCORES}


def measure(
    tasks: "Sequence[LocalRetrieval]", model: str, precisions: Sequence[str], device: str | None
) -> Iterator[Result]:
    """Run every task in every precision.

    A precision that this machine lacks, or whose memory does not suffice, is a result that says so.
    """
    from medte_eval.run import evaluate
    from medte_eval.systems.encoder import EncoderSystem

    for precision in precisions:
        try:
            encoder = Encoder.load(model, device=device, precision=precision)
        except EncoderOptionError as error:
            for task in tasks:
                yield Result(task.metadata.name, precision, not_run=str(error))
            continue
        for task in tasks:
            before = encoder.stats
            try:
                outcome = evaluate(task, EncoderSystem(encoder))
            except DeviceMemoryError as error:
                yield Result(task.metadata.name, precision, not_run=str(error))
                continue
            spent = encoder.stats - before
            scores = {name: outcome.scores[name] for name in SCORES}
            speed = spent.tokens / spent.seconds if spent.seconds else None
            yield Result(task.metadata.name, precision, None, encoder.precision, scores, speed, dict(outcome.counts))


def table(results: Sequence[Result]) -> str:
    """Return the results as a plain table, the difference to fp32 behind each score."""
    lines = [
        f"{'task':28}{'precision':11}"
        + "".join(f"{name:>11}{'to fp32':>10}" for name in SCORES.values())
        + "   tokens/s"
    ]
    for one in sorted(results, key=lambda one: one.task):  # precisions stay in their order
        lead = f"{one.task:28}{one.precision:11}"
        if one.scores is None:
            lines.append(f"{lead}  not run: {one.not_run}")
            continue
        difference = one.difference(_reference(one.task, results))
        cells = [
            f"{one.scores[name]:11.4f}" + (f"{difference[name]:+10.4f}" if difference else f"{'-':>10}")
            for name in SCORES
        ]
        lines.append(lead + "".join(cells) + f"{one.tokens_per_second or 0:11,.0f}")
    return "\n".join(lines)


def _reference(task: str, results: Sequence[Result]) -> Result | None:
    return next((one for one in results if one.task == task and one.precision == REFERENCE), None)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, and write what was asked for."""
    options = _parser()
    chosen = options.parse_args(arguments)
    try:
        results = _measure_all(chosen)
    except (ReadError, MedTEError) as error:
        options.error(str(error))
    print(table(results))
    if chosen.json is not None:
        rows = [one.to_dict(_reference(one.task, results)) for one in results]
        skipped = [] if chosen.scifact is not None else [{"task": "SciFact", "reason": _ADVICE}]
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        report = {"model": chosen.model, "reference": REFERENCE, "rows": rows, "not_run": skipped}
        chosen.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def _parser() -> argparse.ArgumentParser:
    options = parser(__doc__, rounds=False)
    options.add_argument("--model", default="minilm", help="registry name, folder or hub id; it needs real weights")
    options.add_argument("--scifact", type=Path, help="SciFact, or any other data set, as a BEIR folder")
    options.add_argument("--medquad", type=Path, help="a full MedQuAD archive or folder instead of the shipped sample")
    options.add_argument(
        "--queries", type=positive, default=1000, help="questions of MedQuAD to ask; the same every time"
    )
    options.add_argument(
        "--precisions",
        type=_precisions,
        help=f"of {','.join(PRECISIONS)}; fp32, with which the others are compared, bf16 and int8 or, on a GPU, fp8",
    )
    options.add_argument("--device", help="cpu, cuda; a GPU where there is one")
    return options


def _precisions(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or not set(names) <= set(PRECISIONS):
        raise argparse.ArgumentTypeError(f"unknown precision in {text!r}; there are {', '.join(PRECISIONS)}")
    return names


def _measure_all(chosen: argparse.Namespace) -> list[Result]:
    from datasets.utils.logging import disable_progress_bar

    from medte_eval.tasks import find_tasks
    from medte_haystack.encoder.backends.choose import find_devices

    devices = find_devices(chosen.device)  # a wrong one is told before anything is read
    precisions = chosen.precisions or ["fp32", "bf16", "fp8" if devices[0].startswith("cuda") else "int8"]
    disable_progress_bar()
    if chosen.scifact is None:
        print(f"SciFact is not run: {_ADVICE}", file=sys.stderr)
        found = []
    else:
        found = find_tasks([f"beir:{chosen.scifact}"])
    found += find_tasks(["MedQuADRetrieval"], data=chosen.medquad, queries=chosen.queries)
    tasks = [row.make(its) for row, its in found]
    for task in tasks:
        task.load_data()  # a wrong folder is told before a model is loaded
    results: list[Result] = []
    for one in measure(tasks, chosen.model, precisions, chosen.device):
        results.append(one)
        print(f"{one.task} in {one.precision} done", file=sys.stderr)
    return results


if __name__ == "__main__":
    main(sys.argv[1:])
