"""What an index keeps about itself in its mapping's `_meta`, where any machine finds it."""

from collections.abc import Mapping
from typing import Any

from elasticsearch import Elasticsearch


def read_meta(client: Elasticsearch, index: str) -> dict[str, Any]:
    """Return all that an index keeps."""
    (answer,) = client.indices.get_mapping(index=index).values()
    return dict(answer["mappings"].get("_meta", {}))


def keep_in_meta(client: Elasticsearch, index: str, key: str, values: Mapping[str, Any] | None) -> None:
    """Keep values under a key of `_meta`, and leave the rest of it as it is; None removes the key."""
    meta = read_meta(client, index)
    meta.pop(key, None)
    client.indices.put_mapping(index=index, meta=meta if values is None else {**meta, key: dict(values)})
