"""Run the command given as arguments; print its seconds, its peak memory in MiB and its output as one JSON object.

A process of its own, and a small one: what Linux counts as the peak of a child includes its parent at the time of the
fork.
"""

import json
import resource
import subprocess
import sys
import time

start = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
wall = time.perf_counter() - start
if done.returncode:
    sys.exit(done.stderr[-2000:] or f"exit status {done.returncode}")
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({"wall": wall, "peak": peak, "output": done.stdout}))
