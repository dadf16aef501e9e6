#include "llm.h"

#include "base/clock.h"
#include "base/descriptors.h"
#include "http/http_server.h"
#include "json/json.h"
#include "json/json_writer.h"
#include "llm_script.h"

#include <getopt.h>
#include <signal.h>

#define BODY_MAX_BYTES (8u << 20)
#define CONNECTIONS_MAX 16384
#define CALLS_MAX 100000 /* remembered; more are answered but not listed */
#define TICK_MS 20       /* tokens due in one tick go out together, like a server's flushes */

/* When a token was written, and where it ends in the answer. */
struct emission {
    int64_t at_ms;
    size_t end;
};

struct call {
    char *question, *authorization, *model;
    struct emission *emissions;
    size_t emission_count;
    bool stream, is_complete;
    int status;
    int64_t at_ms;
};

struct llm {
    struct loop *loop;
    struct http_server *server;
    struct crypto *crypto;
    struct llm_script defaults;
    struct call *calls;
    size_t call_count;
};

/* One answer on its way. */
struct answer {
    struct llm *llm;
    struct http_request *request; /* NULL once the client is gone */
    struct call *call;            /* NULL when not remembered */
    struct llm_script script;
    struct wheel_timer timer;
    struct buf text, out;
    size_t *ends;
    size_t count, sent;
    int64_t began_ms;
};

static struct bytes last_user_text(const struct json *body)
{
    const struct json *messages = json_get(body, "messages");
    for (size_t i = json_length(messages); i-- > 0;) {
        const struct json *m = json_item(messages, i);
        if (bytes_eq_str(json_get_string(m, "role"), "user"))
            return json_get_string(m, "content");
    }
    return BYTES_LIT("");
}

static uint64_t calls_before(const struct llm *l, struct bytes question)
{
    uint64_t n = 0;
    for (size_t i = 0; i < l->call_count; i++)
        n += bytes_eq_str(question, l->calls[i].question);
    return n;
}

static struct call *remember(struct llm *l, struct http_request *req, const struct json *body,
                             struct bytes question)
{
    if (l->call_count == CALLS_MAX)
        return NULL;
    if (!l->calls) /* answers on their way keep pointers: all room is made at once */
        l->calls = brg_calloc(CALLS_MAX, sizeof(*l->calls));
    struct call *call = &l->calls[l->call_count++];
    *call = (struct call){
        .question = bytes_dup(question),
        .authorization = bytes_dup(http_header(req, "Authorization")),
        .model = bytes_dup(json_get_string(body, "model")),
        .stream = json_bool(json_get(body, "stream"), false),
        .status = 200,
        .at_ms = clock_wall_ms(),
    };
    return call;
}

static void answer_free(struct answer *a)
{
    loop_timer_cancel(a->llm->loop, &a->timer);
    buf_free(&a->text);
    buf_free(&a->out);
    free(a->ends);
    free(a);
}

/* Appends one server-sent event with a delta of `text` under `member` ("content", …). */
static void write_delta(struct buf *out, const char *member, struct bytes text,
                        const char *finish_reason)
{
    struct json_writer w;
    buf_append_str(out, "data: ");
    json_begin(&w, out);
    json_open(&w, NULL, '{');
    json_str(&w, "object", BYTES_LIT("chat.completion.chunk"));
    json_open(&w, "choices", '[');
    json_open(&w, NULL, '{');
    json_i64(&w, "index", 0);
    json_open(&w, "delta", '{');
    if (member)
        json_str(&w, member, text);
    json_close(&w, '}');
    if (finish_reason)
        json_str(&w, "finish_reason", bytes_of_str(finish_reason));
    else
        json_nul(&w, "finish_reason");
    json_close(&w, '}');
    json_close(&w, ']');
    json_close(&w, '}');
    buf_append_str(out, "\n\n");
}

static void write_end(struct answer *a)
{
    write_delta(&a->out, NULL, BYTES_LIT(""), "stop");
    if (a->script.usage)
        buf_printf(&a->out,
                   "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],"
                   "\"usage\":{\"completion_tokens\":%zu}}\n\n",
                   a->count);
    if (a->script.done)
        buf_append_str(&a->out, "data: [DONE]\n\n");
}

static void flush(struct answer *a)
{
    if (a->out.len > 0)
        http_stream_write(a->request, buf_bytes(&a->out));
    buf_reset(&a->out);
}

/* The failure that is due after a->sent tokens. False when the answer is over because of it. */
static bool play_failure(struct answer *a)
{
    const struct llm_script *s = &a->script;
    if (s->cut && a->sent == s->cut) {
        flush(a);
        http_stream_abort(a->request);
        return false;
    }
    if (s->junk && a->sent == s->junk)
        buf_append_str(&a->out, "data: <html>502 Bad Gateway</html>\n\n");
    else if (s->error && a->sent == s->error)
        buf_append_str(&a->out,
                       "data: {\"error\":{\"message\":\"overloaded\",\"code\":502}}\n\n");
    else
        return true;
    flush(a);
    http_stream_end(a->request);
    return false;
}

static bool is_hanging(const struct answer *a)
{
    return a->script.hang && a->sent >= a->script.hang;
}

static size_t due_tokens(const struct answer *a)
{
    int64_t elapsed = loop_now_ms(a->llm->loop) - a->began_ms;
    size_t due = (size_t)elapsed * (size_t)a->script.rate / 1000 + 1;
    return due < a->count ? due : a->count;
}

/* By the answer's own clock: a late tick makes no later one late. */
static void await_next(struct answer *a)
{
    int64_t rate = (int64_t)a->script.rate;
    int64_t due_ms = a->began_ms + ((int64_t)a->sent * 1000 + rate - 1) / rate;
    int64_t soonest_ms = loop_now_ms(a->llm->loop) + TICK_MS;
    loop_timer_set_at(a->llm->loop, &a->timer, due_ms > soonest_ms ? due_ms : soonest_ms);
}

static void note_emissions(struct answer *a, size_t from)
{
    struct call *call = a->call;
    if (!call || a->sent == from)
        return;
    if (!call->emissions)
        call->emissions = brg_calloc(a->count, sizeof(*call->emissions));
    int64_t now_ms = clock_wall_ms();
    for (size_t i = from; i < a->sent; i++)
        call->emissions[i] = (struct emission){now_ms, a->ends[i]};
    call->emission_count = a->sent;
}

static void on_tick(struct wheel_timer *t, void *arg)
{
    (void)t;
    struct answer *a = arg;
    size_t due = due_tokens(a), before = a->sent;
    while (a->sent < due && !is_hanging(a)) {
        size_t from = a->sent ? a->ends[a->sent - 1] : 0;
        write_delta(&a->out, "content", bytes_of(a->text.ptr + from, a->ends[a->sent] - from),
                    NULL);
        a->sent++;
        if (!play_failure(a))
            return;
    }
    note_emissions(a, before);
    if (a->sent == a->count) {
        write_end(a);
        flush(a);
        if (a->call)
            a->call->is_complete = true;
        http_stream_end(a->request);
        return;
    }
    flush(a);
    if (!is_hanging(a))
        await_next(a);
}

static void on_begin(struct wheel_timer *t, void *arg)
{
    struct answer *a = arg;
    a->began_ms = loop_now_ms(a->llm->loop);
    if (a->script.think)
        write_delta(&a->out, "reasoning_content", BYTES_LIT("先想一想再回答"), NULL);
    t->fire = on_tick;
    on_tick(t, a);
}

static void reply_json(struct answer *a)
{
    struct json_writer w;
    json_begin(&w, &a->out);
    json_open(&w, NULL, '{');
    json_str(&w, "object", BYTES_LIT("chat.completion"));
    json_open(&w, "choices", '[');
    json_open(&w, NULL, '{');
    json_open(&w, "message", '{');
    json_str(&w, "role", BYTES_LIT("assistant"));
    json_str(&w, "content", buf_bytes(&a->text));
    json_close(&w, '}');
    json_str(&w, "finish_reason", BYTES_LIT("stop"));
    json_close(&w, '}');
    json_close(&w, ']');
    json_close(&w, '}');
    if (a->call)
        a->call->is_complete = true;
    http_reply(a->request, 200, "application/json", &a->out);
}

static void refuse(struct http_request *req, int status, const char *message)
{
    struct buf body;
    buf_init(&body, 512);
    buf_printf(&body, "{\"error\":{\"message\":\"%s\",\"code\":%d}}", message, status);
    http_reply(req, status, "application/json", &body);
    buf_free(&body);
}

static void start_answer(struct llm *l, struct http_request *req, struct bytes question,
                         const struct llm_script *script, struct call *call, bool is_stream)
{
    struct answer *a = BRG_NEW(struct answer);
    *a = (struct answer){.llm = l, .request = req, .call = call, .script = *script};
    buf_init(&a->text, LLM_ANSWER_MAX_BYTES);
    buf_init(&a->out, (size_t)4 * LLM_ANSWER_MAX_BYTES);
    llm_answer(l->crypto, question, script, &a->text, &a->ends, &a->count);
    wheel_timer_init(&a->timer, on_begin, a);
    http_set_context(req, a);
    if (script->json || !is_stream) {
        reply_json(a);
        return;
    }
    http_stream_begin(req, 200, "text/event-stream; charset=utf-8");
    http_stream_write(req, BYTES_LIT(": simulated\n\n"));
    loop_timer_set(l->loop, &a->timer, (int64_t)script->delay_ms);
}

static void on_chat(struct llm *l, struct http_request *req)
{
    struct json *body = json_parse(http_body(req), JSON_PEER, NULL);
    if (!body) {
        refuse(req, 400, "the body is not JSON");
        return;
    }
    struct bytes question = last_user_text(body);
    struct llm_script script;
    llm_script_of(question, &l->defaults, &script);
    bool is_counted = script.fail_status || script.vary;
    uint64_t before = is_counted ? calls_before(l, question) : 0;
    script.nth = script.vary ? before : 0;
    struct call *call = remember(l, req, body, question);
    if (script.fail_status && before < script.fail_times) {
        if (call)
            call->status = (int)script.fail_status;
        refuse(req, (int)script.fail_status, "as asked");
    } else {
        start_answer(l, req, question, &script, call,
                     json_bool(json_get(body, "stream"), false));
    }
    json_free(body);
}

static void write_emissions(struct json_writer *w, const struct call *c)
{
    json_open(w, "tokens", '[');
    for (size_t i = 0; i < c->emission_count; i++) {
        json_open(w, NULL, '[');
        json_i64(w, NULL, (int64_t)c->emissions[i].end);
        json_i64(w, NULL, c->emissions[i].at_ms);
        json_close(w, ']');
    }
    json_close(w, ']');
}

static void on_calls(struct llm *l, struct http_request *req)
{
    struct bytes question, times;
    bool is_one = http_query(req, "question", &question);
    bool is_timed = http_query(req, "times", &times);
    struct buf out;
    struct json_writer w;
    buf_init(&out, 64u << 20);
    json_begin(&w, &out);
    json_open(&w, NULL, '[');
    for (size_t i = 0; i < l->call_count; i++) {
        const struct call *c = &l->calls[i];
        if (is_one && !bytes_eq_str(question, c->question))
            continue;
        json_open(&w, NULL, '{');
        json_str(&w, "question", bytes_of_str(c->question));
        json_str(&w, "authorization", bytes_of_str(c->authorization));
        json_str(&w, "model", bytes_of_str(c->model));
        json_boolean(&w, "stream", c->stream);
        json_i64(&w, "status", c->status);
        json_boolean(&w, "is_complete", c->is_complete);
        json_i64(&w, "at_ms", c->at_ms);
        if (is_timed)
            write_emissions(&w, c);
        json_close(&w, '}');
    }
    json_close(&w, ']');
    http_reply(req, 200, "application/json", &out);
    buf_free(&out);
}

static void on_request(struct http_request *req, void *arg)
{
    if (http_method(req) == HTTP_POST && bytes_eq_str(http_path(req), "/v1/chat/completions"))
        on_chat(arg, req);
    else if (http_method(req) == HTTP_GET && bytes_eq_str(http_path(req), "/calls"))
        on_calls(arg, req);
    else
        refuse(req, 404, "POST /v1/chat/completions or GET /calls");
}

static void on_gone(struct http_request *req, void *arg)
{
    (void)arg;
    if (http_context(req))
        answer_free(http_context(req));
}

static void on_signal(int signum, void *arg)
{
    (void)signum;
    loop_stop(arg);
}

static void llm_free(struct llm *l)
{
    if (l->server)
        http_server_free(l->server);
    loop_free(l->loop);
    crypto_free(l->crypto);
    for (size_t i = 0; i < l->call_count; i++) {
        free(l->calls[i].question);
        free(l->calls[i].authorization);
        free(l->calls[i].model);
        free(l->calls[i].emissions);
    }
    free(l->calls);
}

static int serve(const char *listen, const struct llm_script *defaults)
{
    struct llm l = {.loop = loop_new(), .crypto = crypto_new(), .defaults = *defaults};
    struct http_options options = {
        .listen = listen,
        .max_body_bytes = BODY_MAX_BYTES,
        .max_connections = CONNECTIONS_MAX,
        .idle_timeout_s = 120,
    };
    struct http_callbacks callbacks = {.on_request = on_request, .on_gone = on_gone, .arg = &l};
    struct brg_error error;
    uint64_t allowed = descriptors_raise();
    if (allowed < CONNECTIONS_MAX + DESCRIPTORS_SPARE)
        fprintf(stderr, "botbridge-sim llm: %llu descriptors (ulimit -n) for %d streams\n",
                (unsigned long long)allowed, CONNECTIONS_MAX);
    l.server = http_server_new(l.loop, &options, &callbacks, &error);
    if (!l.server) {
        fprintf(stderr, "botbridge-sim llm: %s\n", error.text);
        llm_free(&l);
        return error.code == BRG_RETRY ? BRG_EXIT_AGAIN : BRG_EXIT_USAGE;
    }
    loop_on_signal(l.loop, SIGTERM, on_signal, l.loop);
    loop_on_signal(l.loop, SIGINT, on_signal, l.loop);
    int host_bytes = (int)(strrchr(listen, ':') - listen); /* http_server_new has found one */
    printf("ready listen=%.*s:%u\n", host_bytes, listen, http_server_port(l.server));
    fflush(stdout);
    loop_run(l.loop);
    llm_free(&l);
    return BRG_EXIT_DONE;
}

static void write_answer(struct crypto *c, struct bytes question,
                         const struct llm_script *defaults, struct buf *out)
{
    struct llm_script script;
    size_t *ends = NULL, count;
    llm_script_of(question, defaults, &script);
    llm_answer(c, question, &script, out, &ends, &count);
    free(ends);
}

static void print_answer(struct crypto *c, struct bytes question,
                         const struct llm_script *defaults)
{
    struct buf text;
    buf_init(&text, LLM_ANSWER_MAX_BYTES);
    write_answer(c, question, defaults, &text);
    fwrite(text.ptr, 1, text.len, stdout);
    buf_free(&text);
}

/* Questions are lines; each answer is a JSON string on a line of its own. */
static void print_answers(struct crypto *c, const struct llm_script *defaults)
{
    struct buf text, out;
    char *line = NULL;
    size_t room = 0;
    buf_init(&text, LLM_ANSWER_MAX_BYTES);
    buf_init(&out, (size_t)8 * LLM_ANSWER_MAX_BYTES);
    for (ssize_t len = getline(&line, &room, stdin); len > 0;
         len = getline(&line, &room, stdin)) {
        size_t end = line[len - 1] == '\n' ? (size_t)len - 1 : (size_t)len;
        buf_reset(&text);
        buf_reset(&out);
        write_answer(c, bytes_of(line, end), defaults, &text);
        json_escape(&out, buf_bytes(&text));
        printf("\"" BYTES_FMT "\"\n", BYTES_ARG(buf_bytes(&out)));
    }
    free(line);
    buf_free(&text);
    buf_free(&out);
}

static int tell_answers(const char *question, const struct llm_script *defaults)
{
    struct crypto *c = crypto_new();
    if (strcmp(question, "-") == 0)
        print_answers(c, defaults);
    else
        print_answer(c, bytes_of_str(question), defaults);
    crypto_free(c);
    return BRG_EXIT_DONE;
}

static int usage(FILE *to)
{
    fputs(
        "usage: botbridge-sim llm [--listen 127.0.0.1:PORT] [--script 'tokens=40 rate=10 …']\n"
        "       botbridge-sim llm --answer QUESTION      prints what the server would answer\n"
        "                                           (-: questions from stdin, a line each;\n"
        "                                           answers as JSON strings)\n"
        "\n"
        "An OpenAI-compatible server with deterministic answers. A question may hold its own\n"
        "directives in braces, e.g. \"hello {tokens=40 rate=10}\":\n"
        "  tokens=N size=BYTES rate=TOKENS/S delay=MS fail=STATUSxTIMES hang=N cut=N junk=N\n"
        "  error=N usage=1 think=1 json=1 done=0 vary=1\n"
        "GET /calls[?question=TEXT][&times=1] lists the calls that arrived; with times what "
        "was\n"
        "written when: end in bytes, wall clock in ms.\n",
        to);
    return to == stdout ? BRG_EXIT_DONE : BRG_EXIT_USAGE;
}

static int refuse_script(struct bytes directive)
{
    fprintf(stderr, "botbridge-sim llm: --script: " BYTES_FMT " is no directive\n",
            BYTES_ARG(directive));
    return BRG_EXIT_USAGE;
}

int llm_main(int argc, char **argv)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"script", required_argument, NULL, 's'},
                                            {"answer", required_argument, NULL, 'a'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *listen = "127.0.0.1:0", *question = NULL;
    struct llm_script defaults = llm_script_defaults;
    for (int opt = 0;;) {
        opt = getopt_long(argc, argv, "", options, NULL);
        if (opt == -1)
            break;
        if (opt == 'l') {
            listen = optarg;
        } else if (opt == 'a') {
            question = optarg;
        } else if (opt == 's') {
            struct bytes wrong = llm_script_read(bytes_of_str(optarg), &defaults);
            if (wrong.len > 0)
                return refuse_script(wrong);
        } else {
            return usage(opt == 'h' ? stdout : stderr);
        }
    }
    if (optind != argc)
        return usage(stderr);
    return question ? tell_answers(question, &defaults) : serve(listen, &defaults);
}
