"""What a model wants before queries and passages, and `--no-prefixes`, which leaves it out."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medte_eval.cli import app
from medte_haystack.encoder import Encoder


@pytest.fixture
def prefixed(encoder: Encoder, tmp_path: Path) -> Path:
    """A folder with minilm, whose own configuration has prefixes."""
    folder = tmp_path / "prefixed"
    folder.mkdir()
    for file in encoder.files.folder.iterdir():
        (folder / file.name).symlink_to(file.resolve())
    own = folder / "config_sentence_transformers.json"
    own.unlink(missing_ok=True)
    own.write_text(json.dumps({"prompts": {"query": "query: ", "passage": "passage: "}}))
    return folder


def results(model: str | Path, beir: Path, *more: str) -> dict[str, Any]:
    arguments = ["run", "--tasks", f"beir:{beir}", "--model", str(model), "--precision", "fp32", "--device", "cpu"]
    done = CliRunner().invoke(app, [*arguments, "--json", "--quiet", "--latency-queries", "0", *more])
    assert done.exit_code == 0, done.stderr
    (found,) = json.loads(done.stdout)["results"]
    return dict(found)


def test_no_prefixes_leaves_them_out_and_is_part_of_the_key(prefixed: Path, beir: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    own, bare = (results(prefixed, beir, "--out", out, *more) for more in ([], ["--no-prefixes"]))
    again = results(prefixed, beir, "--out", out, "--no-prefixes")

    assert (own["model"]["query_prefix"], own["model"]["passage_prefix"]) == ("query: ", "passage: ")
    assert (bare["model"]["query_prefix"], bare["model"]["passage_prefix"]) == ("", "")
    assert bare["key"] != own["key"]
    assert (bare["reused"], again["reused"]) == (False, True)
    plain = results("minilm", beir)
    assert bare["scores"] == plain["scores"]
    assert bare["counts"] == plain["counts"]


def test_a_pipeline_has_prefixes_of_its_own(tmp_path: Path, beir: Path) -> None:
    (tmp_path / "q.yaml").write_text("components: {}")
    arguments = ["run", "--tasks", f"beir:{beir}", "--system", f"dense,pipeline:{tmp_path / 'q.yaml'}", "--no-prefixes"]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})

    assert done.exit_code == 2
    assert "--no-prefixes is for models that are named here" in done.stderr
