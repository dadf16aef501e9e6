#include "support_worker.h"

#include "base/clock.h"
#include "base/random.h"
#include "json/json_writer.h"
#include "support_config.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { BODY_MAX_BYTES = 4 << 20, STAGE_MS = 30000, PROBE_MS = 50 };

/* --- the LLM --- */

static void on_question(struct http_request *req, void *arg)
{
    struct stage *s = arg;
    assert_true(s->call_count < STAGE_CALLS);
    struct stage_call *call = &s->calls[s->call_count++];
    call->req = req;
    buf_init(&call->body, BODY_MAX_BYTES);
    buf_append(&call->body, http_body(req));
    http_set_context(req, NULL);
}

static void on_gone(struct http_request *req, void *arg)
{
    struct stage *s = arg;
    for (size_t i = 0; i < s->call_count; i++) {
        if (s->calls[i].req == req)
            s->calls[i].req = NULL;
    }
}

static void say(struct stage *s, size_t call, const char *data)
{
    struct http_request *req = s->calls[call].req;
    assert_non_null(req);
    if (!http_context(req))
        http_stream_begin(req, 200, "text/event-stream");
    http_set_context(req, s);
    http_stream_write(req, bytes_of_str(data));
}

void stage_say(struct stage *s, size_t call, const char *text)
{
    struct buf event;
    struct json_writer w;
    buf_init(&event, BODY_MAX_BYTES);
    buf_append_str(&event, "data: ");
    json_begin(&w, &event);
    json_open(&w, NULL, '{');
    json_open(&w, "choices", '[');
    json_open(&w, NULL, '{');
    json_open(&w, "delta", '{');
    json_str(&w, "content", bytes_of_str(text));
    json_close(&w, '}');
    json_close(&w, '}');
    json_close(&w, ']');
    json_close(&w, '}');
    buf_append(&event, bytes_of("\n\n", 3));
    say(s, call, event.ptr);
    buf_free(&event);
}

void stage_done(struct stage *s, size_t call)
{
    say(s, call, "data: [DONE]\n\n");
    http_stream_end(s->calls[call].req);
}

void stage_refuse(struct stage *s, size_t call, int status)
{
    char seconds[24];
    struct http_request *req = s->calls[call].req;
    assert_non_null(req);
    snprintf(seconds, sizeof(seconds), "%zu", s->call_retry_after_s);
    if (s->call_retry_after_s > 0)
        http_reply_header(req, "Retry-After", seconds);
    http_reply_text(req, status, "application/json", BYTES_LIT("{\"error\":{\"type\":\"t\"}}"));
}

/* --- the platform --- */

#define POST_TAKEN "{\"errcode\":0,\"errmsg\":\"ok\"}"

static void on_post(struct http_request *req, void *arg)
{
    struct stage *s = arg;
    s->post_count++;
    buf_reset(&s->posted);
    buf_append(&s->posted, http_body(req));
    if (s->post_answer)
        http_reply_text(req, 200, "application/json", bytes_of_str(s->post_answer));
}

static void open_platform(struct stage *s)
{
    struct http_options options = {
        .listen = "127.0.0.1:0",
        .max_body_bytes = BODY_MAX_BYTES,
        .max_connections = 64,
        .idle_timeout_s = 60,
    };
    struct http_callbacks callbacks = {.on_request = on_post, .arg = s};
    s->platform = http_server_new(s->loop, &options, &callbacks, NULL);
    assert_non_null(s->platform);
    s->post_answer = POST_TAKEN;
    buf_init(&s->posted, BODY_MAX_BYTES);
}

/* --- waiting --- */

struct wish {
    struct stage *stage;
    const struct stage_question *q;
    const char *text;
    enum stream_reason reason;
    size_t count;
};

static void until(struct stage *s, bool (*is_done)(void *arg), struct wish *wish)
{
    wish->stage = s;
    loop_until(s->loop, is_done, wish);
}

static bool has_calls(void *arg)
{
    struct wish *w = arg;
    return w->stage->call_count >= w->count;
}

void stage_await_calls(struct stage *s, size_t count)
{
    struct wish w = {.count = count};
    until(s, has_calls, &w);
}

static bool has_posts(void *arg)
{
    struct wish *w = arg;
    return w->stage->post_count >= w->count;
}

void stage_await_posts(struct stage *s, size_t count)
{
    struct wish w = {.count = count};
    until(s, has_posts, &w);
}

/* libmicrohttpd 0.9.75 sees that a peer went only when it writes. */
static bool is_hung_up(void *arg)
{
    struct wish *w = arg;
    struct http_request *req = w->stage->calls[w->count].req;
    int64_t now_ms = loop_now_ms(w->stage->loop);
    if (req && now_ms - w->stage->probed_ms >= PROBE_MS) {
        w->stage->probed_ms = now_ms;
        http_stream_write(req, BYTES_LIT(": anybody there?\n\n"));
    }
    return req == NULL;
}

void stage_await_hang_up(struct stage *s, size_t call)
{
    struct wish w = {.count = call};
    until(s, is_hung_up, &w);
}

struct store_reply stage_read(struct stage *s, const struct stage_question *q)
{
    return rig_read(s->other, &q->stream);
}

static bool is_text_there(void *arg)
{
    struct wish *w = arg;
    struct store_reply r = stage_read(w->stage, w->q);
    return r.outcome == STORE_DONE && bytes_eq_str(r.text, w->text);
}

void stage_await_text(struct stage *s, const struct stage_question *q, const char *text)
{
    struct wish w = {.q = q, .text = text};
    until(s, is_text_there, &w);
}

static bool is_final(void *arg)
{
    struct wish *w = arg;
    struct store_reply r = stage_read(w->stage, w->q);
    return r.outcome == STORE_DONE && r.state == STREAM_FINAL;
}

void stage_await_final(struct stage *s, const struct stage_question *q,
                       enum stream_reason reason, const char *text)
{
    struct wish w = {.q = q};
    until(s, is_final, &w);
    struct store_reply r = stage_read(s, q);
    assert_int_equal(r.reason, reason);
    if (!bytes_eq_str(r.text, text))
        fail_msg("final text \"" BYTES_FMT "\"", BYTES_ARG(r.text));
}

char *stage_field(struct stage *s, const struct stage_question *q, const char *field)
{
    char key[64];
    snprintf(key, sizeof(key), "bb:{%s}:m", q->id.text);
    return test_redis_ask(s->redis, "HGET", key, field, NULL);
}

void stage_set_field(struct stage *s, const struct stage_question *q, const char *field,
                     const char *value)
{
    char key[64];
    snprintf(key, sizeof(key), "bb:{%s}:m", q->id.text);
    test_redis_do(s->redis, "HSET", key, field, value, NULL);
}

static bool is_settled(void *arg)
{
    struct wish *w = arg;
    char *state = stage_field(w->stage, w->q, "state");
    char *owed = stage_field(w->stage, w->q, "owed");
    bool is_it = strcmp(state, "final") == 0 && owed[0] == '\0';
    free(state);
    free(owed);
    return is_it;
}

void stage_await_settled(struct stage *s, const struct stage_question *q)
{
    struct wish w = {.q = q};
    until(s, is_settled, &w);
}

static bool has_letters(void *arg)
{
    struct wish *w = arg;
    return w->stage->letter_count >= w->count;
}

void stage_await_letters(struct stage *s, size_t count)
{
    struct wish w = {.count = count};
    until(s, has_letters, &w);
}

static bool has_dead_letter(void *arg)
{
    const struct wish *w = arg;
    return stage_letter_of(w->stage, true, w->q) != NULL;
}

const struct stage_letter *stage_await_dead_letter(struct stage *s,
                                                   const struct stage_question *q)
{
    struct wish w = {.q = q};
    until(s, has_dead_letter, &w);
    return stage_letter_of(s, true, q);
}

static bool is_idle(void *arg)
{
    struct wish *w = arg;
    return list_is_empty(&w->stage->worker->sessions);
}

void stage_await_idle(struct stage *s)
{
    struct wish w = {0};
    until(s, is_idle, &w);
}

void stage_linger(struct stage *s, int64_t ms)
{
    const bool never = false;
    assert_false(run_until(s->loop, &never, ms));
}

/* --- Kafka --- */

static void on_letter(struct bus_message *m, void *arg)
{
    struct stage *s = arg;
    struct bus_message_info info;
    assert_true(s->letter_count < STAGE_LETTERS);
    struct stage_letter *letter = &s->letters[s->letter_count++];
    bus_message_info(m, &info);
    letter->is_dead = strstr(info.topic, ".dlq") != NULL;
    snprintf(letter->reason, sizeof(letter->reason), BYTES_FMT,
             BYTES_ARG(bus_message_header(m, "bb-reason")));
    snprintf(letter->attempts, sizeof(letter->attempts), BYTES_FMT,
             BYTES_ARG(bus_message_header(m, "bb-attempts")));
    buf_init(&letter->value, BODY_MAX_BYTES);
    buf_append(&letter->value, info.value);
    bus_consumer_complete(s->reader, m);
    bus_message_free(m);
}

static void on_reading(void *arg)
{
    struct stage *s = arg;
    s->is_reading = true;
}

static void on_revoke(const char *topic, int32_t partition, uint32_t generation, void *arg)
{
    (void)topic;
    (void)partition;
    (void)generation;
    (void)arg;
}

static void on_delivered(enum brg_err err, const char *reason, void *arg)
{
    struct stage *s = arg;
    (void)reason;
    assert_int_equal(err, BRG_OK);
    s->delivered++;
}

void stage_produce(struct stage *s, struct bytes value, const struct bus_header *headers,
                   size_t header_count)
{
    char topic[BUS_TOPIC_NAME_BYTES];
    bus_topic_name(topic, s->prefix, BUS_REQUESTS);
    struct bus_record record = {topic, BYTES_LIT("key"), value, headers, header_count};
    assert_int_equal(bus_produce(s->producer, &record, on_delivered, s), BRG_OK);
    s->asked++;
    assert_true(run_until_count(s->loop, &s->delivered, s->asked, STAGE_MS));
}

void stage_ask_as(struct stage *s, struct stage_question *q, struct message *m)
{
    struct envelope e;
    struct bus_header headers[ENVELOPE_HEADERS_MAX];
    int64_t start_ms = clock_wall_ms() - q->age_ms;
    int64_t deadline_ms = clock_wall_ms() + (q->deadline_ms != 0 ? q->deadline_ms : 60000);
    q->id = stream_id_of(s->crypto, m->bot, bytes_of_str(q->message_id));
    q->stream =
        (struct store_stream){stream_id_bytes(&q->id), m->bot, start_ms, deadline_ms, 3600000};
    m->message_id = bytes_of_str(q->message_id);
    m->stream = q->id;
    m->kind = BYTES_LIT("text");
    m->text = bytes_of_str(q->text);
    m->received_at_ms = m->start_at_ms = start_ms;
    m->deadline_at_ms = deadline_ms;
    m->raw_text = BYTES_LIT("{}");
    envelope_init(&e);
    assert_int_equal(envelope_encode(&e, m, ENVELOPE_TYPE_REQUEST, s->crypto), BRG_OK);
    for (size_t i = 0; i < e.header_count; i++)
        headers[i] = (struct bus_header){e.headers[i].name, e.headers[i].value};
    stage_produce(s, buf_bytes(&e.value), headers, e.header_count);
    envelope_free(&e);
}

void stage_ask(struct stage *s, struct stage_question *q)
{
    char url[96];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/response?response_code=s3cret",
             http_server_port(s->platform));
    struct message m = {
        .platform = PLATFORM_WECOM,
        .bot = BYTES_LIT("helpdesk"),
        .chat_type = CHAT_SINGLE,
        .sender_id = bytes_of_str(q->user),
        .reply_mode = REPLY_STREAM,
        .response_url = bytes_of_str(q->has_url ? url : ""),
    };
    stage_ask_as(s, q, &m);
}

const struct stage_letter *stage_letter_of(const struct stage *s, bool is_dead,
                                           const struct stage_question *q)
{
    for (size_t i = 0; i < s->letter_count; i++) {
        const struct stage_letter *letter = &s->letters[i];
        bool is_its = memmem(letter->value.ptr, letter->value.len, q->message_id,
                             strlen(q->message_id)) != NULL;
        if (letter->is_dead == is_dead && is_its)
            return letter;
    }
    return NULL;
}

/* --- the stage --- */

static bool is_joined(void *arg)
{
    struct stage *s = arg;
    return s->is_reading && intake_is_joined(&s->worker->intake) &&
           bus_producer_is_ready(s->worker->producer, NULL) &&
           bus_producer_is_ready(s->producer, NULL) && store_is_up(s->worker->store);
}

#define HELPDESK                                                                             \
    BOT_WITH("\"notice_text\":\"NOTICE\",\"apology_text\":\"SORRY\",\"busy_text\":\"BUSY\"," \
             "\"handover_margin_ms\":1000")

void stage_start_worker(struct stage *s)
{
    struct buf worker, kafka, store, pipelines;
    struct brg_error error = {0};
    buf_init(&worker, 512);
    buf_init(&kafka, 1024);
    buf_init(&store, 512);
    buf_init(&pipelines, 512);
    buf_printf(&worker, "{\"admin\":\"127.0.0.1:0\",\"lease_ms\":%d,\"drain_ms\":%d%s}%c",
               STAGE_LEASE_MS, s->drain_ms, s->worker_settings, '\0');
    buf_printf(&kafka,
               "{\"bootstrap.servers\":\"%s\",\"topic_prefix\":\"%s\","
               "\"allow_unsafe_durability\":true}%c",
               s->kafka->servers, s->prefix, '\0');
    buf_printf(&store, "{\"url\":\"%s\",\"command_timeout_ms\":400}%c",
               test_redis_url(s->redis), '\0');
    buf_printf(&pipelines,
               "{\"main\":{\"type\":\"openai\",\"url\":\"http://127.0.0.1:%u/v1\","
               "\"model\":\"m\",\"concurrency\":4%s}}%c",
               http_server_port(s->llm), s->pipeline_settings, '\0');
    struct parts parts = {
        .worker = worker.ptr,
        .kafka = kafka.ptr,
        .store = store.ptr,
        .bots = s->bots ? s->bots : HELPDESK,
        .pipelines = pipelines.ptr,
        .more = "\"response_url\":{\"hosts\":[\"127.0.0.1\"],\"allow_http\":true,"
                "\"allow_private\":true,\"timeout_ms\":3000}",
    };
    struct config *config = config_load_good(&parts);
    s->worker = worker_new(s->loop, config, "", &error);
    if (!s->worker)
        fail_msg("%s", error.text);
    loop_until(s->loop, is_joined, s);
    buf_free(&worker);
    buf_free(&kafka);
    buf_free(&store);
    buf_free(&pipelines);
}

void stage_stop_worker(struct stage *s, bool is_drained)
{
    if (is_drained) {
        worker_drain(s->worker);
        loop_run(s->loop);
    }
    worker_free(s->worker);
    s->worker = NULL;
}

static void open_llm(struct stage *s)
{
    struct http_options options = {
        .listen = "127.0.0.1:0",
        .max_body_bytes = BODY_MAX_BYTES,
        .max_connections = 64,
        .idle_timeout_s = 60,
    };
    struct http_callbacks callbacks = {NULL, on_question, on_gone, s};
    s->llm = http_server_new(s->loop, &options, &callbacks, NULL);
    assert_non_null(s->llm);
}

static void open_kafka(struct stage *s)
{
    char dlq[BUS_TOPIC_NAME_BYTES], events[BUS_TOPIC_NAME_BYTES],
        requests[BUS_TOPIC_NAME_BYTES];
    bus_topic_name(dlq, s->prefix, BUS_DLQ);
    bus_topic_name(events, s->prefix, BUS_EVENTS);
    bus_topic_name(requests, s->prefix, BUS_REQUESTS);
    const char *const read[] = {dlq, events, NULL};
    const char *const written[] = {requests, NULL};
    kafka_topics(s->kafka, s->prefix, 1, 1);
    struct bus_producer_options producer = {
        .base = s->kafka->options,
        .delivery_timeout_ms = 10000,
        .queue_max_messages = 100,
        .queue_max_kbytes = 4096,
        .topics = written,
        .allow_unsafe_durability = true,
    };
    s->producer = bus_producer_new(s->loop, &producer, NULL);
    assert_non_null(s->producer);
    struct bus_consumer_options consumer = {
        .base = s->kafka->options,
        .group = s->prefix,
        .topics = read,
        .window_records = 1024,
        .window_bytes = 1 << 20,
        .total_bytes = 8 << 20,
    };
    struct bus_consumer_callbacks callbacks = {
        .on_message = on_letter, .on_revoke = on_revoke, .on_joined = on_reading, .arg = s};
    s->reader = bus_consumer_new(s->loop, &consumer, &callbacks, NULL);
    assert_non_null(s->reader);
}

void stage_restart_worker(struct stage *s, const char *worker, const char *pipeline)
{
    s->worker_settings = worker;
    s->pipeline_settings = pipeline;
    stage_stop_worker(s, true);
    stage_start_worker(s);
}

/* --- the group and its tests --- */

static struct kafka kafka;

int stage_group_begin(void **state)
{
    if (!kafka_start(&kafka, 1))
        return -1;
    return config_files_begin(state);
}

int stage_group_end(void **state)
{
    kafka_stop(&kafka);
    return config_files_end(state);
}

struct stage *stage_open(void)
{
    struct stage *s = BRG_NEW(struct stage);
    s->kafka = &kafka;
    s->drain_ms = 300;
    s->worker_settings = s->pipeline_settings = "";
    snprintf(s->prefix, sizeof(s->prefix), "s%016" PRIx64, random_u64());
    s->loop = loop_new();
    s->crypto = crypto_new();
    s->redis = test_redis_start(NULL);
    s->other = rig_new(test_redis_url(s->redis));
    open_llm(s);
    open_platform(s);
    open_kafka(s);
    stage_start_worker(s);
    return s;
}

void stage_close(struct stage *s)
{
    if (s->worker)
        worker_free(s->worker);
    bus_consumer_free(s->reader, 5000);
    bus_producer_free(s->producer);
    http_server_free(s->llm);
    http_server_free(s->platform);
    buf_free(&s->posted);
    rig_free(s->other);
    test_redis_stop(s->redis);
    crypto_free(s->crypto);
    loop_free(s->loop);
    for (size_t i = 0; i < s->call_count; i++)
        buf_free(&s->calls[i].body);
    for (size_t i = 0; i < s->letter_count; i++)
        buf_free(&s->letters[i].value);
    free(s);
}

int stage_set_up(void **state)
{
    *state = stage_open();
    return 0;
}

int stage_tear_down(void **state)
{
    stage_close(*state);
    return 0;
}
