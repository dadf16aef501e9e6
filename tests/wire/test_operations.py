"""What operators touch: admin port, exit codes, check, environment, reload, starting before the servers."""
import json
import os
import signal
import subprocess

from stack import BIN, SLOW, Process, free_ports, wait_for
from wecom import Bot, request, verify_url


def run(program, *args, env=None):
    done = subprocess.run([BIN / program, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30,
                          stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    return done.returncode, done.stdout.decode()


def test_admin_port(stack):
    for port in stack.admin_ports + stack.worker_ports:
        assert request(port, "GET", "/livez").status == 200
        assert request(port, "GET", "/readyz").status == 200
        metrics = request(port, "GET", "/metrics")
        assert metrics.status == 200 and b"# TYPE botbridge_" in metrics.body
        assert request(port, "GET", "/nothing").status == 404
    for port in stack.ports:
        assert request(port, "GET", "/metrics").status == 404, "operations are not for the public port"


def test_exit_codes_and_check(stack):
    good = stack.config()
    for program in ("botbridge-ingress", "botbridge-worker", "botbridge"):
        code, out = run(program)
        assert code == 64 and "usage" in out.lower()
        if program != "botbridge":
            code, out = run(program, "--help")
            assert code == 0 and "usage" in out.lower()
    bad = json.loads(json.dumps(good))
    bad["bots"][1]["aes_key"] = bad["bots"][1]["aes_key"][:42]
    bad["ingress"]["listne"] = "x"
    path = stack.write_config("bad", 0, bad)
    for program, args in (("botbridge-ingress", ("--config", path)), ("botbridge-worker", ("--config", path)), ("botbridge", ("check", path))):
        code, out = run(program, *args, env=stack.env)
        assert code == 78, (program, out)
        assert "bots[1].aes_key: 43 characters expected, 42 given" in out and "ingress.listne" in out
        assert bad["bots"][1]["aes_key"] not in out
    code, out = run("botbridge", "check", stack.config_file(), env=stack.env)
    assert code == 0, out
    code, out = run("botbridge", "check", stack.config_file())
    assert code == 78 and "LLM_URL" in out
    code, out = run("botbridge", "config", "dump", stack.config_file(), env=stack.env)
    assert code == 0 and stack.bot.aes_key not in out and stack.bot.token not in out and stack.llm_key not in out


def test_address_in_use(stack):
    """The other one may end: 75, and the message names the address."""
    for program, taken in (("ingress", stack.ports[0]), ("worker", stack.worker_ports[0])):
        key = {"ingress": "BOTBRIDGE_INGRESS_LISTEN", "worker": "BOTBRIDGE_WORKER_ADMIN"}[program]
        code, out = run(f"botbridge-{program}", "--config", stack.config_file(), env={**stack.env, key: f"127.0.0.1:{taken}"})
        assert code == 75 and f"127.0.0.1:{taken}: address in use" in out, out


def test_environment_overrides_the_file(stack):
    listen, admin = free_ports(2)
    p = Process("ingress-env", stack.ingresses[0].argv, stack.dir, r"(?m)^ready\b",
                {**stack.env, "BOTBRIDGE_INGRESS_LISTEN": f"127.0.0.1:{listen}", "BOTBRIDGE_INGRESS_ADMIN": f"127.0.0.1:{admin}"})
    p.start()
    assert verify_url(stack.bot, listen).status == 200
    assert p.terminate(15) == 0


def test_reload(stack):
    late, port = Bot("late"), stack.ports[0]
    config = stack.config()
    config["bots"].append(late.config())
    ingress = stack.ingresses[0]
    assert verify_url(late, port).status == 404
    try:
        stack.write_config(config=config)
        ingress.signal(signal.SIGHUP)
        wait_for("the new bot", lambda: verify_url(late, port).status == 200)
        for broken in ("{", json.dumps({**config, "bots": [{"name": "main", "platform": "wecom"}]})):
            before = ingress.output().count("reload_refused")
            stack.config_file().write_text(broken)
            ingress.signal(signal.SIGHUP)
            wait_for("the refused reload in the log", lambda: ingress.output().count("reload_refused") > before)
            assert verify_url(late, port).status == 200 and verify_url(stack.bot, port).status == 200
    finally:
        stack.write_config()
        ingress.signal(signal.SIGHUP)
    wait_for("the bot taken out again", lambda: verify_url(late, port).status == 404)


def test_started_before_the_servers(make_stack, kafka, ask):
    """Both programs up first, with nothing to talk to; the URL check works, readiness tells the reason, then all heals."""
    s = make_stack(kafka, workers=1)
    for p in s.programs:
        assert p.terminate() == 0
    s.redis.process.kill()
    nowhere = free_ports(1)[0]
    s.settings = {"kafka": {"bootstrap.servers": f"127.0.0.1:{nowhere}"}}
    s.write_config("ingress")
    s.ingresses[0].start(wait=False)
    wait_for("the URL check", lambda: _status(lambda: verify_url(s.bot, s.ports[0]).status) == 200)
    ready = request(s.admin_ports[0], "GET", "/readyz")
    assert ready.status == 503 and ready.body
    assert request(s.admin_ports[0], "GET", "/livez").status == 200
    s.ingresses[0].kill()
    s.settings = {}
    s.write_config("ingress")
    for p in s.programs:        # Kafka is there, the store is not
        p.start()
    q = ask(s)
    assert not q.send()["finish"]
    s.redis.start()
    assert q.follow(40).final == q.expected


def test_drain_and_second_signal(kafka, make_stack, ask):
    """SIGTERM: ready no more, what runs is finished, exit 0. A second one ends at once, with 75."""
    s = make_stack(kafka)
    q = ask(s, directives="tokens=30 rate=10")
    q.send()
    q.follow(20, until=lambda text: text != s.bot.placeholder)
    s.workers[0].signal(signal.SIGTERM)
    wait_for("the worker to be unready", lambda: _status(lambda: request(s.worker_ports[0], "GET", "/readyz").status) != 200)
    assert q.follow(30).final == q.expected
    assert s.workers[0].popen.wait(40) == 0
    worker = s.workers[0].start()
    busy = ask(s, directives="tokens=600 rate=10")
    busy.send()
    busy.follow(20 * SLOW, until=lambda text: text != s.bot.placeholder)
    worker.signal(signal.SIGTERM)
    wait_for("the worker to drain", lambda: _status(lambda: request(s.worker_ports[0], "GET", "/readyz").status) == 503)
    worker.signal(signal.SIGTERM)
    assert worker.popen.wait(10) == 75, "it waited for the answer"
    worker.popen = None
    ingress = s.ingresses[0]
    ingress.signal(signal.SIGTERM)
    wait_for("the ingress to be unready", lambda: _status(lambda: request(s.admin_ports[0], "GET", "/readyz").status) == 503)
    assert verify_url(s.bot, s.ports[0]).status == 200, "still serves while the balancer takes it out"
    ingress.signal(signal.SIGTERM)
    assert ingress.popen.wait(10) == 75
    ingress.popen = None


def _status(call):
    try:
        return call()
    except OSError:
        return None
