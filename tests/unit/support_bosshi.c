#include "support_bosshi.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SERVER_BODY_BYTES = 1 << 20 };

static void keep(char *out, size_t size, struct bytes text)
{
    snprintf(out, size, BYTES_FMT, BYTES_ARG(text));
}

static void take(struct route *r, struct http_request *req)
{
    struct bytes value = BYTES_LIT(""), uuid = BYTES_LIT("");
    keep(r->path, sizeof(r->path), http_path(req));
    (void)http_query(req, "receive_id_type", &value);
    (void)http_query(req, "uuid", &uuid);
    snprintf(r->query, sizeof(r->query), BYTES_FMT " " BYTES_FMT, BYTES_ARG(value),
             BYTES_ARG(uuid));
    keep(r->authorization, sizeof(r->authorization), http_header(req, "authorization"));
    buf_reset(&r->body);
    buf_append(&r->body, http_body(req));
    size_t turn = r->count++;
    const struct answer *a = &r->answers[turn < r->answer_count ? turn : r->answer_count - 1];
    if (a->header)
        http_reply_header(req, a->header, a->value);
    if (a->body)
        http_reply_text(req, a->status, "application/json", bytes_of_str(a->body));
}

static void on_request(struct http_request *req, void *arg)
{
    struct scene *s = arg;
    struct bytes path = http_path(req);
    take(bytes_eq_str(path, TOKEN_PATH)  ? &s->token
         : bytes_eq_str(path, SEND_PATH) ? &s->send
                                         : &s->other,
         req);
}

const struct answer api_good_token[1] = {{200, TOKEN("t-one", "7140"), NULL, NULL}};
const struct answer api_good_send[1] = {{200, SENT("m1~"), NULL, NULL}};

void api_configure(struct scene *s, const char *members)
{
    struct buf bots;
    buf_init(&bots, 4096);
    buf_printf(&bots,
               "[{\"name\":\"erp\",\"platform\":\"bosshi\",\"app_id\":\"bli_1\","
               "\"app_secret\":\"s3cret\",\"verification_token\":\"v\",\"pipeline\":\"main\","
               "\"api_base\":\"http://127.0.0.1:%u\",\"api_timeout_ms\":400%s%s}]",
               s->port, members[0] ? "," : "", members);
    buf_append_char(&bots, '\0');
    config_unref(s->config);
    s->config = config_load_good(&(struct parts){.bots = bots.ptr});
    s->app = &s->config->bots[0].bosshi;
    buf_free(&bots);
}

int api_set_up(void **state)
{
    struct scene *s = BRG_NEW(struct scene);
    struct fetch_options fetch = {.max_idle_connections = 4};
    struct http_options http = {.listen = "127.0.0.1:0",
                                .max_body_bytes = SERVER_BODY_BYTES,
                                .max_connections = 64,
                                .idle_timeout_s = 60};
    struct http_callbacks callbacks = {.on_request = on_request, .arg = s};
    struct route *const routes[] = {&s->token, &s->send, &s->other};
    s->loop = loop_new();
    s->pool = fetch_pool_new(s->loop, &fetch);
    s->server = http_server_new(s->loop, &http, &callbacks, NULL);
    s->port = http_server_port(s->server);
    s->api = bosshi_api_new(s->loop, s->pool);
    for (size_t i = 0; i < 3; i++)
        buf_init(&routes[i]->body, SERVER_BODY_BYTES);
    api_configure(s, "");
    ANSWERS(s->token, api_good_token);
    ANSWERS(s->send, api_good_send);
    ANSWERS(s->other, api_good_send);
    *state = s;
    return 0;
}

int api_tear_down(void **state)
{
    struct scene *s = *state;
    bosshi_api_free(s->api);
    fetch_pool_free(s->pool);
    http_server_free(s->server);
    loop_free(s->loop);
    config_unref(s->config);
    buf_free(&s->token.body);
    buf_free(&s->send.body);
    buf_free(&s->other.body);
    free(s);
    return 0;
}

void api_on_result(const struct bosshi_result *r, void *arg)
{
    struct outcome *o = arg;
    assert_false(o->is_done);
    assert_null(strstr(r->detail, "s3cret"));
    o->is_done = true;
    o->outcome = r->outcome;
    o->code = r->code;
    o->retry_after_ms = r->retry_after_ms;
    keep(o->message_id, sizeof(o->message_id), r->message_id);
    snprintf(o->detail, sizeof(o->detail), "%s", r->detail);
    o->log_bytes = (int64_t)r->log_bytes;
    o->scene->done++;
}

bool api_are_all_done(void *arg)
{
    struct scene *s = arg;
    return s->done == s->wanted;
}

const struct bosshi_outgoing api_text = {
    .content = {"{\"text\":\"a\"}", 12},
    .receive_id_type = BOSSHI_CHAT_ID,
    .receive_id = {"chat~", 5},
    .uuid = {"u-1", 3},
};

void api_start(struct scene *s, struct outcome *o, const struct bosshi_outgoing *m)
{
    *o = (struct outcome){.scene = s};
    s->wanted++;
    o->call = bosshi_send(s->api, s->app, BYTES_LIT("tenant"), m, api_on_result, o);
}

struct outcome api_run(struct scene *s, const struct bosshi_outgoing *m)
{
    struct outcome o;
    api_start(s, &o, m);
    loop_until(s->loop, api_are_all_done, s);
    return o;
}

void api_start_update(struct scene *s, struct outcome *o, const char *message_id)
{
    *o = (struct outcome){.scene = s};
    s->wanted++;
    o->call = bosshi_update(s->api, s->app, BYTES_LIT("tenant"), bytes_of_str(message_id),
                            BYTES_LIT("{\"modules\":[]}"), api_on_result, o);
}

struct outcome api_run_update(struct scene *s, const char *message_id)
{
    struct outcome o;
    api_start_update(s, &o, message_id);
    loop_until(s->loop, api_are_all_done, s);
    return o;
}

void api_expect(const struct outcome *o, enum bosshi_outcome outcome, int64_t code)
{
    if (o->outcome != outcome || o->code != code)
        fail_msg("%s %" PRId64 " (%s), expected %s %" PRId64, bosshi_outcome_name(o->outcome),
                 o->code, o->detail, bosshi_outcome_name(outcome), code);
}

void api_expect_body(const struct route *r, const char *body)
{
    if (!bytes_eq_str(buf_bytes(&r->body), body))
        fail_msg("body " BYTES_FMT, BYTES_ARG(buf_bytes(&r->body)));
}
