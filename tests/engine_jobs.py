"""Jobs for the tests of the engines: importable wherever a worker starts."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import ProtocolError


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Writes who ran it; dies by SIGKILL in its first ``deaths`` lives; may raise, may wait."""

    folder: str
    name: str
    deaths: int = 0
    error: str = ""
    waits: bool = False  # until there is a file ``go``

    def run(self) -> int:
        folder = Path(self.folder)
        life = len(list(folder.glob(f"{self.name}.life*")))
        (folder / f"{self.name}.life{life}").write_text(f"{os.getpid()}")
        while self.waits and not (folder / "go").exists():
            time.sleep(0.05)
        if life < self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.error:
            raise ProtocolError(self.error)
        (folder / f"{self.name}.done").write_text(f"{os.getpid()}")
        return life


def done(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.done"))
