"""Between the network and Gradio: the page's own script goes in first, and strangers' names, sites
and floods stay out.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from spf.space import packed_code

from .gpu import CODE, on_space

LOCAL = ("127.0.0.1", "localhost", "[::1]", "testserver")
UPLOADED, WINDOW = 2 << 30, 3600.0
"""Bytes that one address may upload within so many seconds, after which Gradio has deleted them."""
CLOSED = b"This page does not answer under this name; start it with --allow-host to let it."
FOREIGN = b"This page takes nothing that another site sends."
LENGTHLESS = b"An upload must say how long it is."
TOO_MUCH = b"You have uploaded too much within an hour; wait, or choose fewer pictures."


class Front:
    """ASGI middleware. script: put at the start of every page's head, before Gradio's own (its
    `head` comes too late to choose a language). hosts: names under which the page answers, or None
    for any.

    A page on 127.0.0.1 that answered to any name could be read by a web site that points its own
    name there; one that took what other sites send could be filled by them, for a browser sends
    such uploads without asking.
    """

    def __init__(self, app, script: str, hosts: Iterable[str] | None = LOCAL) -> None:
        self.app, self.script = app, script.encode()
        self.hosts = None if hosts is None else {host.lower() for host in hosts}
        self.uploads: dict[str, deque[tuple[float, int]]] = defaultdict(deque)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        if not self._answers_to(headers.get("host", "")):
            return await _refuse(send, 421, CLOSED)
        if scope["method"] == "GET" and scope["path"].endswith(f"/{CODE}"):
            return await _answer(send, 200, packed_code(), b"application/zip")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            if not self._own(headers):
                return await _refuse(send, 403, FOREIGN)
            if scope["path"].rstrip("/").endswith("/upload"):
                length = headers.get("content-length", "")
                host = (scope["client"] or [""])[0]
                asker = visitor(host, headers.get("x-forwarded-for", ""))
                if not length.isdecimal():
                    return await _refuse(send, 411, LENGTHLESS)
                if not self._room_for(int(length), asker):
                    return await _refuse(send, 413, TOO_MUCH)
        await self.app(scope, receive, send if scope["method"] != "GET" else self._scripted(send))

    def _answers_to(self, host: str) -> bool:
        return self.hosts is None or bool({host.lower(), _name(host)} & self.hosts)

    def _own(self, headers: dict[str, str]) -> bool:
        """Whether a request that changes something comes from this page, or from no page at all."""
        origin = headers.get("origin")
        if origin is None:
            return True
        site = urlsplit(origin).netloc.lower()
        own = {headers.get("host", "").lower(), headers.get("x-forwarded-host", "").lower()}
        # an allowed name is one of ours also where a proxy puts its own into Host
        return bool(site) and (
            site in own or (self.hosts is not None and _name(site) in self.hosts)
        )

    def _room_for(self, length: int, visitor: str) -> bool:
        """Counts an upload, unless the visitor's total of the last hour would become too much."""
        now, seen = time.monotonic(), self.uploads[visitor]
        while seen and now - seen[0][0] > WINDOW:
            seen.popleft()
        if sum(size for _, size in seen) + length > UPLOADED:
            return False
        seen.append((now, length))
        for other in [
            name for name, kept in self.uploads.items() if not kept or now - kept[-1][0] > WINDOW
        ]:
            del self.uploads[other]
        return True

    def _scripted(self, send):
        """Puts the script into what is a page of HTML, under whatever path a proxy shows it."""
        start, body = None, b""

        async def rewrite(message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                kinds = dict(message["headers"])
                page = kinds.get(b"content-type", b"").startswith(b"text/html")
                if page and b"content-encoding" not in kinds:
                    start = message
                    return
            elif message["type"] == "http.response.body" and start is not None:
                body += message.get("body", b"")
                if message.get("more_body"):
                    return
                page = body.replace(b"<head>", b"<head>" + self.script, 1)
                kept = [
                    (name, value)
                    for name, value in start["headers"]
                    if name.lower() != b"content-length"
                ]
                length = (b"content-length", str(len(page)).encode())
                await send(start | {"headers": [*kept, length]})
                return await send({"type": "http.response.body", "body": page})
            await send(message)

        return rewrite


def _name(host: str) -> str:
    """A host without its port, in small letters."""
    host = host.lower()
    return host if host.endswith("]") else host.rsplit(":", 1)[0] if ":" in host else host


def visitor(host: str, forwarded: str) -> str:
    """Who asks: the host itself, or behind a proxy on this machine or of a Space the one that its
    x-forwarded-for names. Anybody else could name whom they like.
    """
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = False
    return (forwarded.split(",")[0].strip() or host) if (local or on_space()) else host


async def _refuse(send, status: int, words: bytes) -> None:
    await _answer(send, status, words, b"text/plain")


async def _answer(send, status: int, body: bytes, kind: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
