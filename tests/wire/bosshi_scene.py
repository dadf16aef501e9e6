"""A stack whose bot is on BOSSHI, and questions to it."""
import json
import secrets

from bosshi import Bosshi
from stack import SLOW, Stack, wait_for


class Asked(dict):
    """What Bosshi.ask() tells, with `.text` and `.expected`."""


class Scene:
    def __init__(self, kafka, directory, bot=None, platform=None, **stack):
        self.platform = Bosshi(directory, **{"clock_scale": 150, **(platform or {})}).start()
        self.stack = Stack(kafka, bots=[self.platform], bot_settings={"update_interval_ms": 300, **(bot or {})}, **stack)

    def start(self):
        self.stack.start()
        self.platform.settings(url=f"http://127.0.0.1:{self.stack.ports[0]}{self.platform.path}")
        return self

    def close(self):
        """What went wrong on the way."""
        wrong = self.stack.close()
        self.platform.stop()
        return wrong

    def ask(self, directives="", text="你好", **members):
        """One question with a unique text, of a user of its own; the LLM's directives are in it."""
        unique = self.stack.note_text("q" + secrets.token_hex(6))
        full = f"{text} {unique}" + (f" {{{directives}}}" if directives else "")
        asked = Asked(self.platform.ask(full, **{"open_id": "ou_" + secrets.token_hex(8), **members}))
        asked.text, asked.expected = full, self.stack.llm.answer(full)
        if len(asked.expected) > 40:
            self.stack.note_text(asked.expected[:24])
        return asked

    def events_of(self, asked, seconds=30):
        found = self.stack.records("events", lambda r: asked["event_id"] in r["payload"], seconds * SLOW)
        return [json.loads(r["payload"]) for r in found if asked["event_id"] in r["payload"]]

    def dead_of(self, asked):
        return [r["headers"] for r in self.stack.records("dlq") if asked["event_id"] in r["payload"]]

    def settled(self, asked, seconds=30):
        """Waits until the worker is done with it: its event is written; which is returned."""
        events = self.events_of(asked, seconds)
        assert len(events) == 1
        return events[0]

    def runs_of(self, asked):
        return self.stack.llm.calls(asked.text)
