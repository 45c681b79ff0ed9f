"""Drive the property tests by coverage instead of by chance: ``fuzz.py [MINUTES [OUT]]``.

Needs ``pip install atheris``. Each test has its share of the time, in a process of its own; what
makes one fail is written to OUT, with the error, and belongs into the test as an ``@example``.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import genemamba

HERE = Path(__file__).parent


def loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def targets() -> list[tuple[str, str]]:
    """All property tests, by file and name."""
    return [
        (file.name, name)
        for file in sorted(HERE.glob("test_*.py"))
        for name, test in vars(loaded(file)).items()
        if name.startswith("test_") and hasattr(test, "hypothesis")
    ]


def fuzz(file: str, name: str, seconds: float, out: Path) -> None:
    """Feed one test for some time; end at the first failure."""
    import atheris

    package = Path(genemamba.__file__).parent
    jitted = [  # numba would have to compile what atheris puts in
        ".".join(["genemamba", *path.relative_to(package).with_suffix("").parts])
        for path in package.rglob("*.py")
        if "njit" in path.read_text(encoding="utf-8")
    ]
    with atheris.instrument_imports(include=["genemamba"], exclude=jitted):
        test = getattr(loaded(HERE / file), name)
    seeds = out / "corpus" / name
    seeds.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds:.0f}", "-max_len=4096", f"-artifact_prefix={out}/{name}-"]
    atheris.Setup([sys.argv[0], *options, str(seeds)], test.hypothesis.fuzz_one_input)
    atheris.Fuzz()


def main(minutes: float = 10, out: str = "build/fuzz") -> int:
    """Fuzz every test; return how many failed."""
    found, failed = targets(), 0
    Path(out).mkdir(parents=True, exist_ok=True)
    for file, name in found:
        log = Path(out) / f"{name}.log"
        share = 60 * float(minutes) / len(found)
        start = time.monotonic()
        with log.open("w") as lines:
            command = [sys.executable, __file__, "--one", file, name, str(share), out]
            code = subprocess.run(command, stdout=lines, stderr=lines).returncode
        seen = re.findall(r"^#(\d+)\t.* cov: (\d+)", log.read_text(errors="replace"), re.M)
        runs, covered = seen[-1] if seen else ("no", "?")
        failed += code != 0
        said = "passed" if code == 0 else f"FAILED, see {log}"
        print(f"{name:66} {runs:>9} inputs {covered:>6} edges "
              f"{time.monotonic() - start:5.0f} s  {said}", flush=True)  # fmt: skip
    return failed


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], sys.argv[3], float(sys.argv[4]), Path(sys.argv[5]))
    else:
        sys.exit(main(*sys.argv[1:]))
