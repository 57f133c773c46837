"""A forecast in words. In: bands, photos per class, what was asked. Out: the sentence, notes, rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headstart.errors import OptionError
from headstart.evaluation.learning_curve import FAR, Band, Needed

EVEN = 1.2
"""Photos of the largest class over those of the smallest, up to which "per class" means each of them."""
WIDE = 0.1
"""Width of a band from which the forecast itself says that it is wide."""
CHECKED = 4.0
"""Times the photos at hand up to which the bands were checked (docs/forecast.md)."""


@dataclass(frozen=True)
class Asked:
    """What a forecast was asked for: ``more`` photos per class, an accuracy to reach, the level of bands."""

    more: tuple[int, ...]
    target: float | None
    level: float

    def check(self) -> None:
        """Raises OptionError for what has no meaning, all of it at once."""
        wrong = [f"--more {m} must be at least 1" for m in self.more if m < 1]
        if self.target is not None and not 0 < self.target < 1:
            wrong.append(f"--target {self.target:g} must be above 0 and below 1 (0.95 is 95 %)")
        if not 0.5 <= self.level < 1:
            wrong.append(f"--level {self.level:g} must be from 0.5 to below 1")
        if wrong:
            raise OptionError("; ".join(wrong))

    def check_reach(self, more: Sequence[int], per_class: float) -> None:
        """Raises OptionError for more photos than any curve can tell of."""
        most = int((FAR - 1) * per_class)
        far = [m for m in more if m > most]
        if far:
            raise OptionError(
                f"--more {far[0]}: that is more than {FAR:g} times the {per_class:.0f} photos per class at hand.",
                f"Ask for at most {most}, or add photos first and ask again.",
            )

    @property
    def words(self) -> str:
        """The options that ask for this."""
        said = f" --more {','.join(map(str, self.more))}" if self.more else ""
        said += f" --target {self.target:g}" if self.target is not None else ""
        return said + (f" --level {self.level:g}" if self.level != 0.9 else "")


def answer_of(
    counts: Mapping[str, int], now: Band, more: Sequence[int], ahead: Sequence[Band], needed: Needed | None
) -> str:
    """The sentence: what the first of ``more`` brings, and what the target takes."""
    expect = f"With {_added(counts, more[0])} expect {band_words(ahead[0])} (now {now.value:.3f}, {band_words(now)})."
    return expect if needed is None else f"{expect} {target_words(counts, now, needed)}"


def _added(counts: Mapping[str, int], more: int) -> str:
    """ "200 more per class", or, where classes differ, the factor that this is for each of them."""
    if max(counts.values()) <= EVEN * min(counts.values()):
        return f"{more:,} more per class"
    factor = 1 + more * len(counts) / sum(counts.values())
    return f"{factor:.3g} times as many photos of every class ({more:,} more per class on average)"


def band_words(band: Band) -> str:
    """ "0.962–0.975", with a fourth digit where three would show no width."""
    digits = 3 if band.high - band.low >= 0.002 else 4
    return f"{band.low:.{digits}f}–{band.high:.{digits}f}"


def target_words(counts: Mapping[str, int], now: Band, needed: Needed) -> str:
    """What the target takes, or why that cannot be said."""
    photos, classes, target = sum(counts.values()), len(counts), f"{needed.target:g}"
    if needed.reachable < (1 - now.level) / 2:
        return f"{target} is out of reach of a probe of this network, however many photos like these are added."

    def per_class(total: float) -> str:
        return f"{max(0, round_up((total - photos) / classes)):,}"

    even = "" if max(counts.values()) <= EVEN * min(counts.values()) else " on average"
    if needed.value is not None and needed.value <= photos:
        sure = needed.high is not None and needed.high <= photos
        return f"{target} is reached with the photos at hand." if sure else (
            f"{target} is about what the photos at hand reach; to be sure of it takes "
            + (f"{per_class(needed.high)} more per class{even}." if needed.high else "more than can be said.")
        )  # fmt: skip
    if needed.value is None:
        far = f"{int((FAR - 1) * photos / classes):,} more per class"
        least = "" if needed.low is None else f", and at least {per_class(needed.low)}"
        return f"{target} takes perhaps more than {far}{even}{least}, if it can be reached at all: too far to say."
    low = per_class(needed.low or photos)
    ends = f"{low} to {per_class(needed.high)}" if needed.high is not None else f"at least {low}, or out of reach"
    return f"{target} takes about {per_class(needed.value)} more per class{even} ({ends})."


def round_up(number: float) -> int:
    """To two digits, upwards: no one needs 1,234 photos rather than 1,300."""
    step = 10 ** max(0, len(str(int(number))) - 2)
    return int(-(-number // step) * step)


def notes_of(counts: Mapping[str, int], now: Band, ahead: Sequence[Band], most: float) -> list[str]:
    """What a careful reader should know of this forecast; ``most``: the upper end of the largest gain."""
    notes, photos = [], sum(counts.values())
    if now.high - now.low > WIDE:
        notes.append(
            f"{photos} photos say little: even what a probe of all of them reaches is known to within "
            f"{now.high - now.low:.2f} only. Ask again with more photos."
        )
    elif most < now.high - now.low:
        notes.append(
            f"The gain is small: {100 * most:.1f} points at most, less than these photos leave open about the accuracy "
            "now. So the bands overlap, though more photos do help a little."
        )
    if any(band.photos > CHECKED * photos * 1.05 for band in ahead):
        notes.append(f"Bands were checked up to {CHECKED:g} times the photos; beyond, they rest on the law alone.")
    return notes
