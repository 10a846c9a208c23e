"""Choosing devices and precisions on whatever machine this is."""

import mmap
import platform
import subprocess
import sys
import textwrap

import pytest
import torch

from emabench import device
from emabench.errors import UnknownNameError, UsageError


def test_a_device_is_chosen_by_name():
    assert device.choose("cpu") == torch.device("cpu")
    assert str(device.choose("auto")) == device.available()[0]
    with pytest.raises(UnknownNameError) as caught:
        device.choose("cuada")
    assert "cuda" in caught.value.hint


def test_an_absent_device_is_said_to_be_absent():
    absent = "cuda:99"
    with pytest.raises(UsageError, match="has no device 'cuda:99'"):
        device.choose(absent)


def test_bf16_is_automatic_only_where_it_is_native():
    cpu = torch.device("cpu")
    native = device.has_native_bf16(cpu)
    assert device.choose_precision(cpu) == ("bf16" if native else "fp32")
    assert device.choose_precision(cpu, "bf16") == "bf16"


def test_autocast_follows_the_precision():
    product = {}
    for precision in ("fp32", "bf16"):
        with device.Device(torch.device("cpu"), precision).autocast():
            product[precision] = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert product == {"fp32": torch.float32, "bf16": torch.bfloat16}


def test_threads_are_restored():
    before = torch.get_num_threads()
    with device.threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_that_was_freed_serves_the_next_step():
    program = textwrap.dedent(
        """
        import ctypes, resource, torch

        ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: faults are of small pages
        from emabench import device

        def faults_of_the_last_step():
            for step in range(8):  # until the heap is as large as it gets
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                blocks = [torch.ones(12_000_000) for _ in range(3)]
                del blocks
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        print(faults_of_the_last_step())
        with device.threads(1):
            print(faults_of_the_last_step())
        """
    )
    outside, inside = map(int, subprocess.check_output([sys.executable, "-c", program]).split())
    pages = 3 * 48_000_000 // mmap.PAGESIZE
    assert outside > pages / 2  # else this test could not fail
    assert inside < pages / 20


def test_the_environment_says_where_a_run_ran():
    cpu = device.Device(torch.device("cpu"), "fp32")
    record = device.environment(cpu, 3)
    assert (record.device_kind, record.precision, record.threads) == ("cpu", "fp32", 3)
    assert {"torch", "timm", "python", "emabench"} <= set(record.versions)
    assert record.device
    assert device.host_peak_rss() > 10_000_000
