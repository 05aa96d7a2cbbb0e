import io

from rich.console import Console

from es_ingest import progress


def test_lines_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(progress, "_LINE_EVERY", 0.0)
    out = io.StringIO()
    with progress.shown(Console(file=out), lambda: range(10)) as told:
        told.update(records=5, chunks=9, tokens=900)
    line = out.getvalue()
    assert line.startswith("5")
    assert "9 chunks" in line
    assert "tokens/s" in line


def test_quiet_shows_nothing():
    out = io.StringIO()
    with progress.shown(Console(file=out), None, quiet=True) as told:
        told.update(records=5, chunks=9, tokens=900)
    assert out.getvalue() == ""


def test_bar_on_a_terminal():
    out = io.StringIO()
    with progress.shown(Console(file=out, force_terminal=True, width=200), None) as told:
        told.update(records=5, chunks=9, tokens=900)
    assert "9 chunks" in out.getvalue()


def test_a_source_that_fails_while_it_is_counted_does_not_stop_the_run():
    def broken():
        raise ValueError("gone")
        yield

    with progress.shown(Console(file=io.StringIO()), broken) as told:
        told.update(records=1, chunks=1, tokens=1)
