import json

import pytest

from bench.quality import Result, main, table
from medte_haystack.encoder.backends.memory import DeviceMemoryError


def _result(precision, ndcg, task="SciFact", **more):
    return Result(task, precision, None, precision, {"ndcg_at_10": ndcg, "recall_at_10": 0.8}, 1000.0, {}, **more)


def test_differences_are_those_to_fp32():
    results = [_result("fp32", 0.645), _result("int8", 0.641), Result("SciFact", "fp8", not_run="no such hardware")]
    shown = table(results).splitlines()
    assert "0.6410   -0.0040" in shown[2]
    assert shown[3].endswith("not run: no such hardware")
    assert results[1].to_dict(results[0])["difference"]["ndcg_at_10"] == pytest.approx(-0.004)
    assert results[2].to_dict(results[0])["difference"] is None


def test_without_fp32_there_is_no_difference():
    assert "+" not in table([_result("bf16", 0.6)])


@pytest.fixture
def medquad(tmp_path):
    pairs = "".join(
        f'<QAPair pid="{number}"><Question qid="{number}" qtype="x">What is {name}?</Question>'
        f"<Answer>{name} is a condition that doctors know.</Answer></QAPair>"
        for number, name in enumerate(["gout", "asthma", "cholera", "scurvy"], start=1)
    )
    path = tmp_path / "one.xml"
    path.write_text(f'<Document id="1" source="T" url=""><Focus>x</Focus><QAPairs>{pairs}</QAPairs></Document>')
    return path


def test_every_precision_is_scored_or_says_why_not(tiny, medquad, tmp_path, capsys):
    out = tmp_path / "out" / "quality.json"
    options = ["--model", str(tiny.folder), "--medquad", str(medquad), "--queries", "3", "--device", "cpu"]
    main([*options, "--precisions", "fp32,fp8", "--json", str(out)])
    shown = capsys.readouterr()
    assert "SciFact is not run: give its BEIR folder" in shown.err
    assert "MedQuADRetrieval.LLMFree" in shown.out
    found = json.loads(out.read_text())
    scored, lacking = found["rows"]
    assert scored["computed_in"] == "fp32"
    assert 0 <= scored["scores"]["ndcg_at_10"] <= 1
    assert scored["difference"] == {"ndcg_at_10": 0.0, "recall_at_10": 0.0}
    assert scored["counts"]["queries"] == 3
    assert scored["tokens_per_second"] > 0
    assert "fp8" in lacking["not_run"]
    assert found["not_run"][0]["task"] == "SciFact"


def test_memory_that_does_not_suffice_costs_one_precision(tiny, medquad, capsys, monkeypatch):
    def embed(*_, **__):
        raise DeviceMemoryError("one text does not fit")

    monkeypatch.setattr("medte_eval.systems.encoder.EncoderSystem.encode", embed)
    main(["--model", str(tiny.folder), "--medquad", str(medquad), "--device", "cpu", "--precisions", "fp32"])
    assert "not run: one text does not fit" in capsys.readouterr().out


def test_a_wrong_folder_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--scifact", str(tmp_path / "nowhere")])
    assert ended.value.code == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precisions", "fp32,fp7"], "unknown precision in 'fp32,fp7'; there are auto, fp32"),
        (["--precisions", ","], "unknown precision in ','"),
        (["--device", "cdua"], "device 'cdua' is unknown"),
        (["--queries", "0"], "--queries: '0' is not a whole number of 1 or more"),
    ],
)
def test_wrong_options_are_told_before_anything_runs(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
