"""Run a command, given as arguments after the seconds it may take (0 for any); print its seconds, those of the
processors, its peak memory in MiB, that of it without mapped files, its output and whether it took too long and was
ended, as one JSON object.

A process of its own, and a small one: what Linux counts as the peak of a child includes its parent at the time of the
fork.
"""

import json
import re
import resource
import subprocess
import sys
import threading
import time

_EVERY = 0.01  # seconds


def watch(process: subprocess.Popen[str], ended: threading.Event, largest: list[float]) -> None:
    """Keep the largest memory that a process has of its own, in MiB, as it is seen time and again."""
    while not ended.wait(_EVERY):
        try:
            with open(f"/proc/{process.pid}/status") as status:
                own = re.search(r"RssAnon:\s+(\d+)", status.read())
        except OSError:
            return
        if own:
            largest[0] = max(largest[0], int(own[1]) / 1024)


limit, command = float(sys.argv[1]), sys.argv[2:]
output, stopped = "", False
ended, largest = threading.Event(), [0.0]
start = time.perf_counter()
with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
    threading.Thread(target=watch, args=(process, ended, largest)).start()
    try:
        output, errors = process.communicate(timeout=limit or None)
    except subprocess.TimeoutExpired:
        stopped = True
        process.kill()
        process.communicate()
    wall = time.perf_counter() - start
ended.set()
if process.returncode and not stopped:
    sys.exit(errors[-2000:] or f"exit status {process.returncode}")
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
figures = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss / 1024, "own": largest[0]}
print(json.dumps({**figures, "output": output, "stopped": stopped}))
