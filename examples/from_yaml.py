"""The pipelines of `pipelines.py`, loaded from YAML as a deployment would.

Run it:  .venv/bin/python examples/from_yaml.py
`import medte_haystack` makes Haystack trust the package's classes; without that import, set the environment variable
HAYSTACK_DESERIALIZATION_ALLOWLIST=medte_haystack or call `Pipeline.loads(text, allowed_modules=["medte_haystack"])`.
The YAML names no server: the store takes ES_URL.
"""

import os
from pathlib import Path

from haystack import Pipeline
from pipelines import sample

import medte_haystack  # noqa: F401  trusts its classes
from es_ingest.cluster import open_cluster

HERE = Path(__file__).parent


def main() -> None:
    """Index a hundred answers and ask a question."""
    indexing = Pipeline.loads((HERE / "indexing.yaml").read_text(encoding="utf-8"))
    query = Pipeline.loads((HERE / "query.yaml").read_text(encoding="utf-8"))
    with open_cluster() as connection:
        os.environ["ES_URL"] = connection.url
        written = indexing.run({"splitter": {"documents": sample(100)}})["writer"]["documents_written"]
        print(f"{written} passages written")
        for found in query.run({"embedder": {"text": "my hands and feet keep growing"}})["retriever"]["documents"]:
            print(f"{found.score:.3f}  {found.meta['title']}")
        query.get_component("retriever").close()
        indexing.get_component("writer").document_store.close()


if __name__ == "__main__":
    main()
