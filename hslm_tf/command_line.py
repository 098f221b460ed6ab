"""Shared by the commands: parsing, logging, errors of one line, signals, extras, printing."""

import functools
import importlib
import importlib.abc
import inspect
import io
import logging
import operator
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import hslm_tf

if TYPE_CHECKING:
    from rich.table import Table

# Embeddings, overrides and isolates: what follows them can be shown in another order.
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


Main = Callable[[Sequence[str] | None], None]


def command(
    name: str,
    *functions: Callable[[Any], None],
    parse: Callable[[Sequence[str]], Any] | None = None,
) -> Main:
    """Returns `main` of `python -m hslm_tf.NAME`; with several functions each is a subcommand."""
    # The first subcommand needs no name: `hslm_tf.evaluate RUN` is `hslm_tf.evaluate exact RUN`.
    subcommands = {function.__name__.replace("_", "-"): function for function in functions}
    first = next(iter(subcommands))

    def main(args: Sequence[str] | None = None) -> None:
        # Before TensorFlow is imported, whose start prints what users cannot act on.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        hslm_tf.use_tensorflow()
        for stream in (sys.stdout, sys.stderr):
            # Captions have any letters, and a terminal or a pipe may know few of them.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        logging.basicConfig(format="%(message)s")
        logging.getLogger("hslm_tf").setLevel(logging.INFO)
        if args is None:
            sys.meta_path.insert(0, _NotForKeras())
            args = sys.argv[1:]
        args = list(args)
        if len(subcommands) > 1 and not {*subcommands, "-h", "--help"} & {*args[:1]}:
            args.insert(0, first)
        with one_line_errors():
            _check_letters([*args, os.getcwd()])
            arguments = (parse or functools.partial(_parse, name, subcommands))(args)
            chosen = subcommands[args[0]] if len(subcommands) > 1 else subcommands[first]
            chosen(arguments)

    return main


class _NotForKeras(importlib.abc.MetaPathFinder):
    """Keeps Keras from importing plots and tables, which no command asks it for: 0.7 s less."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None):
        keras = sys.modules.get("keras")
        loading = keras is not None and keras.__spec__._initializing
        if loading and name in ("matplotlib", "pandas"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def _check_letters(texts: Sequence[str]) -> None:
    """Refuses names whose letters the locale does not know: TensorFlow takes no such name."""
    if sys.getfilesystemencoding() == "utf-8":
        return
    for text in texts:
        if any(unicodedata.category(character) == "Cs" for character in text):
            raise ValueError(
                f"{os.fsencode(text).decode(errors='replace')} has letters that this locale does "
                "not know: set PYTHONUTF8=1, or a locale that ends in UTF-8"
            )


def _parse(name: str, subcommands: dict[str, Callable[[Any], None]], args: list[str]) -> Any:
    """Parses arguments of the type that the function of the subcommand takes."""
    import tyro

    types = {
        subcommand: next(iter(inspect.signature(function).parameters.values())).annotation
        for subcommand, function in subcommands.items()
    }
    if len(types) > 1:
        types = {key: Annotated[type_, tyro.conf.subcommand(key)] for key, type_ in types.items()}
    return tyro.cli(
        functools.reduce(operator.or_, types.values()),
        prog=f"python -m hslm_tf.{name}",
        description=f"Without a subcommand: {next(iter(types))}." if len(types) > 1 else None,
        args=args,
    )


class Terminated(KeyboardInterrupt):
    """The process was told to end by SIGTERM, as a scheduler does when time is up."""


@contextmanager
def _raised_on_sigterm() -> Iterator[None]:
    """Raises `Terminated` where the program stands when SIGTERM comes."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns what a user can correct into one line on standard error and exit status 1."""
    try:
        with _raised_on_sigterm():
            yield
    except Terminated:
        print("Terminated", file=sys.stderr)
        sys.exit(143)
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError, ImportError, FloatingPointError) as error:
        sys.exit(f"error: {printable(str(error))}")


def printable(text: str) -> str:
    """Replaces what moves the cursor or turns the direction of writing in a terminal."""
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cs") and c != "\n" or c in _TURNS else c
        for c in text
    )


def print_table(table: "Table") -> None:
    """Prints a table at its full width: on a narrow terminal rich would cut numbers off."""
    from rich.console import Console

    needed = Console(width=10_000).measure(table).maximum
    Console(width=max(needed, Console().width)).print(table)


def load_extra(package: str, extra: str) -> ModuleType:
    """Imports a package that belongs to an extra."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"{package} is not installed: pip install hslm-tf[{extra}]") from error
