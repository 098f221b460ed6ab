"""What a command imports: seconds of each package's own modules, the largest first.

    python -m benchmarks.imports hslm_tf.search photos.h5 "a dog runs through the snow"

The command runs to its end. Python measures while it imports, which takes a little longer then.
"""

import re
import subprocess
import sys
from collections import Counter

from benchmarks.rows import print_rows

_SHOWN = 8
_LINE = re.compile(r"import time: +(\d+) \| +\d+ \| +(\w+)")


def seconds_by_package(report: str) -> dict[str, float]:
    """Adds up what `python -X importtime` reports.

    Args:
        report: its lines, among others.

    Returns:
        Seconds by package, the largest first.
    """
    microseconds = Counter()
    for own_time, package in _LINE.findall(report):
        microseconds[package] += int(own_time)
    return {package: time / 1e6 for package, time in microseconds.most_common()}


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: a module and its arguments, by default those of the command line.

    Raises:
        CalledProcessError: if the module fails.
    """
    command = [sys.executable, "-X", "importtime", "-m", *(sys.argv[1:] if args is None else args)]
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True
    )
    seconds = seconds_by_package(done.stderr)
    rows = [{"package": package, "seconds": time} for package, time in seconds.items()]
    print_rows([*rows[:_SHOWN], {"package": "all", "seconds": sum(seconds.values())}])


if __name__ == "__main__":
    main()
