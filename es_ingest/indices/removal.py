"""Removes records from an index, and takes over what an index holds without a ledger."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from elasticsearch import Elasticsearch

from es_ingest.indices.snapshot import pages
from es_ingest.stream.ledger import Ledger
from es_ingest.stream.stopping import Stop
from medte_haystack.errors import BulkWriteError
from medte_haystack.index import Failure, Operation, bulk, run
from medte_haystack.index.contract import CHUNK_INDEX, PARENT_ID, chunk_id

_PAGE = 10_000


def remove_records(
    client: Elasticsearch,
    index: str,
    records: Iterable[tuple[str, int]],
    ledger: Ledger,
    backoff: bulk.Backoff,
    stop: Stop,
) -> Iterator[tuple[int, int]]:
    """Remove the chunks of records from the index, and the records from the ledger.

    :param records: Ids, and how many chunks each may have.
    :param stop: Ends it early.
    :returns: For each request, how many records are gone, and how many chunks were there.
    :raises BulkWriteError: If the server refuses to remove some, which the ledger keeps as unsettled; or if it stays
        unreachable, busy or blocked.
    """
    stream = iter(records)
    while not stop.asked and (some := list(islice(stream, bulk.MAX_COUNT))):
        note = ledger.sending(some)  # a kill may leave a part of each, which must not be taken for the whole
        chunks = {chunk_id(name, number): name for name, most in some for number in range(most)}
        operations = [Operation("delete", one) for one in chunks]
        result = run(client, bulk.write(index, operations, backoff=backoff), stop.patience(index))
        kept = {chunks[failure.id] for failure in result.failures}
        gone = [name for name, _ in some if name not in kept]
        ledger.removed(gone)
        yield len(gone), result.deleted
        if result.failures:
            raise _refused(index, result.failures, len(kept))
        ledger.landed([note], [])


def _refused(index: str, failures: Sequence[Failure], records: int) -> BulkWriteError:
    first = failures[0]
    return BulkWriteError(
        f"index {index!r} refuses to remove {len(failures)} chunks of {records} records, such as {first.id!r}:"
        f" {first.reason or first.type}; the same command again tries once more",
        index=index,
        unacknowledged=[one.id for one in failures],
    )


def there(ids: Sequence[str], ledger: Ledger, unsettled: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yield which of the records that sources delete are in the index perhaps, whoever brought them.

    :param ledger: What it has; it takes note of all deletions.
    :param unsettled: Records that may be there in part, and how many chunks of each at most.
    :returns: Ids, and how many chunks each may have.
    """
    for first in range(0, len(ids), _PAGE):
        some = ids[first : first + _PAGE]
        ledger.deleted(some)
        known = ledger.entered(some)
        yield from ((name, most) for name in some if (most := max(known.get(name, 0), unsettled.get(name, 0))))


def records_in(client: Elasticsearch, index: str) -> Iterator[list[tuple[str, int]]]:
    """Yield the records of an index in pages: id, and how many chunks it has at least, once for each chunk.

    Documents that are no chunks of ours, by their fields or their id, are passed over: we would neither replace nor
    remove them.
    """
    fields = [PARENT_ID, CHUNK_INDEX]
    query = {"bool": {"filter": [{"exists": {"field": name}} for name in fields]}}
    for hits in pages(client, index, size=_PAGE, query=query, docvalue_fields=fields, source=False):
        places = ((hit["_id"], hit["fields"][PARENT_ID][0], int(hit["fields"][CHUNK_INDEX][0])) for hit in hits)
        yield [(parent, number + 1) for name, parent, number in places if name == chunk_id(parent, number)]
