"""Between the network and Gradio: the page's own script goes in first, and strangers' host names stay out."""

from __future__ import annotations

from collections.abc import Iterable

LOCAL = ("127.0.0.1", "localhost", "[::1]", "testserver")


class Front:
    """ASGI middleware. script: put at the start of the page's head, before Gradio's own (its `head` comes too late to
    choose a language). hosts: names under which the page answers, or None for any.

    A page on 127.0.0.1 that answered to any name could be read by a web site that points its own name there.
    """

    def __init__(self, app, script: str, hosts: Iterable[str] | None = LOCAL) -> None:
        self.app, self.script, self.hosts = app, script.encode(), hosts and set(hosts)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        host = next(
            (value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), ""
        )
        if self.hosts and host.rsplit(":", 1)[0] not in self.hosts and host not in self.hosts:
            await send(
                {
                    "type": "http.response.start",
                    "status": 421,
                    "headers": [(b"content-type", b"text/plain")],
                }
            )
            return await send(
                {"type": "http.response.body", "body": b"This page answers on 127.0.0.1 only."}
            )
        if scope["path"] not in ("", "/"):
            return await self.app(scope, receive, send)
        start, body = {}, b""

        async def rewrite(message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            page = body.replace(b"<head>", b"<head>" + self.script, 1)
            headers = [
                (name, value)
                for name, value in start["headers"]
                if name.lower() != b"content-length"
            ]
            await send(
                start | {"headers": [*headers, (b"content-length", str(len(page)).encode())]}
            )
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, rewrite)
