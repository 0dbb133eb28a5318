from ssl_sbir import progress as module
from ssl_sbir.progress import show_progress


def run(monkeypatch, capsys, seconds):
    clock = iter([0.0, *(seconds * i for i in range(1, 5))])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with show_progress(4, "counting", "apple") as counter:
        for i in range(4):
            counter.advance(1, loss=i / 3)
    return capsys.readouterr()


def test_nothing_is_printed_below_two_seconds(monkeypatch, capsys):
    assert run(monkeypatch, capsys, 0.4) == ("", "")


def test_plain_lines_with_rate_and_eta_when_not_a_terminal(monkeypatch, capsys):
    printed = run(monkeypatch, capsys, 20.0)
    assert printed.out == ""
    assert printed.err.splitlines()[0] == "counting 25%  loss 0  0.05 apple/s  eta 1:00"
    assert len(printed.err.splitlines()) == 4


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    with show_progress(2, "counting") as counter:
        counter._start -= 10
        counter.advance(1, loss=0.5)
        bar = counter._bar
        assert bar is not None
        assert bar.tasks[0].completed == 1
    assert bar.finished is False
    assert not bar.live.is_started
