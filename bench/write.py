"""Writing Documents with ready vectors: the stock ElasticsearchDocumentStore against ours, same index type."""

import sys
from collections.abc import Sequence

import numpy as np
from haystack import Document
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from bench.alternating import parser, report, take_turns
from es_ingest.cluster import open_cluster
from es_ingest.cluster.node import InfoNode
from medte_haystack import MedTEDocumentStore
from medte_haystack.index.mapping import vector_field

DIM = 768


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--documents", type=int, default=2000)
    options.add_argument("--quantisation", default="int8")
    chosen = options.parse_args(arguments)
    vectors = np.random.default_rng(0).standard_normal((chosen.documents, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    documents = [
        Document(id=str(number), content=f"document {number}", embedding=vector.tolist())
        for number, vector in enumerate(vectors)
    ]
    with open_cluster(ephemeral=True, heap="2g") as connection, connection.client() as client:
        mapping = {
            "properties": {"content": {"type": "text"}, "embedding": vector_field(DIM, chosen.quantisation, "cosine")}
        }
        stores = {
            "ElasticsearchDocumentStore.write_documents": lambda: ElasticsearchDocumentStore(
                hosts=connection.url, index="bench", custom_mapping=mapping, node_class=InfoNode
            ),
            "MedTEDocumentStore, any embedder": lambda: MedTEDocumentStore(
                hosts=connection.url, index="bench", quantisation=chosen.quantisation
            ),
            "MedTEDocumentStore, model='medte'": lambda: MedTEDocumentStore(
                hosts=connection.url, index="bench", model="medte", quantisation=chosen.quantisation
            ),
        }

        def write(name: str) -> None:
            client.options(ignore_status=404).indices.delete(index="bench")
            store = stores[name]()
            assert store.write_documents(documents, DuplicatePolicy.OVERWRITE) == len(documents)
            store.close()

        seconds = take_turns({name: lambda name=name: write(name) for name in stores}, chosen.rounds)
    title = f"Writing {len(documents):,} Documents with {DIM}-d vectors ({chosen.quantisation})"
    report(title, "documents", len(documents), seconds, chosen.json)


if __name__ == "__main__":
    main(sys.argv[1:])
