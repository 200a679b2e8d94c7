"""The parts of the project around the package: its pages, examples and scripts."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

__all__ = ("ROOT", "code_blocks", "load_script", "output_of", "run_script")

ROOT = Path(__file__).resolve().parents[2]
# The command of this environment first; what scripts reach of the package is tested, and counted, elsewhere.
_ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
_ENVIRONMENT.pop("COVERAGE_PROCESS_CONFIG", None)


def code_blocks(page: Path, language: str) -> list[str]:
    """The code of one language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def run_script(*words: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run any program, with this environment's `decorr` to be found."""
    line = [str(word) for word in words]
    return subprocess.run(line, cwd=cwd, env=_ENVIRONMENT | environment, capture_output=True, text=True)


def output_of(*words: object, cwd: Path | None = None) -> str:
    """What a program prints that must end well."""
    done = run_script(*words, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def load_script(path: Path) -> ModuleType:
    """A script of the project as a module, which finds those beside it as it does when it is run."""
    spec = importlib.util.spec_from_file_location(f"script_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
