#include "bsim_api.h"

enum {
    BODY_MAX_BYTES = 4 << 20,
    CONNECTIONS_MAX = 4096,
    HANG_MS = 600 * 1000, /* of an answer that never comes: longer than any client waits */
};

struct bsim_api {
    struct loop *loop;
    struct http_server *server;
    struct bsim_platform *platform;
    struct bsim_faults *faults;
};

/* A call whose answer has to wait. */
struct waiting {
    struct bsim_api *api;
    struct http_request *request; /* lives until answered: it is suspended */
    struct bsim_fault *fault;
    struct wheel_timer timer;
    bool is_cut;    /* at the end the connection is cut, with the work done */
    bool is_marked; /* the message is known to be in the middle of an update */
};

static void read_request(struct bsim_api *a, struct http_request *req, struct json *body,
                         struct bsim_request *q)
{
    *q = (struct bsim_request){
        .authorization = http_header(req, "Authorization"),
        .body = json_type(body) == JSON_OBJECT ? body : NULL,
        .now_ms = loop_now_ms(a->loop),
    };
    q->call = bsim_route(a->platform, http_path(req), &q->message_id);
    http_query(req, "receive_id_type", &q->receive_id_type);
    http_query(req, "uuid", &q->uuid);
}

static void cut(struct http_request *req)
{
    http_stream_begin(req, 200, "application/json");
    http_stream_abort(req);
}

static void add_number_header(struct http_request *req, const char *name, int64_t value)
{
    char text[24];
    if (value <= 0)
        return;
    snprintf(text, sizeof text, "%lld", (long long)value);
    http_reply_header(req, name, text);
}

static void reply(struct bsim_api *a, struct http_request *req, enum bsim_call call,
                  const struct bsim_result *result)
{
    struct buf out;
    buf_init(&out, BODY_MAX_BYTES);
    bsim_result_write(a->platform, result, call, &out);
    add_number_header(req, "x-ogw-ratelimit-reset", result->reset_s);
    http_reply(req, result->status, "application/json; charset=utf-8", &out);
    buf_free(&out);
}

static void refuse(struct bsim_api *a, struct http_request *req, const struct bsim_request *q,
                   const struct bsim_fault *fault)
{
    struct bsim_result result = {
        .status = (int)fault->status, .code = fault->code, .reset_s = fault->reset_s};
    bsim_journal_refused(a->platform, q, bsim_fault_name(fault), result.status, result.code);
    if (fault->is_drop) {
        cut(req);
        return;
    }
    add_number_header(req, "Retry-After", fault->retry_after_s);
    snprintf(result.verdict.msg, sizeof result.verdict.msg, "%s", fault->msg);
    if (fault->has_body) {
        http_reply_text(req, result.status, "application/json", bytes_of_str(fault->body));
        return;
    }
    if (result.code == 0)
        result.code = result.status; /* a gateway's page would have none */
    reply(a, req, q->call, &result);
}

/* Everything that is done with a call in its turn: without waiting any more. */
static void finish(struct bsim_api *a, struct http_request *req, const struct bsim_request *q,
                   const struct bsim_fault *fault)
{
    struct bsim_result result;
    if (fault && bsim_fault_refuses(fault)) {
        refuse(a, req, q, fault);
        return;
    }
    bsim_serve(a->platform, q, bsim_fault_name(fault), &result);
    reply(a, req, q->call, &result);
}

static void on_due(struct wheel_timer *t, void *arg)
{
    struct waiting *w = arg;
    struct bsim_api *a = w->api;
    struct bsim_request q;
    (void)t;
    struct http_request *req = w->request;
    struct json *body = json_parse(http_body(req), JSON_STRICT, NULL);
    read_request(a, req, body, &q);
    if (w->is_marked) {
        struct bsim_message *m = bsim_message_find(a->platform, q.message_id);
        if (m)
            m->is_updating = false;
        w->is_marked = false;
    }
    if (w->is_cut)
        cut(req);
    else
        finish(a, req, &q, w->fault);
    json_free(body);
}

static void hold(struct bsim_api *a, struct http_request *req, const struct bsim_request *q,
                 struct bsim_fault *fault)
{
    struct waiting *w = BRG_NEW(struct waiting);
    struct bsim_result result;
    *w = (struct waiting){.api = a, .request = req, .fault = fault};
    wheel_timer_init(&w->timer, on_due, w);
    http_set_context(req, w);
    w->is_cut = fault->withhold != BSIM_NOT_WITHHELD;
    if (w->is_cut)
        bsim_serve(a->platform, q, bsim_fault_name(fault), &result);
    struct bsim_message *m = q->call == BSIM_UPDATE && !w->is_cut
                                 ? bsim_message_find(a->platform, q->message_id)
                                 : NULL;
    if (m)
        w->is_marked = m->is_updating = true;
    loop_timer_set(a->loop, &w->timer,
                   fault->withhold == BSIM_HANG ? HANG_MS : fault->delay_ms);
}

static bool is_overlapping(struct bsim_api *a, struct http_request *req,
                           const struct bsim_request *q)
{
    struct bsim_message *m =
        q->call == BSIM_UPDATE ? bsim_message_find(a->platform, q->message_id) : NULL;
    if (!m || !m->is_updating)
        return false;
    struct bsim_result result = {.status = 200, .code = BSIM_CODE_BUSY};
    snprintf(result.verdict.msg, sizeof result.verdict.msg, "the message is being updated");
    bsim_journal_refused(a->platform, q, "", result.status, result.code);
    bsim_journal_broken(&a->platform->journal, "overlap",
                        "an update while another one is not answered");
    reply(a, req, q->call, &result);
    return true;
}

static void on_call(struct bsim_api *a, struct http_request *req, const struct bsim_request *q)
{
    if (is_overlapping(a, req, q))
        return;
    struct bsim_fault *fault = bsim_faults_take(a->faults, q, http_body(req));
    if (fault && (fault->delay_ms > 0 || fault->withhold != BSIM_NOT_WITHHELD)) {
        hold(a, req, q, fault);
        return;
    }
    finish(a, req, q, fault);
    bsim_fault_free(fault);
}

static void on_other(struct bsim_api *a, struct http_request *req)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "other"};
    struct json_writer *w = bsim_journal_begin(&a->platform->journal, "call");
    json_i64(w, "status", 404);
    json_str(w, "method", bytes_of_str(methods[http_method(req)]));
    json_str(w, "path", http_path(req));
    bsim_journal_end(&a->platform->journal);
    http_reply_text(req, 404, "application/json",
                    BYTES_LIT("{\"code\":404,\"success\":false,\"msg\":\"no such path\"}"));
}

static void on_request(struct http_request *req, void *arg)
{
    struct bsim_api *a = arg;
    struct bsim_request q;
    struct json *body = json_parse(http_body(req), JSON_STRICT, NULL);
    read_request(a, req, body, &q);
    if (q.call == BSIM_NO_CALL || http_method(req) != HTTP_POST)
        on_other(a, req);
    else
        on_call(a, req, &q);
    json_free(body);
}

static void on_gone(struct http_request *req, void *arg)
{
    struct waiting *w = http_context(req);
    (void)arg;
    if (!w)
        return;
    loop_timer_cancel(w->api->loop, &w->timer);
    bsim_fault_free(w->fault);
    free(w);
}

struct bsim_api *bsim_api_new(struct loop *loop, struct bsim_platform *platform,
                              struct bsim_faults *faults, const char *listen,
                              struct brg_error *error)
{
    struct bsim_api *a = BRG_NEW(struct bsim_api);
    *a = (struct bsim_api){.loop = loop, .platform = platform, .faults = faults};
    struct http_options options = {
        .listen = listen,
        .max_body_bytes = BODY_MAX_BYTES,
        .max_connections = CONNECTIONS_MAX,
        .idle_timeout_s = 120,
    };
    struct http_callbacks callbacks = {.on_request = on_request, .on_gone = on_gone, .arg = a};
    a->server = http_server_new(loop, &options, &callbacks, error);
    if (!a->server) {
        free(a);
        return NULL;
    }
    return a;
}

unsigned bsim_api_port(const struct bsim_api *a)
{
    return http_server_port(a->server);
}

void bsim_api_free(struct bsim_api *a)
{
    if (!a)
        return;
    http_server_free(a->server);
    free(a);
}
