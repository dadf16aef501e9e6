"""GET /wecom/{bot}: the console's check of the URL."""
import json
from pathlib import Path
from urllib.parse import urlencode

from stack import ROOT, Stack
from wecom import Bot, request, verify_url


def test_echo_is_the_bare_plaintext(stack):
    for text in ("1616140317555161061", "7" * 23, "中文 +/="):
        for port in stack.ports:
            reply = verify_url(stack.bot, port, text)
            assert (reply.status, reply.body) == (200, text.encode())
            assert reply.seconds < 1


def test_plus_and_slash_survive_both_spellings_of_percent_encoding(stack):
    seen = set()
    while not {"+", "/"} <= seen:
        echostr = stack.bot.encrypt("4711")
        seen |= set(echostr)
        nonce = "a+b/c="
        query = urlencode({"msg_signature": stack.bot.sign("1770000000", nonce, echostr), "timestamp": "1770000000", "nonce": nonce,
                           "echostr": echostr})
        for spelling in (query, query.replace("%2B", "%2b").replace("%2F", "/")):
            assert request(stack.ports[0], "GET", f"{stack.bot.path}?{spelling}").body == b"4711"


def test_needs_neither_store_nor_kafka(kafka, make_stack):
    s = make_stack(kafka, workers=0)
    s.redis.process.kill()
    reply = verify_url(s.bot, s.ports[0])
    assert reply.status == 200 and reply.seconds < 1


def test_known_answers_of_the_platform(kafka, make_stack):
    """Every vector is a bot of its own; its ciphertext as echostr gives its plaintext, or one and the same refusal."""
    vectors = json.loads((Path(ROOT) / "tests/vectors/wecom-crypt.json").read_text())
    good = [v for v in vectors["vectors"] if v["encrypt"] and v["receive_id"] is not None]
    bots = {v["id"]: Bot("v-" + v["id"], v["token"], v["encoding_aes_key"], v["receive_id"]) for v in good + vectors["negative"] if v["encrypt"]}
    s = make_stack(kafka, workers=0, bots=list(bots.values()))

    def get(v, signature=None):
        timestamp, nonce = v["timestamp"] or "1770000000", v["nonce"] or "n"
        signature = bots[v["id"]].sign(timestamp, nonce, v["encrypt"]) if signature is None else signature
        query = urlencode({"msg_signature": signature, "timestamp": timestamp, "nonce": nonce, "echostr": v["encrypt"]})
        return request(s.ports[0], "GET", f"{bots[v['id']].path}?{query}")
    for v in good:
        assert get(v, v["msg_signature"]).body == v["msg"].encode(), v["id"]
    refusals = set()
    for v in vectors["negative"]:
        if v["encrypt"]:
            reply = get(v, v["msg_signature"])
            assert reply.status == 401, v["id"]
            refusals.add((reply.status, reply.body))
    assert len(refusals) == 1, "a decrypt failure can be told from a signature failure"
    assert isinstance(s, Stack)
