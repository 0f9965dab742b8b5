"""Gradio's queue so that its visitors cannot break it: few places for each, mailboxes that are
never taken from those who wait, and loops that are started again when they die."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.queueing import Event, Queue

from spf.relied import require, require_fields

from .server import visitor
from .texts import both

log = logging.getLogger(__name__)

PER_SESSION, PER_ADDRESS = 2, 4
"""Places, waiting or at work, that one page and one address may hold among the events that wait for
each other.
"""
FREE_PER_ADDRESS = 40
"""The same among those that wait for nobody, such as a page that is being opened."""
SESSIONS = 2000
"""Mailboxes that are kept."""
RESTART = 0.1
"""Seconds before a loop that died is started again."""


def strengthen(page: gr.Blocks) -> None:
    """Gives a page whose queue is set up the sturdy one. Raises ChangedLibrary where Gradio's is
    not as it was.
    """
    require("queue")
    require("visits")
    require_fields("page", page)
    require_fields("queue", page._queue)
    page._queue.__class__ = SturdyQueue
    page._queue.closed = False
    page._queue.pending_messages_per_session = Mailboxes(page._queue)


def address_of(request: Any) -> str:
    """Who asks, see `server.visitor`."""
    host = request.client.host if request.client else ""
    return visitor(host, request.headers.get("x-forwarded-for", ""))


class Mailboxes(dict):
    """Session -> its messages. The oldest of those for whom nothing is at work make room for new
    ones.
    """

    def __init__(self, queue: SturdyQueue) -> None:
        super().__init__()
        self.queue = queue

    def __setitem__(self, session: str, messages: Any) -> None:
        if session not in self and len(self) >= SESSIONS:
            busy = {event.session_hash for event in self.queue.held()}
            gone = next((name for name in self if name not in busy), None)
            if gone is not None:
                self.queue.forget(gone)
        super().__setitem__(session, messages)


class SturdyQueue(Queue):
    """See the module. closed: whether the server is being shut down, so that nothing is started
    again.
    """

    closed: bool = False

    def held(self) -> Iterator[Event]:
        """Everything that waits or is at work."""
        for waiting in list(self.event_queue_per_concurrency_id.values()):
            yield from list(waiting.queue)
        for events in list(self.active_jobs):
            yield from events or ()

    def forget(self, session: str) -> None:
        """Drops what is kept for a session."""
        self.pending_messages_per_session.pop(session, None)
        for event in self.pending_event_ids_session.pop(session, ()):
            self.event_ids_to_events.pop(event, None)

    async def push(self, body, request, username):
        if refusal := self._refusal(body, request):
            return False, refusal, "queue_full"
        done, told, state = await super().push(body, request, username)
        if state == "queue_full":
            told = both("busy.queue", n=len(self))
        return done, told, state

    def _refusal(self, body, request) -> dict[str, str]:
        """Why there is no place for one more event, in every language; empty where there is.

        Gradio's browser and client have words of their own for it; common.js puts these in their
        place.
        """
        fn = self.blocks.fns.get(body.fn_index)
        if fn is None:
            return {}  # Gradio says so
        scarce = fn.concurrency_limit is not None
        alike = [
            event for event in self.held() if (event.fn.concurrency_limit is not None) == scarce
        ]
        session = sum(event.session_hash == body.session_hash for event in alike)
        address = address_of(request)
        near = sum(address_of(event.request) == address for event in alike)
        most = PER_ADDRESS if scarce else FREE_PER_ADDRESS
        if scarce and session >= PER_SESSION:
            return both("busy.page", n=session)
        if near >= most:
            return both("busy.address", n=near)
        return {}

    def send_message(self, event, event_message) -> None:
        if event.session_hash in self.pending_messages_per_session:
            super().send_message(event, event_message)

    async def start_processing(self) -> None:
        await self._kept_alive(super().start_processing)

    async def start_progress_updates(self) -> None:
        await self._kept_alive(super().start_progress_updates)

    async def notify_clients(self) -> None:
        await self._kept_alive(super().notify_clients)

    async def _kept_alive(self, loop) -> None:
        """Runs one of the queue's loops until the server closes, also after it died."""
        while not self.closed:
            try:
                await loop()
            except Exception:
                log.exception("A loop of the queue died and is started again.")
            if self.closed:
                return
            await asyncio.sleep(RESTART)
            self.stopped = False

    def close(self) -> None:
        self.closed = True
        super().close()
