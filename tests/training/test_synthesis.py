import json
import socket
import stat
import threading
from collections import Counter

import pytest
from haystack.components.generators.chat import MockChatGenerator
from haystack.components.generators.chat.openai import OpenAIChatGenerator
from haystack.utils import Secret
from typer.testing import CliRunner

from es_ingest.records import ReadError
from medte_eval.tasks.building.rephrase import GeneratorError, load_generator
from medte_haystack.errors import TrainingConfigError, TrainingOutputError
from medte_train.cli import app
from medte_train.pair_files import read_pairs
from medte_train.synthesis import asking, reply
from medte_train.synthesis.asking import Asker, CallFailedError, SpentError
from medte_train.synthesis.notes import CUT, MALFORMED, REPEATED, TOO_SHORT, Note, format_of, read_notes
from medte_train.synthesis.remote import Guard, RemoteRefusedError, is_loopback, remote_places
from medte_train.synthesis.reply import check, find
from medte_train.synthesis.synthesize import (
    FAILED,
    NOT_ASKED,
    NOTHING,
    SAME_QUERY,
    Synthesis,
    SynthesisOptions,
    refuse_private,
)
from medte_train.synthesis.writing import report_of, write_triplets
from tests.training.model_server import HANG_UP, TOO_SLOW, model_server

STENT = "A stent was put into the right coronary artery"
TYPES = ("keyword", "question", "treatment")


def text_of(number):
    return (
        f"Patient {number} came with chest pain that began {number} hours earlier, while climbing stairs.\n"
        f"The electrocardiogram showed ST elevation in leads {number} and aVF, and troponin was raised.\n\n"
        f"A stent was put into the right coronary artery, and aspirin with ticagrelor was given for {number} months.\n"
        f"At discharge the ejection fraction was 5{number} percent, and rehabilitation was arranged at clinic {number}."
    )


def sentences(note):
    return note.splitlines()


def queries(note, per_type=2, **change):
    """What a good model answers."""
    lines = [line for line in note.splitlines() if line]
    name = lines[0].split()[1]
    return [
        {
            "type": kind,
            "query": f"{kind} {which} about case {name}",
            "positive": lines[(at + which) % len(lines)],
            "negative": lines[(at + which + 1) % len(lines)],
            "relevance": 0.9,
            **change,
        }
        for at, kind in enumerate(TYPES)
        for which in range(per_type)
    ]


def note_in(messages):
    return messages[1]["content"].partition("The note:\n\n")[2]


def good(messages):
    return json.dumps({"queries": queries(note_in(messages))})


@pytest.fixture
def server():
    with model_server() as made:
        made.answer = good
        yield made


@pytest.fixture
def asker(server, tmp_path):
    """Make what asks the server."""

    def make(pace=0.0, timeout=5.0, **options):
        generator, identity = load_generator(server.generator(tmp_path, timeout=timeout))
        return Asker(generator, identity, tmp_path / "replies", Guard(), pace=pace, **options)

    return make


def notes(count, **change):
    return [
        Note(**{"id": f"n{n}", "text": text_of(n), "keys": {"note": f"n{n}"}, "private": False} | change)
        for n in range(1, count + 1)
    ]


def made(asker, given, at_once=1, **options):
    synthesis = Synthesis(asker, "notes", SynthesisOptions(**options), at_once)
    return list(synthesis.make(given)), synthesis


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "400", "NO_COLOR": "1"})


# -- what comes of a note ---------------------------------------------------------------------------------------------


def test_triplets_are_passages_of_the_note_that_they_name(asker):
    found, synthesis = made(asker(), notes(3), at_once=3)

    texts = {note.id: note.text for note in notes(3)}
    assert len(found) == 18
    for one in found:
        own = texts[one.note]
        start, end = one.places["positive"]
        assert own[start:end] == one.positive
        start, end = one.places["negative"]
        assert (own[start:end],) == one.negatives
        assert one.anchor.endswith(f"case {one.note[1:]}")
        assert one.keys == {"note": one.note}
        assert one.group == one.note
        assert one.id.startswith(f"{one.note}#")
    assert len({one.id for one in found}) == 18
    report = synthesis.report()
    assert report["types"] == {"keyword": 6, "question": 6, "treatment": 6}
    assert (report["calls"], report["prompt_tokens"], report["completion_tokens"]) == (3, 300, 60)
    assert report["dropped"] == {}


def test_results_keep_the_order_of_the_notes_whatever_the_order_of_the_replies(server, asker):
    first_waits, others = threading.Event(), Counter()

    def late(messages):
        name = note_in(messages).split()[1]
        others[name] += 1
        if len(others) > 3:
            first_waits.set()
        if name == "1":
            first_waits.wait(20)
        return good(messages)

    server.answer = late
    found, _ = made(asker(), notes(6), at_once=3)

    assert [one.note for one in found] == [f"n{n}" for n in range(1, 7) for _ in range(6)]
    assert all(one.anchor.endswith(f"case {one.note[1:]}") for one in found)


def test_a_triplet_is_a_pair_in_its_file_and_says_where_it_is_from(asker, tmp_path):
    path = tmp_path / "made.jsonl"
    write_triplets(path, Synthesis(asker(), "notes"), notes(1))

    (row, *_) = (json.loads(line) for line in path.read_text().splitlines())
    (pair, *_) = read_pairs([path])
    assert (pair.anchor, pair.positive, list(pair.negatives), pair.keys) == (
        row["anchor"], row["positive"], row["negatives"], {"note": "n1"},
    )  # fmt: skip
    assert (row["type"], row["note"], row["relevance"]) == ("keyword", "n1", 0.9)
    start, end = row["places"]["positive"]
    assert text_of(1)[start:end] == row["positive"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(report_of(path).read_text())["triplets"] == 6


def test_a_query_that_came_before_is_left_out(server, asker):
    server.answer = lambda messages: json.dumps({"queries": queries(note_in(messages), query="Chest PAIN?")})

    found, synthesis = made(asker(), notes(2))

    assert [(one.note, one.anchor) for one in found] == [("n1", "Chest PAIN?")]
    assert synthesis.dropped[SAME_QUERY] == 1


# -- replies that are not as asked ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("I cannot do that.", "as a whole: Invalid JSON"),
        ('{"queries": [{"type": "keyword", "que', "as a whole: Invalid JSON"),
        ('{"answers": []}', "field 'queries': Field required"),
        ('{"queries": []}', '"queries" is empty'),
        (
            '{"queries": [{"type": "keyword", "query": "a", "relevance": 1}]}',
            "Query 1: field 'positive': Field required",
        ),
        ('{"queries": ["keyword"]}', "Query 1: Input should be a valid dictionary"),
    ],
)
def test_a_reply_of_another_form_is_told_what_is_wrong_and_asked_again(bad, told, server, asker):
    replies = iter([bad])
    server.answer = lambda messages: next(replies, None) or good(messages)

    found, synthesis = made(asker(), notes(1))

    assert len(found) == 6
    assert synthesis.asker.spent.calls == 2
    system, user, assistant, again = server.asked[1]
    assert (system, user) == tuple(server.asked[0])
    assert assistant == {"role": "assistant", "content": bad}
    assert told in again["content"]
    assert synthesis.dropped == {}


@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        ({"positive": "The patient had never been ill before this day."}, reply.POSITIVE, "character by character"),
        ({"positive": "Patient 1"}, reply.SHORT, "too short"),
        ({"negative": "Something that nobody wrote down."}, reply.NEGATIVE, "or write null"),
        ({"negative": f"raised.\n\n{STENT}", "positive": f"troponin was raised. {STENT}"}, reply.OVERLAP, "overlaps"),
        ({"type": "poem"}, reply.TYPE, "must be one of keyword, question, treatment"),
        ({"relevance": 7}, reply.FIELDS, "field 'relevance'"),
        ({"query": " "}, reply.FIELDS, "field 'query'"),
        ({"query": sentences(text_of(1))[0]}, reply.COPIED, "in words of your own"),
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_used_is_asked_again_and_the_others_stay(change, reason, told, server, asker):
    def stubborn(messages):
        rows = queries(note_in(messages))
        rows[3] |= change
        return json.dumps({"queries": rows if len(messages) == 2 else rows[3:4]})

    server.answer = stubborn
    found, synthesis = made(asker(), notes(1))

    assert [one.anchor for one in found] == [
        f"{kind} {which} about case 1" for kind in TYPES for which in range(2) if (kind, which) != ("question", 1)
    ]
    assert synthesis.asker.spent.calls == 3
    assert synthesis.dropped == {reason: 1}
    assert told in server.asked[1][-1]["content"]


def test_corrected_queries_join_those_that_were_right(server, asker):
    def learning(messages):
        rows = queries(note_in(messages))
        if len(messages) == 2:
            rows[1]["positive"] = "Nothing of the note, but five words and more."
            return json.dumps({"queries": rows})
        return json.dumps({"queries": rows})  # all of them again: those that are there are not doubled

    server.answer = learning
    found, synthesis = made(asker(), notes(1))

    assert len(found) == 6
    assert synthesis.dropped == {}


def test_a_note_of_which_nothing_can_be_made_is_counted(server, asker):
    server.answer = lambda _: "No."
    found, synthesis = made(asker(), notes(2), attempts=2)

    assert found == []
    assert synthesis.dropped == {reply.NO_JSON: 2, NOTHING: 2}
    assert synthesis.asker.spent.calls == 4


def test_no_more_queries_of_a_kind_than_asked_and_none_that_the_model_doubts(server, asker):
    def eager(messages):
        rows = queries(note_in(messages), per_type=4)
        rows[0]["relevance"] = 0.3
        return json.dumps({"queries": rows})

    server.answer = eager
    found, synthesis = made(asker(), notes(1), per_type=3)

    assert Counter(one.type for one in found) == dict.fromkeys(TYPES, 3)
    assert synthesis.dropped == {reply.RELEVANCE: 1}
    assert "3 of type keyword" in server.asked[0][1]["content"]


@pytest.mark.parametrize(
    "around",
    [
        "```json\n{}\n```",
        "Here it is:\n{}\nI hope that helps {{}}.".replace("{{}}", ""),
        "<think>so</think>{}",
        "  {}  ",
    ],
)
def test_what_stands_around_the_json_is_taken_off(around, server, asker):
    server.answer = lambda messages: around.replace("{}", good(messages))
    found, _ = made(asker(), notes(1))
    assert len(found) == 6


@pytest.mark.parametrize(
    ("passage", "found"),
    [
        ("showed ST  elevation", "showed ST\n elevation"),
        ('"showed ST elevation"', "showed ST\n elevation"),
        ("troponin (high)", "troponin (high)"),
        ("SHOWED ST elevation", None),
        ("troponin [high]", None),
        ("", None),
        ('""', None),
    ],
)
def test_a_passage_is_found_word_for_word(passage, found):
    note = "The ECG showed ST\n elevation; troponin (high)."
    place = find(passage, note)
    assert (place and note[place.start : place.end]) == found


def test_a_negative_may_be_missing_and_its_key_may_not():
    note, row = text_of(1), queries(text_of(1))[0]
    without = {name: value for name, value in row.items() if name != "negative"}

    (one,) = check(json.dumps({"queries": [row | {"negative": None}]}), note, TYPES, 0.5).made
    assert one.negative is None
    assert check(json.dumps({"queries": [without]}), note, TYPES, 0.5).problems[0][0] == reply.FIELDS


# -- calls that fail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [(429, {"Retry-After": "0"}), (500, {}), (503, {}), HANG_UP])
def test_what_may_pass_is_tried_again(fault, server, asker):
    replies = iter([fault, fault])
    server.answer = lambda messages: next(replies, None) or good(messages)

    found, synthesis = made(asker(), notes(1))

    assert len(found) == 6
    assert synthesis.asker.spent.calls == 3


def test_a_reply_that_does_not_come_in_time_is_asked_for_again(server, asker):
    replies = iter([TOO_SLOW])
    server.answer = lambda messages: next(replies, None) or good(messages)

    found, synthesis = made(asker(timeout=0.5), notes(1))

    assert len(found) == 6
    assert synthesis.asker.spent.calls == 2


def test_the_wait_is_as_long_as_the_generator_asks_for(server, asker, monkeypatch):
    waits = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    replies = iter([(429, {"Retry-After": "7"}), (500, {})])
    server.answer = lambda messages: next(replies, None) or good(messages)

    made(asker(pace=1.0), notes(1))

    assert waits == [7, 2]


def test_a_note_at_which_the_generator_fails_is_left_for_the_next_run(server, asker):
    def moody(messages):
        return (500, {}) if "Patient 2 " in messages[1]["content"] else good(messages)

    server.answer = moody
    found, synthesis = made(asker(), notes(3))
    assert {one.note for one in found} == {"n1", "n3"}
    assert synthesis.dropped == {FAILED: 1}

    server.answer = good
    found, synthesis = made(asker(), notes(3))
    assert {one.note for one in found} == {"n1", "n2", "n3"}
    assert (synthesis.asker.spent.calls, synthesis.asker.spent.cached) == (1, 2)


def test_a_question_that_is_refused_is_not_repeated(server, asker):
    server.answer = lambda messages: (400, {}) if "Patient 1 " in messages[1]["content"] else good(messages)
    found, synthesis = made(asker(), notes(2))

    assert {one.note for one in found} == {"n2"}
    assert synthesis.asker.spent.calls == 2


@pytest.mark.parametrize("status", [401, 404])
def test_a_generator_that_refuses_everything_ends_it_at_once(status, server, asker):
    server.answer = lambda _: (status, {})
    one = asker()

    with pytest.raises(GeneratorError, match=f"answered {status}; check its credentials"):
        made(one, notes(20), at_once=2)
    assert one.spent.calls <= 2


def test_a_generator_that_always_fails_ends_it_without_quoting_notes(server, asker):
    server.answer = lambda _: (500, {})

    with pytest.raises(GeneratorError, match="failed at 10 notes in a row, at the last with status 500") as caught:
        made(asker(), notes(30))
    assert "Patient" not in str(caught.value)


# -- what it may cost, and what was answered before -------------------------------------------------------------------


def test_calls_are_capped_and_the_next_run_goes_on(server, asker, tmp_path):
    path = tmp_path / "made.jsonl"
    report = write_triplets(path, Synthesis(asker(max_calls=2), "notes", at_once=1), notes(5))
    assert (report["calls"], report["not_asked"], report["dropped"]) == (2, 3, {NOT_ASKED: 3})
    first = path.read_text()

    report = write_triplets(path, Synthesis(asker(max_calls=9), "notes", at_once=1), notes(5))
    assert (report["calls"], report["answered_before"], report["not_asked"]) == (3, 2, 0)
    assert path.read_text().startswith(first)
    assert len(server.asked) == 5


def test_tokens_are_capped_before_they_are_spent(server, asker):
    one = asker(max_tokens=1000)
    server.usage = {"prompt_tokens": 600, "completion_tokens": 100}
    _, synthesis = made(one, notes(4))

    assert (one.spent.calls, one.spent.tokens) == (1, 700)
    assert synthesis.dropped == {NOT_ASKED: 3}


def test_failed_calls_count_as_often_as_the_server_is_asked(server, asker):
    server.answer = lambda _: (500, {})
    one = asker(max_calls=1)
    _, synthesis = made(one, notes(1))

    assert len(server.asked) == one.spent.calls == 1
    assert one.spent.prompt_tokens > 300
    assert synthesis.dropped == {NOT_ASKED: 1}


def test_room_is_left_for_replies(server, asker, tmp_path):
    generator, identity = load_generator(server.generator(tmp_path, generation_kwargs={"max_tokens": 900}))
    one = Asker(generator, identity, tmp_path / "replies", Guard(), max_tokens=1000)
    assert made(one, notes(1))[1].dropped == {NOT_ASKED: 1}
    other = asker(max_tokens=3000)
    server.usage = {"prompt_tokens": 100, "completion_tokens": 1500}
    assert made(other, notes(2))[1].dropped == {NOT_ASKED: 1}


def test_tokens_that_a_generator_does_not_tell_are_estimated(server, asker):
    server.usage = None
    _, synthesis = made(asker(), notes(1))

    spent = synthesis.asker.spent
    assert 300 < spent.prompt_tokens < 2000
    assert 100 < spent.completion_tokens < 1000


def test_replies_that_cannot_be_used_are_not_paid_for_twice(server, asker):
    server.answer = lambda _: "No."
    made(asker(), notes(1))
    _, synthesis = made(asker(), notes(1))

    assert (synthesis.asker.spent.calls, synthesis.asker.spent.cached) == (0, 3)
    assert synthesis.dropped[NOTHING] == 1


def test_another_model_prompt_or_note_is_another_question(server, asker, tmp_path, monkeypatch):
    made(asker(), notes(1))
    assert made(asker(), notes(1))[1].asker.spent.calls == 0

    assert made(asker(), notes(1), per_type=1)[1].asker.spent.calls == 1
    assert made(asker(), notes(1, text=text_of(1) + " It healed."))[1].asker.spent.calls == 1
    generator, identity = load_generator(server.generator(tmp_path, model="another"))
    other = Asker(generator, identity, tmp_path / "replies", Guard())
    assert made(other, notes(1))[1].asker.spent.calls == 1
    monkeypatch.setattr(asking, "VERSION", 99)
    assert made(asker(), notes(1))[1].asker.spent.calls == 1


def test_what_was_ended_goes_on_without_paying_twice(server, asker, tmp_path):
    def dying():
        yield from notes(4)[:3]
        raise KeyboardInterrupt

    path = tmp_path / "made.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write_triplets(path, Synthesis(asker(), "notes", at_once=1), dying())
    assert not path.exists()
    asked = len(server.asked)

    report = write_triplets(path, Synthesis(asker(), "notes", at_once=1), notes(4))

    assert report["answered_before"] == asked
    assert len(server.asked) == 4


def test_replies_that_cannot_be_kept_are_one_message(asker, tmp_path):
    (tmp_path / "replies").write_text("a file")
    with pytest.raises(TrainingOutputError, match="replies cannot be kept"):
        made(asker(), notes(1))


def test_errors_of_a_call_say_what_they_are(server, asker):
    server.answer = lambda _: (500, {})
    with pytest.raises(CallFailedError, match="failed 4 times, at last with status 500"):
        asker().ask([("user", "a")])
    with pytest.raises(SpentError):
        asker(max_tokens=1).ask([("user", "a longer question")])


# -- what may leave the machine ---------------------------------------------------------------------------------------


def openai(url):
    generator = OpenAIChatGenerator(api_key=Secret.from_token("no"), api_base_url=url)
    generator.warm_up()
    return generator


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("8.8.8.8", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("no-such-host.invalid", False),
        ("", False),
        (None, False),
    ],
)
def test_only_loopback_is_this_machine(host, here):
    assert is_loopback(host) is here


def test_a_name_counts_by_what_it_resolves_to(monkeypatch):
    def resolve(host, *_, **__):
        found = {"mixed": ["127.0.0.1", "8.8.8.8"], "mine": ["127.0.0.1"]}[host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 0)) for address in found]

    monkeypatch.setattr("medte_train.synthesis.remote.socket.getaddrinfo", resolve)
    assert is_loopback("mine")
    assert not is_loopback("mixed")


def test_generators_are_told_apart_by_where_they_are(monkeypatch):
    class Ollama:
        def to_dict(self):
            return {"init_parameters": {"url": "http://10.1.2.3:11434", "more": [{"x": "http://localhost:1"}]}}

    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert remote_places(MockChatGenerator()) == []
    assert remote_places(openai("http://localhost:8000/v1")) == []
    assert remote_places(openai(None)) == ["https://api.openai.com/v1/"]
    assert remote_places(Ollama()) == ["http://10.1.2.3:11434"]
    assert remote_places(object()) == ["object"]
    monkeypatch.setenv("OPENAI_BASE_URL", "http://10.9.9.9/v1")
    assert remote_places(openai(None)) == ["http://10.9.9.9/v1/"]


def test_a_guard_lets_no_connection_out_and_none_when_it_is_off():
    guard = Guard()
    with guard.on():
        for family, address in ((socket.AF_INET, ("192.0.2.1", 9)), (socket.AF_INET6, ("2001:db8::1", 9, 0, 0))):
            with socket.socket(family, socket.SOCK_STREAM) as its, pytest.raises(RemoteRefusedError):
                its.connect(address)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as its, pytest.raises(RemoteRefusedError):
            its.sendto(b"text", ("192.0.2.1", 9))
        with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as its:
            its.connect(("localhost", listening.getsockname()[1]))
    assert guard.refused == ["192.0.2.1:9", "2001:db8::1:9", "192.0.2.1:9"]
    with socket.socket() as its:
        its.setblocking(False)
        assert its.connect_ex(("192.0.2.1", 9)) != 0  # refused by the network, if at all
    assert len(guard.refused) == 3


def test_a_generator_that_says_it_is_here_is_held_to_it(tmp_path, monkeypatch):
    """A proxy, say, that the environment names, takes what is meant for loopback elsewhere."""
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.7:3128")
    monkeypatch.setenv("NO_PROXY", "")
    guard = Guard()
    generator = OpenAIChatGenerator(
        api_key=Secret.from_token("no"), api_base_url="http://localhost:9/v1", max_retries=0
    )
    generator.warm_up()
    assert remote_places(generator) == []

    with guard.on(), pytest.raises(GeneratorError, match=r"would send texts to 192\.0\.2\.7:3128, another machine"):
        made(Asker(generator, {}, tmp_path, guard, pace=0), notes(1))


# -- notes ------------------------------------------------------------------------------------------------------------


def note_file(folder, *rows):
    path = folder / "notes.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_notes_come_once_and_long_ones_are_cut_between_words(tmp_path):
    long = " ".join(["word"] * 200)
    source = note_file(
        tmp_path,
        {"id": "1", "text": text_of(1), "pmid": "7"},
        {"id": "2", "text": text_of(1).upper()},
        {"id": "3", "text": "Too short."},
        {"id": "4"},
        {"id": "5", "text": long},
    )
    dropped = Counter()

    found = list(read_notes([source], "jsonl", None, 600, dropped))

    assert [(one.id, one.private) for one in found] == [("1", False), ("5", False)]
    assert found[0].keys == {"note": "1", "pmid": "7"}
    assert found[1].text == " ".join(["word"] * 120)
    assert dropped == {REPEATED: 1, TOO_SHORT: 1, MALFORMED: 1, CUT: 1}


@pytest.mark.parametrize(
    "row",
    [
        {"id": "1", "text": text_of(1), "hadm_id": 7},
        {"id": "1", "text": text_of(1), "SUBJECT_ID": "7"},
        {"id": "10000032-DS-21", "text": text_of(1)},
        {"id": "1", "text": f"Name:  ___     Unit No:   ___\n{text_of(1)}"},
        {"id": "a", "text": f"EXAMINATION: CHEST (PA AND LAT) INDICATION: ___ year old woman with cough. {text_of(1)}"},
        {"id": "b", "text": f"___ is a ___ yo man who presented to ___ with pain. {text_of(1)}"},
        {"id": "1", "text": f"Admission Date: [**2151-7-16**] {text_of(1)}"},
    ],
)
def test_notes_of_mimic_are_known_in_any_format(row, tmp_path):
    (found,) = read_notes([note_file(tmp_path, row)], "jsonl", None, 9999, Counter())
    assert found.private


def mimic_file(folder):
    columns = "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text"
    text = f"History of Present Illness:\n{text_of(1)}\n\nDischarge Instructions:\n{text_of(2)}"
    path = folder / "discharge.csv"
    path.write_text(f'{columns}\n10000001-DS-1,10000001,20000001,DS,1,2180-05-06 00:00:00,,"{text}"\n')
    return path


def test_notes_of_mimic_are_whole_and_keep_their_ids(tmp_path):
    path = str(mimic_file(tmp_path))
    assert format_of([path], None, None) == "mimic-notes"
    assert format_of([path], "mimic", None) == "mimic"

    (found,) = read_notes([path], "mimic-notes", None, 9999, Counter())

    assert found.private
    assert found.keys == {
        "note": "10000001-DS-1",
        "note_id": "10000001-DS-1",
        "hadm_id": "20000001",
        "subject_id": "10000001",
    }


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def given(server, tmp_path):
    """The command's arguments with a generator on loopback."""
    source = note_file(tmp_path, *({"id": f"n{n}", "text": text_of(n)} for n in range(1, 4)))
    generator = server.generator(tmp_path)
    return [
        "synthesize",
        source,
        "--generator",
        generator,
        "--cache",
        tmp_path / "replies",
        "--out",
        tmp_path / "m.jsonl",
    ]


def test_the_command_makes_triplets_and_tells_the_numbers(given, server, tmp_path):
    result = invoke(*given, "--json", "--quiet")

    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["source"], report["notes"], report["triplets"], report["calls"]) == ("m", 3, 18, 3)
    assert report == json.loads((tmp_path / "m.synthesis.json").read_text())
    again = invoke(*given, "--types", "keyword,question,treatment", "--name", "clinic")
    assert "18 triplets of 3 notes" in again.stdout
    assert "0 calls, 3 answered before" in again.stdout
    assert {one.source for one in read_pairs([tmp_path / "m.jsonl"])} == {"clinic"}
    assert stat.S_IMODE((tmp_path / "replies").stat().st_mode) == 0o700


def test_the_command_says_when_calls_are_spent(given):
    result = invoke(*given, "--max-calls", "2", "--calls-at-once", "1")

    assert result.exit_code == 3
    assert "1 notes were not asked about; the same command goes on with them" in result.stdout


def test_the_command_takes_the_first_notes_alone(given, server):
    assert invoke(*given, "--limit", "1").exit_code == 0
    assert len(server.asked) == 1


def test_nothing_goes_to_another_machine_unless_it_is_allowed(given, server, tmp_path):
    server.generator(tmp_path, api_base_url="http://192.0.2.1:9/v1")

    refused = invoke(*given)
    uncapped = invoke(*given, "--allow-remote")

    assert (refused.exit_code, uncapped.exit_code) == (2, 2)
    assert "is at http://192.0.2.1:9/v1/, which is not this machine; --allow-remote" in " ".join(refused.stderr.split())
    assert "--max-calls or --max-total-tokens" in " ".join(uncapped.stderr.split())


def test_a_note_of_mimic_goes_nowhere_even_if_it_is_allowed(given, server, tmp_path):
    given[1] = mimic_file(tmp_path)
    here = invoke(*given)
    assert here.exit_code == 0, here.stderr
    assert "PhysioNet" in here.stderr
    assert json.loads((tmp_path / "m.synthesis.json").read_text())["notice"]

    server.generator(tmp_path, api_base_url="http://192.0.2.1:9/v1")
    away = invoke(*given, "--allow-remote", "--max-calls", "5")
    assert away.exit_code == 7
    assert "some look like MIMIC's, which never go to another machine" in away.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--types", "poem"], 2, "types are poem; name some of keyword, question, treatment, lay"),
        (["--types", "lay,lay"], 2, "each once"),
        (["--per-type", "0"], 2, "per_type is 0"),
        (["--least-relevance", "2"], 2, "least_relevance is 2"),
        (["--format", "no"], 2, "format 'no' is unknown"),
        (["--generator", "none.yaml"], 7, "none.yaml: cannot be read"),
    ],
)
def test_bad_usage_is_one_message(arguments, status, message, given):
    result = invoke(*given, *arguments)
    assert (result.exit_code, message in " ".join(result.stderr.split())) == (status, True), result.stderr


def test_sources_that_cannot_be_read_are_told_before_anything_is_asked(given, server):
    given[1] = "missing.jsonl"
    result = invoke(*given)
    assert result.exit_code == 7
    assert "missing.jsonl: does not exist" in result.stderr
    assert server.asked == []


def test_options_are_checked():
    with pytest.raises(TrainingConfigError, match="attempts 0"):
        SynthesisOptions(attempts=0)


def test_private_notes_are_named_by_no_id():
    with pytest.raises(ReadError) as caught:
        list(refuse_private(notes(1, private=True, id="10000032-DS-21"), ["http://x"]))
    assert "10000032" not in str(caught.value)
