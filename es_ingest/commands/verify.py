"""``es-ingest verify``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from es_ingest.commands import options as given
from es_ingest.faults import Exit, reported
from es_ingest.terminal import notes_to_stderr

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es_ingest.indices.expected import Expected


def verify(
    index: Annotated[str, typer.Argument(help="Index that `es-ingest run` made, or an alias of it.")],
    ledger: Annotated[
        Path | None, typer.Option(help="File of the ledger (default: the index's in ES_INGEST_STATE, if it is there).")
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="How many vectors are read back.")] = 200,
    encode: Annotated[
        bool, typer.Option("--encode/--no-encode", help="Encode their texts again, by the index's own model.")
    ] = True,
    model: given.Model = None,
    es: given.Es = "auto",
    device: given.Device = None,
    precision: given.Precision = "auto",
    json: given.Json = False,
    quiet: given.Quiet = False,
    config: given.Config = None,  # noqa: ARG001  its callback has read it
) -> None:
    """Compare an index with its ledger and its model; the exit status is 6 if something is not as it should be."""
    notes_to_stderr(quiet)
    with reported(interrupted="nothing has been changed"):
        from es_ingest.cluster import open_cluster
        from es_ingest.indices.verify import verify as verify_index
        from es_ingest.report import print_verification

        with open_cluster(es) as connection, connection.client() as client:
            expected = (
                _encoded_again(client, index, model, device, precision)
                if encode and sample
                else "vectors were not asked to be encoded again"
            )
            found = verify_index(client, index, ledger=ledger, expected=expected, sample=sample)
        print_verification(found, as_json=json)
    raise typer.Exit(Exit.OK if found.holds else Exit.INDEX)


def _encoded_again(
    client: "Elasticsearch", index: str, model: str | None, device: str | None, precision: str
) -> "Expected | str":
    """Return what the index's vectors should be; the reason, if that cannot be told here.

    :raises FingerprintMismatchError: If the model asked for is not the index's.
    """
    from es_ingest.indices.expected import encoded_again
    from es_ingest.search import model_for, readable_index
    from medte_haystack import errors
    from medte_haystack.encoder import Encoder

    info = readable_index(client, index)
    made_by = info.fingerprint
    assert made_by is not None  # noqa: S101  of a readable index
    try:
        name = model_for(client, index, model)
        encoder = Encoder.load(name, device=device, precision=precision, max_tokens=made_by.max_tokens)
        return encoded_again(encoder, made_by, index)
    except errors.FingerprintMismatchError as error:
        if model is not None:
            raise
        return str(error)
    except (errors.ModelNotAvailableError, errors.ModelError, errors.IndexContractError) as error:
        return str(error)
