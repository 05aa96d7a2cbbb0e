"""Encoding MedQuAD answers: sentence-transformers at its default against our encoder, minilm, this machine's CPU."""

import sys
from collections.abc import Sequence

import numpy as np
from sentence_transformers import SentenceTransformer

from bench.alternating import parser, report, take_turns
from es_ingest.data import medquad_sample
from es_ingest.readers import read
from es_ingest.records import Record
from medte_haystack import Encoder


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--texts", type=int, default=300)
    chosen = options.parse_args(arguments)
    texts = [one.text for one in read([str(medquad_sample())], "medquad") if isinstance(one, Record)][: chosen.texts]
    ours = {precision: Encoder.load("minilm", device="cpu", precision=precision) for precision in ("fp32", "bf16")}
    theirs = SentenceTransformer(str(ours["fp32"].files.folder), device="cpu")

    reference = theirs.encode(texts, normalize_embeddings=True)
    for precision, encoder in ours.items():
        cosines = np.sum(reference * encoder.encode(texts), axis=1)
        print(
            f"{precision}: cosine to sentence-transformers fp32: least {cosines.min():.6f}, mean {cosines.mean():.6f}"
        )
    tokens = sum(len(ids) for ids in ours["fp32"].tokeniser(texts).ids)
    ways = {"sentence-transformers fp32, batch 32": lambda: theirs.encode(texts)}
    ways |= {f"medte {name}": lambda encoder=encoder: encoder.encode(texts) for name, encoder in ours.items()}
    title = f"Encoding {len(texts)} MedQuAD answers ({tokens:,} tokens, at most 256 each)"
    report(title, "tokens", tokens, take_turns(ways, chosen.rounds), chosen.json)


if __name__ == "__main__":
    main(sys.argv[1:])
