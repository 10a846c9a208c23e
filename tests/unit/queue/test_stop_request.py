import os
import signal
import threading

import pytest

from emabench.queue.stop_request import StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts_once(capfd, number):
    with StopRequest() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)  # what is being cleared away is not disturbed again
    assert capfd.readouterr().err.startswith("stopping at the next step; press Ctrl-C again")


def test_the_former_handler_comes_back():
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with StopRequest():
        assert not set(before) & {signal.getsignal(number) for number in numbers}
    assert [signal.getsignal(number) for number in numbers] == before


def test_in_another_thread_signals_stay_as_they_are_and_the_end_of_the_main_one_asks(monkeypatch):
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with StopRequest() as stop:
            seen.append((signal.getsignal(signal.SIGINT), stop()))
            monkeypatch.setattr(threading, "main_thread", threading.Thread)  # has not begun
            seen.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False), True]


def test_signals_that_are_not_named_stay_as_they_are():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest(signal.SIGINT):
        assert signal.getsignal(signal.SIGTERM) is before


def test_a_note_that_nobody_reads_stops_nothing_else():
    reader, writer = os.pipe()
    os.close(reader)
    before = os.dup(2)
    os.dup2(writer, 2)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop()
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(writer)
