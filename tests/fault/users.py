"""WeCom's users: they ask, the platform delivers (again after a time-out or anything but 200, up to three times, 5 s apart)
and polls about once a second until the bubble ends. Ingresses stand behind a balancer that goes on to the next one when a
connection is refused, and only then."""
import asyncio
import json
import random
import secrets

import wecom
from history import Event, Question
from proxy import Link

HANGS_UP_S, REPEAT_S, DELIVERIES = 5.0, 5.0, 3
POLL_S = 1.0
LOOKS_AFTER_END = 3
# (weight, directives beside tokens and rate)
KINDS = ((80, ""), (4, "fail=500x1"), (3, "fail=503x9"), (3, "cut=9"), (2, "junk=7"), (2, "hang=8"), (3, "delay=2500"), (3, "done=0"))


async def http_post(port, target, body):
    """(status, body) of one request on a new connection; ConnectionRefusedError, OSError, or asyncio.TimeoutError."""
    async def go():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"POST {target} HTTP/1.1\r\nHost: bot\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                         "Connection: close\r\n\r\n".encode() + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            lengths = [int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:")]
            return int(head[0].split()[1]), await reader.readexactly(lengths[0] if lengths else 0)
        except asyncio.IncompleteReadError as e:
            raise ConnectionResetError("closed before the answer") from e
        finally:
            writer.close()
    return await asyncio.wait_for(go(), HANGS_UP_S)


class Users:
    def __init__(self, world, history, clock, seed, receiver):
        self.world, self.history, self.clock, self.receiver = world, history, clock, receiver
        self.bot = world.bot
        self.rng = random.Random(f"users {seed}")
        self.is_over = False
        self.tasks = set()
        self.live = 0       # bubbles open

    # --- the platform ---

    async def _exchange(self, q, kind, obj):
        """One callback by way of the balancer; the event is noted."""
        first = self.rng.randrange(len(self.world.ports))
        for turn in range(len(self.world.ports)):
            i = (first + turn) % len(self.world.ports)
            target, body, nonce = self.bot.callback(obj)
            sent = self.clock()
            event = Event(kind, sent, sent, i, "shown")
            try:
                status, reply = await http_post(self.world.ports[i], target, body)
                if status != 200:
                    event.outcome, event.detail = "status", str(status)
                else:
                    stream = wecom.stream_of(self.bot.open_reply(reply, nonce))
                    event.finish, event.content = stream["finish"], stream["content"]
                    if stream["id"] != q.stream:
                        event.outcome, event.detail = "broken", f"stream {stream['id']}"
            except ConnectionRefusedError:
                event.outcome = "refused"
            except OSError as e:
                event.outcome, event.detail = "reset", str(e)
            except asyncio.TimeoutError:
                event.outcome = "timeout"
            except (wecom.Broken, ValueError, KeyError) as e:
                event.outcome, event.detail = "broken", repr(e)
            event.got = self.clock()
            q.events.append(event)
            if event.outcome != "refused":
                break
        return event

    async def _ask(self, q, common):
        """True: a bubble is open."""
        message = {"msgid": q.msgid, **common, "msgtype": "text", "text": {"content": q.text}}
        if q.response_code:
            message["response_url"] = self.receiver.url(q.response_code)
        for delivery in range(DELIVERIES):
            begin = self.clock()
            event = await self._exchange(q, "send", message)
            if event.is_shown:
                return True
            if delivery + 1 < DELIVERIES:
                await asyncio.sleep(max(0.0, begin + REPEAT_S - self.clock()))
        return False

    async def _bubble(self, q, common):
        self.live += 1
        try:
            looks = LOOKS_AFTER_END
            while looks > 0:
                await asyncio.sleep(POLL_S * self.rng.uniform(0.8, 1.2))
                await self.poll(q, common)
                if q.end:
                    looks -= 1
                elif self.clock() > q.asked + 4 * self.history.settings["deadline"]:
                    return      # check.py calls this endless
        finally:
            self.live -= 1

    async def poll(self, q, common):
        await self._exchange(q, "poll", {"msgid": secrets.token_hex(16), **common, "msgtype": "stream", "stream": {"id": q.stream}})

    # --- the users ---

    def _question(self, user):
        number = len(self.history.questions)
        tokens, rate = self.rng.randrange(12, 90), self.rng.choice((8, 12, 20, 40))
        more = self.rng.choices([k for _, k in KINDS], [w for w, _ in KINDS])[0]
        if self.rng.random() < 0.6:
            more = f"{more} vary=1".strip()
        unique = f"q{number:05d}x" + secrets.token_hex(5)
        self.world.note_text(unique)
        text = f"问题 {unique} {{tokens={tokens} rate={rate}{' ' + more if more else ''}}}"
        msgid = secrets.token_hex(16)
        q = Question(number, user, text, tokens, wecom.stream_id(self.bot.name, msgid),
                     dict(p.split("=") for p in more.split()), msgid=msgid)
        if self.rng.random() < 0.5:
            q.response_code = self.world.note_text(secrets.token_hex(12))
        self.history.questions.append(q)
        return q

    async def _user(self, name):
        """Asks, mostly waits for the end, sometimes asks on."""
        chat = f"chat-{name[-1]}" if self.rng.random() < 0.25 else None
        common = {"aibotid": "aib1", "chattype": "group" if chat else "single", "from": {"userid": name}}
        if chat:
            common["chatid"] = chat
        await asyncio.sleep(self.rng.uniform(0, 4))
        while not self.is_over:
            bubbles = []
            for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
                if self.is_over:
                    break
                q = self._question(name)
                if await self._ask(q, common):
                    bubbles.append(asyncio.ensure_future(self._bubble(q, common)))
                await asyncio.sleep(self.rng.uniform(0.05, 1.0))
            if bubbles:
                await asyncio.wait(bubbles)
                for b in bubbles:
                    b.result()
            await asyncio.sleep(self.rng.uniform(0.1, 2.0))

    def start(self, count):
        for i in range(count):
            self.tasks.add(asyncio.ensure_future(self._user(f"user{i:03d}")))

    async def finish(self):
        """No further questions; returns when every bubble has ended or will not."""
        self.is_over = True
        done, _ = await asyncio.wait(self.tasks)
        for task in done:
            task.result()


class Receiver:
    """What stands behind a response_url: takes the first use of each code and refuses the next, as the platform does."""

    def __init__(self, history, clock):
        self.history, self.clock, self.used = history, clock, set()

    async def start(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.link = await Link(self.server.sockets[0].getsockname()[1]).start()
        return self

    async def stop(self):
        await self.link.stop()
        self.server.close()

    def url(self, code):
        return f"http://127.0.0.1:{self.link.port}/cgi-bin/aibot/response?response_code={code}"

    async def _serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                size = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0)
                text = json.loads(await reader.readexactly(size))["markdown"]["content"]
                code = head.split("response_code=")[1].split()[0]
                is_first = code not in self.used
                self.used.add(code)
                self.history.deliveries.append((code, is_first, self.clock(), text))
                reply = json.dumps({"errcode": 0 if is_first else 45033, "errmsg": "ok" if is_first else "used"}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        except (OSError, ValueError, KeyError, IndexError) as e:
            self.history.accidents.append(f"a call to response_url was malformed: {e!r}") if not isinstance(e, OSError) else None
        finally:
            writer.close()
