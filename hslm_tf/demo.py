"""`python -m hslm_tf.demo`: a page where people ask a collection."""

import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import tyro

from hslm_tf.command_line import command, load_extra
from hslm_tf.runs.run_directory import newest_run


@dataclass(frozen=True)
class DemoArguments:
    """Serve a page to search with a sentence or an image, and to see what every word looks at.

    Without arguments the run under runs/ whose model is the newest answers, on its test split. The
    page is reached from this machine alone, and nothing is sent to or loaded from another. Needs
    the extra `demo`.
    """

    where: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_COLLECTION")
    ] = None
    """directory of a run, or file of a collection"""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder with the image files; by default the one that the collection remembers"""
    host: str = "127.0.0.1"
    """address to listen at; 0.0.0.0 lets other machines in, which need one of --names"""
    names: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """names and addresses besides this machine's own by which browsers reach the page"""
    port: int = 7860
    """port to listen at"""


def run(arguments: DemoArguments) -> None:
    """Runs the command."""
    where = arguments.where or newest_run(Path("runs")).path
    if not where.exists():
        raise FileNotFoundError(f"{where}: there is no such run or collection")
    if arguments.images is not None and not arguments.images.is_dir():
        raise FileNotFoundError(f"{arguments.images}: there is no such folder")
    for package in ("jinja2", "gradio"):
        load_extra(package, "demo")
    _check_port(arguments.host, arguments.port)
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from hslm_tf.report.demo_page import DemoSearch, demo_page, serve
    from hslm_tf.runs.opening import searched_collection

    print(f"Opening {where}", flush=True)
    demo = DemoSearch(searched_collection(where), arguments.images)
    demo.warm_up()
    with TemporaryDirectory(prefix="hslm_tf-demo-") as folder:
        # Gradio keeps photographs there, and for good those whose upload was broken off.
        os.environ["GRADIO_TEMP_DIR"] = folder
        page = demo_page(demo)
        address = serve(page, arguments.host, arguments.port, arguments.names)
        print(f"{address} (Ctrl-C ends it)", flush=True)
        try:
            # Gradio's own waiting takes every signal for Ctrl-C.
            threading.Event().wait()
        finally:
            page.close(verbose=False)


def _check_port(host: str, port: int) -> None:
    """Refuses a port that is taken; the server would find out after the model is loaded."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise OSError(f"nothing can listen at {host}:{port}: is the port taken?") from error


main = command("demo", run)


if __name__ == "__main__":
    main()
