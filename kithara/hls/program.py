"""What the listener hears: the segments behind one another, each decided as late as it can be.

Everything here is looked at and changed under the engine's lock; nothing waits, but files are opened.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from .._core.memory_resource import MemoryResource
from ..errors import Interrupted, KitharaError
from .catalogue import Catalogue
from .choice import Choice, Mode
from .course import Course
from .events import VariantApplied, VariantDecided
from .ladder import HlsVariant
from .priming import Primers, is_worth
from .prospect import Prospect
from .slots import Shelf, Slot, State, instead

LATELY = 10.0
"""Seconds for which a server's refusal counts."""

BEHIND = 1.0
"""Seconds before the segment that is heard of which it is known what was heard there."""


class Program:
    """The chain of slots from the segment before the one that the listener has.

    Args:
        exact: Whether a change of variant takes the segment before it along where the decoder could go on, too.
        is_read: Whether a reader of bytes has the store of a slot.

    Attributes:
        chain: The slots, one behind the other; the first may be that of the segment heard before.
        choice: Which variant comes next.
        prospect: What that is told.
        epoch: Counts the seeks.
        error: What ended a live list, or None.
    """

    def __init__(
        self,
        variants: Sequence[HlsVariant],
        catalogue: Catalogue,
        shelf: Shelf,
        choice: Choice,
        publish: Callable[[object], None],
        clock: Callable[[], float],
        *,
        exact: bool = False,
        is_read: Callable[[Slot], bool] = lambda slot: False,
    ) -> None:
        self.chain: list[Slot] = []
        self.choice = choice
        self.prospect: Prospect = Prospect(variants, catalogue, shelf)
        self.epoch: int = 0
        self.error: KitharaError | None = None
        self._variants = variants
        self._catalogue = catalogue
        self._shelf = shelf
        self._publish = publish
        self._clock = clock
        self._is_read = is_read
        self._primers = Primers(variants, catalogue, shelf, exact=exact)
        self._course = Course(catalogue, choice, self.prospect, self._primers)
        self._tickets = itertools.count(1)
        self._heard: int | None = None  # the variant that the listener was given last

    # ── what the listener asks ───────────────────────────────────────────────────────────────

    def at(self, seconds: float) -> Slot | None:
        """The slot that sounds at *seconds*, of a new epoch; None past the end. Begins a new chain there."""
        seconds = self._course.offered(seconds, self.loaded(), self._clock(), begun=self.epoch > 0)
        self.epoch += 1
        here = next((slot for slot in self.chain if slot.sounds_at(seconds)), None)
        if here is not None and here.usable and not self._is_idle(here):
            for slot in self.chain:
                slot.taken = False
            place = self.chain.index(here)
            if here.ticket is None:  # the change that it belongs to may lie before it, and was not heard yet
                here.ticket = next((slot.ticket for slot in self.chain[place::-1] if slot.ticket is not None), None)
            self._forget(here, place)
            return self._take(here)
        new = self._slot_at(seconds, self._heard)  # whatever was decided since, for the place that is left
        if new is None:
            return None
        self.chain = [new]
        return self._take(new)

    def again(self, place: tuple[int, int, float]) -> Slot | None:
        """The slot that is now to be heard for the one of *place*, which was handed out and broke off; None where
        nothing is decided, so that whoever has it must begin anew.
        """
        for slot in self.chain:
            if slot.usable and (slot.place == place or place in slot.instead):
                return self._take(slot)
        return None

    def _is_idle(self, slot: Slot) -> bool:
        """Whether *slot* is no more than an intent, for a buffer that a seek to it finds empty."""
        return slot.state is State.PENDING and not (slot.store.total or slot.taken or slot.second or slot.excluded)

    def following(self, variant: int, index: int, stop: float) -> Slot | None:
        """The slot to hear after segment *index* of *variant*, which ends at *stop* seconds; None at the end.

        At the end of a live list it is one that the playlist does not have yet.
        """
        last: Slot | None = None
        for place, slot in enumerate(self.chain):
            if slot.variant == variant and slot.index == index:
                if place + 1 < len(self.chain) and self._is_given(self.chain[place + 1]):
                    return self._take(self.chain[place + 1])
                del self.chain[place + 1 :]
                last = slot
                break
        else:
            self.chain.clear()
        after = self._next_slot(variant, index, stop)
        if after is None and not self._catalogue.timelines[variant].playlist.ended:
            after = self._awaited(variant, index, stop, last)
        if after is None:
            return None
        self.chain.append(after)
        return self._take(after)

    def _is_given(self, slot: Slot) -> bool:
        """Whether the listener gets *slot*: a refusal, too, is told once before the same is asked for again, unless it
        is some time ago.
        """
        return slot.usable or (not slot.taken and self._clock() - slot.refused < LATELY)

    def before(self, variant: int, index: int) -> Slot | None:
        """The slot that primes a decoder for segment *index* of *variant*, which was taken last and turned out to need
        one; the next change between these variants brings it along. None where none can be had: not for what stands in
        for a download that was given up, because that is no time to ask for more.

        Raises:
            Interrupted: the variant before is to be heard on, ask for what comes next again: all of this change was
                made for what the cache has, and it lacks this.
        """
        for place, (last, slot) in enumerate(itertools.pairwise(self.chain), 1):
            if slot.variant == variant and slot.index == index and last.variant != variant:
                self._primers.learn(last.variant, variant)
                if slot.before is None and not (slot.excluded or slot.unprimed):
                    if slot.state is State.DONE and self._is_held_instead(last, variant):
                        del self.chain[place:]
                        raise Interrupted("the variant before goes on; ask for the next segment again")
                    slot.before = self._primer(last.variant, slot, last.stop)
                    if slot.before is not None:
                        slot.before.taken = True
                return slot.before
        return None

    def _is_held_instead(self, last: Slot, variant: int) -> bool:
        """Whether another than *variant* is to be heard behind *last*, as things are now, and the cache has that."""
        place = self._course.behind(last.variant, last.index, last.stop, self.loaded(), self.ahead(last.stop))
        return place is not None and place[0] != variant and self.prospect.holds(*place)

    def _primer(self, last: int, slot: Slot, stop: float) -> Slot | None:
        """The slot that primes a decoder for *slot*, heard behind variant *last* from *stop* seconds on, if needed."""
        place = self._primers.place(last, slot.variant, slot.index, stop)
        if place is None:
            return None
        timeline = self._catalogue.timelines[slot.variant]
        if not self._shelf.holds(timeline, slot.variant, place):
            seconds = self.choice.seconds_for(self.prospect.size(slot.variant, timeline.segment(place)))
            if seconds is not None and not is_worth(seconds, self.ahead(stop)):
                slot.unprimed = True
                return None
        return self.make(slot.variant, place)

    def primed_by(self, slot: Slot) -> Slot | None:
        """The slot to be heard whose decoder *slot* primes, and does nothing else; None where there is none."""
        if self.sharing(slot) is not None:
            return None
        return next((other for other in self.chain if other.before is slot), None)

    def set_mode(self, mode: Mode) -> None:
        """Play by *mode* behind the segment that the listener has."""
        if self.choice.mode != mode:
            self.choice.mode = mode
            taken = max((place for place, slot in enumerate(self.chain) if slot.taken), default=-1)
            del self.chain[taken + 1 :]

    # ── what the engine asks ─────────────────────────────────────────────────────────────────

    @property
    def tail(self) -> Slot | None:
        """The last slot that is decided."""
        return self.chain[-1] if self.chain else None

    @property
    def variant(self) -> int:
        """The variant of the last slot, or the one to begin with."""
        return self.chain[-1].variant if self.chain else self._course.first(self.loaded(), self._clock())

    def offers(self, seconds: float) -> bool:
        """Whether there is, or may come, something to be heard at *seconds*."""
        timeline = self._catalogue.timelines[self.variant]
        return not timeline.playlist.ended or seconds < timeline.stop

    def loaded(self) -> list[int]:
        """The variants to choose among whose playlists are here and fresh; never empty."""
        wished = [index for index in self.choice.available(self._clock()) if self.is_loaded(index)]
        return wished or list(self._catalogue.timelines)

    def is_loaded(self, variant: int) -> bool:
        """Whether the playlist of *variant* is here, and fresh; a live one that is heard is reloaded anyway."""
        return self._catalogue.is_fresh(variant) or bool(self.chain and variant == self.chain[-1].variant)

    def wish(self, tail: Slot) -> int:
        """The variant that would be best behind *tail*, its playlist here or not."""
        allowed = self.choice.available(self._clock())
        if not allowed:
            return tail.variant
        return self._course.chosen(tail.variant, tail.index + 1, tail.stop, allowed, self.ahead(tail.stop))

    def is_before_gap(self, tail: Slot) -> bool:
        """Whether what comes behind *tail* in its own list is a gap."""
        return self._course.has_gap(tail.variant, tail.index + 1)

    def has_room(self, seconds: float, size: int) -> bool:
        """Whether less than *seconds* and *size* bytes are decided beyond the listener."""
        taken = [slot for slot in self.chain if slot.taken]
        if not taken or self.chain[-1].state in (State.FAILED, State.AWAITED):
            return False
        return self.chain[-1].stop - taken[-1].start < seconds and sum(s.store.total for s in self.chain) < size

    def extend(self, tail: Slot) -> bool:
        """Decide what comes behind *tail*, if that is still the last. False when nothing does yet."""
        if self.tail is not tail:
            return True
        after = self._next_slot(tail.variant, tail.index, tail.stop)
        if after is not None:
            self.chain.append(after)
        return after is not None

    def ahead(self, stop: float) -> float:
        """Seconds between *stop* and a listener who hears the segment that was taken last in real time."""
        taken = [slot for slot in self.chain if slot.taken]
        if not taken:
            return 0.0
        begin = max(taken[-1].start, taken[-1].heard)
        heard = min(begin + self._clock() - taken[-1].taken_at, taken[-1].stop)
        return max(0.0, stop - heard)

    def left_of(self, slot: Slot, share: float) -> float:
        """Seconds until whoever plays in real time is through with *slot*, of which *share* is here at least.

        Of one that the listener has not come to: until it begins to be heard.
        """
        begin = max(slot.start, slot.heard)
        if not slot.taken or not share:
            return self.ahead(begin)
        here = slot.start + share * slot.segment.duration - begin
        return slot.stop - begin - min(max(here, 0.0), self._clock() - slot.taken_at)

    def make(self, variant: int, index: int) -> Slot:
        """A slot for segment *index* of *variant*."""
        timeline = self._catalogue.timelines[variant]
        media = self._variants[variant].media(timeline.segment(index).uri)
        slot = self._shelf.slot(timeline, variant, index, media)
        if slot.state is State.DONE:
            self._publish(slot.loaded(slot.store.length or 0, 0.0, cached=True))
        return slot

    def sharing(self, slot: Slot) -> Slot | None:
        """The slot to be heard that has the store of *slot*, or is it."""
        return next((other for other in self.chain if other.store is slot.store), None)

    def stand_in(self, slot: Slot, variant: int) -> int | None:
        """Which segment of *variant* could be heard instead of *slot*; None where none could."""
        return self._course.instead(variant, max(slot.start, slot.heard), sought=slot.sought)

    def replace(self, slot: Slot, variant: int, reason: str, error: KitharaError | None = None) -> bool:
        """Put a slot of *variant* where *slot* is, which failed with *error*. False when that cannot be."""
        index = self.stand_in(slot, variant)
        if slot not in self.chain or index is None:
            return False
        new = self._with_ticket(self.make(variant, index), slot.variant, reason)
        new.since, new.heard, new.sought = min(slot.start, slot.since), max(slot.start, slot.heard), slot.sought
        new.instead = slot.instead | ({slot.place} if slot.taken else frozenset())
        new.excluded = slot.excluded | {slot.variant}
        self._put(slot, new, error)
        return True

    def skip(self, slot: Slot, error: KitharaError) -> bool:
        """Go on with the first segment that a live list still offers, where *slot*, which failed with *error*, slid out
        of it; else False.
        """
        timeline = self._catalogue.timelines[slot.variant]
        offered = range(timeline.window, len(timeline))
        first = next((index for index in offered if not timeline.segment(index).gap), None)
        if slot not in self.chain or slot.index >= timeline.window or first is None:
            return False
        new = self.make(slot.variant, first)
        new.since = min(slot.start, slot.since)
        self._put(slot, new, error)
        return True

    def _put(self, slot: Slot, new: Slot, error: KitharaError | None) -> None:
        """Let *new* be heard instead of *slot*, which failed with *error*, and tell whoever waits for that."""
        self.chain[self.chain.index(slot) :] = [new]
        slot.state = State.FAILED
        self._shelf.discard(slot.key)
        told = instead("another segment stands in for this one", error)
        if slot.store.status == "active":
            slot.store.fail(told)
        before = slot.before
        if before is not None and before.store.status == "active" and not self._is_read(before):
            before.store.fail(told)

    def grown(self, variant: int) -> None:
        """The live list of *variant* has grown, or ended: hand what it brings to whoever waits for it."""
        timeline = self._catalogue.timelines[variant]
        for slot in self.chain:
            if slot.state is not State.AWAITED or slot.variant != variant:
                continue
            if slot.index < len(timeline) and slot.fits(timeline):
                slot.segment = timeline.segment(slot.index)
                slot.start = timeline.starts[slot.index]
                slot.state = State.PENDING
            elif slot.index < len(timeline) or timeline.playlist.ended:
                slot.state = State.FAILED
                slot.store.fail(Interrupted("this segment is another now, or the end; ask for it again"))

    def fail(self, error: KitharaError) -> None:
        """The live list brings nothing any more, because of *error*."""
        self.error = error
        for slot in self.chain:
            if slot.state is State.AWAITED:
                slot.state = State.FAILED
                slot.store.fail(error)

    # ── deciding ─────────────────────────────────────────────────────────────────────────────

    def _take(self, slot: Slot) -> Slot:
        slot.taken = True
        slot.taken_at = self._clock()
        slot.instead = frozenset()
        self._heard = slot.variant
        self._forget(slot, max(0, self.chain.index(slot) - 1))
        if slot.ticket is not None:
            self._publish(VariantApplied(ticket=slot.ticket, variant=slot.variant, index=slot.index))
            slot.ticket = None
        return slot

    def _forget(self, slot: Slot, place: int) -> None:
        """Let go of the first *place* slots, now that *slot* is heard; not of what was heard just before, which a seek
        back over a join is to find again.
        """
        while place and (before := self.chain[place - 1]).state is State.DONE and before.ticket is None:
            if before.stop <= slot.start - BEHIND:
                break
            place -= 1
        del self.chain[:place]

    def _slot_at(self, seconds: float, last: int | None) -> Slot | None:
        """A slot for *seconds*, of the best variant whose playlist is here: nothing is buffered there."""
        place = self._course.at(seconds, last, self.loaded(), self._clock())
        if place is None:
            return None
        slot = self._with_ticket(self.make(*place), last, "start")
        slot.heard, slot.sought = seconds, True
        return slot

    def _next_slot(self, variant: int, index: int, stop: float) -> Slot | None:
        """The slot behind segment *index* of *variant*, decided now among the playlists that are here."""
        place = self._course.behind(variant, index, stop, self.loaded(), self.ahead(stop))
        if place is None:
            return None
        reason = "throughput" if self.choice.mode == "auto" else "manual"
        slot = self._with_ticket(self.make(*place), variant, reason)
        slot.since = slot.heard = stop
        slot.before = self._primer(variant, slot, stop)
        return slot

    def _awaited(self, variant: int, index: int, stop: float, last: Slot | None) -> Slot:
        """A slot for the segment that a live list is to bring next. Raises what ended the list."""
        if self.error is not None:
            raise self.error.renewed()
        playlist = self._catalogue.timelines[variant].playlist
        newest = playlist.segments[-1]
        segment = replace(newest, sequence=newest.sequence + 1, duration=playlist.target_duration)
        store = MemoryResource()
        store.label = self._variants[variant].uri
        init = None if last is None else last.init
        media = None if last is None else last.media
        return Slot(variant, index + 1, stop, segment, None, store, init, media, state=State.AWAITED)

    def _with_ticket(self, slot: Slot, last: int | None, reason: str) -> Slot:
        if slot.variant != last:
            slot.ticket = next(self._tickets)
            self._publish(VariantDecided(ticket=slot.ticket, variant=slot.variant, index=slot.index, reason=reason))
        return slot
