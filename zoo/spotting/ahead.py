"""Decoding on a core of its own: a stream read a little ahead by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], depth: int = 12) -> Iterator[Item]:
    """The same items in the same order, made by a thread that runs at most ``depth`` of them ahead.

    An error of the source is raised where its item would have come. Closing the generator ends the thread.
    """
    waiting: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: tuple[Item] | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((item,)):
                    return
        except BaseException as error:  # carried over to the reader, whatever it is
            put(error)
        else:
            put(None)

    worker = threading.Thread(target=produce, name="zoo-decode", daemon=True)
    worker.start()
    try:
        while (entry := waiting.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]
    finally:
        stop.set()
        worker.join()
