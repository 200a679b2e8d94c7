"""Run the command given as arguments; print its seconds, those of the processors, its peak memory in MiB and its output
as one JSON object.

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
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
figures = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss / 1024, "output": done.stdout}
print(json.dumps(figures))
