"""Pictures and words about results that are given; no server."""

import json
from dataclasses import replace

import pytest
from defusedxml import ElementTree

from es_ingest.tuning.axes import Axes, front
from es_ingest.tuning.grid import Setting
from es_ingest.tuning.measure import Measured
from es_ingest.tuning.picture import in_terminal, svg
from es_ingest.tuning.report import notes, print_tuning, recommendation
from es_ingest.tuning.tune import Conditions, Tuning

CONDITIONS = Conditions(
    index="notes<&>",
    quantisation="int8",
    dim=64,
    in_index=5000,
    vectors=4800,
    queries=200,
    queries_from="index",
    requests=200,
    top_k=10,
    wanted_recall=0.99,
    shards=1,
    index_segments=3,
    segments={"int8": 2, "bbq": 1},
    force_merged=False,
    server_version="9.5.3",
)
TODAY = Measured(Setting("int8", 0, 100), 0.98, 0.002, 2.0, 4.0)
EXACT = Measured(Setting("int8", 3, 100), 1.0, 0.0, 2.5, 4.5)
FAST = Measured(Setting("bbq", 5, 50), 0.995, 0.001, 1.5, 3.5)
POOR = Measured(Setting("bbq", 0, 20), 0.4, 0.02, 1.0, 3.0)
TUNING = Tuning(CONDITIONS, [TODAY, EXACT, FAST, POOR], TODAY)
NONE_REACHES = replace(TUNING, conditions=replace(CONDITIONS, wanted_recall=1.0), settings=[TODAY, FAST, POOR])


def test_the_fastest_that_reaches_is_recommended():
    assert TUNING.recommended is FAST
    assert TUNING.reaching == [FAST, EXACT]
    said = recommendation(TUNING)
    assert said[0].startswith(
        "recommended: bbq, oversampling 5, num_candidates 50: recall 0.9950 ± 0.0010, median 1.50"
    )
    assert said[1].startswith("or:          int8, oversampling 3")
    assert said[2].startswith("today:       int8, oversampling 0, num_candidates 100: recall 0.9800")
    assert '{"k": 10, "num_candidates": 50, "rescore_vector": {"oversample": 5}}' in said[3]
    assert "rebuild notes<&> --quantisation bbq" in said[4]


def test_no_setting_reaches():
    assert NONE_REACHES.recommended is None
    assert NONE_REACHES.nearest is FAST
    assert "no setting reaches recall@10 1; the nearest is bbq, oversampling 5" in recommendation(NONE_REACHES)[0]
    assert NONE_REACHES.to_dict()["recommended"] is None
    assert "no setting reaches 1" in svg(NONE_REACHES)
    assert "★" not in in_terminal(NONE_REACHES).plain


def test_a_mean_of_tenths_reaches_its_own_value():
    one = replace(TODAY, recall=sum([0.9, 0.9, 0.8, 1.0]) / 4 - 1e-16)
    assert replace(TUNING, conditions=replace(CONDITIONS, wanted_recall=0.9), settings=[one]).recommended is one


def test_what_is_optimistic_is_said():
    assert not any("sample" in note for note in notes(CONDITIONS))
    assert any("kept out of the copies" in note for note in notes(CONDITIONS))
    sampled = replace(CONDITIONS, in_index=1_000_000, queries_from="file")
    assert any("sample of 4,800 of 1,000,000 vectors" in note for note in notes(sampled))
    assert not any("kept out of the copies" in note for note in notes(sampled))


@pytest.mark.parametrize("tuning", [TUNING, NONE_REACHES, replace(TUNING, settings=[EXACT], today=None)])
def test_the_svg_has_a_point_for_each_setting_inside_its_frame(tuning):
    root = ElementTree.fromstring(svg(tuning))
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == len(tuning.settings)
    assert any("int8, oversampling" in title for title in titles)
    for mark in root.iter("{http://www.w3.org/2000/svg}path"):
        if place := mark.get("transform"):
            x, y = map(float, place.removeprefix("translate(").rstrip(")").split(","))
            assert 0 < x < 820
            assert 0 < y < 480


def test_the_terminal_shows_the_best_high_and_left():
    lines = in_terminal(TUNING).plain.splitlines()
    (star,) = [number for number, line in enumerate(lines[:-1]) if "★" in line]
    (poor,) = [number for number, line in enumerate(lines[:-1]) if "b" in line]
    assert star < poor
    assert lines[star].index("★") > lines[poor].index("b")
    assert lines[1].strip().startswith("1 │")
    assert "★ recommended" in lines[-1]


@pytest.mark.parametrize("recalls", [(0.0, 1.0), (1.0, 1.0), (0.3, 0.3)])
def test_axes_hold_every_point(recalls):
    points = [replace(TODAY, recall=recall) for recall in recalls]
    axes = Axes.around(points, 0.99)
    assert all(0 <= axes.up(recall) <= 1 for recall in (*recalls, 0.99))
    assert axes.up(1.0) == 1
    assert axes.times
    assert all(0 <= axes.across(time) <= 1 for time in (*axes.times, 2.0))


def test_the_front_is_what_nothing_beats():
    assert front([TODAY, EXACT, FAST, POOR]) == [POOR, FAST, EXACT]


def test_json_for_programs(capsys):
    print_tuning(TUNING, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["recommended"] == {
        "quantisation": "bbq",
        "oversampling": 5,
        "num_candidates": 50,
        "recall": 0.995,
        "recall_error": 0.001,
        "p50_ms": 1.5,
        "p99_ms": 3.5,
        "knn": {"k": 10, "num_candidates": 50, "rescore_vector": {"oversample": 5}},
    }
    assert len(found["settings"]) == 4
    assert found["today"]["recall"] == 0.98
    assert (found["vectors"], found["queries"], found["requests"]) == (4800, 200, 200)
    assert found["notes"] == notes(CONDITIONS)


def test_the_table_for_people(capsys):
    print_tuning(TUNING, as_json=False)
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["bbq", "5", "50", "0.9950", "1.50", "3.50", "★"] in rows
    assert ["int8", "0", "100", "0.9800", "2.00", "4.00", "today"] in rows
