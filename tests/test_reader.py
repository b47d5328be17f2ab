"""The reader of videos and frame folders: random access, true times, and what is odd said aloud."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from zoo.errors import MediaError
from zoo.vision.seek import Steps
from zoo.vision.video import MediaReader, write_video

COUNT = 60


def numbered(count: int = COUNT, height: int = 96, width: int = 128) -> list[np.ndarray]:
    """Frames whose brightness tells their number, over a texture."""
    texture = np.random.default_rng(0).integers(0, 12, (height, width, 3))
    return [np.uint8(texture + 3 * i) for i in range(count)]


def number_of(rgb: np.ndarray) -> int:
    return round((float(rgb.mean()) - 5.5) / 3)


def encode(
    path: Path, *, codec: str = "libx264", gop: int = 20, times: list[int] | None = None, options: dict | None = None
) -> Path:
    """COUNT frames at 30 frames/s, or at these times in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 128, 96, "yuv420p", gop
        stream.options = (
            {"crf": "10"} | (options or {}) if codec == "libx264" else {"qmax": "4", "sc_threshold": "1000000000"}
        )
        if times is not None:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for i, rgb in enumerate(numbered()):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def without_start(path: Path, out: Path, drop: int) -> Path:
    """The same packets but the first ones: a stream that was cut, or tuned into."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for i, packet in enumerate(source.demux(source.streams.video[0])):
            if i >= drop and packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return out


def same(a, b) -> bool:
    return a.index == b.index and a.time == pytest.approx(b.time, abs=1e-6) and np.array_equal(a.rgb, b.rgb)


# -- random access ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "codec", "options"), [
    ("mp4", "libx264", {}), ("mkv", "libx264", {}), ("mov", "libx264", {"bf": "3"}), ("ts", "libx264", {}), ("avi", "mpeg4", {}),
    ("mkv", "mpeg4", {}), ("mkv", "libx264", {"x264-params": "open-gop=1:keyint=20:bframes=3"}),
])  # fmt: skip
def test_a_range_is_what_iterating_gives(tmp_path, suffix, codec, options):
    path = encode(tmp_path / f"clip.{suffix}", codec=codec, options=options)
    whole = list(MediaReader(path))
    reader = MediaReader(path)
    for start, stop in ((37, 44), (0, 3), (20, 21), (59, 90), (19, 41)):
        part = list(reader.read(start, stop))
        assert [f.index for f in part] == list(range(start, min(stop, COUNT)))
        assert all(same(f, whole[f.index]) for f in part), (start, stop)
        assert [number_of(f.rgb) for f in part] == [f.index for f in part]
    with pytest.raises(MediaError, match="0 <= start < stop"):
        reader.read(5, 5)
    if suffix != "avi":
        assert np.allclose(reader.times(), [f.time for f in whole], atol=1e-6)
    with pytest.raises(MediaError, match="holds 60 frames, 0 to 59; frame 60 was asked"):
        list(reader.read(60, 61))


def test_a_range_decodes_from_the_nearest_key_frame_only(tmp_path, monkeypatch):
    reader, decoded = MediaReader(encode(tmp_path / "clip.mp4")), []
    real = av.open

    class Counting:
        def __init__(self, container):
            self._container = container

        def __getattr__(self, name):
            return getattr(self._container, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._container.close()

        def demux(self, stream):
            for packet in self._container.demux(stream):
                decoded.append(packet.pts)
                yield packet

    reader.times()  # lists the packets
    monkeypatch.setattr(av, "open", lambda *a, **k: Counting(real(*a, **k)))
    assert [f.index for f in reader.read(43, 46)] == [43, 44, 45]
    assert len(decoded) < 20  # of 60


def test_a_range_of_a_folder_touches_only_its_files(tmp_path):
    for i, rgb in enumerate(numbered(12)):
        cv2.imwrite(str(tmp_path / f"{i:03d}.png"), rgb[..., ::-1])
    (tmp_path / "002.png").write_bytes(b"rubbish")
    reader = MediaReader(tmp_path, fps=100)
    part = list(reader.read(5, 8))
    assert [f.index for f in part] == [number_of(f.rgb) for f in part] == [5, 6, 7] and part[0].time == 0.05
    assert [f.index for f in reader.read(10, 99)] == [10, 11]
    assert reader.times()[3] == 0.03
    with pytest.raises(MediaError, match=r"002\.png is not a readable picture"):
        list(reader.read(1, 4))


def test_rotation_and_odd_sizes_hold_in_a_range(tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(path, numbered(10, 97, 131), fps=25)
    reader = MediaReader(path)
    whole, part = list(reader), list(reader.read(4, 6))
    assert part[0].rgb.shape == (97, 131, 3) and all(same(f, whole[f.index]) for f in part)
    assert np.abs(part[0].grey.astype(int) - cv2.cvtColor(part[0].rgb, cv2.COLOR_RGB2GRAY)).max() <= 3


def test_packets_that_promise_other_pictures_are_counted_instead(tmp_path, monkeypatch):
    path = encode(tmp_path / "clip.mp4")
    whole, reader = list(MediaReader(path)), MediaReader(path)
    reader.times()
    index = reader._frame_index()
    wrong = index.stamps.copy()
    wrong[45] += 1
    monkeypatch.setattr(reader, "_index", type(index)(wrong, index.keys, index.second))
    part = list(reader.read(43, 48))
    assert [f.index for f in part] == [43, 44, 45, 46, 47] and all(same(f, whole[f.index]) for f in part)


# -- time --------------------------------------------------------------------------------------------------------------------


def test_a_varying_frame_rate_keeps_its_times_and_is_told(tmp_path):
    times = [33 * i if i < 30 else 33 * 30 + 120 * (i - 30) for i in range(COUNT)]
    reader = MediaReader(encode(tmp_path / "phone.mkv", times=times))
    seen = [f.time for f in reader]
    assert np.allclose(seen, np.array(times) / 1000, atol=1e-3)
    assert len(reader.warnings) == 1 and "frame rate varies: 33 to 120 ms" in reader.warnings[0]
    list(reader)
    assert len(reader.warnings) == 1  # told once
    steady = MediaReader(encode(tmp_path / "steady.mkv"))
    list(steady)
    assert steady.warnings == []


def test_a_rate_that_the_user_gives_counts_instead(tmp_path):
    reader = MediaReader(encode(tmp_path / "phone.mkv", times=[20 * i + 7 * (i % 3) for i in range(COUNT)]), fps=200)
    assert [f.time for f in reader.read(10, 12)] == [0.05, 0.055] and reader.times()[-1] == 59 / 200
    assert list(reader)[40].time == 0.2 and reader.warnings == []


def test_steps_that_a_container_rounds_are_constant():
    for rate, unit in ((240, 1e-3), (29.97, 1e-3), (1000, 1e-3), (30, 1 / 90000)):
        steps = Steps()
        for i in range(500):
            steps.add(round(i / rate / unit) * unit)
        assert steps.remark() is None, rate
    dropped = Steps()
    for i in range(100):
        dropped.add((i + (i > 50)) / 30)  # one frame is missing
    assert "33 to 67 ms" in dropped.remark()


# -- odd beginnings, depths and names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "suffix", "first"), [("libx264", "ts", 20), ("libx264", "mkv", 20), ("mpeg4", "mkv", 20)]
)
def test_a_video_without_a_key_frame_at_the_start_begins_at_the_first_one(tmp_path, codec, suffix, first):
    path = without_start(encode(tmp_path / f"whole.{suffix}", codec=codec), tmp_path / f"cut.{suffix}", 5)
    reader = MediaReader(path)
    frames = list(reader)
    assert [number_of(f.rgb) for f in frames] == list(range(first, COUNT))
    assert frames[0].index == 0 and frames[0].time == 0
    assert len(reader.warnings) == 1 and f"its first {first - 5} frames cannot be decoded" in reader.warnings[0]
    assert all(same(f, frames[f.index]) for f in MediaReader(path).read(25, 30))


def test_a_video_without_any_key_frame_ends_with_a_reason(tmp_path):
    path = without_start(encode(tmp_path / "whole.mkv", gop=200), tmp_path / "cut.mkv", 3)
    with pytest.raises(MediaError, match="no key frame"):
        list(MediaReader(path))


def test_damage_in_a_range_is_named(tmp_path):
    path = encode(tmp_path / "clip.mkv")
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError):
        list(MediaReader(path).read(50, 60))


@pytest.mark.parametrize(("peak", "bits"), [(1000, 10), (4000, 12), (16000, 14), (65000, 16)])
def test_deep_pictures_are_scaled_by_the_bits_they_use(tmp_path, peak, bits):
    for i in range(2):
        cv2.imwrite(str(tmp_path / f"{i}.tif"), np.linspace(0, peak, 24 * 32).reshape(24, 32).astype(np.uint16))
    reader = MediaReader(tmp_path)
    frames = list(reader)
    assert frames[0].rgb.dtype == np.uint8 and frames[0].rgb.max() == peak >> (bits - 8)
    assert [f"use {bits}" in w for w in reader.warnings] == ([] if bits == 16 else [True])


@pytest.mark.parametrize(("codec", "suffix", "form"), [
    ("ffv1", "mkv", "gray"), ("ffv1", "mkv", "gray16le"), ("ffv1", "mkv", "yuv420p10le"), ("ffv1", "avi", "bgr0"), ("libx264", "mp4", "yuv420p10le"),
    ("libx264", "mp4", "yuvj420p"), ("mjpeg", "mov", "yuvj422p"), ("rawvideo", "avi", "gray"),
])  # fmt: skip
def test_grey_and_deep_videos_become_eight_bit_rgb(tmp_path, codec, suffix, form):
    path = tmp_path / f"clip.{suffix}"
    ramp = np.repeat(np.tile(np.linspace(20, 230, 128).astype(np.uint8), (96, 1))[..., None], 3, -1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, form
        if codec == "libx264":
            stream.options = {"crf": "4"}
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(ramp, format="rgb24").reformat(format=form)))
        container.mux(stream.encode(None))
    reader = MediaReader(path)
    frames = list(reader)
    assert len(frames) == 4 and frames[0].rgb.dtype == np.uint8 and frames[0].rgb.shape == (96, 128, 3)
    assert np.abs(frames[2].rgb.astype(int) - ramp).mean() < 3, np.abs(frames[2].rgb.astype(int) - ramp).mean()
    assert np.abs(frames[2].grey.astype(int) - ramp[..., 0]).mean() < 3
    assert same(next(reader.read(2, 3)), frames[2])


def test_grey_pictures_and_even_steps_in_the_numbers_are_no_fault(tmp_path):
    for number in (0, 5, 10, 15):
        cv2.imwrite(str(tmp_path / f"img{number}.png"), np.full((24, 32), 10 + number, np.uint8))
    reader = MediaReader(tmp_path)
    frames = list(reader)
    assert [int(f.grey[0, 0]) for f in frames] == [10, 15, 20, 25] and frames[0].rgb.shape == (24, 32, 3)
    assert reader.warnings == []
    (tmp_path / "img10.png").unlink()
    assert "1 gap in the frame numbers (15 follows 5)" in MediaReader(tmp_path).warnings[0]
