"""The cache: same parts, same entry; two writers, a crash half-way and a damaged file do no harm."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from zoo.data.cache import Cache, content_key, fingerprint
from zoo.errors import DataError

KEY = content_key(clip="a", spec={"size": 28})


def test_an_entry_is_made_once_and_read_memory_mapped(tmp_path):
    cache, calls = Cache(tmp_path), []

    def make():
        calls.append(1)
        return np.arange(12, dtype=np.float32).reshape(3, 4)

    first, second = cache.fetch(KEY, make), cache.fetch(KEY, make)
    assert len(calls) == 1 and isinstance(second, np.memmap) and np.array_equal(first, make())
    assert KEY in cache and cache.stats() == {"entries": 1, "bytes": cache.path(KEY).stat().st_size, "leftovers": 0}
    with pytest.raises(ValueError, match="read-only"):
        second[0, 0] = 1


def test_the_key_depends_on_every_part_but_not_on_their_order():
    assert content_key(a=1, b=[2, 3]) == content_key(b=[2, 3], a=1)
    assert len({content_key(a=1), content_key(a=2), content_key(a="1"), content_key(b=1)}) == 4
    for part in (object(), float("nan"), np.zeros(3)):
        with pytest.raises(DataError, match="plain values"):
            content_key(a=part)
    with pytest.raises(DataError, match="not a content key"):
        Cache("x").path("../evil")


def test_the_fingerprint_changes_with_a_file(tmp_path):
    path = tmp_path / "img1.jpg"
    path.write_bytes(b"one")
    before = fingerprint([path])
    assert before == fingerprint([path])
    path.write_bytes(b"three")
    assert before != fingerprint([path])
    path.unlink()
    with pytest.raises(DataError, match="not there any more"):
        fingerprint([path])


@pytest.mark.parametrize("keep", [0, 5, 60, 200])
def test_a_damaged_entry_is_made_again(tmp_path, keep):
    cache = Cache(tmp_path)
    cache.put(KEY, np.ones((20, 20)))
    path = cache.path(KEY)
    path.write_bytes(path.read_bytes()[:keep])
    assert cache.get(KEY) is None and not path.exists()
    assert np.array_equal(cache.fetch(KEY, lambda: np.ones((20, 20))), np.ones((20, 20)))


def _write_for_ever(root):
    cache = Cache(root)
    while True:
        cache.put(KEY, np.full((512, 512), 7.0))


def test_a_writer_killed_half_way_leaves_a_whole_entry_or_none(tmp_path):
    cache = Cache(tmp_path)
    context = multiprocessing.get_context("fork")
    for pause in (0.02, 0.05, 0.09):
        writer = context.Process(target=_write_for_ever, args=(tmp_path,))
        writer.start()
        time.sleep(pause)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        found = cache.get(KEY)
        assert found is None or (found == 7.0).all()
    cache.sweep(older_than=-1)
    assert cache.stats()["leftovers"] == 0


def _write_some(root, number):
    cache = Cache(root)
    for i in range(number):
        cache.fetch(content_key(i=i), lambda i=i: np.full((64, 64), float(i)))


def test_writers_of_the_same_entries_agree(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_some, args=(tmp_path, 40)) for _ in range(3)]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    assert [w.exitcode for w in writers] == [0, 0, 0]
    cache = Cache(tmp_path)
    assert cache.stats()["entries"] == 40 and cache.stats()["leftovers"] == 0
    assert all((cache.get(content_key(i=i)) == i).all() for i in range(40))


def test_a_reader_keeps_its_array_while_it_is_replaced(tmp_path):
    cache = Cache(tmp_path)
    old = cache.put(KEY, np.zeros((50, 50)))
    cache.put(KEY, np.ones((50, 50)))
    assert (old == 0).all() and (cache.get(KEY) == 1).all()


def test_young_leftovers_stay_and_objects_are_refused(tmp_path):
    cache = Cache(tmp_path)
    cache.put(KEY, np.zeros(3))
    (cache.path(KEY).parent / ".x.part").write_bytes(b"x")
    assert cache.sweep() == 0 and cache.sweep(older_than=-1) == 1
    with pytest.raises(DataError, match="objects"):
        cache.put(KEY, np.array([object()]))


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / KEY[:2]).write_text("a file where a folder should be")
    with pytest.raises(DataError, match=r"cannot be written.*another cache folder"):
        Cache(tmp_path).put(KEY, np.zeros(3))
