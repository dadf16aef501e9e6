#include "bsim_control.h"

enum { BODY_MAX_BYTES = 16 << 20, ANSWER_MAX_BYTES = 512 << 20, CHALLENGE_BYTES = 256 };

struct bsim_control {
    struct loop *loop;
    struct http_server *server;
    struct bsim_pusher *pusher;
    struct bsim_platform *platform;
    struct bsim_faults *faults;
    struct list pending;
};

/* A check or card callback whose answer the caller waits for. */
struct pending {
    struct list node;
    struct bsim_control *control;
    struct http_request *request;    /* suspended, so it lives until answered */
    char challenge[CHALLENGE_BYTES]; /* "": a card callback */
};

static void reply_json(struct http_request *req, struct buf *out)
{
    http_reply(req, 200, "application/json; charset=utf-8", out);
    buf_free(out);
}

static void reply_empty(struct http_request *req)
{
    http_reply_text(req, 200, "application/json", BYTES_LIT("{}"));
}

static void refuse(struct http_request *req, int status, const char *why)
{
    struct json_writer w;
    struct buf out;
    buf_init(&out, 4096);
    json_begin(&w, &out);
    json_open(&w, NULL, '{');
    json_str(&w, "error", bytes_of_str(why));
    json_close(&w, '}');
    http_reply(req, status, "application/json", &out);
    buf_free(&out);
}

/* --- asking --- */

static void on_ask(struct bsim_control *c, struct http_request *req, const struct json *body)
{
    struct bsim_event event;
    struct brg_error error = {0};
    struct json_writer w;
    struct buf out;
    if (!*c->platform->settings.url) {
        refuse(req, 400, "no url is set");
        return;
    }
    if (bsim_event_make(&c->platform->app, body, &event, &error) != BRG_OK) {
        refuse(req, 400, error.text);
        return;
    }
    struct bsim_push *push = bsim_push_start(c->pusher, &event);
    buf_init(&out, ANSWER_MAX_BYTES); /* ids are as long as the test wants them */
    json_begin(&w, &out);
    json_open(&w, NULL, '{');
    json_str(&w, "event_id", bytes_of_str(push->event.event_id));
    json_str(&w, "message_id", bytes_of_str(push->event.message_id));
    json_str(&w, "chat_id", bytes_of_str(push->event.chat_id));
    json_close(&w, '}');
    reply_json(req, &out);
}

static void on_repeat(struct bsim_control *c, struct http_request *req, const struct json *body)
{
    struct bsim_push *push = bsim_push_find(c->pusher, json_get_string(body, "event_id"));
    if (!push) {
        refuse(req, 400, "no such event_id");
        return;
    }
    for (int64_t i = json_get_int(body, "times", 1); i > 0; i--)
        bsim_push_again(push);
    reply_empty(req);
}

bool bsim_challenge_judge(struct bsim_platform *p, const struct bsim_delivery *d,
                          struct bytes challenge, char reason[160])
{
    struct json *answer = json_parse(bytes_of_str(d->body), JSON_STRICT, NULL);
    const struct json *echoed = json_get(answer, "challenge");
    snprintf(reason, 160, "%s", d->reason);
    if (!*reason && json_type(echoed) != JSON_STRING)
        snprintf(reason, 160, "the answer is no object with a challenge");
    else if (!*reason && !bytes_eq(json_string(echoed), challenge))
        snprintf(reason, 160, "another challenge is answered than was asked");
    json_free(answer);
    struct json_writer *w = bsim_journal_begin(&p->journal, "challenge");
    json_boolean(w, "is_passed", !*reason);
    json_i64(w, "status", d->status);
    json_str(w, "reason", bytes_of_str(reason));
    json_i64(w, "ms", d->ms);
    bsim_journal_end(&p->journal);
    return !*reason;
}

static void on_posted(const struct bsim_delivery *d, void *arg)
{
    struct pending *pending = arg;
    struct json_writer w;
    struct buf out;
    char reason[160];
    buf_init(&out, ANSWER_MAX_BYTES);
    json_begin(&w, &out);
    json_open(&w, NULL, '{');
    if (*pending->challenge) {
        bool is_passed = bsim_challenge_judge(pending->control->platform, d,
                                              bytes_of_str(pending->challenge), reason);
        json_boolean(&w, "is_passed", is_passed);
    } else {
        snprintf(reason, sizeof reason, "%s", d->reason);
    }
    json_i64(&w, "status", d->status);
    json_i64(&w, "ms", d->ms);
    json_str(&w, "reason", bytes_of_str(reason));
    json_str(&w, "body", bytes_of_str(d->body));
    json_close(&w, '}');
    reply_json(pending->request, &out);
    list_remove(&pending->node);
    free(pending);
}

static struct pending *pending_new(struct bsim_control *c, struct http_request *req)
{
    struct pending *pending = BRG_NEW(struct pending);
    pending->control = c;
    pending->request = req;
    list_push_back(&c->pending, &pending->node);
    return pending;
}

static void on_challenge(struct bsim_control *c, struct http_request *req,
                         const struct json *body)
{
    struct bytes challenge = json_get_string(body, "challenge");
    const struct json *token = json_get(body, "token");
    struct buf plain;
    if (challenge.len >= CHALLENGE_BYTES) {
        refuse(req, 400, "the challenge is longer than the simulator makes");
        return;
    }
    struct pending *pending = pending_new(c, req);
    if (challenge.len == 0)
        bsim_make_id(pending->challenge, false);
    else
        snprintf(pending->challenge, CHALLENGE_BYTES, BYTES_FMT, BYTES_ARG(challenge));
    buf_init(&plain, BODY_MAX_BYTES);
    bsim_challenge_write(
        bytes_of_str(pending->challenge),
        token ? json_string(token) : bytes_of_str(c->platform->app.verification_token), &plain);
    bsim_post(c->pusher, json_bool(json_get(body, "card"), false),
              json_bool(json_get(body, "encrypt"), true), buf_bytes(&plain), on_posted,
              pending);
    buf_free(&plain);
}

static void on_card(struct bsim_control *c, struct http_request *req, const struct json *body)
{
    struct buf plain;
    buf_init(&plain, BODY_MAX_BYTES);
    json_write_value(&plain, json_get(body, "body"));
    bsim_post(c->pusher, true, json_bool(json_get(body, "encrypt"), true), buf_bytes(&plain),
              on_posted, pending_new(c, req));
    buf_free(&plain);
}

/* --- reading --- */

static void write_push(struct json_writer *w, const struct bsim_push *push)
{
    static const char *const states[] = {"pushing", "accepted", "given_up"};
    json_open(w, NULL, '{');
    json_str(w, "event_id", bytes_of_str(push->event.event_id));
    json_str(w, "message_id", bytes_of_str(push->event.message_id));
    json_str(w, "chat_id", bytes_of_str(push->event.chat_id));
    json_str(w, "state", bytes_of_str(states[push->state]));
    json_open(w, "deliveries", '[');
    for (size_t i = 0; i < push->delivery_count; i++) {
        const struct bsim_delivery *d = &push->deliveries[i];
        json_open(w, NULL, '{');
        json_i64(w, "at_ms", d->wall_ms);
        json_i64(w, "ms", d->ms);
        json_i64(w, "status", d->status);
        json_str(w, "body", bytes_of_str(d->body));
        json_str(w, "reason", bytes_of_str(d->reason));
        json_close(w, '}');
    }
    json_close(w, ']');
    json_close(w, '}');
}

static void on_events(struct bsim_control *c, struct http_request *req)
{
    struct bytes event_id = {0};
    struct json_writer w;
    struct buf out;
    bool is_one = http_query(req, "event_id", &event_id);
    buf_init(&out, ANSWER_MAX_BYTES);
    json_begin(&w, &out);
    json_open(&w, NULL, '[');
    for (struct list *n = c->pusher->order.next; n != &c->pusher->order; n = n->next) {
        const struct bsim_push *push = LIST_ENTRY(n, struct bsim_push, order);
        if (!is_one || bytes_eq_str(event_id, push->event.event_id))
            write_push(&w, push);
    }
    json_close(&w, ']');
    reply_json(req, &out);
}

static void write_message(struct json_writer *w, const struct bsim_message *m)
{
    json_open(w, NULL, '{');
    json_str(w, "message_id", bytes_of_str(m->id));
    json_str(w, "chat_id", bytes_of_str(m->chat->id));
    json_str(w, "from", m->is_bots ? BYTES_LIT("bot") : BYTES_LIT("user"));
    json_str(w, "msg_type", bytes_of_str(m->msg_type));
    json_str(w, "text", buf_bytes(&m->text));
    json_str(w, "uuid", bytes_of_str(m->uuid));
    json_str(w, "reply_to", bytes_of_str(m->reply_to));
    json_i64(w, "at_ms", m->wall_ms);
    json_open(w, "edits", '[');
    for (size_t i = 0; i < m->edit_count; i++) {
        json_open(w, NULL, '{');
        json_i64(w, "at_ms", m->edits[i].wall_ms);
        json_str(w, "text", buf_bytes(&m->edits[i].text));
        json_close(w, '}');
    }
    json_close(w, ']');
    json_close(w, '}');
}

static void on_messages(struct bsim_control *c, struct http_request *req)
{
    struct bytes chat_id = {0};
    struct json_writer w;
    struct buf out;
    bool is_one = http_query(req, "chat_id", &chat_id);
    buf_init(&out, ANSWER_MAX_BYTES);
    json_begin(&w, &out);
    json_open(&w, NULL, '[');
    for (struct list *n = c->platform->order.next; n != &c->platform->order; n = n->next) {
        const struct bsim_message *m = LIST_ENTRY(n, struct bsim_message, order);
        if (!is_one || bytes_eq_str(chat_id, m->chat->id))
            write_message(&w, m);
    }
    json_close(&w, ']');
    reply_json(req, &out);
}

static void on_log(struct bsim_control *c, struct http_request *req)
{
    struct bytes text = {0};
    uint64_t after = 0;
    if (http_query(req, "after", &text) && !bytes_to_u64(text, &after)) {
        refuse(req, 400, "after: a number is wanted");
        return;
    }
    http_reply_text(req, 200, "application/x-ndjson",
                    bsim_journal_after(&c->platform->journal, (size_t)after));
}

/* --- faults and settings --- */

static void on_faults(struct bsim_control *c, struct http_request *req, const struct json *body)
{
    struct brg_error error = {0};
    if (bsim_faults_add(c->faults, body, &error) == BRG_OK)
        reply_empty(req);
    else
        refuse(req, 400, error.text);
}

static void on_clear(struct bsim_control *c, struct http_request *req, const struct json *body)
{
    (void)body;
    bsim_faults_clear(c->faults);
    reply_empty(req);
}

static void on_expire(struct bsim_control *c, struct http_request *req, const struct json *body)
{
    (void)body;
    bsim_expire_tokens(c->platform);
    reply_empty(req);
}

static void on_settings(struct bsim_control *c, struct http_request *req)
{
    struct json_writer w;
    struct buf out;
    buf_init(&out, 65536);
    json_begin(&w, &out);
    bsim_settings_write(&c->platform->settings, &w);
    reply_json(req, &out);
}

static void on_set(struct bsim_control *c, struct http_request *req, const struct json *body)
{
    struct brg_error error = {0};
    if (bsim_settings_read(&c->platform->settings, body, &error) == BRG_OK)
        on_settings(c, req);
    else
        refuse(req, 400, error.text);
}

static const struct {
    const char *path;
    void (*get)(struct bsim_control *c, struct http_request *req);
    void (*post)(struct bsim_control *c, struct http_request *req, const struct json *body);
} routes[] = {
    {"/ask", NULL, on_ask},
    {"/challenge", NULL, on_challenge},
    {"/card", NULL, on_card},
    {"/events", on_events, NULL},
    {"/messages", on_messages, NULL},
    {"/log", on_log, NULL},
    {"/faults", NULL, on_faults},
    {"/faults/clear", NULL, on_clear},
    {"/expire", NULL, on_expire},
    {"/repeat", NULL, on_repeat},
    {"/settings", on_settings, on_set},
};

static void on_post(struct bsim_control *c, struct http_request *req, size_t route)
{
    struct brg_error error = {0};
    struct bytes text = http_body(req);
    struct json *body = json_parse(text.len > 0 ? text : BYTES_LIT("{}"), JSON_PEER, &error);
    if (json_type(body) == JSON_OBJECT)
        routes[route].post(c, req, body);
    else
        refuse(req, 400, body ? "an object is wanted" : error.text);
    json_free(body);
}

static void on_request(struct http_request *req, void *arg)
{
    struct bsim_control *c = arg;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!bytes_eq_str(http_path(req), routes[i].path))
            continue;
        if (http_method(req) == HTTP_GET && routes[i].get) {
            routes[i].get(c, req);
            return;
        }
        if (http_method(req) == HTTP_POST && routes[i].post) {
            on_post(c, req, i);
            return;
        }
    }
    refuse(req, 404, "no such call");
}

struct bsim_control *bsim_control_new(struct loop *loop, struct bsim_pusher *pusher,
                                      struct bsim_faults *faults, const char *listen,
                                      struct brg_error *error)
{
    struct bsim_control *c = BRG_NEW(struct bsim_control);
    *c = (struct bsim_control){
        .loop = loop, .pusher = pusher, .platform = pusher->platform, .faults = faults};
    list_init(&c->pending);
    struct http_options options = {.listen = listen,
                                   .max_body_bytes = BODY_MAX_BYTES,
                                   .max_connections = 256,
                                   .idle_timeout_s = 120,
                                   .is_uncounted = true};
    struct http_callbacks callbacks = {.on_request = on_request, .arg = c};
    c->server = http_server_new(loop, &options, &callbacks, error);
    if (!c->server) {
        free(c);
        return NULL;
    }
    return c;
}

unsigned bsim_control_port(const struct bsim_control *c)
{
    return http_server_port(c->server);
}

void bsim_control_free(struct bsim_control *c)
{
    if (!c)
        return;
    http_server_free(c->server);
    for (;;) { /* the pusher is freed next: nothing calls on_posted any more */
        struct list *node = list_pop_front(&c->pending);
        if (!node)
            break;
        free(LIST_ENTRY(node, struct pending, node));
    }
    free(c);
}
