"""Long synthetic videos with known intervals, for the benchmarks of spotting and speed.

Portraits: a folder or .npz as `zoo synth` takes it, or the one that is embedded. The head drifts, light and sensor waver,
eyes blink; expressions are drawn from coders' statistics (micro: CASME II, macro: CAS(ME)²).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.metrics_spotting import Event
from zoo.spotting.events import kind_of
from zoo.synthesis.portraits import read_portraits
from zoo.synthesis.render import Course, Nuisance, Player, plan
from zoo.synthesis.script import draw


@dataclass(frozen=True, eq=False)
class LongVideo:
    """A video that is rendered when it is asked for, and what happens in it."""

    name: str
    fps: float
    player: Player
    course: Course

    @property
    def truth(self) -> list[Event]:
        """Its intervals, by the kind that their length makes them."""
        return [
            Event(video=self.name, onset=e.interval.onset, offset=e.interval.offset or 0,
                  kind=kind_of(e.interval.onset, e.interval.offset or 0, self.fps))
            for e in self.course.events
        ]  # fmt: skip

    @property
    def apexes(self) -> list[int]:
        """One per interval."""
        return [e.interval.apex for e in self.course.events]

    def frames(self) -> Iterator[np.ndarray]:
        """uint8 RGB, one at a time."""
        return self.player.frames(self.course)


def long_videos(
    portraits: Path | None, *, first: int, count: int, seconds: float, fps: float = 30.0, size: int = 256, seed: int = 0
) -> list[LongVideo]:
    """One video per person: persons ``first`` to ``first + count``; of the embedded portrait alone, several of one person."""
    people = read_portraits(portraits, limit=first + count if portraits else None)
    videos = []
    for number in range(first, first + count):
        person = people[number % len(people)]
        player = Player(person.framed(size))
        rng = np.random.default_rng([seed, number])
        scripts, at = [], 1500.0
        while True:
            script = draw(rng, dataset="casme_sq_macro" if rng.random() < 0.4 else "casme2")
            if at + script.milliseconds > 1000 * (seconds - 1.5):
                break
            scripts.append((at, script))
            at += script.milliseconds + float(rng.uniform(1200, 4000))
        course = plan(scripts, frames=round(seconds * fps), fps=fps, interocular=player.interocular, rng=rng,
                      nuisance=Nuisance())  # fmt: skip
        videos.append(LongVideo(f"{person.name}_{number}", fps, player, course))
    return videos
