"""The content of a record in a few bytes, what it weighs in memory, and any value as JSON."""

import hashlib
import json

import orjson

from es_ingest.records import Record

_HASH_BYTES = 16
_ANY = ("utf-8", "surrogatepass")  # Elasticsearch refuses a lone surrogate; that is the record's trouble, not the run's


def content_hash(record: Record) -> bytes:
    """Return 16 bytes that change when anything of a record changes that is stored or embedded."""
    meta = as_json(record.meta, orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).encode()
    title, text = record.title.encode(*_ANY), record.text.encode(*_ANY)
    vector = b"" if record.vector is None else record.vector.tobytes()
    hashed = hashlib.sha256(b"%d %d %d " % (len(title), len(text), len(meta)))  # where one ends and the next begins
    hashed.update(b"".join((title, text, meta, vector)))
    return hashed.digest()[:_HASH_BYTES]


def weight(record: Record) -> int:
    """Return about how many characters of memory a record takes, its vector's numbers counted as one each."""
    return len(record.text) + beside_text(record) + (0 if record.vector is None else record.vector.size)


def beside_text(record: Record) -> int:
    """Return the same of its title and metadata alone."""
    try:
        meta = len(orjson.dumps(record.meta))  # quicker than to go through it, and deep
    except TypeError:
        meta = len(as_json(record.meta, orjson.OPT_NON_STR_KEYS))
    return len(record.title) + meta


def as_json(value: object, option: int | None = None) -> str:
    """Return a value as JSON, also what orjson refuses.

    :param option: Of orjson.
    """
    try:
        return orjson.dumps(value, default=str, option=option).decode()
    except TypeError:  # a lone surrogate, or an integer of more than 64 bits
        return json.dumps(value, default=str, sort_keys=True)
