"""Aliases that go back to an index they stood for, on the real server."""

import pytest

from es_ingest.indices.builds import building, holder
from es_ingest.indices.switch import roll_back
from medte_haystack.errors import IndexContractError
from tests.indices.conftest import records


def test_rollback_goes_to_the_next_older_one_and_never_forward(client, alias, build):
    a, b, c = (build().after for _ in range(3))
    assert roll_back(client, alias).to_dict() == {"alias": alias, "before": c, "after": b, "deleted": ()}
    assert holder(client, alias) == b
    assert roll_back(client, alias).after == a
    with pytest.raises(IndexContractError, match=f"no older index of alias '{alias}' than '{a}'") as caught:
        roll_back(client, alias)
    assert b in str(caught.value)
    assert roll_back(client, alias, c).before == a
    assert holder(client, alias) == c


def test_what_was_rolled_back_from_is_the_first_to_go(client, alias, build):
    build()
    good, bad = build().after, build().after
    roll_back(client, alias)
    following = build(keep=1)
    assert following.before == good
    assert bad in following.deleted
    assert good not in following.deleted
    assert roll_back(client, alias).after == good


def test_a_rollback_to_one_that_is_named(client, alias, build, fill):
    a, b = build().after, build().after
    fill(f"{alias}-other", records(1))
    for name in (f"{alias}-none", alias, f"{alias}-other"):
        with pytest.raises(IndexContractError, match=rf"'{name}' never stood for .* \(there are: {a}\)"):
            roll_back(client, alias, name)
    with building(client, alias, alias=alias, origin="y") as one:
        fill(one.index, records(1), meta=one.to_meta())
        with pytest.raises(IndexContractError, match="is not whole"):
            roll_back(client, alias, one.index)
    assert holder(client, alias) == b
    assert roll_back(client, alias, a).before == b


def test_a_rollback_to_what_the_alias_stood_for_before_it_was_switched_here(client, alias, build, fill):
    own = f"{alias}-by-hand"
    fill(own, records(1))
    client.indices.put_alias(index=own, name=alias)
    a = build(keep=0).after
    with pytest.raises(IndexContractError, match=rf"no older index .* \(there are: {own}\)"):
        roll_back(client, alias)
    assert roll_back(client, alias, own).before == a
    assert roll_back(client, alias, a).before == own
    client.indices.delete(index=own)
    with pytest.raises(IndexContractError, match=rf"'{own}' never stood for .* \(there are: none\)"):
        roll_back(client, alias, own)


def test_a_rollback_of_what_is_no_alias(client, alias, fill):
    with pytest.raises(IndexContractError, match="there is no alias"):
        roll_back(client, alias)
    fill(f"{alias}-1", records(1))
    with pytest.raises(IndexContractError, match="is an index, so it cannot be an alias"):
        roll_back(client, f"{alias}-1")
