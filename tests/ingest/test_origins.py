"""Where a bad value comes from, as messages say it."""

import pytest
from typer.testing import CliRunner

from es_ingest.cli import app


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Run the command, which must refuse its options; returns what it says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.jsonl").write_text('{"id": "a", "text": "Gout."}\n')

    def call(*arguments, **env):
        done = CliRunner().invoke(app, arguments, env={"COLUMNS": "500", "NO_COLOR": "1", **env})
        assert (done.exit_code, done.stdout) == (2, "")
        return done.stderr

    return call


def test_the_command_line_is_not_named(refused):
    said = refused("run", "notes.jsonl", "--index", "i", "--shards", "many", ES_INGEST_RUN_KEEP="2")
    assert "'--shards'" in said
    assert "is set" not in said


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ES_INGEST_RUN_SHARDS": "many"}, "--shards is set by the environment variable ES_INGEST_RUN_SHARDS)"),
        ({"ES_INGEST_RUN_JSON": "perhaps"}, "--json is set by the environment variable ES_INGEST_RUN_JSON)"),
        ({"ES_INGEST_RUN_FORMAT": "word"}, "--format is set by the environment variable ES_INGEST_RUN_FORMAT)"),
        (
            {"ES_INGEST_RUN_LOG_FORMAT": "xml"},
            "--log-format is set by the environment variable ES_INGEST_RUN_LOG_FORMAT",
        ),
        ({"ES_INGEST_RUN_KEEP": "2"}, "--keep is set by the environment variable ES_INGEST_RUN_KEEP)"),
        ({"ES_INGEST_CONFIG": "none.toml"}, "--config is set by the environment variable ES_INGEST_CONFIG)"),
    ],
)
def test_environment_variables_are(refused, variables, said):
    assert said in refused("run", "notes.jsonl", "--index", "i", **variables)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('shards = "many"', "--shards is set in own.toml, [run])"),
        ("max-dead = -1", "--max-dead is set in own.toml, [run])"),
        ('quantisation = "zip"', "--quantisation is set in own.toml, [run])"),
        ('json = "perhaps"', "--json is set in own.toml, [run])"),
        ('quote = "ab"', "give one character, or none"),
    ],
)
def test_and_so_is_the_file(refused, tmp_path, line, said):
    (tmp_path / "own.toml").write_text(f"[run]\n{line}\n")
    assert said in refused("run", "notes.jsonl", "--index", "i", "--config", "own.toml")


def test_options_are_set_under_their_own_names(es_ingest, tmp_path):
    (tmp_path / "notes.csv").write_text('id,text\n1,"an open quote\n2,two\n')
    (tmp_path / "own.toml").write_text('[plan]\njson = true\nquote = "none"\nencode = false\nmodel = "minilm"\n')
    done = es_ingest("plan", "notes.csv", "--config", "own.toml", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{")
    same = es_ingest("plan", "notes.csv", "--no-encode", "--model", "minilm", ES_INGEST_PLAN_JSON="1")
    assert (same.returncode, same.stdout[:1]) == (3, "{"), same.stderr
