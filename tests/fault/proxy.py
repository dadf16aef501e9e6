"""A TCP link that can be broken: one listener, one server behind it, a mode that may change at any moment.

    ok          bytes pass
    cut         connections are reset, new ones too
    stall       connections stay and new ones are taken, no byte passes until the mode changes
    deaf        what the client sends arrives, what the server answers does not (until the mode changes)
    slow        every piece is late by `delay` seconds
    trickle     TRICKLE_BYTES a TRICKLE_SECONDS
    half        the connections at hand are half-closed towards the client; new ones pass
"""
import asyncio

TRICKLE_BYTES, TRICKLE_SECONDS = 48, 0.02
PIECE = 65536
MODES = ("cut", "stall", "deaf", "slow", "trickle", "half")


class Link:
    def __init__(self, port):
        self.behind = port
        self.mode, self.delay = "ok", 0.0
        self.changed = asyncio.Event()
        self.connections = set()
        self.server = self.port = None

    async def start(self):
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def set(self, mode, delay=0.0):
        self.mode, self.delay = mode, delay
        self.changed.set()
        self.changed = asyncio.Event()
        for client, server in list(self.connections):
            if mode == "cut":
                _reset(client)
                _reset(server)
            elif mode == "half" and not client.transport.is_closing():
                client.write_eof()

    async def stop(self):
        self.set("cut")
        self.server.close()
        await self.server.wait_closed()

    async def _accept(self, reader, writer):
        if self.mode == "cut":
            _reset(writer)
            return
        try:
            there, to_server = await asyncio.open_connection("127.0.0.1", self.behind)
        except OSError:
            _reset(writer)
            return
        pair = (writer, to_server)
        self.connections.add(pair)
        pumps = [asyncio.ensure_future(self._pump(reader, to_server, False)),
                 asyncio.ensure_future(self._pump(there, writer, True))]
        try:
            await asyncio.wait(pumps)
        finally:
            self.connections.discard(pair)
            for w in pair:
                w.close()

    async def _pump(self, reader, writer, is_answer):
        try:
            while True:
                piece = await reader.read(PIECE)
                if not piece:
                    break
                await self._pass(piece, writer, is_answer)
            if not writer.transport.is_closing():
                writer.write_eof()
        except (OSError, RuntimeError):     # reset, or half-closed by us: nothing passes any more
            _reset(writer)

    async def _pass(self, piece, writer, is_answer):
        while self.mode == "stall" or (self.mode == "deaf" and is_answer):
            await self.changed.wait()
        if self.mode == "slow":
            await asyncio.sleep(self.delay)
        while self.mode == "trickle" and len(piece) > TRICKLE_BYTES:
            writer.write(piece[:TRICKLE_BYTES])
            piece = piece[TRICKLE_BYTES:]
            await asyncio.sleep(TRICKLE_SECONDS)
            _check(writer)
        _check(writer)
        writer.write(piece)
        await writer.drain()


def _check(writer):
    if writer.transport.is_closing():
        raise ConnectionResetError("the other side is gone")


def _reset(writer):
    """Ends a connection with RST, as a broken path or a dead host does."""
    if not writer.transport.is_closing():
        writer.transport.abort()
