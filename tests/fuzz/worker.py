"""Reads mutants of one kind of file in a process of its own, and reports the outcome of each.

`python -m tests.fuzz.worker KIND COUNT SEED FIRST FOLDER` prints a JSON line before and after every
mutant. The last line shows the mutant at which it hung, which ends it, or crashed.
"""

import faulthandler
import itertools
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.kinds import Kind, same
from tests.fuzz.other_kinds import KINDS
from tests.mutants import mutants, spliced

LARGEST = 1 << 30
# A valid example is read in milliseconds.
PATIENCE = 20.0
# More than a fault takes, so that a fault is seen and is no crash of the machine.
_ADDRESS_SPACE = 4 << 30
_NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "os.fork")
_FORBIDDEN = (*_NEVER, "pickle.find_class", "socket.connect")


class Watch:
    """Sees what Python opens and starts while mutants are read."""

    def __init__(self, folder: Path) -> None:
        self._data, self._scratch = (f"{folder.resolve() / name}/" for name in ("data", "scratch"))
        self._armed, self.seen = False, []
        sys.addaudithook(self._hook)

    def __enter__(self) -> "Watch":
        self.seen, self._armed = [], True
        return self

    def __exit__(self, *error: object) -> None:
        self._armed = False

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._armed:
            return
        if event in _FORBIDDEN:
            self.seen.append(f"{event} {args}"[:200])
        elif event == "open" and isinstance(args[0], str | bytes):
            path, mode, flags = os.fsdecode(args[0]), args[1], args[2]
            real = os.path.realpath(path) + "/" * os.path.isdir(path)
            writes = (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            # Modules that are imported late, and what NumPy asks the system.
            known = path.endswith((".py", ".pyc", ".so")) or path.startswith(("/proc/", "/sys/"))
            allowed = real.startswith(self._data) or known
            if not (real.startswith(self._scratch) or (allowed and not writes)):
                self.seen.append(f"open {path} {mode}")


def mutants_of(kind: Kind, folder: Path, count: int, seed: int) -> Iterator[tuple[Path, bytes]]:
    """The file that is mutated, and its content, `count` times."""
    files = [folder / "data" / name for name in kind.damaged]
    share = -(-count // len(files) // 2) + 1
    streams = [
        (file, stream)
        for number, file in enumerate(files)
        for make in (mutants, spliced)
        for stream in (make(file.read_bytes(), share, seed + number),)
    ]
    for number in range(count):
        file, stream = streams[number % len(streams)]
        yield file, next(stream)


def outcome(kind: Kind, folder: Path, file: Path, expected: Any, watch: Watch) -> tuple[str, str]:
    """What comes of one mutant: `equal`, `other`, `refused`, or a `fault` and what it is."""
    try:
        with watch:
            found = kind.read(folder)
    except (ValueError, OSError) as error:
        what, text = "refused", str(error)
        if file.name not in text:
            what, text = "fault", f"does not name {file.name}: {type(error).__name__}: {text[:300]}"
        elif len(text) > 2100 or "\n" in text:
            what, text = "fault", f"no one line: {text[:300]!r}"
    except BaseException as error:
        what, text = "fault", f"{type(error).__name__}: {str(error)[:300]}"
    else:
        what, text = ("equal", "") if same(found, expected) else ("other", "")
        if what == "other" and kind.checked:
            what, text = "fault", "a damaged file is taken for a whole one"
    return ("fault", "; ".join(watch.seen)) if watch.seen else (what, text)


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    kind, folder = KINDS[sys.argv[1]], Path(sys.argv[-1])
    count, seed, first = map(int, sys.argv[2:5])
    watch = Watch(folder)
    for name in ("", "scratch"):
        (folder / name).mkdir()
    tempfile.tempdir = str(folder / "scratch")
    kind.write(folder)
    expected = kind.read(folder)
    assert same(expected, kind.read(folder))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _ADDRESS_SPACE,) * 2)
    for number, (file, content) in enumerate(
        itertools.islice(mutants_of(kind, folder, count, seed), first, None), first
    ):
        whole, before = file.read_bytes(), _most_memory()
        file.write_bytes(content)
        print(json.dumps({"number": number, "file": file.name}), flush=True)
        started = time.perf_counter()
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        what, text = outcome(kind, folder, file, expected, watch)
        faulthandler.cancel_dump_traceback_later()
        seconds = time.perf_counter() - started
        file.write_bytes(whole)
        grown = _most_memory() - before
        if grown > LARGEST + len(content):
            what, text = "fault", f"took {grown >> 20} MiB"
        result = {"number": number, "file": file.name, "what": what, "text": text}
        print(json.dumps({**result, "seconds": seconds, "grown": grown}), flush=True)


if __name__ == "__main__":
    main()
