"""No room for a file: one error that names it, the old file as it was, and no draft."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.split_files import write_split

# Files may not grow beyond this number of bytes, or the number that a writer's name ends with: more
# is an error, as on a full disk.
SCRIPT = """
import json, os, resource, sys
from pathlib import Path
from tests.fuzz.writers import {writers}
folder, found = Path(sys.argv[1]), {{}}
for name, prepared in {writers}(folder).items():
    place = folder / name.replace(" ", "-")
    place.mkdir()
    write = prepared(place)
    before = {{path.name: path.stat().st_size for path in place.rglob("*")}}
    room = int(name.split()[-1]) if name.endswith("000") else int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        write()
        error = "nothing was wrong"
    except (OSError, ValueError) as wrong:
        error = str(wrong)
    except BaseException as wrong:
        error = repr(wrong)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    after = {{path.name: path.stat().st_size for path in place.rglob("*")}}
    found[name] = [error, before, after]
print(json.dumps(found))
"""


def written_without_room(writers: str, folder: Path, room: int) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(writers=writers), str(folder), str(room)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


# Those of models write no small file.
@pytest.mark.parametrize(
    "writers, room",
    [("data_writers", 0), ("data_writers", 200), ("data_writers", 700), ("model_writers", 700)],
)
def test_no_room(writers, room, tmp_path):
    write_split(tmp_path / "source")
    found = written_without_room(writers, tmp_path, room)
    assert len(found) > 2
    for name, (error, before, after) in found.items():
        place = tmp_path / name.replace(" ", "-")
        assert str(place) in error, f"{name}: {error}"
        assert "\n" not in error and "draft" not in error and "partial" not in error, error
        assert after == before, f"{name}: {after}"
