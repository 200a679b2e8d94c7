"""Run a command, given as arguments after the seconds it may take (0 for any); print its seconds, those of the
processors, its peak memory in MiB, its output and whether it took too long and was ended, as one JSON object.

A process of its own, and a small one: what Linux counts as the peak of a child includes its parent at the time of the
fork.
"""

import json
import resource
import subprocess
import sys
import time

limit, command = float(sys.argv[1]), sys.argv[2:]
output, stopped = "", False
start = time.perf_counter()
try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit or None)
except subprocess.TimeoutExpired:
    stopped = True
wall = time.perf_counter() - start
if not stopped:
    if done.returncode:
        sys.exit(done.stderr[-2000:] or f"exit status {done.returncode}")
    output = done.stdout
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
figures = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss / 1024}
print(json.dumps({**figures, "output": output, "stopped": stopped}))
