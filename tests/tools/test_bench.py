"""The bench runs; what it measures is not for a test to judge."""

import subprocess
import sys

from tests.conftest import ROOT


def test_a_bench_measures_on_a_stack_of_its_own():
    command = [sys.executable, "-m", "tools.bench", "requests"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    measured = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  GET ")]
    assert measured == ["/health", "/credits", "/projects", "/keys", "/renders"]
