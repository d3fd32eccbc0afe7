"""A worker ends with the process that started it, however that one died."""

import multiprocessing
import os
import signal
import threading


def end_with_parent() -> None:
    """Stop this process gracefully once its parent is gone; without a parent of ours, do nothing.

    A killed parent stops nobody, and a worker that goes on holds the port that the next parent
    needs.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()  # a pipe that closes with the parent: no polling
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
