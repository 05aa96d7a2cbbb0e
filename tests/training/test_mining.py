import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from filelock import FileLock
from rich.console import Console
from typer.testing import CliRunner

from es_ingest.progress import shown
from medte_haystack.errors import TrainingConfigError, TrainingDataError, TrainingOutputError
from medte_haystack.index import Fingerprint
from medte_haystack.training import nearest as exact
from medte_haystack.training.near import grams_of
from medte_haystack.training.nearest import nearest
from medte_haystack.training.negatives import LIKE_NEGATIVE, LIKE_POSITIVE, TOO_NEAR, NegativeOptions, choose
from medte_haystack.training.pairs import Pair
from medte_train.cli import app
from medte_train.mining import mine
from medte_train.mining.mine import REPORT, Miner
from medte_train.mining.search import ElasticsearchSearch, ExactSearch
from medte_train.mining.stored import StoredRows
from medte_train.pair_files import read_pairs, write_pairs
from tests.eval.conftest import ASPECTS, CONDITIONS, client, encoder  # noqa: F401  fixtures

PAIRS = [
    Pair(f"{condition}-{number}", "questions", question.format(condition), answer.format(condition))
    for condition in CONDITIONS
    for number, (question, answer) in enumerate(ASPECTS.items())
]
quiet = partial(shown, Console(), quiet=True)
loose = partial(NegativeOptions, relative_margin=0.0, near=1.0)


def miner(encoder, search=ExactSearch(), show=quiet, across=False, fresh=False, **options):  # noqa: F811, B008
    return Miner(encoder, search, NegativeOptions(**options), show, across=across, fresh=fresh)


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "300", "NO_COLOR": "1"})


@pytest.fixture
def pairs(tmp_path):
    write_pairs(tmp_path / "pairs" / "a.jsonl", PAIRS)
    return str(tmp_path / "pairs" / "a.jsonl")


def texts(*words):
    return lambda number: grams_of(words[number].split())


def test_exact_search_is_a_sort_of_all_cosines(monkeypatch):
    monkeypatch.setattr(exact, "_QUERIES", 7)
    monkeypatch.setattr(exact, "_VECTORS", 11)
    dice = np.random.default_rng(1)
    queries, vectors = (dice.standard_normal((n, 8)).astype(np.float32) for n in (20, 50))

    ids, scores = nearest(queries, vectors, 15)

    cosines = queries @ vectors.T
    np.testing.assert_array_equal(ids, np.argsort(-cosines, axis=1)[:, :15])
    np.testing.assert_allclose(scores, -np.sort(-cosines, axis=1)[:, :15], rtol=1e-5)
    assert nearest(queries, vectors[:3], 3)[0].shape == (20, 3)


def test_negatives_lie_in_the_window_below_the_margin_and_differ():
    words = ["a b c d e", "a b c d e", "f g h i j", "k l m n o", "k l m n o p", "q r s t u", "v w x y z"]
    candidates = [(0, 0.9), (1, 0.89), (2, 0.88), (3, 0.8), (4, 0.7), (5, 0.6), (6, 0.5)]
    dropped = Counter()
    options = NegativeOptions(num_negatives=3, range_min=1, range_max=6, relative_margin=0.1, near=0.7)

    found = choose(
        candidates,
        {0},
        0.95,
        [grams_of(["a", "b", "c", "d", "e"])],
        options,
        pair="1",
        grams=texts(*words),
        dropped=dropped,
    )

    # 0 is the anchor's own, 1 the nearest that is passed over, 2 above 0.9 x 0.95, 4 nearly 3
    assert found == [(3, 0.8), (5, 0.6), (6, 0.5)]
    assert dropped == {TOO_NEAR: 1, LIKE_NEGATIVE: 1}


def test_what_is_nearly_a_positive_or_known_already_is_no_negative():
    words = ["k l m n o", "q r s t u", "v w x y z"]
    known, taken = ([grams_of(words[number].split())] for number in (0, 1))
    dropped = Counter()

    found = choose(
        [(0, 0.5), (1, 0.4), (2, 0.3)],
        set(),
        0.9,
        known,
        loose(),
        pair="1",
        grams=texts(*words),
        dropped=dropped,
        taken=taken,
    )

    assert found == [(2, 0.3)]
    assert (dropped[LIKE_POSITIVE], dropped[LIKE_NEGATIVE]) == (1, 1)


def test_draws_follow_the_seed_and_the_pair():
    def drawn(seed, pair):
        options = loose(num_negatives=3, sampling="random", seed=seed)
        words = [f"w{number} x{number} y{number}" for number in range(40)]
        near = [(number, 0.8 - number / 100) for number in range(40)]
        return choose(near, set(), 0.9, [], options, pair=pair, grams=texts(*words), dropped=Counter())

    assert drawn(1, "a") == drawn(1, "a")
    assert len({str(drawn(seed, pair)) for seed in (1, 2) for pair in ("a", "b")}) == 4
    scores = [score for _, score in drawn(1, "a")]
    assert scores == sorted(scores, reverse=True)


def test_the_margins_hold_for_any_sign_of_the_cosine():
    assert NegativeOptions(relative_margin=0.05).highest(0.8) == pytest.approx(0.76)
    assert NegativeOptions(relative_margin=0.05, absolute_margin=0.1).highest(0.8) == pytest.approx(0.7)
    assert NegativeOptions(relative_margin=0.05).highest(-0.2) == pytest.approx(-0.21)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_negatives": 0}, "num_negatives is 0"),
        ({"range_min": 5, "range_max": 5}, "range_min is 5 and range_max 5"),
        ({"range_min": -1}, "range_min is -1"),
        ({"relative_margin": 1.5}, "relative_margin is 1.5"),
        ({"absolute_margin": -0.1}, "absolute_margin is -0.1"),
        ({"near": 0}, "near is 0"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(TrainingConfigError, match=message):
        NegativeOptions(**options)


def test_pairs_get_texts_of_others_that_the_model_finds_near(encoder, pairs, tmp_path):  # noqa: F811
    report = miner(encoder, num_negatives=3, relative_margin=0.0).mine([pairs], tmp_path / "out")
    mined = list(read_pairs([tmp_path / "out"]))

    assert [(one.id, one.anchor, one.positive) for one in mined] == [(p.id, p.anchor, p.positive) for p in PAIRS]
    positives = {pair.positive for pair in PAIRS}
    assert all(set(one.negatives) <= positives - {one.positive} for one in mined)
    assert all(len(set(one.negatives)) == len(one.negatives) for one in mined)
    gout = next(one for one in mined if one.id == "gout-0")
    assert "gout" in gout.negatives[0]
    found = report["sources"]["questions"]
    assert found["pairs"] == found["texts"] == 30
    assert found["negatives"] == sum(len(one.negatives) for one in mined)
    assert 0 < found["mean_negative_cosine"] < found["mean_positive_cosine"] < 1
    assert json.loads((tmp_path / "out" / REPORT).read_text()) == report
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jsonl", REPORT]


def test_positives_of_the_same_anchor_are_no_negatives(encoder, tmp_path):  # noqa: F811
    write_pairs(
        tmp_path / "a.jsonl",
        [
            Pair("1", "s", "What causes gout?", "Crystals of uric acid in the joints."),
            Pair("2", "s", "what causes GOUT", "Too much uric acid, which the kidneys do not remove."),
            Pair("3", "s", "What causes asthma?", "Inflamed airways, and what irritates them."),
            Pair("4", "s", "What are crystals made of?", "Crystals of uric acid, in the joints!"),
        ],
    )

    miner(encoder, relative_margin=0.0).mine([str(tmp_path / "a.jsonl")], tmp_path / "out")

    first, second, third, fourth = read_pairs([tmp_path / "out"])
    assert first.negatives == second.negatives == ("Inflamed airways, and what irritates them.",)
    assert set(third.negatives) <= {first.positive, second.positive}
    assert not set(fourth.negatives) & {first.positive, fourth.positive}


def test_texts_of_a_group_are_no_negatives_of_one_another(encoder, tmp_path):  # noqa: F811
    grouped = [replace(pair, group=pair.id.partition("-")[0]) for pair in PAIRS]
    write_pairs(tmp_path / "a.jsonl", grouped)

    miner(encoder, relative_margin=0.0).mine([str(tmp_path / "a.jsonl")], tmp_path / "out")

    kin = {pair.positive: pair.group for pair in grouped}
    mined = list(read_pairs([tmp_path / "out"]))
    assert sum(len(one.negatives) for one in mined) > 30
    assert not any(kin[text] == one.group for one in mined for text in one.negatives)


def test_sources_are_apart_unless_asked_otherwise(encoder, tmp_path):  # noqa: F811
    others = [Pair(f"x{n}", "others", f"Title {n}", f"{topic} is an illness.") for n, topic in enumerate(CONDITIONS)]
    write_pairs(tmp_path / "a.jsonl", [*PAIRS[:6], *others, *PAIRS[6:]])
    source = [str(tmp_path / "a.jsonl")]

    miner(encoder, relative_margin=0.0).mine(source, tmp_path / "apart")
    miner(encoder, relative_margin=0.0, across=True).mine(source, tmp_path / "across")

    def strangers(folder):
        texts = {pair.positive: pair.source for pair in read_pairs(source)}
        return sum(texts[text] != pair.source for pair in read_pairs([folder]) for text in pair.negatives)

    assert strangers(tmp_path / "apart") == 0
    assert strangers(tmp_path / "across") > 10


def test_negatives_that_a_pair_has_stay_before_the_new_ones(encoder, tmp_path):  # noqa: F811
    first = replace(PAIRS[0], negatives=("Something written by hand.", PAIRS[1].positive))
    write_pairs(tmp_path / "a.jsonl", [first, *PAIRS[1:]])
    (tmp_path / "a.jsonl").chmod(0o600)
    source = [str(tmp_path / "a.jsonl")]

    miner(encoder, num_negatives=2, relative_margin=0.0).mine(source, tmp_path / "more")
    assert (tmp_path / "more" / "a.jsonl").stat().st_mode & 0o777 == 0o600
    miner(encoder, num_negatives=2, relative_margin=0.0, fresh=True).mine(source, tmp_path / "fresh")

    more, fresh = (next(read_pairs([tmp_path / name])) for name in ("more", "fresh"))
    assert more.negatives[:2] == first.negatives
    assert len(more.negatives) == 4
    assert PAIRS[1].positive not in more.negatives[2:]
    assert "Something written by hand." not in fresh.negatives


class Broken:
    """A search that works a while."""

    def __init__(self, queries):
        self.left = queries

    def describe(self):
        return {"search": "exact"}

    @contextmanager
    def over(self, vectors):
        def find(queries, k):
            self.left -= len(queries)
            if self.left < 0:
                raise KeyboardInterrupt
            return nearest(queries, vectors, k)

        yield find


def test_what_was_ended_goes_on(encoder, pairs, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(mine, "_BLOCK", 4)
    whole = miner(encoder).mine([pairs], tmp_path / "whole")
    out = tmp_path / "out"
    for search in (Broken(0), Broken(13)):
        before = encoder.stats.texts
        with pytest.raises(KeyboardInterrupt):
            miner(encoder, search).mine([pairs], out)
        assert [path.name for path in out.iterdir()] == [".mining"]
    assert encoder.stats.texts == before  # the first had encoded all
    last = Broken(30 - 12)

    report = miner(encoder, last).mine([pairs], out)

    assert (encoder.stats.texts, last.left) == (before, 0)
    assert report == whole
    assert (out / "a.jsonl").read_bytes() == (tmp_path / "whole" / "a.jsonl").read_bytes()
    assert not (out / ".mining").exists()


def test_kept_vectors_serve_other_options_and_no_other_pairs(encoder, pairs, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    miner(encoder).mine([pairs], out, keep_vectors=True)
    before = encoder.stats.texts

    miner(encoder, range_max=7, sampling="random").mine([pairs], out, keep_vectors=True)
    assert encoder.stats.texts == before
    write_pairs(pairs, PAIRS[:20])
    miner(encoder).mine([pairs], out)
    assert encoder.stats.texts == before + 40


def test_rows_that_are_not_whole_are_made_again(tmp_path):
    path = tmp_path / "rows"
    rows = StoredRows(path, (3,), np.float32)
    with pytest.raises(ZeroDivisionError):
        rows.fill(4, lambda first: (np.full((1, 3), 1 / (1 - n)) for n in range(first, 4)))
    with path.open("ab") as file:
        file.write(b"12345")

    again = StoredRows(path, (3,), np.float32)
    assert len(again) == 1
    assert again.fill(3, lambda first: [np.full((3 - first, 3), first)]).tolist() == [[1] * 3] * 3
    assert again.fill(3, lambda first: pytest.fail("all are there")).shape == (3, 3)


def test_elasticsearch_finds_what_exact_search_finds(encoder, pairs, client, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(mine, "_BLOCK", 8)
    search = ElasticsearchSearch(client, Fingerprint.of_encoder(encoder), "flat")
    found = {}
    for name, how in (("exact", ExactSearch()), ("server", search)):
        miner(encoder, how, num_negatives=4).mine([pairs], tmp_path / name)
        found[name] = list(read_pairs([tmp_path / name]))

    assert found["exact"] == found["server"]
    assert sum(len(one.negatives) for one in found["exact"]) > 30


def test_the_command_mines_over_a_server(connection, pairs, tmp_path):
    out = tmp_path / "out"
    given = ["mine", pairs, "--model", "minilm", "--out", out, "--device", "cpu", "--precision", "fp32"]

    result = invoke(*given, "--search", "elasticsearch", "--es", connection.url, "--quantisation", "hnsw", "--json")

    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["settings"]["quantisation"] == "hnsw"
    assert report["sources"]["questions"]["with_negatives"] > 20
    table = invoke(*given, "--out", tmp_path / "exact", "--quiet")
    assert table.stdout.splitlines()[1].split()[:3] == ["questions", "30", "30"]
    assert "texts passed over: score too near the positive's" in table.stdout


def test_one_process_mines_into_a_folder(encoder, pairs, tmp_path):  # noqa: F811
    (tmp_path / ".mining").mkdir()
    with FileLock(tmp_path / ".mining" / "lock"), pytest.raises(TrainingConfigError, match="another process mines"):
        miner(encoder).mine([pairs], tmp_path)


def test_a_full_disk_is_told_and_the_rest_stays(encoder, pairs, tmp_path, monkeypatch):  # noqa: F811
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medte_train.pair_files.os.fsync", full)
    with pytest.raises(TrainingOutputError, match="No space left on device"):
        miner(encoder).mine([pairs], tmp_path / "out")
    monkeypatch.undo()
    before = encoder.stats.texts
    miner(encoder).mine([pairs], tmp_path / "out")

    assert encoder.stats.texts == before


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there is no pair to mine for"),
        (PAIRS[:1], "source 'questions' has a single text 2"),
        ([PAIRS[0], Pair("2", "questions", "Another", PAIRS[0].positive.upper())], "has a single text 2"),
    ],
)
def test_pairs_of_which_nothing_can_be_mined_are_told(rows, message, encoder, tmp_path):  # noqa: F811
    write_pairs(tmp_path / "a.jsonl", rows)
    with pytest.raises(TrainingDataError, match=message):
        miner(encoder).mine([str(tmp_path / "a.jsonl")], tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--search", "faiss"], 2, "search 'faiss' is unknown; there are exact and elasticsearch"),
        (["--sampling", "all"], 2, "sampling 'all' is unknown"),
        (["--num-negatives", "0"], 2, "num_negatives is 0"),
        (["--quantisation", "no"], 2, "quantisation 'no' is unknown"),
        (["--model", "no-such-model"], 4, "no-such-model"),
        (["--search", "elasticsearch", "--es", "http://localhost:1"], 5, "localhost:1"),
    ],
)
def test_bad_usage_is_one_message(arguments, status, message, pairs, tmp_path):
    result = invoke("mine", pairs, "--out", tmp_path / "out", *arguments)

    assert (result.exit_code, message in " ".join(result.stderr.split())) == (status, True), result.stderr
