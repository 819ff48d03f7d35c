"""One private event loop in one thread, on which all filling of a process runs, whichever face asked for it.

Synchronous calls hand it coroutines and wait; asynchronous ones await the same. The thread is a daemon that ends before
the interpreter does: sessions are closed, so that what was fetched is kept.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine

# Imported here although the loop would do it: its own exit hook, which refuses new work, must be registered before
# ours, for hooks run in reverse and what we do last is save.
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .errors import WouldDeadlock, WriterGone

T = TypeVar("T")

CLOSING_TIME = 0.8
"""Seconds that sessions have to end when the portal closes; an exiting process must not hang on a dead server."""

WORKERS = 4
"""Threads for what waits for the disk."""


class Portal:
    """An event loop in a daemon thread. Thread-safe.

    Attributes:
        loop: The loop; nobody but the portal may stop it.
        thread: ``threading.get_ident()`` of its thread.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self.loop.set_default_executor(ThreadPoolExecutor(WORKERS, thread_name_prefix="kithara-disk"))
        self._closers: dict[object, Callable[[], Awaitable[object]]] = {}
        self._ready = threading.Event()
        self._closed = False
        self.thread: int = 0
        self._runner = threading.Thread(target=self._run, name="kithara-portal", daemon=True)
        self._runner.start()
        self._ready.wait()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.thread = threading.get_ident()
        self._ready.set()
        try:
            self.loop.run_forever()
        finally:
            _cancel_all(self.loop)
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()  # the workers end by themselves; one that hangs in a file call must not hold us up

    @property
    def here(self) -> bool:
        """Whether the calling thread is the portal's own."""
        return threading.get_ident() == self.thread

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* on the loop and wait for its result. Ctrl-C ends the wait and cancels it.

        Raises:
            WouldDeadlock: called in the portal's own thread.
            WriterGone: the portal is closed.
        """
        if self.here:
            coroutine.close()
            raise WouldDeadlock("a synchronous call inside the portal's own thread would wait for itself")
        future = self.submit(coroutine)
        try:
            return future.result()
        except concurrent.futures.CancelledError as exc:
            raise WriterGone("the portal was closed meanwhile") from exc
        except BaseException:
            future.cancel()
            raise

    async def arun(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* on the portal's loop from a task of any loop."""
        if self.here:
            return await coroutine
        return await asyncio.wrap_future(self.submit(coroutine))

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start *coroutine* on the loop."""
        if self._closed:
            coroutine.close()
            raise WriterGone("the portal is closed: the interpreter is shutting down")
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def call(self, callback: Callable[..., object], *args: Any) -> None:
        """Call *callback* on the loop soon; nothing happens once the portal is closed."""
        if not self._closed:
            self.loop.call_soon_threadsafe(callback, *args)

    def at_close(self, key: object, close: Callable[[], Awaitable[object]]) -> None:
        """Await ``close()`` before the loop ends. Called on the loop."""
        self._closers[key] = close

    def forget(self, key: object) -> None:
        """Take back an `at_close`."""
        self._closers.pop(key, None)

    def close(self) -> None:
        """Close what is open, then end the loop and its thread. May be repeated."""
        if self._closed:
            return
        self._closed = True
        if not self.here:
            ending = asyncio.run_coroutine_threadsafe(self._close_all(), self.loop)
            concurrent.futures.wait([ending], timeout=CLOSING_TIME)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._runner.join(timeout=CLOSING_TIME)

    async def _close_all(self) -> None:
        closers = list(self._closers.values())
        self._closers.clear()
        await asyncio.gather(*(close() for close in closers), return_exceptions=True)


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


_lock = threading.Lock()
_portal: Portal | None = None
_inherited: list[Portal] = []


def portal() -> Portal:
    """The portal of this process, started when first needed. A forked child gets its own."""
    global _portal
    with _lock:
        if _portal is None or _portal.closed:
            _portal = Portal()
        return _portal


def _close_at_exit() -> None:
    if _portal is not None:
        _portal.close()


def _after_fork_in_child() -> None:
    global _lock, _portal
    _lock = threading.Lock()
    if _portal is not None:
        # Its thread is not here, and handles opened before the fork find it closed. Its loop must not be collected:
        # closing its sockets would take them out of the parent's epoll.
        _portal._closed = True
        _inherited.append(_portal)
    _portal = None


os.register_at_fork(after_in_child=_after_fork_in_child)
# atexit comes only after non-daemon threads were joined, and one of them may be reading through the portal.
_register = getattr(threading, "_register_atexit", None)
if _register is not None:
    _register(_close_at_exit)
