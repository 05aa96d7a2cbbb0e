"""Shell completion, by the protocol that Typer's scripts speak with the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from es_ingest.commands import completion
from es_ingest.readers import FORMATS
from medte_haystack.encoder import MODELS, PRECISIONS
from medte_haystack.index import QUANTISATIONS

COMMAND = Path(sys.executable).with_name("es-ingest")
KEPT = {name: value for name, value in os.environ.items() if name not in ("SHELL", "ES_INGEST_CONFIG")}


def call(*arguments, **env):
    return subprocess.run([COMMAND, *arguments], env=KEPT | env, capture_output=True, text=True, timeout=60)


def in_bash(line, **env):
    words = line.split(" ")
    done = call(_ES_INGEST_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), **env)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        ("bash", "complete -o default -F _es_ingest_completion es-ingest"),
        ("zsh", "#compdef es-ingest"),
        ("fish", "complete --command es-ingest"),
    ],
)
@pytest.mark.parametrize("own", [None, "/bin/bash", "/bin/odd"])
def test_the_script_of_a_shell_whatever_shell_this_is(shell, said, own):
    done = call("--show-completion", shell, **({"SHELL": own} if own else {}))
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "_ES_INGEST_COMPLETE=complete_" + shell in done.stdout


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", ".bash_completions/es-ingest.sh"),
        ("zsh", ".zfunc/_es-ingest"),
        ("fish", ".config/fish/completions/es-ingest.fish"),
    ],
)
def test_it_is_installed_for_a_shell(shell, file, tmp_path):
    done = call("--install-completion", shell, HOME=str(tmp_path))
    assert (done.returncode, str(tmp_path / file) in done.stdout.replace("\n", "")) == (0, True), done.stderr
    assert (tmp_path / file).read_text().strip() == call("--show-completion", shell).stdout.strip()


@pytest.mark.parametrize("arguments", [["--show-completion"], ["--show-completion", "tcsh"]])
def test_a_shell_that_is_not_named_or_not_known(arguments):
    assert call(*arguments).returncode == 2


def test_the_bash_script_is_bash_and_asks_for_completions(tmp_path):
    script = call("--show-completion", "bash").stdout
    asked = "COMP_WORDS=(es-ingest ru); COMP_CWORD=1; _es_ingest_completion es-ingest; echo ${COMPREPLY[@]}"
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}"], env=KEPT | {"PATH": path}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["run"], done.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("es-ingest ru", ["run"]),
        ("es-ingest r", ["run", "replay", "rollback", "rebuild"]),
        ("es-ingest server st", ["start", "status", "stop"]),
        ("es-ingest run --delete", ["--delete-missing"]),
        ("es-ingest run --format ", list(FORMATS)),
        ("es-ingest run notes.jsonl --format mi", ["mimic", "mimic-notes"]),
        ("es-ingest plan --quantisation ", list(QUANTISATIONS)),
        ("es-ingest run --quantisation int", ["int8", "int4"]),
        ("es-ingest rebuild notes --quantisation b", ["bbq"]),
        ("es-ingest tune notes --quantisation fl", ["flat"]),
        ("es-ingest run --analyzer e", ["english"]),
        ("es-ingest rebuild notes --analyzer au", ["auto"]),
        ("es-ingest search notes kidney --model ", list(MODELS)),
        ("es-ingest demo --model mini", ["minilm"]),
        ("es-ingest run --precision ", list(PRECISIONS)),
        ("es-ingest run --device cu", ["cuda", "cuda:all"]),
        ("es-ingest replay letters --log-format j", ["json"]),
        ("es-ingest verify notes --es lo", ["local"]),
        ("es-ingest --show-completion z", ["zsh"]),
    ],
)
def test_words(line, words):
    assert in_bash(line) == words


def test_descriptions_come_with_the_words_where_the_shell_shows_them():
    asked = {"_ES_INGEST_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    found = call(**asked, _TYPER_COMPLETE_ARGS="es-ingest run --format medq").stdout
    assert found.strip() == f"medquad\t{FORMATS['medquad'].description}"
    options = call(**asked, _TYPER_COMPLETE_ARGS="es-ingest run --").stdout.splitlines()
    assert all(line.startswith("--") and "\t" in line for line in options), "none is broken in two"
    found = call(_ES_INGEST_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="es-ingest run --quantisation bb").stdout
    assert '"bbq"' in found


def test_a_configuration_that_cannot_be_read_is_no_matter(tmp_path):
    (tmp_path / "bad.toml").write_text("[rnu]\n")
    assert in_bash("es-ingest run --quantisation bb", ES_INGEST_CONFIG=str(tmp_path / "bad.toml")) == ["bbq"]


def test_no_word_waits_for_pytorch():
    program = (
        "import sys; from es_ingest.commands import completion as c\n"
        "assert all(one() for one in (c.formats, c.models, c.quantisations, c.precisions, c.devices, c.analyzers))\n"
        "print({'torch', 'numpy', 'elasticsearch', 'transformers', 'haystack'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_words_are_the_names_there_are():
    assert completion.models() == list(MODELS)
    assert completion.quantisations() == list(QUANTISATIONS)
    assert completion.precisions() == list(PRECISIONS)
    assert dict(completion.formats()).keys() == FORMATS.keys()
