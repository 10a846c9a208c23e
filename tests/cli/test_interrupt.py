import signal

import pytest

from emabench.cli.interrupt import StopRequest


def test_the_first_signal_asks_and_the_second_interrupts(capfd):
    with StopRequest() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert capfd.readouterr().err.startswith("stopping at the next step; press Ctrl-C again")


def test_the_former_handler_comes_back():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
