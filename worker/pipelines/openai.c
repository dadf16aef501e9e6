/* Chat completions as OpenAI speaks them and as the many servers that follow it do, over
 * Server-Sent Events.
 *
 * What others send besides the plain form, and what is made of it: content null or absent
 * (nothing); a chunk with usage only, choices [] or null (counted); reasoning_content or
 * reasoning (wrapped into <think>…</think> before the content); {"error":…} after 200; one JSON
 * document although a stream was asked; a stream without [DONE] (finish_reason ends it too), or
 * without the line break behind it; a character whose \u escapes two chunks share; comments.
 * Error texts of the other side are not passed on: some quote the key or the question; only
 * words that are plain identifiers are. */
#include "base/list.h"
#include "json/json.h"
#include "json/json_pick.h"
#include "json/json_writer.h"
#include "metrics/metrics.h"
#include "pipelines/pipeline.h"
#include "sse.h"

enum {
    DOCUMENT_MAX_BYTES = 4 << 20, /* an answer that came as one JSON document */
    REQUEST_MAX_BYTES = 4 << 20,  /* a record is under 1 MB; escaping may grow it */
    LINGER_MS = 1000,
    WORD_MAX_CHARS = 48,
    DETAIL_BYTES = 160,
    HEADERS_MAX = 32,
};

static struct metric event_bytes = METRIC(METRIC_GAUGE, "botbridge_worker_event_bytes", NULL,
                                          "Longest event of a pipeline's stream so far");
static struct metric event_limit = METRIC(METRIC_GAUGE, "botbridge_worker_event_bytes_limit",
                                          NULL, "Bound of the above (worker.event_max_bytes)");
static struct metric response_bytes =
    METRIC(METRIC_GAUGE, "botbridge_worker_response_bytes", NULL,
           "Most that a pipeline has sent for one answer so far");
static struct metric response_limit =
    METRIC(METRIC_GAUGE, "botbridge_worker_response_bytes_limit", NULL,
           "Bound of the above (worker.response_max_bytes)");

enum body_form {
    FORM_UNKNOWN,  /* nothing but white space yet */
    FORM_EVENTS,   /* Server-Sent Events */
    FORM_DOCUMENT, /* one JSON document, kept until it is whole */
};

struct pipeline_run {
    struct pipeline_context *context;
    struct pipeline_sink sink;
    struct fetch *fetch; /* NULL once it has ended */
    struct list node;    /* in the context's lingering list after the answer's end */
    struct wheel_timer linger;
    struct sse sse;
    struct buf document;
    size_t received;
    enum body_form form;
    int status;
    int64_t retry_after_ms;
    int64_t prompt_tokens, completion_tokens; /* -1: not said */
    bool is_event_stream, is_json;            /* by Content-Type */
    bool is_thinking;                         /* an open <think> */
    uint32_t half; /* first half of a surrogate pair, whose second the next text may begin with;
                      0: none */
    bool has_text;
    bool has_event;
    bool is_finished; /* a finish_reason came */
    bool is_filtered; /* and it was content_filter */
    bool is_ended;    /* `end` and `detail` are settled */
    enum pipeline_end end;
    char detail[DETAIL_BYTES];
};

static void run_free(struct pipeline_run *run)
{
    run->context->lingering_count -= !list_is_empty(&run->node);
    list_remove(&run->node);
    loop_timer_cancel(run->context->loop, &run->linger);
    if (run->fetch)
        fetch_cancel(run->fetch);
    sse_free(&run->sse);
    buf_free(&run->document);
    free(run);
}

/* --- pairs of surrogates that servers cut apart, who count in UTF-16 --- */

#define REPLACEMENT BYTES_LIT("\xEF\xBF\xBD")

enum { HALF_BYTES = 3, HIGH = 0xD800, LOW = 0xDC00 };

/* The half that JSON_CHUNK has left at `p`: `first` is HIGH or LOW. 0: none of that kind. */
static uint32_t read_half(const char *p, uint32_t first)
{
    uint32_t unit = 0xD000 | ((uint32_t)p[1] & 0x3F) << 6 | ((uint32_t)p[2] & 0x3F);
    return (unsigned char)p[0] == 0xED && (unit & 0xFC00) == first ? unit : 0;
}

/* No text comes that could have the rest. */
static void give_half(struct pipeline_run *run)
{
    if (run->half)
        run->sink.on_text(REPLACEMENT, run->sink.arg);
    run->half = 0;
}

static void give_joined(struct pipeline_run *run, struct bytes text)
{
    uint32_t low = text.len >= HALF_BYTES ? read_half(text.ptr, LOW) : 0;
    if (run->half && low) {
        uint32_t c = 0x10000 + ((run->half - HIGH) << 10) + (low - LOW);
        char whole[] = {(char)(0xF0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3F)),
                        (char)(0x80 | (c >> 6 & 0x3F)), (char)(0x80 | (c & 0x3F))};
        run->half = 0;
        run->sink.on_text(bytes_of(whole, sizeof(whole)), run->sink.arg);
    } else if (low) {
        run->sink.on_text(REPLACEMENT, run->sink.arg);
    }
    give_half(run);
    if (low)
        text = bytes_of(text.ptr + HALF_BYTES, text.len - HALF_BYTES);
    if (text.len >= HALF_BYTES)
        run->half = read_half(text.ptr + text.len - HALF_BYTES, HIGH);
    if (run->half)
        text.len -= HALF_BYTES;
    if (text.len > 0)
        run->sink.on_text(text, run->sink.arg);
}

/* --- how it ends --- */

static void settle_end(struct pipeline_run *run, enum pipeline_end end, const char *detail)
{
    if (run->is_ended)
        return;
    run->is_ended = true;
    run->end = end != PIPELINE_DONE && run->has_text ? PIPELINE_INTERRUPTED : end;
    snprintf(run->detail, sizeof(run->detail), "%s", detail);
}

static enum pipeline_end end_of_status(int64_t status)
{
    bool may_pass = status == 408 || status == 425 || status == 429 || status >= 500;
    return may_pass ? PIPELINE_RETRY : PIPELINE_FAILED;
}

/* Appends " name=word" when the word is an identifier, so that nothing private slips out. */
static void append_word(struct buf *out, const char *name, struct bytes word)
{
    if (word.len == 0 || word.len > WORD_MAX_CHARS)
        return;
    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.ptr[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
        if (!is_plain)
            return;
    }
    buf_printf(out, " %s=" BYTES_FMT, name, BYTES_ARG(word));
}

static void settle_error(struct pipeline_run *run, const struct json *error, int64_t status)
{
    struct buf text;
    buf_init(&text, DETAIL_BYTES - 1);
    const struct json *code = json_get(error, "code");
    uint64_t number = 0;
    if (json_int(code, 0) > 0)
        number = (uint64_t)json_int(code, 0);
    else if (!bytes_to_u64(json_string(code), &number))
        number = 0;
    if (status == 0 && number >= 400 && number < 600)
        status = (int64_t)number;
    buf_append_str(&text, run->status >= 300 ? "refused" : "error in the answer");
    if (status > 0)
        buf_printf(&text, " status=%lld", (long long)status);
    append_word(&text, "code", json_string(code));
    append_word(&text, "type", json_get_string(error, "type"));
    buf_append_char(&text, '\0');
    settle_end(run, status > 0 ? end_of_status(status) : PIPELINE_RETRY, text.ptr);
    buf_free(&text);
}

static void on_linger_over(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    run_free(arg);
}

/* Tells the session, and lets a connection whose answer is whole end by itself: it can then be
 * used again. */
static void finish(struct pipeline_run *run)
{
    struct pipeline_sink sink = run->sink;
    enum pipeline_end end = run->end;
    int64_t retry_after_ms = run->retry_after_ms;
    char detail[DETAIL_BYTES];
    memcpy(detail, run->detail, sizeof(detail));
    give_half(run);
    if (run->is_thinking)
        sink.on_text(BYTES_LIT("</think>"), sink.arg);
    if (run->prompt_tokens >= 0 && sink.on_usage)
        sink.on_usage(run->prompt_tokens, run->completion_tokens, sink.arg);
    struct pipeline_context *c = run->context;
    if (run->fetch && end == PIPELINE_DONE && c->lingering_count < c->limits.lingering) {
        list_push_back(&c->lingering, &run->node);
        c->lingering_count++;
        loop_timer_set(c->loop, &run->linger, LINGER_MS);
    } else {
        run_free(run);
    }
    sink.on_end(end, detail, retry_after_ms, sink.arg);
}

void pipeline_context_init(struct pipeline_context *c, struct loop *loop,
                           struct fetch_pool *fetch, const struct pipeline_limits *limits)
{
    c->loop = loop;
    c->fetch = fetch;
    c->limits = *limits;
    c->lingering_count = 0;
    metric_register(&event_bytes);
    metric_register(&event_limit);
    metric_register(&response_bytes);
    metric_register(&response_limit);
    metric_set(&event_limit, (int64_t)limits->event_bytes);
    metric_set(&response_limit, (int64_t)limits->response_bytes);
    list_init(&c->lingering);
}

void pipeline_context_clear(struct pipeline_context *c)
{
    struct list *node = c->lingering.next;
    while (node != &c->lingering) {
        struct pipeline_run *run = LIST_ENTRY(node, struct pipeline_run, node);
        node = node->next;
        run_free(run);
    }
}

/* --- what comes --- */

static void give_text(struct pipeline_run *run, struct bytes text)
{
    if (text.len == 0)
        return;
    if (run->is_thinking) {
        run->is_thinking = false;
        give_half(run);
        run->sink.on_text(BYTES_LIT("</think>"), run->sink.arg);
    }
    run->has_text = true;
    give_joined(run, text);
}

static void give_thought(struct pipeline_run *run, struct bytes text)
{
    if (text.len == 0)
        return;
    if (!run->is_thinking) {
        run->is_thinking = true;
        give_half(run);
        run->sink.on_text(BYTES_LIT("<think>"), run->sink.arg);
    }
    run->has_text = true;
    give_joined(run, text);
}

static void give(struct pipeline_run *run, struct bytes reasoning_content,
                 struct bytes reasoning, struct bytes content)
{
    give_thought(run, reasoning_content.len > 0 ? reasoning_content : reasoning);
    give_text(run, content);
}

/* `message` is a chunk's delta or a document's message: the same members. */
static void take_message(struct pipeline_run *run, const struct json *message)
{
    give(run, json_get_string(message, "reasoning_content"),
         json_get_string(message, "reasoning"), json_get_string(message, "content"));
}

/* A chunk that brings nothing but plain text, as nearly all do: a document costs more than all
 * else that is done with a chunk. False: it is another, and nothing was taken. */
static bool take_plain_chunk(struct pipeline_run *run, struct bytes chunk)
{
    enum { CONTENT, REASONING_CONTENT, REASONING, TEXTS, PICKS = TEXTS + 4 };
    struct json_pick p[PICKS] = {
        [CONTENT] = {.object = "choices[0].delta", .key = "content"},
        [REASONING_CONTENT] = {.object = "choices[0].delta", .key = "reasoning_content"},
        [REASONING] = {.object = "choices[0].delta", .key = "reasoning"},
        [TEXTS] = {.key = "error"},
        {.key = "usage"},
        {.object = "choices[0]", .key = "message"},
        {.object = "choices[0]", .key = "finish_reason"},
    };
    if (!json_pick(chunk, p, PICKS))
        return false;
    for (size_t i = TEXTS; i < PICKS; i++)
        if (p[i].string.ptr)
            return false;
    give(run, p[REASONING_CONTENT].string, p[REASONING].string, p[CONTENT].string);
    return true;
}

static void take_object(struct pipeline_run *run, const struct json *object)
{
    const struct json *error = json_get(object, "error");
    if (json_type(error) != JSON_NULL) {
        settle_error(run, error, 0);
        return;
    }
    const struct json *usage = json_get(object, "usage");
    if (json_type(usage) == JSON_OBJECT) {
        run->prompt_tokens = json_get_int(usage, "prompt_tokens", 0);
        run->completion_tokens = json_get_int(usage, "completion_tokens", 0);
    }
    const struct json *choice = json_item(json_get(object, "choices"), 0);
    const struct json *delta = json_get(choice, "delta");
    take_message(run, delta ? delta : json_get(choice, "message"));
    struct bytes reason = json_get_string(choice, "finish_reason");
    if (reason.len > 0) {
        run->is_finished = true;
        run->is_filtered = bytes_eq_str(reason, "content_filter");
    }
}

static void settle_done(struct pipeline_run *run)
{
    if (run->has_text)
        settle_end(run, PIPELINE_DONE, "");
    else if (run->is_filtered)
        settle_end(run, PIPELINE_FAILED, "empty answer finish_reason=content_filter");
    else
        settle_end(run, PIPELINE_RETRY, "empty answer");
}

static void on_event(const struct sse_event *event, void *arg)
{
    struct pipeline_run *run = arg;
    if (run->is_ended || event->data.len == 0)
        return;
    run->has_event = true;
    metric_raise(&event_bytes, (int64_t)event->data.len);
    if (bytes_eq_str(event->data, "[DONE]")) {
        settle_done(run);
        sse_stop(&run->sse);
        return;
    }
    if (take_plain_chunk(run, event->data))
        return;
    struct json *root = json_parse(event->data, JSON_CHUNK, NULL);
    /* An open line that is a whole object, or [DONE], was not cut: no beginning of either is
     * one itself. Any other was, and says no more than a stream that ends before it. */
    if (json_type(root) == JSON_OBJECT)
        take_object(run, root);
    else if (!event->is_open)
        settle_end(run, PIPELINE_FAILED, "junk in the stream");
    json_free(root);
    if (run->is_ended)
        sse_stop(&run->sse);
}

static void settle_document(struct pipeline_run *run)
{
    struct json *root = json_parse(buf_bytes(&run->document), JSON_PEER, NULL);
    if (run->document.overflowed) {
        settle_end(run, PIPELINE_FAILED, "answer too large");
    } else if (json_type(root) != JSON_OBJECT) {
        settle_end(run, PIPELINE_FAILED, "answer is no JSON object");
    } else {
        take_object(run, root);
        settle_done(run);
    }
    json_free(root);
}

static void settle_refusal(struct pipeline_run *run)
{
    struct json *root = json_parse(buf_bytes(&run->document), JSON_PEER, NULL);
    settle_error(run, json_get(root, "error"), run->status);
    json_free(root);
}

/* The whole body came; the stream said neither [DONE] nor error. */
static void settle_whole(struct pipeline_run *run)
{
    if (run->form == FORM_EVENTS && sse_end(&run->sse) != BRG_OK)
        settle_end(run, PIPELINE_FAILED, "event too long");
    if (run->form == FORM_DOCUMENT)
        settle_document(run);
    if (run->is_finished)
        settle_done(run);
    if (!run->has_event && !run->is_event_stream)
        settle_end(run, PIPELINE_FAILED, "answer is neither a stream nor JSON");
    settle_end(run, PIPELINE_RETRY, "stream ended early");
}

/* Content-Type is asked first, the first byte second: gateways state the wrong one. */
static void find_form(struct pipeline_run *run, struct bytes data)
{
    for (size_t i = 0; i < data.len && run->form == FORM_UNKNOWN; i++) {
        char c = data.ptr[i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            continue;
        bool is_document = c == '{' || (run->is_json && c == '[');
        run->form = is_document ? FORM_DOCUMENT : FORM_EVENTS;
    }
}

static void on_head(const struct fetch_head *head, void *arg)
{
    struct pipeline_run *run = arg;
    run->status = head->status;
    run->retry_after_ms = head->retry_after_ms;
    run->is_event_stream = bytes_eq_str(head->content_type, "text/event-stream");
    run->is_json = bytes_eq_str(head->content_type, "application/json");
}

static void on_data(struct bytes data, void *arg)
{
    struct pipeline_run *run = arg;
    run->received += data.len;
    metric_raise(&response_bytes, (int64_t)run->received);
    if (run->is_ended)
        return; /* it lingers */
    if (run->status >= 300) {
        buf_append(&run->document, data);
        return;
    }
    find_form(run, data);
    if (run->form == FORM_DOCUMENT)
        buf_append(&run->document, data);
    if (run->form == FORM_EVENTS && sse_feed(&run->sse, data) != BRG_OK)
        settle_end(run, PIPELINE_FAILED, "event too long");
    if (run->is_ended)
        finish(run);
}

static void on_done(enum fetch_result result, const char *detail, void *arg)
{
    struct pipeline_run *run = arg;
    run->fetch = NULL;
    if (run->is_ended) {
        run_free(run);
        return;
    }
    if (run->status >= 300)
        settle_refusal(run);
    switch (result) {
    case FETCH_OK:
        settle_whole(run);
        break;
    case FETCH_CONNECT:
    case FETCH_CUT:
    case FETCH_TIMEOUT:
        if (run->is_finished)
            settle_done(run);
        settle_end(run, PIPELINE_RETRY, detail ? detail : "connection broke");
        break;
    case FETCH_TOO_LARGE:
        settle_end(run, PIPELINE_FAILED, "answer too large");
        break;
    case FETCH_BAD_REQUEST:
        settle_end(run, PIPELINE_FAILED, "url or header cannot be used");
        break;
    case FETCH_NOT_PUBLIC:
        settle_end(run, PIPELINE_FAILED, "address not public");
        break;
    }
    finish(run);
}

/* --- the request --- */

static void write_extra_member(struct bytes key, const struct json *value, void *arg)
{
    struct buf *body = arg;
    if (bytes_eq_str(key, "messages"))
        return;
    buf_append_str(body, ",\"");
    json_escape(body, key);
    buf_append_str(body, "\":");
    json_write_value(body, value);
}

static void write_message(struct json_writer *w, const char *role, struct bytes content)
{
    json_open(w, NULL, '{');
    json_str(w, "role", bytes_of_str(role));
    json_str(w, "content", content);
    json_close(w, '}');
}

/* Members of `extra` replace ours of the same name, but the messages. */
static void write_body(struct buf *body, const struct config_pipeline *config,
                       const struct message *message)
{
    struct json *extra =
        config->extra ? json_parse(bytes_of_str(config->extra), JSON_CONFIG, NULL) : NULL;
    struct json_writer w;
    json_begin(&w, body);
    json_open(&w, NULL, '{');
    json_open(&w, "messages", '[');
    if (config->system && config->system[0] != '\0')
        write_message(&w, "system", bytes_of_str(config->system));
    write_message(&w, "user", message->text);
    json_close(&w, ']');
    if (!json_get(extra, "model"))
        json_str(&w, "model", bytes_of_str(config->model));
    if (!json_get(extra, "stream"))
        json_boolean(&w, "stream", true);
    if (extra)
        json_each(extra, write_extra_member, body);
    json_close(&w, '}');
    json_free(extra);
}

/* The lines of the request's head; `auth` and `trace` need to live until the start. */
static void collect_headers(const char *headers[HEADERS_MAX + 1],
                            const struct config_pipeline *config, const struct buf *auth,
                            const struct buf *trace)
{
    size_t count = 0;
    headers[count++] = "Content-Type: application/json";
    headers[count++] = "Accept: text/event-stream, application/json";
    if (auth->len > 0)
        headers[count++] = auth->ptr;
    if (trace->len > 0)
        headers[count++] = trace->ptr;
    for (char **h = config->headers; h && *h && count < HEADERS_MAX; h++)
        headers[count++] = *h;
    headers[count] = NULL;
}

static void send_request(struct pipeline_run *run, const struct config_pipeline *config,
                         const struct message *message)
{
    static const struct fetch_callbacks callbacks = {on_head, on_data, on_done};
    const char *headers[HEADERS_MAX + 1];
    struct buf url, auth, trace, body;
    buf_init(&url, 8192);
    buf_init(&auth, 16384);
    buf_init(&trace, 256);
    buf_init(&body, REQUEST_MAX_BYTES);

    size_t url_len = strlen(config->url);
    while (url_len > 0 && config->url[url_len - 1] == '/')
        url_len--;
    buf_append(&url, bytes_of(config->url, url_len));
    buf_append(&url, BYTES_LIT("/chat/completions\0"));
    if (config->api_key && config->api_key[0] != '\0') {
        buf_append_str(&auth, "Authorization: Bearer ");
        buf_append(&auth, bytes_of(config->api_key, strlen(config->api_key) + 1));
    }
    if (message->traceparent.len == TRACEPARENT_CHARS) {
        buf_append_str(&trace, "traceparent: ");
        buf_append(&trace, message->traceparent);
        buf_append_char(&trace, '\0');
    }
    collect_headers(headers, config, &auth, &trace);
    write_body(&body, config, message);

    struct fetch_request request = {
        .url = url.overflowed ? "" : url.ptr,
        .headers = headers,
        .body = buf_bytes(&body),
        .connect_timeout_ms = config->connect_timeout_ms,
        .total_timeout_ms = config->total_timeout_ms,
        .max_body_bytes = run->context->limits.response_bytes,
    };
    run->fetch = fetch_start(run->context->fetch, &request, &callbacks, run);
    buf_free(&url);
    buf_free(&auth);
    buf_free(&trace);
    buf_free(&body);
}

static struct pipeline_run *openai_start(struct pipeline_context *context,
                                         const struct config_pipeline *config,
                                         const struct message *message,
                                         const struct pipeline_sink *sink)
{
    struct pipeline_run *run = BRG_NEW(struct pipeline_run);
    run->context = context;
    run->sink = *sink;
    run->retry_after_ms = -1;
    run->prompt_tokens = -1;
    list_init(&run->node);
    wheel_timer_init(&run->linger, on_linger_over, run);
    sse_init(&run->sse, context->limits.event_bytes, on_event, run);
    size_t most_bytes = context->limits.response_bytes;
    buf_init(&run->document, most_bytes < DOCUMENT_MAX_BYTES ? most_bytes : DOCUMENT_MAX_BYTES);
    send_request(run, config, message);
    return run;
}

const struct pipeline_ops pipeline_openai = {.start = openai_start, .cancel = run_free};
