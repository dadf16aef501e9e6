"""What BOSSHI pushes, over the real programs, Kafka and Redis."""
import base64
import concurrent.futures
import hashlib
import json
import secrets
import time

import pytest
from bosshi_app import App
from stack import BIN, ROOT, SLOW, Process, Stack, free_ports, serving, wait_for
from test_http import raw
from wecom import Bot, request, stream_id

SEED = (ROOT / "tests" / "vectors" / "bosshi-message-event.json").read_text()
SECOND = 1.0 * SLOW
pytestmark = pytest.mark.xdist_group("bosshi_inbound")     # the last test reads what the others were counted as
BUDGET = {"ingress": {"bosshi_budget_ms": 700 * SLOW}}
NO_API = {**BUDGET, "worker": {"drain_ms": 1000}}     # answers that nobody takes are not waited for at the end


PLAIN = App("plain")
SEALED = App("sealed", encrypt_key=secrets.token_urlsafe(18))
SIGNED = App("signed", encrypt_key=secrets.token_urlsafe(18), check_signature=True, nonce_header="X-Hi-Nonce")
KNOWN = App("known", bot_open_id="ou_bot", bot_names=["小助手"], sender_id="user_id", conversation="thread", event_types=["im.message.receive", "x.y"])
EACH = App("each", conversation="chat_user", sender_id="union_id")
CARDS_SIGNED = App("cards-signed", encrypt_key=secrets.token_urlsafe(18), card_proof="signature")
CARDS_OPEN = App("cards-open", encrypt_key=secrets.token_urlsafe(18), card_proof="none")
SEEDS = App("seed")
SEEDS.app_id, SEEDS.verification_token = "bli_9f5343c580712544", "rvaYgkND1GOiu5MM0E1rncYC6PLtF7JV"
SEEDS.token = SEEDS.verification_token
APPS = [PLAIN, SEALED, SIGNED, KNOWN, EACH, SEEDS, CARDS_SIGNED, CARDS_OPEN]


@pytest.fixture(scope="module")
def inbound(kafka):
    """One ingress, no worker: records stay where they were put."""
    s = Stack(kafka, workers=0, bots=APPS + [Bot("wecom")], settings=BUDGET, partitions=2)
    with serving(s):
        yield s


def taken(reply):
    assert (reply.status, reply.body) == (200, b"{}"), reply.body
    assert reply.headers["content-type"] == "application/json"
    assert reply.seconds < SECOND


def with_id(app, event):
    return lambda r: r["headers"]["ce_id"] == app.id_of(event)


def record_of(s, app, event, topic="requests"):
    found = s.records(topic, with_id(app, event))
    assert len(found) == 1
    return found[0], json.loads(found[0]["payload"])


def push_and_read(s, app, event, topic="requests"):
    taken(app.push(s.ports[0], event))
    return record_of(s, app, event, topic)


# --- the URL check ---

@pytest.mark.parametrize("app", [PLAIN, SEALED, SIGNED], ids=lambda a: a.name)
@pytest.mark.parametrize("path", ["", "/card"])
def test_challenge(inbound, app, path):
    reply = app.push(inbound.ports[0], app.challenge(), path)
    assert reply.status == 200 and json.loads(reply.body) == {"challenge": app.challenge()["challenge"]}
    assert reply.headers["content-type"] == "application/json"
    wrong = app.push(inbound.ports[0], app.challenge(token="wrong"), path)
    assert wrong.status == 401 and b"ajls" not in wrong.body


def test_challenge_needs_neither_kafka_nor_store(tmp_path):
    port, admin = free_ports(2)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({
        "ingress": {"listen": f"127.0.0.1:{port}", "admin": f"127.0.0.1:{admin}"},
        "kafka": {"bootstrap.servers": "127.0.0.1:9", "allow_unsafe_durability": True}, "store": {"url": "redis://127.0.0.1:9/0"},
        "bots": [PLAIN.config(), SEALED.config()], "pipelines": {"main": {"type": "echo"}}}))
    ingress = Process("ingress", [BIN / "botbridge-ingress", "--config", config], tmp_path)
    ingress.start()
    try:
        def answers():
            try:
                return PLAIN.push(port, PLAIN.challenge())
            except OSError:
                return None
        first = wait_for("the listener", answers)
        for app in (PLAIN, SEALED):
            reply = app.push(port, app.challenge())
            assert reply.status == 200 and "challenge" in json.loads(reply.body) and reply.seconds < SECOND
        assert first.status == 200
        refused = PLAIN.push(port, PLAIN.event())
        assert refused.status == 503 and refused.seconds < SECOND
        assert ingress.terminate() == 0
    finally:
        ingress.kill()


# --- who may push ---

def test_whatever_is_not_genuine_is_one_401(inbound):
    port = inbound.ports[0]
    header = lambda **h: {"header": h}
    pad = bytearray(base64.b64decode(json.loads(SEALED.body(SEALED.event()))["encrypt"]))
    pad[-17] ^= 1
    answers = {
        "wrong token": PLAIN.push(port, PLAIN.event(**header(token="x"))),
        "no token": PLAIN.push(port, PLAIN.event(**header(token=None))),
        "wrong app_id": PLAIN.push(port, PLAIN.event(**header(app_id="bli_other"))),
        "no app_id": PLAIN.push(port, PLAIN.event(**header(app_id=None))),
        "empty object": PLAIN.push(port, {}),
        "encrypted where plain is expected": PLAIN.push(port, SEALED.seal(json.dumps(PLAIN.event()))),
        "plain where encrypted is demanded": SEALED.push(port, json.dumps(SEALED.event()).encode()),
        "plain challenge where encrypted is demanded": SEALED.push(port, json.dumps(SEALED.challenge()).encode()),
        "wrong key": SEALED.push(port, SEALED.seal(json.dumps(SEALED.event()), "another")),
        "wrong padding": SEALED.push(port, json.dumps({"encrypt": base64.b64encode(bytes(pad)).decode()}).encode()),
        "cut": SEALED.push(port, json.dumps({"encrypt": base64.b64encode(bytes(pad[:-1])).decode()}).encode()),
        "no base64": SEALED.push(port, b'{"encrypt":"*"}'),
        "empty": SEALED.push(port, b'{"encrypt":""}'),
        "no JSON inside": SEALED.push(port, SEALED.seal("hello world")),
        "wrong token inside": SEALED.push(port, SEALED.event(**header(token="x"))),
        "another app's": SEALED.push(port, PLAIN.event()),
        "on the card's path": PLAIN.push(port, PLAIN.event(**header(token="x")), "/card"),
    }
    assert {name: r.status for name, r in answers.items()} == {name: 401 for name in answers}
    seen = {(r.body, tuple(sorted((k, v) for k, v in r.headers.items() if k != "date"))) for r in answers.values()}
    assert len(seen) == 1, seen


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b'{"a":"\xff"}'])
def test_what_is_no_json_object_is_malformed(inbound, body):
    assert PLAIN.push(inbound.ports[0], body).status == 400
    assert SEALED.push(inbound.ports[0], body).status == 400


def test_only_post_and_only_known_paths(inbound):
    port = inbound.ports[0]
    assert [request(port, "GET", p).status for p in ("/bosshi/plain", "/bosshi/plain/card")] == [405, 405]
    assert request(port, "GET", "/bosshi/plain").headers["allow"] == "POST"
    for path in ("/bosshi/none", "/bosshi/", "/bosshi/plain/", "/bosshi/plain/cards", "/bosshi//card", "/bosshi/wecom", "/wecom/plain"):
        assert request(port, "POST", path, b"{}").status == 404, path


def test_signature_where_it_is_to_be_checked(inbound):
    port, event = inbound.ports[0], SIGNED.event()
    body = SIGNED.body(event)
    stamp, nonce = str(int(time.time())), "n-1"
    right = hashlib.sha256((stamp + nonce + SIGNED.encrypt_key).encode() + body).hexdigest()
    headers = {"X-Lark-Request-Timestamp": stamp, "X-Hi-Nonce": nonce, "X-Lark-Signature": right}
    taken(SIGNED.push(port, body, headers=headers))
    wrong = SIGNED.push(port, SIGNED.body(event), headers=headers)      # another IV, the same signature
    assert wrong.status == 401
    assert SIGNED.push(port, body, headers={**headers, "X-Hi-Nonce": "n-2"}).status == 401
    taken(SIGNED.push(port, SIGNED.body(SIGNED.event())))               # without headers: the platform may not send them
    taken(SEALED.push(port, SEALED.body(SEALED.event()), headers=headers))      # not to be checked
    assert SIGNED.push(port, SIGNED.challenge(), headers=headers).status == 200  # never of the challenge


def test_rotation_of_token_and_key(kafka, make_stack):
    app = App("turn", encrypt_key="new key")
    s = make_stack(kafka, workers=0, bots=[app], settings=BUDGET, bot_settings={
        "verification_token": [app.verification_token, "before"], "encrypt_key": ["new key", "key before"]})
    old = app.event(header={"token": "before"})
    taken(app.push(s.ports[0], app.seal(json.dumps(old), "key before")))
    taken(app.push(s.ports[0], app.event()))
    assert app.push(s.ports[0], app.seal(json.dumps(old), "key before that")).status == 401


# --- what is recorded ---

def test_the_seeds_event_verbatim(inbound):
    taken(SEEDS.push(inbound.ports[0], SEED.encode()))
    event = json.loads(SEED)
    r, value = record_of(inbound, SEEDS, event)
    assert r["key"] == "seed:c:5ce6d572455d361153b7xN~"
    assert r["headers"]["bb-stream"] == value["stream"] == stream_id("seed", SEEDS.id_of(event))
    assert r["headers"]["ce_source"] == "/botbridge/bosshi/seed" and r["headers"]["ce_type"] == "botbridge.request.v1"
    received, deadline = value.pop("received_at"), value.pop("deadline_at")
    assert abs(received - time.time() * 1000) < 60000 and deadline - received == 600000
    ids = {"open_id": "ou_84aad35d084aa403a838cf73ee18467", "union_id": "on_8ed6aa67826108097d9ee143816345", "user_id": "1122334455"}
    del event["header"]["token"]
    assert value == {
        "v": 1, "platform": "bosshi", "bot": "seed", "message_id": "bli_9f5343c580712544:5e3702a84e847582be8db7fb73283c02",
        "stream": value["stream"], "kind": "text",
        "conversation": {"id": "seed:c:5ce6d572455d361153b7xN~", "type": "group", "chat_id": "5ce6d572455d361153b7xN~",
                         "thread": {"root_id": "5ce6d572455d361153b7cb5xxfsd~", "parent_id": "5ce6d572455d361153b7cb5xx~"}},
        "sender": {"id": ids["open_id"], "ids": ids, "tenant": "736588c9260f175e~"},
        "app": {"id": "bli_9f5343c580712544", "tenant": "2ca1d211f64f6438"}, "sent_at": 1609073151345,
        "text": "@Tom hello", "parts": [{"type": "text", "text": "@Tom hello"}],
        "mentions": [{"key": "@_user_1", "name": "Tom", "ids": ids, "tenant": "736588c9260f175e~"}],
        "reply": {"mode": "api", "message_id": "5ce6d572455d361153b7cb51da133945~"}, "raw": event}


@pytest.mark.parametrize("value", ["absent", None, ""])
def test_the_seeds_event_without_what_needs_a_permission(inbound, value):
    event = json.loads(SEED)
    event["header"]["event_id"] = secrets.token_hex(16)
    for holder, key in ((event["event"]["sender"]["sender_id"], "user_id"), (event["event"]["message"], "root_id"),
                        (event["event"]["message"], "parent_id"), (event["event"]["message"]["mentions"][0]["id"], "user_id")):
        if value == "absent":
            del holder[key]
        else:
            holder[key] = value
    _, got = push_and_read(inbound, SEEDS, event)
    assert got["text"] == "@Tom hello" and got["sender"]["id"] == "ou_84aad35d084aa403a838cf73ee18467"
    assert set(got["sender"]["ids"]) == {"open_id", "union_id"} == set(got["mentions"][0]["ids"])
    assert "thread" not in got["conversation"]


def test_no_token_in_a_record(inbound):
    for app in (PLAIN, SEALED):
        r, value = push_and_read(inbound, app, app.event())
        assert app.verification_token not in r["payload"] and "token" not in value["raw"]["header"]


@pytest.mark.parametrize("schema, kind", [(None, "im.message.receive"), ("2.0", "im.message.receive_v1"), ("1.0", "im.message.receive_v2")])
def test_schemas_and_names_of_the_event(inbound, schema, kind):
    event = SEALED.event(header={"event_type": kind})
    event["schema"] = schema
    if schema is None:
        del event["schema"]
    assert push_and_read(inbound, SEALED, event)[1]["kind"] == "text"


def test_direct_chat_by_user_and_group_by_chat(inbound):
    event = PLAIN.event()
    r, value = push_and_read(inbound, PLAIN, event)
    assert r["key"] == "plain:u:ou_84aad35d084aa403a838cf73ee18467" == value["conversation"]["id"]
    assert value["conversation"]["chat_id"] == event["event"]["message"]["chat_id"] and value["conversation"]["type"] == "single"


def test_conversation_by_thread(inbound):
    chat = {"chat_type": "group", "chat_id": "c~"}
    first = KNOWN.event(message=chat)
    reply = KNOWN.event(message={**chat, "root_id": first["event"]["message"]["message_id"], "parent_id": "p~"})
    key = push_and_read(inbound, KNOWN, first)[0]["key"]
    assert key == f"known:c:c~:t:{first['event']['message']['message_id']}"
    r, value = push_and_read(inbound, KNOWN, reply)
    assert r["key"] == key and value["conversation"]["scope"] == "thread"


def test_conversation_by_user_of_a_group(inbound):
    r, value = push_and_read(inbound, EACH, EACH.event(message={"chat_type": "group", "chat_id": "c~"}))
    assert r["key"] == "each:c:c~:u:on_8ed6aa67826108097d9ee143816345" and value["conversation"]["scope"] == "chat_user"


def test_the_senders_id_does_not_change_when_another_appears(inbound):
    for app, more in ((PLAIN, {"user_id": "1122334455"}), (KNOWN, {})):
        event = app.event()
        event["event"]["sender"]["sender_id"].update(more)
        got = push_and_read(inbound, app, event)[1]["sender"]
        assert got["id"] == ("ou_84aad35d084aa403a838cf73ee18467" if app is PLAIN else "")     # known asks for user_id
    event = KNOWN.event()
    event["event"]["sender"]["sender_id"]["user_id"] = "1122334455"
    assert push_and_read(inbound, KNOWN, event)[1]["sender"]["id"] == "1122334455"


def test_own_mention_goes_others_are_named(inbound):
    mentions = [{"key": "@_user_1", "id": {"open_id": "ou_1"}, "name": "Tom", "tenant_key": "t1"},
                {"key": "@_user_2", "id": {"open_id": "ou_bot"}, "name": "Bot"}, {"key": "@_user_10", "id": {"open_id": "ou_x"}, "name": "Ten"}]
    event = KNOWN.event("@_user_2 问 @_user_10 和 @_user_1", message={"mentions": mentions, "chat_type": "group"})
    _, value = push_and_read(inbound, KNOWN, event)
    assert value["text"] == "问 @Ten 和 @Tom" and [m.get("self") for m in value["mentions"]] == [None, True, None]
    assert value["mentions"][0]["tenant"] == "t1"
    mentions[1] = {"key": "@_user_2", "name": "小助手"}
    event = KNOWN.event("@_user_2 hi", message={"mentions": mentions, "chat_type": "group"})
    assert push_and_read(inbound, KNOWN, event)[1]["text"] == "hi"


@pytest.mark.parametrize("kind, content, text, parts", [
    ("post", {"title": "标题", "content": [[{"tag": "text", "text": "看 "}, {"tag": "img", "image_key": "k1"}], [{"tag": "a", "text": "b", "href": "http://e"}]]},
     "标题\n看 [图片]\n[b](http://e)", [("text", None), ("image", "k1"), ("text", None)]),
    ("image", {"image_key": "img_1"}, "[图片]", [("image", "img_1")]),
    ("file", {"file_key": "f_1", "file_name": "表.xlsx"}, "[文件] 表.xlsx", [("file", "f_1")]),
    ("audio", {"file_key": "a_1", "duration": 2000}, "[语音]", [("voice", "a_1")]),
    ("hologram", {"name": "x"}, "[hologram] x", [("hologram", None)]),
])
def test_kinds_of_messages(inbound, kind, content, text, parts):
    event = SEALED.event(message={"message_type": kind, "content": json.dumps(content)})
    _, value = push_and_read(inbound, SEALED, event)
    assert value["kind"] == kind and value["text"] == text
    assert [(p["type"], p.get("key")) for p in value["parts"]] == parts
    assert json.loads(value["raw"]["event"]["message"]["content"]) == content


# --- what is not answered ---

@pytest.mark.parametrize("what, kind", [({"sender": {"sender_type": "app"}}, "im.message.receive"),
                                        ({"header": {"event_type": "im.chat.member.bot.added"}}, "im.chat.member.bot.added"),
                                        ({"header": {"event_type": None}}, "unknown")])
def test_no_question_is_published_only(inbound, what, kind):
    event = PLAIN.event(**what)
    r, value = push_and_read(inbound, PLAIN, event, "events")
    assert value["kind"] == kind and value["reply"] == {"mode": "none"} and r["headers"]["ce_type"] == "botbridge.event.v1"
    assert not [r for r in inbound.records("requests") if with_id(PLAIN, event)(r)]


def test_its_own_message_is_no_question(inbound):
    event = KNOWN.event()
    event["event"]["sender"]["sender_id"]["open_id"] = "ou_bot"
    push_and_read(inbound, KNOWN, event, "events")


def test_who_mentions_the_bot_is_not_the_bot(inbound):
    """In the documents' example both have one id: tried with the bot's own, it is a question."""
    event = KNOWN.event("@_user_1 hello", "ou_bot", message={"chat_type": "group", "mentions": [{"key": "@_user_1", "id": {"open_id": "ou_bot"}, "name": "Tom"}]})
    assert push_and_read(inbound, KNOWN, event)[1]["text"] == "hello"


def test_configured_event_types_are_questions(inbound):
    push_and_read(inbound, KNOWN, KNOWN.event(header={"event_type": "x.y_v3"}))


def test_older_layout_is_published(inbound):
    old = {"uuid": secrets.token_hex(16), "token": SEALED.verification_token, "type": "event_callback",
           "event": {"app_id": SEALED.app_id, "type": "user_status_change"}}
    taken(SEALED.push(inbound.ports[0], old))
    found = inbound.records("events", lambda r: r["headers"]["ce_id"] == f"{SEALED.app_id}:{old['uuid']}")
    value = json.loads(found[0]["payload"])
    assert value["kind"] == "user_status_change" and "token" not in value["raw"]


def test_an_event_without_an_id_is_kept_as_broken(inbound):
    event = PLAIN.event("an event without id", header={"event_id": None})
    for _ in range(2):
        taken(PLAIN.push(inbound.ports[0], event))
    found = inbound.records("events", lambda r: "an event without id" in r["payload"])
    assert {json.loads(r["payload"])["kind"] for r in found} == {"broken"}
    assert len(found) == 2 and len({r["headers"]["ce_id"] for r in found}) == 1     # a repeat has the same name


def test_card_callbacks_are_published(inbound):
    click = {"open_id": "ou_1", "token": SEALED.verification_token, "action": {"value": {"k": "v"}, "tag": "button"}, "mark": secrets.token_hex(8)}
    taken(SEALED.push(inbound.ports[0], click, "/card"))
    found = inbound.records("events", lambda r: click["mark"] in r["payload"])
    value = json.loads(found[0]["payload"])
    assert value["kind"] == "card" and value["raw"]["action"] == click["action"] and "token" not in value["raw"]
    question = SEALED.event()       # a question that went to the wrong URL asks nothing
    taken(SEALED.push(inbound.ports[0], question, "/card"))
    record_of(inbound, SEALED, question, "events")


# --- clicks on cards whose token is not the Verification Token ---

CREDENTIAL = "c-" + secrets.token_hex(16)


def click(**more):
    return {"open_id": "ou_1", "open_message_id": "m~", "tenant_key": "t", "token": CREDENTIAL, "action": {"value": {"k": "v"}, "tag": "button"},
            "mark": secrets.token_hex(8), **more}


def signed(app, body, secret=None, digest=hashlib.sha1):
    """Feishu's older cards: SHA-1 with the Verification Token."""
    made = digest("1700000000".encode() + b"n" + (secret or app.verification_token).encode() + body).hexdigest()
    return {"X-Lark-Request-Timestamp": "1700000000", "X-Lark-Request-Nonce": "n", "X-Lark-Signature": made}


def click_record(s, app, obj):
    r = s.records("events", lambda r: obj["mark"] in r["payload"])[0]
    value = json.loads(r["payload"])
    assert value["kind"] == "card" and value["bot"] == app.name and value["raw"]["action"] == obj["action"]
    assert CREDENTIAL not in r["payload"] and app.verification_token not in r["payload"]


def test_a_click_with_a_credential_needs_another_proof(inbound):
    for app in (PLAIN, SEALED):
        assert app.push(inbound.ports[0], click(), "/card").status == 401


def test_clicks_by_signature(inbound):
    app, port = CARDS_SIGNED, inbound.ports[0]
    for seal in (False, True):      # a platform may send clicks plain although there is a key
        for secret, digest in ((None, hashlib.sha1), (app.encrypt_key, hashlib.sha256)):
            obj = click()
            body = app.body(obj) if seal else json.dumps(obj).encode()
            for headers in ({}, signed(app, body, "another"), {**signed(app, body), "X-Lark-Request-Nonce": "m"}, signed(app, body + b" ")):
                assert app.push(port, body, "/card", headers).status == 401
            taken(app.push(port, body, "/card", signed(app, body, secret, digest)))
            click_record(inbound, app, obj)
    body = json.dumps(app.event()).encode()
    assert app.push(port, body, "", signed(app, body)).status == 401       # an event is as strict as ever


def test_clicks_without_proof(inbound):
    app, port = CARDS_OPEN, inbound.ports[0]
    for body_of in (app.body, lambda obj: json.dumps(obj).encode()):
        obj = click()
        taken(app.push(port, body_of(obj), "/card"))
        click_record(inbound, app, obj)
    new = {"schema": "2.0", "header": {"event_id": secrets.token_hex(8), "event_type": "card.action.trigger", "token": "x", "app_id": app.app_id},
           "event": {"token": CREDENTIAL, "action": {"tag": "button"}}}
    taken(app.push(port, json.dumps(new).encode(), "/card"))
    r, value = record_of(inbound, app, new, "events")
    assert value["kind"] == "card.action.trigger" and CREDENTIAL not in r["payload"] and value["raw"]["event"]["action"] == {"tag": "button"}
    new["header"]["app_id"] = "bli_other"
    assert app.push(port, json.dumps(new).encode(), "/card").status == 401
    assert app.push(port, json.dumps(app.event()).encode()).status == 401


@pytest.mark.parametrize("app", [CARDS_SIGNED, CARDS_OPEN], ids=lambda a: a.name)
def test_the_cards_url_is_checked_by_the_token(inbound, app):
    port = inbound.ports[0]
    for body_of in (app.body, lambda obj: json.dumps(obj).encode()):
        reply = app.push(port, body_of(app.challenge()), "/card")
        assert reply.status == 200 and json.loads(reply.body) == {"challenge": app.challenge()["challenge"]}
        assert app.push(port, body_of(app.challenge(token="x")), "/card").status == 401
    assert app.push(port, json.dumps(app.challenge()).encode()).status == 401


# --- what can never be used ---

@pytest.mark.parametrize("message, why", [
    ({"content": '{"text":'}, "content is not a JSON object"), ({"content": None}, "no content"), ({"chat_id": None}, "no chat_id"),
    ({"message_type": None}, "no message_type"), ({"content": '{"text":1}'}, "content has no text"),
    ({"chat_type": "group", "chat_id": "c" * 5000}, "the record would be too large")])
def test_unusable_is_taken_and_dead_lettered(inbound, message, why):
    event = PLAIN.event(message=message)
    taken(PLAIN.push(inbound.ports[0], event))
    letter = inbound.records("dlq", with_id(PLAIN, event))[0]
    assert letter["headers"]["bb-reason"] == "unacceptable" and letter["headers"]["bb-error"] == why
    assert letter["headers"]["ce_type"] == "botbridge.request.v1" and letter["headers"]["bb-attempts"] == "0"
    value = json.loads(letter["payload"])
    assert int(letter["headers"]["bb-first"]) == value["received_at"] and letter["headers"]["bb-last"].isdigit()
    assert value["raw"]["header"]["event_id"] == event["header"]["event_id"] and "token" not in value["raw"]["header"]
    assert not [r for r in inbound.records("requests") if with_id(PLAIN, event)(r)]


def test_too_large_for_a_record_is_taken_and_dead_lettered(inbound):
    mentions = [{"key": "@", "name": "long name " * 200}]
    event = PLAIN.event("@" * 5000, message={"mentions": mentions})
    taken(PLAIN.push(inbound.ports[0], event))
    letter = inbound.records("dlq", with_id(PLAIN, event))[0]
    assert letter["headers"]["bb-error"] == "content is too large"


MIB = 1 << 20


def test_a_large_event_that_fits_a_record_is_a_question(inbound):
    event = PLAIN.event("长" * 90000, message={"chat_id": "large~"})        # 270 KB, three times in its record
    assert len(PLAIN.body(event)) > 262144
    r, value = push_and_read(inbound, PLAIN, event)
    assert value["text"] == "长" * 90000 and value["raw"]["event"] == event["event"]


@pytest.mark.parametrize("app, topic, kind", [(PLAIN, "request", "im.message.receive"), (SEALED, "request", "im.message.receive"), (PLAIN, "event", "other")],
                         ids=["plain", "sealed", "other"])
def test_an_event_that_fits_no_record_is_taken_and_dead_lettered(inbound, app, topic, kind):
    event = app.event("x" * (700000 if topic == "request" else 1040000), header={"event_type": kind})
    taken(app.push(inbound.ports[0], event))
    letter = inbound.records("dlq", with_id(app, event))[0]
    assert letter["headers"]["bb-reason"] == "unacceptable" and letter["headers"]["bb-error"] in ("too large", "content is too large", "the record would be too large")
    assert letter["headers"]["bb-value"] == "cut" and letter["headers"]["ce_type"] == f"botbridge.{topic}.v1"
    value = json.loads(letter["payload"])
    assert value["message_id"] == app.id_of(event) and value["text"] == "" and "raw" not in value
    wrong = app.event("x" * 700000, header={"token": "x"})
    assert app.push(inbound.ports[0], wrong).status == 401


def test_bodies_over_the_limit_are_refused(inbound):
    port = inbound.ports[0]
    body = PLAIN.body(PLAIN.event())
    taken(PLAIN.push(port, body + b" " * (MIB - len(body))))
    assert PLAIN.push(port, body + b" " * (MIB + 1 - len(body))).status == 413
    head = "POST /bosshi/plain{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    for path in ("", "/card"):
        got, _ = raw(port, head.format(path).encode() + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 17 + b"0\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 413")
    assert request(port, "POST", "/wecom/wecom?msg_signature=x&timestamp=1&nonce=n", b" " * 262145).status == 413


@pytest.mark.parametrize("app", [PLAIN, SEALED], ids=lambda a: a.name)
@pytest.mark.parametrize("depth", [30, 120, 1000])
def test_nested_too_deeply_is_taken_and_dead_lettered(inbound, app, depth):
    dead_lettered_for_its_form(inbound, app, "[" * depth + "]" * depth)


@pytest.mark.parametrize("app", [PLAIN, SEALED], ids=lambda a: a.name)
def test_too_many_values_are_taken_and_dead_lettered(inbound, app):
    dead_lettered_for_its_form(inbound, app, "[" + "{}," * 9000 + "0]")


def test_strangers_cannot_make_trees(inbound):
    """The same from somebody else takes no longer than its bytes."""
    for app in (PLAIN, SEALED):
        for body in (b'{"a":[' + b"{}," * 300000 + b"0]}", b'{"\\u0061":[' + b"{}," * 300000 + b"0]}"):
            reply = app.push(inbound.ports[0], body)
            assert reply.status in (400, 401) and reply.seconds < 0.3 * SLOW


def dead_lettered_for_its_form(inbound, app, member):
    event = app.event("deep")
    body = lambda event: app.body(json.dumps(event)[:-1] + ',"more":' + member + "}")
    taken(app.push(inbound.ports[0], body(event)))
    letter = inbound.records("dlq", with_id(app, event))[0]
    assert (letter["headers"]["bb-error"], letter["headers"]["bb-value"]) == ("nested too deeply, or too many values", "cut")
    assert letter["headers"]["ce_type"] == "botbridge.request.v1" and app.verification_token not in letter["payload"]
    assert app.push(inbound.ports[0], body(app.event(header={"token": "x"}))).status == 401


def test_numbers_are_carried_digit_for_digit(inbound):
    numbers = {"small": -7, "wide": 123456789012345678901234567890, "negative": -99999999999999999999, "u64": 18446744073709551615, "fraction": 1.25}
    event = SEALED.event(message={"numbers": numbers})
    _, value = push_and_read(inbound, SEALED, event)
    assert value["raw"]["event"]["message"]["numbers"] == numbers


@pytest.mark.parametrize("kind, topic", [("im.message.receive", "request"), ("other", "event")])
def test_dead_letter_of_an_event_that_grows_is_its_outline(inbound, kind, topic):
    """Raw control characters, which take six bytes in a record."""
    event = PLAIN.event("\u0001" * 170000, header={"event_type": kind})
    taken(PLAIN.push(inbound.ports[0], json.dumps(event).replace("\\\\u0001", "\x01").encode()))
    letter = inbound.records("dlq", with_id(PLAIN, event))[0]
    value = json.loads(letter["payload"])
    assert value["text"] == "" and "raw" not in value and letter["headers"]["bb-error"] == "too large" and letter["headers"]["bb-value"] == "cut"
    assert letter["headers"]["ce_type"] == f"botbridge.{topic}.v1" and letter["key"] == f"plain:m:{PLAIN.id_of(event).replace(':', '%3A')}"


# --- durable, once, within a second ---

def test_frozen_kafka_is_503_in_time_and_absorbed_on_repeat(own_kafka, make_stack):
    app = App("frozen", encrypt_key="k1")
    s = make_stack(own_kafka, bots=[app], settings=NO_API)
    port = s.ports[0]
    warm = app.event(s.note_text("warm " + secrets.token_hex(6)))
    taken(app.push(port, warm))
    questions = [app.event(s.note_text(f"q{i} " + secrets.token_hex(6)), user=f"ou_{i}") for i in range(4)]   # nobody waits for another
    unusable = app.event(message={"content": "x"})
    other = app.event(header={"event_type": "other"})
    pushed = questions + [unusable, other]
    own_kafka.freeze()
    try:
        with concurrent.futures.ThreadPoolExecutor(len(pushed)) as pool:
            replies = list(pool.map(lambda e: app.push(port, e), pushed))
        assert [r.status for r in replies] == [503] * len(pushed)
        assert all(0.6 < r.seconds < SECOND for r in replies), [r.seconds for r in replies]
        assert {r.headers["retry-after"] for r in replies} == {"15"}
        assert app.push(port, app.challenge()).status == 200
    finally:
        own_kafka.thaw()
    for event in pushed:        # the platform's repeat
        wait_for("the repeat to be taken", lambda: app.push(port, event).status == 200, 40)
    for event in questions:
        s.records("requests", with_id(app, event))
    s.records("dlq", with_id(app, unusable))
    s.records("events", with_id(app, other))
    for event in questions:     # late records and those of the repeat make one run
        text = json.loads(event["event"]["message"]["content"])["text"]
        wait_for("the model to be asked", lambda: s.llm.calls(text), 40)
    time.sleep(1)
    for event in questions:
        assert len(s.llm.calls(json.loads(event["event"]["message"]["content"])["text"])) == 1
    assert s.metric(s.admin_ports[0], "botbridge_ingress_bosshi_events_total") >= 13


def test_five_deliveries_one_run(kafka, make_stack):
    app = App("five")
    s = make_stack(kafka, ingresses=2, bots=[app], settings=NO_API)
    s.workers[0].freeze()
    event = app.event(s.note_text("five " + secrets.token_hex(6)))
    text = json.loads(event["event"]["message"]["content"])["text"]
    for i in range(5):
        taken(app.push(s.ports[i % 2], event))
    s.workers[0].thaw()
    wait_for("the model to be asked", lambda: s.llm.calls(text), 40)
    wait_for("all five to be read", lambda: len([r for r in s.records("requests") if with_id(app, event)(r)]) == 5)
    taken(app.push(s.ports[0], event))      # a worker has it: no further record
    s.ingresses[1].kill()
    s.ingresses[1].start()
    taken(app.push(s.ports[1], event))      # nor for an ingress that has just begun
    assert len([r for r in s.records("requests") if with_id(app, event)(r)]) == 5
    time.sleep(1)
    assert len(s.llm.calls(text)) == 1


def test_store_away_does_not_hold_a_question_up(kafka, make_stack):
    app = App("away")
    s = make_stack(kafka, workers=0, bots=[app], settings=BUDGET)
    s.redis.process.freeze()
    try:
        for _ in range(2):
            event = app.event()
            taken(app.push(s.ports[0], event))
            record_of(s, app, event)
    finally:
        s.redis.process.thaw()


def test_what_is_counted(inbound):
    port = inbound.admin_ports[0]
    body = request(port, "GET", "/metrics").body.decode()
    for name in ('botbridge_ingress_bosshi_requests_total{kind="challenge"}', 'botbridge_ingress_bosshi_requests_total{kind="unauthorized"}',
                 'botbridge_ingress_bosshi_requests_total{kind="card"}', 'botbridge_ingress_bosshi_requests_total{kind="malformed"}',
                 'botbridge_ingress_bosshi_events_total{outcome="accepted"}', 'botbridge_ingress_bosshi_events_total{outcome="published"}',
                 'botbridge_ingress_bosshi_events_total{outcome="unusable"}', "botbridge_ingress_bosshi_event_ms_count"):
        line = [l for l in body.splitlines() if l.startswith(name + " ")]
        assert line and float(line[0].split()[-1]) > 0, name
