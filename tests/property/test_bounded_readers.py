"""Thousands of made-up inputs at every reader, in a process that may grow by 200 MB and no more."""

import subprocess
import sys
from pathlib import Path

import pytest

MANY = 10_000
LIMITED = f"""
import resource, sys, time
from pathlib import Path

sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
import test_any_bundle as bundles
import test_any_spec as specs
from hypothesis import HealthCheck, given, settings, strategies as st

folder, examples = Path(sys.argv[1]), int(sys.argv[2])
lines = bundles.made_bundle(folder)
READERS = {{
    "spec files": (specs._read_text, specs.TEXT),
    "fields": (specs._read_fields, specs.FIELDS),
    "values": (specs._read_value, specs.PATHS, specs.TEXT),
    "bundles": (lambda data: bundles._read(folder, bundles._changed(data, lines)), st.data()),
    "headers": (lambda data: bundles._read_header(folder, bundles._header(data)), st.data()),
}}

def check(name, examples):
    read, *inputs = READERS[name]
    count = 0

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))
    @given(st.tuples(*inputs))
    def every(values):
        nonlocal count
        count += 1
        begin = time.process_time()  # a busy machine is no hang
        read(*values)
        assert time.process_time() - begin < 2, values

    every()
    return count

def kib(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))

for name in READERS:  # loads what is loaded once
    check(name, 20)
limit = 1024 * kib("VmSize") + 200_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    bytearray(250_000_000)
except MemoryError:
    pass
else:
    sys.exit("nothing is limited")
before = kib("VmHWM")
for name in READERS:
    print(name, check(name, examples), kib("VmHWM") - before, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the size of a process")
def test_no_reader_hangs_or_needs_much_memory(tmp_path):
    command = [sys.executable, "-c", LIMITED, str(tmp_path), str(MANY)]
    done = subprocess.run(command, capture_output=True, text=True)
    sys.stdout.write(f"reader, inputs, growth in KiB:\n{done.stdout}")
    assert done.returncode == 0, done.stderr[-5000:]
    counts = [int(line.split()[-2]) for line in done.stdout.splitlines()]
    assert len(counts) == 5
    assert all(count >= MANY for count in counts)
