"""A state machine over the public face of a store agrees with a dictionary, whatever the order of calls."""

import logging
import os
import random
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from kithara.assets import AssetStore, ResourceKey
from kithara.errors import KitharaError
from kithara.storage import Validators

SIZE = 40_000
ASSETS = ("a", "b", "c")
KEYS = [ResourceKey(asset, path) for asset in ASSETS for path in ("file/body", "file/other")]
CONTENT = {key: random.Random(key.path).randbytes(SIZE) for key in KEYS}


class Entry:
    """What the model knows of one key: the bytes on the disk for certain, and those of the live resource."""

    def __init__(self):
        self.here = set()  # blocks of the live resource
        self.saved = set()  # blocks of the last checkpoint, which a crash leaves
        self.whole = False


BLOCK = 1000
BLOCKS = SIZE // BLOCK


def spans(blocks):
    """Sorted blocks as runs of bytes."""
    runs = []
    for block in sorted(blocks):
        if runs and runs[-1][1] == block * BLOCK:
            runs[-1][1] += BLOCK
        else:
            runs.append([block * BLOCK, (block + 1) * BLOCK])
    return [tuple(run) for run in runs]


class StoreMachine(RuleBasedStateMachine):
    handles = Bundle("handles")
    leases = Bundle("leases")

    @initialize()
    def start(self):
        logging.disable()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.root = tempfile.mkdtemp(prefix="kithara-test-", dir=memory)
        self.store = AssetStore(f"{self.root}/cache")
        self.model = {key: Entry() for key in KEYS}
        self.live = {}
        self.held = dict.fromkeys(ASSETS, 0)
        self.pinned = set()

    def teardown(self):
        if hasattr(self, "store"):
            self.live.clear()
            self.store.close()
            shutil.rmtree(self.root)
        logging.disable(logging.NOTSET)

    @rule(target=handles, key=st.sampled_from(KEYS))
    def open(self, key):
        resource = self.store.open_streaming(key)
        entry = self.model[key]
        known = self.live.get(key)
        if known is not None:
            assert known is resource
        else:
            entry.here = set(range(BLOCKS)) if entry.whole else set(entry.saved)
        self.live[key] = resource
        assert ("committed" if entry.whole else "active") == resource.status
        assert spans(entry.here) == resource.available_ranges()
        if not entry.whole:
            resource.describe(Validators(total=SIZE, etag='"e"'))
        return resource, key

    def current(self, handle):
        resource, key = handle
        return self.live.get(key) is resource

    @rule(handle=handles, first=st.integers(0, BLOCKS - 1), count=st.integers(1, BLOCKS))
    def write(self, handle, first, count):
        resource, key = handle
        if not self.current(handle) or self.model[key].whole:
            return
        blocks = set(range(first, min(first + count, BLOCKS)))
        start, stop = min(blocks) * BLOCK, (max(blocks) + 1) * BLOCK
        new = resource.write_at(start, CONTENT[key][start:stop])
        assert len(blocks - self.model[key].here) * BLOCK == new
        self.model[key].here |= blocks

    @rule(handle=handles, start=st.integers(0, SIZE), size=st.integers(0, SIZE))
    def read(self, handle, start, size):
        resource, key = handle
        if not self.current(handle):
            return
        buffer = bytearray(size)
        got = resource.read_at(start, buffer)
        run = next((stop for begin, stop in spans(self.model[key].here) if begin <= start < stop), start)
        assert min(size, run - start) == got
        assert CONTENT[key][start : start + got] == buffer[:got]

    @rule(handle=handles, durable=st.booleans())
    def checkpoint(self, handle, durable):
        resource, key = handle
        if self.current(handle) and not self.model[key].whole:
            resource.checkpoint(durable=durable)
            self.model[key].saved = set(self.model[key].here)

    @rule(handle=handles)
    def park(self, handle):
        resource, key = handle
        if self.current(handle) and not self.model[key].whole:
            resource.park()
            self.model[key].saved = set(self.model[key].here)
            assert resource.try_become_writer()

    @rule(handle=handles)
    def commit(self, handle):
        resource, key = handle
        if not self.current(handle):
            return
        entry = self.model[key]
        if len(entry.here) < BLOCKS:
            with pytest.raises(ValueError, match="hole"):
                resource.commit()
        else:
            resource.commit()
            entry.whole = True
            entry.saved = set(entry.here)

    @rule(handle=consumes(handles), how=st.sampled_from(["fail", "cancel", "close", "discard"]))
    def end(self, handle, how):
        resource, key = handle
        if not self.current(handle):
            return
        entry = self.model[key]
        if how == "fail":
            resource.fail(KitharaError("told to"))
        else:
            getattr(resource, how)()
        if entry.whole and how in ("fail", "cancel"):
            return  # the first terminal state stays
        del self.live[key]
        if how == "discard":
            self.model[key] = Entry()
        elif how == "close" and not entry.whole:
            entry.saved = set(entry.here)

    @rule(key=st.sampled_from(KEYS))
    def remove_resource(self, key):
        self.store.remove_resource(key)
        self.live.pop(key, None)
        self.model[key] = Entry()

    @rule(target=handles, key=st.sampled_from(KEYS))
    def supersede(self, key):
        was_whole = self.model[key].whole
        resource = self.store.supersede(key)
        assert [] == resource.available_ranges()
        resource.describe(Validators(total=SIZE, etag='"e"'))
        resource.write_at(0, CONTENT[key])
        resource.commit()
        self.model[key] = Entry()
        self.model[key].here = set(range(BLOCKS))
        self.model[key].whole = True
        self.live[key] = resource
        assert was_whole in (True, False)
        return resource, key

    @rule(asset=st.sampled_from(ASSETS))
    def remove(self, asset):
        self.store.remove(asset)
        self.pinned.discard(asset)
        for key in KEYS:
            if key.asset_root == asset:
                self.live.pop(key, None)
                self.model[key] = Entry()

    @rule(target=leases, asset=st.sampled_from(ASSETS))
    def lease(self, asset):
        self.held[asset] += 1
        return self.store.lease(asset), asset

    @rule(lease=consumes(leases))
    def release(self, lease):
        lock, asset = lease
        if lock.held:
            self.held[asset] -= 1
        lock.release()

    @rule(asset=st.sampled_from(ASSETS), pin=st.booleans())
    def pin(self, asset, pin):
        if pin:
            self.store.pin(asset)
            self.pinned.add(asset)
        else:
            self.store.unpin(asset)
            self.pinned.discard(asset)

    @rule()
    def evict_all(self):
        """With no room at all, everything goes that is neither open, leased nor pinned."""
        with AssetStore(f"{self.root}/cache", 0) as other:
            other.evict()
        open_assets = {key.asset_root for key, resource in self.live.items() if resource is not None}
        for key in KEYS:
            asset = key.asset_root
            if asset not in self.pinned and not self.held[asset] and asset not in open_assets:
                self.model[key] = Entry()

    @rule()
    def reopen(self):
        """A clean end, and a new start. Old handles stay readable, but are of another store."""
        for key, resource in self.live.items():
            if not self.model[key].whole and resource.status == "active":
                self.model[key].saved = set(self.model[key].here)
        self.store.close()
        self.begin_again()

    @rule()
    def crash(self):
        """What was not checkpointed is gone; here the process merely forgets."""
        for resource in self.live.values():
            resource.cancel()  # so that it saves no more
        self.store.close()
        self.begin_again()

    def begin_again(self):
        self.live.clear()
        self.held = dict.fromkeys(ASSETS, 0)
        self.store = AssetStore(f"{self.root}/cache")

    @rule()
    def verify(self):
        for found in self.store.verify():
            key = next(key for key in KEYS if found.path.startswith(key.path))
            assert not self.model[key].saved, found  # only what has no checkpoint is torn
            assert not self.model[key].whole, found

    @invariant()
    def the_index_agrees_with_the_pins(self):
        if hasattr(self, "store"):
            pinned = {str(info.id) for info in self.store.assets() if info.pinned}
            assert self.pinned == pinned


LIMITS = settings(
    max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def test_any_order_of_calls_agrees_with_the_model():
    run_state_machine_as_test(StoreMachine, settings=LIMITS)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_orders_of_calls_agree_with_the_model():
    run_state_machine_as_test(StoreMachine, settings=settings(LIMITS, max_examples=150))
