"""Scores of a model on what it was never trained on, and whether they differ from another's by more than chance."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recipes.public import clusters
from recipes.public.commands import call, call_json
from recipes.public.data import labelled

MAX_TOKENS = 256


@dataclass
class Scores:
    """Scores models and keeps what led to them in `results`.

    :param place: Folder of the run, laid out by `data.lay_out`.
    :param part: What is scored on: one of `data.PARTS`.
    :param precision: What is computed in, as `medte-eval run` takes it.
    """

    place: Path
    part: str
    precision: str
    _clusters: dict[str, dict[str, Any]] = field(default_factory=dict)

    def score(self, name: str, model: str) -> None:
        """Score a model; what is there already for its weights is not done again.

        :param name: Of its folder in `results`.
        :param model: Registry name, or a folder in `place`.
        """
        out = self._folder(name)
        tasks = f"MedQuADRetrieval,beir:data/scifact-{self.part}"
        asked = ("--tasks", tasks, "--data", f"data/held/{self.part}", "--latency-queries", "0")
        how = ("--model", model, "--max-tokens", str(MAX_TOKENS), "--precision", self.precision)
        call("medte-eval", "run", *asked, *how, "--out", out, place=self.place)
        folder = self.place / model
        found = str(folder) if folder.is_dir() else model
        path = self.place / out / "clusters.json"
        self._clusters[name] = clusters.cluster(
            found, *labelled(self.place, self.part), MAX_TOKENS, self.precision, path
        )

    def compare(self, base: str, name: str) -> list[dict[str, Any]]:
        """Compare two models that were scored, task by task: nDCG@10 by query, V-measure by text."""
        folders = (self._folder(one) for one in (base, name))
        found = call_json("medte-eval", "compare", *folders, place=self.place)["comparisons"]
        classes = labelled(self.place, self.part)[1]
        return [*found, clusters.compare(classes, self._clusters[base], self._clusters[name])]

    def _folder(self, name: str) -> Path:
        return Path("results") / self.part / self.precision / name
