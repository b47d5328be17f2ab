"""The page, as a person uses it: in a real browser where there is one, and its answers without."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from zoo import app
from zoo.cli import main
from zoo.errors import MediaError, ZooError
from zoo.synthesis.sample import sample_clip

MODEL = "off_apexnet.megc2019"
CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


def video(path: Path, frames, fps: int = 30) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.bit_rate = 4_000_000
        for picture in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def smile(tmp_path_factory):
    return video(tmp_path_factory.mktemp("video") / "smile.mp4", sample_clip().frames[10:34])


@pytest.fixture
def grey(tmp_path):
    return video(tmp_path / "wall.mp4", [np.full((96, 96, 3), 120, np.uint8)] * 90)


def test_what_is_uploaded_is_deleted_once_read(smile, tmp_path):
    upload = tmp_path / "upload.mp4"
    shutil.copy(smile, upload)
    found, folder = app.analyse(upload, MODEL, limits=app.Limits())
    assert not upload.exists() and (folder / "prediction.png").is_file()
    text = app.words(found)
    assert found["label"].capitalize() in text and "no lie detector" in text and "Onset frame" in text


def test_too_long_and_too_large_are_refused_before_they_are_read(grey, tmp_path):
    for limits, word in ((app.Limits(seconds=2), "lasts 3 s"), (app.Limits(megabytes=1), None)):
        upload = tmp_path / "upload.mp4"
        shutil.copy(grey, upload)
        if word is None:
            with upload.open("ab") as file:
                file.truncate(1_200_000)
            word = "this page takes 1"
        with pytest.raises(MediaError, match=word):
            app.analyse(upload, MODEL, limits=limits)
        assert not upload.exists()


def test_no_face_is_said_in_clear_words(grey):
    with pytest.raises(ZooError) as caught:
        app.analyse(grey, MODEL, limits=app.Limits())
    assert app.explain(caught.value).startswith("## No face that could be followed")


def test_a_table_of_events():
    event = {"onset": 3, "offset": 9, "onset_seconds": 0.1, "offset_seconds": 0.3, "kind": "micro", "label": "surprise", "probabilities": [0.2, 0.8]}  # fmt: skip
    answer = {"label": "surprise", "classes": ["negative", "surprise"], "probabilities": [0.2, 0.8], "synthetic": False, "fps": None, "n_frames": 20,
              "interval": {"onset": 3, "apex": 5, "onset_seconds": None, "apex_seconds": None}, "seconds": {}, "warnings": ["dark"], "events": [event, event]}  # fmt: skip
    text = app.words(answer)
    assert text.count("| 0.10 s | 0.30 s | micro | surprise (80%) |") == 2 and "- dark" in text


def test_the_command_explains(capsys):
    assert main(["app", "--model", "ststnet.megc2091"]) == 2
    assert "did you mean ststnet.megc2019" in capsys.readouterr().err
    assert main(["app", "--max-mb", "0"]) == 2


@pytest.mark.timeout(240)
def test_in_a_browser(smile, grey):
    pytest.importorskip("gradio", reason="the extra `app` is not installed")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    limits = app.Limits(seconds=20, megabytes=20)
    page = app.build(model=MODEL, limits=limits)
    address = app.serve(page, host="127.0.0.1", port=0, limits=limits, wait=False)
    try:
        with sync.sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            view, asked = browser.new_page(), []
            view.on("request", lambda request: asked.append(request.url))
            view.goto(address)
            view.locator("#video input[type=file]").set_input_files(str(smile))
            view.wait_for_selector("#video video", timeout=60_000)
            view.click("#go")
            view.wait_for_selector("#pictures img", timeout=120_000)
            assert "Onset frame" in view.inner_text("#answer") and view.locator("#files").is_visible()
            view.reload()
            view.locator("#video input[type=file]").set_input_files(str(grey))
            view.wait_for_selector("#video video", timeout=60_000)
            view.click("#go")
            view.wait_for_function("document.querySelector('#answer').innerText.includes('No face')", timeout=120_000)
            assert not view.locator("#pictures img").count()
            assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == [], (
                "nothing is asked of others"
            )
            browser.close()
    finally:
        page.close()
