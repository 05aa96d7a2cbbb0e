"""How much of what is nearest a search finds, with the defaults."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.search.corpus import Corpus
from bench.search.ways import DENSE, STOCK, Retrievers
from es_ingest.tuning import exact


def recall_rows(found: Retrievers, quantisation: str, tops: Sequence[int]) -> list[dict[str, Any]]:
    """Return recall against exact search, of the stock retriever and ours, nothing but `top_k` given to either."""
    corpus = found.corpus
    rows = []
    for top_k in tops:
        _, cosines = exact.nearest(corpus.asked, corpus.passages.vectors, top_k)
        ids = {
            STOCK: [
                [one.id for one in found.stock.run(its, top_k=top_k)["documents"]] for its in corpus.asked.tolist()
            ],
            DENSE: [[one.id for one in some] for some in found.dense.run_batch(corpus.asked, top_k=top_k)["documents"]],
        }
        for name, some in ids.items():
            shares = shares_found(corpus, some, cosines[:, -1], top_k)
            rows.append(
                {
                    "name": name,
                    "quantisation": quantisation,
                    "top_k": top_k,
                    "recall": float(np.mean(shares)),
                    "error": float(np.std(shares) / np.sqrt(len(shares))),
                }
            )
    return rows


def shares_found(corpus: Corpus, ids: Sequence[Sequence[str]], least: np.ndarray, top_k: int) -> list[float]:
    """Return for each question the share of the nearest that was found.

    :param ids: Of the passages found for each question.
    :param least: Cosine of each question's `top_k`-th nearest.
    """
    row_of = {chunk.id: row for row, chunk in enumerate(corpus.passages.chunks)}
    return [
        exact.recall([row_of[one] for one in own], asked, corpus.passages.vectors, float(last), top_k)
        for own, asked, last in zip(ids, corpus.asked, least, strict=True)
    ]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a plain table."""
    lines = [f"{'':36}{'index':>8}{'top_k':>8}{'recall':>9}{'error':>9}"]
    lines += [
        f"{row['name']:36}{row['quantisation']:>8}{row['top_k']:8}{row['recall']:9.4f}{row['error']:9.4f}"
        for row in rows
    ]
    return "\n".join(lines)
