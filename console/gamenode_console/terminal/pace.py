"""How often a second the console draws: as often as wanted, and more slowly over a link that does not keep up. Pure."""

from __future__ import annotations

#: Beats a second where frames are skipped, and where they still are.
SLOWER = (4.0, 1.0)
#: Seconds without a skipped frame after which it goes faster again.
CALM = 2.0
#: Seconds for which it is told that frames were skipped.
TOLD = 10.0


class Pace:
    """The rate, from what each beat tells."""

    def __init__(self, wanted: float) -> None:
        self.wanted = wanted
        #: Frames that were skipped since the link became slow.
        self.skipped = 0
        self._fresh = 0
        self._steps = 0
        self._changed = 0.0
        self._told_until = 0.0

    @property
    def rate(self) -> float:
        """Beats a second."""
        return min(self.wanted, SLOWER[self._steps - 1]) if self._steps else self.wanted

    def skip(self) -> None:
        """A frame was not drawn."""
        self._fresh += 1

    def beat(self, now: float) -> float:
        """The rate from now on: a step slower where frames were skipped since the last beat."""
        if self._fresh:
            if now >= self._told_until:
                self.skipped = 0
            self.skipped += self._fresh
            self._fresh = 0
            self._steps = min(self._steps + 1, len(SLOWER))
            self._changed = now
            self._told_until = now + TOLD
        elif self._steps and now - self._changed >= CALM:
            self._steps -= 1
            self._changed = now
        return self.rate

    def said(self, now: float) -> str:
        """What the head line says of it; nothing while all is well."""
        if self._steps or now < self._told_until:
            return f"link slow, {self.skipped} skipped, {self.rate:g}/s"
        return ""
