"""The same work for other programs: a makefile, a shell script, a job array of Slurm, a workflow of Snakemake."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from typing import Literal

from diffim_decorr._version import __version__
from diffim_decorr.batch.tasks import Task
from diffim_decorr.errors import UsageError
from diffim_decorr.io.hdus import split_spec

__all__ = ("FORMS", "FormName", "emitted")

FormName = Literal["make", "sh", "slurm", "snakemake"]

# What make understands in names of files; of others its targets have numbers.
_PLAIN = re.compile(r"[\w./+@,-]+", re.ASCII)
# Tasks of an array, of which Slurm allows 1001 unless it is told otherwise.
_MOST = 1000
# Besides what a run may take: rows of its inputs.
_ROWS = 1000.0


def emitted(tasks: Sequence[Task], form: FormName, name: str) -> str:
    """The work as a file for another program.

    Parameters
    ----------
    tasks
        The exposures.
    form
        For which program.
    name
        Of the batch.

    Raises
    ------
    UsageError
        If a name has what these files cannot hold.
    """
    for task in tasks:
        broken = [word for word in task.command if len(word.splitlines()) > 1 or "\0" in word]
        if broken:
            raise UsageError(f"row {task.number}: {broken[0]!r} has a line break, which no file for {form} can hold")
    return FORMS[form]([_alone(task) for task in tasks], f"{name}: {len(tasks)} exposures, by decorr {__version__}")


def _alone(task: Task) -> Task:
    """The task of a process that shares the machine with others."""
    threads = task.options.threads or 1
    # Whatever program it is finds out by itself what has to be done.
    output = replace(task.output, overwrite=False, skip_existing=True)
    return replace(task, options=replace(task.options, threads=threads), output=output)


def _again(task: Task) -> Task:
    """The task where something else has found out that it has to be done."""
    return replace(task, output=replace(task.output, overwrite=True, skip_existing=False))


def _inputs(task: Task) -> list[str]:
    names = [*task.images.values(), *task.inputs.files]
    return list(dict.fromkeys(split_spec(name)[0] for name in names))


def _make(tasks: Sequence[Task], title: str) -> str:
    targets, rules = [], []
    for task in tasks:
        inputs = _inputs(task)
        if all(map(_PLAIN.fullmatch, (task.path, *inputs))):
            target, needs, line = task.path, " ".join(inputs), shlex.join([*_again(task).command, "-q"])
        else:
            target, needs, line = f"exposure-{task.number}", "", shlex.join([*task.command, "-q"])
            rules.append(f".PHONY: {target}")
        targets.append(target)
        rules.append(f"{target}: {needs}\n\t{line.replace('$', '$$')}\n")
    listed = " \\\n    ".join(targets)
    return f"# {title}.\n# make -k -j 8 -f THIS-FILE\n\n.PHONY: all\nall: {listed}\n\n" + "\n".join(rules)


def _lines(tasks: Sequence[Task]) -> str:
    """A function of the shell that prints a command for each exposure."""
    lines = "\n".join(shlex.join([*task.command, "-q"]) for task in tasks)
    return f"exposures() {{\n    cat <<'END_OF_EXPOSURES'\n{lines}\nEND_OF_EXPOSURES\n}}\n"


def _sh(tasks: Sequence[Task], title: str) -> str:
    return f"""#!/bin/sh
# {title}.
# JOBS=8 sh THIS-FILE
# What has an output is left alone. Exit status: 0 all done; 5 some failed.

{_lines(tasks)}
exposures | tr '\\n' '\\000' | xargs -0 -n 1 -P "${{JOBS:-1}}" sh -c 'eval "$0" || exit 1' || exit 5
"""


def _slurm(tasks: Sequence[Task], title: str) -> str:
    size = min(len(tasks), _MOST)
    threads = max(task.options.threads or 1 for task in tasks)
    memory = max(task.options.max_memory for task in tasks) + _ROWS
    return f"""#!/bin/bash
#SBATCH --job-name=decorr
#SBATCH --array=1-{size}
#SBATCH --cpus-per-task={threads}
#SBATCH --mem={ceil(memory)}M
#SBATCH --output=decorr-%A_%a.log
# {title}.
# sbatch THIS-FILE
# What has an output is left alone. Exit status of a task: 0 all of its exposures done; 5 some failed.
set -u

{_lines(tasks)}
status=0
while IFS= read -r line; do
    eval "$line" </dev/null || status=5
done < <(exposures | awk -v own="$SLURM_ARRAY_TASK_ID" 'NR % {size} == own % {size}')
exit "$status"
"""


def _snakemake(tasks: Sequence[Task], title: str) -> str:
    for task in tasks:
        for name in (task.path, *_inputs(task)):
            if "{" in name or "}" in name:
                raise UsageError(f"row {task.number}: {name}: braces are wildcards for Snakemake")
    work = {
        task.path: {
            "inputs": _inputs(task),
            "command": shlex.join([*_again(task).command, "-q"]),
            "threads": task.options.threads or 1,
            "memory": ceil(task.options.max_memory + _ROWS),
        }
        for task in tasks
    }
    return f"""# {title}.
# snakemake -s THIS-FILE --cores 8 --keep-going

EXPOSURES = {json.dumps(work, indent=1)}

rule all:
    input:
        list(EXPOSURES)

for path, exposure in EXPOSURES.items():
    rule:
        input: exposure["inputs"]
        output: path
        params: command=exposure["command"]
        threads: exposure["threads"]
        resources: mem_mb=exposure["memory"]
        shell: "{{params.command}}"
"""


FORMS: dict[FormName, Callable[[Sequence[Task], str], str]] = {
    "make": _make,
    "sh": _sh,
    "slurm": _slurm,
    "snakemake": _snakemake,
}
