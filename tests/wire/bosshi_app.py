"""The platform's side of BOSSHI's callbacks: an implementation of its own, so that the C codec is never checked against itself;
its secrets, ids and spellings are the dossier's forms."""
import base64
import hashlib
import json
import os
import secrets
import time

from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from wecom import request


class App:
    """One app as the console knows it, and what the platform pushes for it."""

    def __init__(self, name, encrypt_key=None, **settings):
        self.name, self.encrypt_key, self.settings = name, encrypt_key, settings
        self.app_id = "bli_" + secrets.token_hex(8)
        self.app_secret, self.verification_token = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self.token, self.aes_key = self.verification_token, self.app_secret     # secrets that no log may hold

    def config(self, **more):
        key = {"encrypt_key": self.encrypt_key} if self.encrypt_key else {}
        return {"name": self.name, "platform": "bosshi", "pipeline": "main", "app_id": self.app_id, "app_secret": self.app_secret,
                "verification_token": self.verification_token, "api_base": "http://127.0.0.1:9", **key, **self.settings, **more}

    def seal(self, plain, key=None):
        plain = plain.encode() if isinstance(plain, str) else plain
        pad = 16 - len(plain) % 16
        iv = os.urandom(16)
        enc = Cipher(algorithms.AES(hashlib.sha256((key or self.encrypt_key).encode()).digest()), modes.CBC(iv), default_backend()).encryptor()
        return json.dumps({"encrypt": base64.b64encode(iv + enc.update(plain + bytes([pad]) * pad) + enc.finalize()).decode()}).encode()

    def body(self, obj):
        plain = obj if isinstance(obj, (str, bytes)) else json.dumps(obj, ensure_ascii=False)
        return self.seal(plain) if self.encrypt_key else plain if isinstance(plain, bytes) else plain.encode()

    def event(self, text="你好", user=None, **changes):
        """An event; changes: header=…, sender=…, message=… are merged, None takes a member out."""
        e = {"schema": "1.0",
             "header": {"event_id": secrets.token_hex(16), "event_type": "im.message.receive", "create_time": str(int(time.time() * 1000)),
                        "token": self.verification_token, "app_id": self.app_id, "tenant_key": "2ca1d211f64f6438"},
             "event": {"sender": {"sender_id": {"union_id": "on_8ed6aa67826108097d9ee143816345", "open_id": user or "ou_84aad35d084aa403a838cf73ee18467"},
                                  "sender_type": "user", "tenant_key": "736588c9260f175e~"},
                       "message": {"message_id": secrets.token_hex(15) + "~", "create_time": str(int(time.time() * 1000)),
                                   "chat_id": secrets.token_hex(11) + "~", "chat_type": "p2p", "message_type": "text",
                                   "content": json.dumps({"text": text}, ensure_ascii=False)}}}
        for place, members in (("header", e["header"]), ("sender", e["event"]["sender"]), ("message", e["event"]["message"])):
            members.update(changes.get(place, {}))
            for key in [k for k, v in members.items() if v is None]:
                del members[key]
        return e

    def challenge(self, **changes):
        return {"challenge": 'ajls384k"\n\u4f60', "token": self.verification_token, "type": "url_verification", **changes}

    def id_of(self, event):
        return f"{self.app_id}:{event['header']['event_id']}"

    def push(self, port, obj, path="", headers=None, timeout=8.0):
        body = obj if isinstance(obj, bytes) else self.body(obj)
        return request(port, "POST", f"/bosshi/{self.name}{path}", body, {"Content-Type": "application/json", **(headers or {})}, timeout)
