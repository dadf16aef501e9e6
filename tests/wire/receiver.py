"""What stands behind a response_url: takes the first use of each code and refuses the second, as the platform does. Checks
each call as strictly as the documents allow; what was wrong is in .wrong."""
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LIMIT = 20480


class Receiver:
    def __init__(self, port=0):
        self.calls, self.accepted, self.modes, self.wrong = [], {}, {}, []
        self.lock, self.released = threading.Lock(), threading.Event()
        self.server, self.port = None, port

    def start(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                receiver._take(self)

            def log_message(self, *args):
                pass
        ThreadingHTTPServer.allow_reuse_address = True
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self):
        self.released.set()
        if self.server:
            self.server.shutdown()
            self.server.server_close()

    def code(self, mode="ok"):
        code = "rc" + secrets.token_hex(16)
        self.modes[code] = mode
        return code

    def url(self, code):
        return f"http://127.0.0.1:{self.port}/cgi-bin/aibot/response?response_code={code}"

    def uses(self, code):
        """Bodies' contents in the order of arrival, accepted or not."""
        return [content for c, content, _ in self.calls if c == code]

    def times(self, code):
        return [t for c, _, t in self.calls if c == code]

    def texts(self, code):
        """What the user got."""
        return self.accepted.get(code, [])

    def _check(self, request, body):
        if request.headers.get("Content-Type") != "application/json":
            self.wrong.append(f"Content-Type {request.headers.get('Content-Type')}")
        message = json.loads(body.decode())
        if set(message) != {"msgtype", "markdown"} or message["msgtype"] != "markdown" or set(message["markdown"]) != {"content"}:
            self.wrong.append(f"body has members {sorted(message)}")
        content = message["markdown"]["content"]
        if not 0 < len(content.encode()) <= LIMIT or "\ufffd" in content:
            self.wrong.append(f"content of {len(content.encode())} bytes")
        return content

    def _take(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        code = parse_qs(urlsplit(request.path).query).get("response_code", [""])[0]
        mode = self.modes.get(code, "unknown")
        content = self._check(request, body)
        with self.lock:
            is_first = code not in self.accepted
            self.calls.append((code, content, time.monotonic()))
            takes = is_first and mode in ("ok", "hang", "cut", "500")
            if takes:
                self.accepted.setdefault(code, []).append(content)
        if mode == "hang" and takes:
            self.released.wait(60)
            return
        if mode == "cut" and takes:
            request.connection.close()
            return
        answer = json.dumps({"errcode": 0 if takes else 45033, "errmsg": "ok" if takes else "used"}).encode()
        request.send_response(500 if mode == "500" else 404 if mode == "unknown" else 200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)
