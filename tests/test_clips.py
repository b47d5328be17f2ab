"""From manifest rows to clips: frames on demand, the interval counted within the clip."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import others, smic
from fakes.files import frames, picture
from PIL import Image

from zoo.data.clips import clips, open_clip
from zoo.data.protocols import require_apex
from zoo.data.readers import read
from zoo.errors import DataError, MediaError


@pytest.fixture
def one(tmp_path):
    frames(tmp_path / "a", [f"img{n}.png" for n in range(8, 21)])
    (tmp_path / "clips.csv").write_text("id,subject,path,onset,apex,offset,emotion,fps\nc,p,a,10,13,16,happy,200\n")
    return tmp_path, read("csv", tmp_path)


def test_the_interval_is_counted_from_zero_within_the_clip(one):
    root, m = one
    clip = open_clip(m, "csv/p/c", root)
    assert len(clip.frames) == 7 and clip.frames.paths[0].name == "img10.png"
    assert (clip.interval.onset, clip.interval.apex, clip.interval.offset) == (0, 3, 6)
    assert clip.key == "csv/p/c" and clip.fps == 200 and clip.emotion == "happiness"
    assert clip.frames[3].shape == (12, 16, 3) and clip.frames[-1].dtype == np.uint8 and len(clip.frames[2:4]) == 2
    wide = open_clip(m, "csv/p/c", root, margin=5)
    assert len(wide.frames) == 13 and wide.interval.onset == 2 and wide.interval.apex == 5


def test_gaps_are_bridged_only_when_allowed(one):
    root, m = one
    for n in (10, 13):
        (root / "a" / f"img{n}.png").unlink()
    with pytest.raises(DataError, match=r"onset is frame 10, on disk are 11 to 16, nearest 11.*max_gap"):
        open_clip(m, "csv/p/c", root)
    clip = open_clip(m, "csv/p/c", root, max_gap=2)
    names = [p.name for p in clip.frames.paths]
    assert names[clip.interval.onset] == "img9.png" and names[clip.interval.apex] == "img12.png"
    assert names[clip.interval.offset] == "img16.png" == names[-1] and names[0] == "img9.png"


def test_damaged_and_odd_pictures_are_named(one):
    root, m = one
    clip = open_clip(m, "csv/p/c", root)
    (root / "a" / "img11.png").write_bytes(picture("png")[:30])
    with pytest.raises(MediaError, match=r"img11.png: not a readable picture"):
        clip.frames[1]
    Image.new("L", (5, 4)).save(root / "a" / "img12.png")
    assert clip.frames[0].shape == (12, 16, 3)
    with pytest.raises(MediaError, match=r"img12.png: 5 x 4 pixels, but the clip's others have 16 x 12"):
        clip.frames[2]
    with pytest.raises(DataError, match="no clip 'x'"):
        open_clip(m, "x", root)


def test_a_clip_without_apex_has_no_interval_and_stills_are_one_frame(tmp_path):
    m = read("smic_vis", smic.write(tmp_path / "s", "VIS"))
    first = next(clips(m, tmp_path / "s"))
    assert first.interval is None and len(first.frames) == 3
    m = read("mmew", others.mmew(tmp_path / "m"), options={"macro": "yes"})
    still = open_clip(m, m.table.index[m.table["kind"] == "image"][0], tmp_path / "m")
    assert len(still.frames) == 1 and still.interval is None


def test_an_apex_that_nobody_coded_is_called_estimated(tmp_path):
    frames(tmp_path / "a", [f"img{n}.png" for n in range(10, 17)])
    (tmp_path / "clips.csv").write_text("id,subject,path,onset,offset,emotion\nc,p,a,10,16,happy\n")
    coded = require_apex(read("csv", tmp_path), "midpoint")
    interval = open_clip(coded, "csv/p/c", tmp_path).interval
    assert (interval.onset, interval.apex, interval.offset, interval.source) == (0, 3, 6, "estimated")
