/* Says the question again, at a set rate: for tests, demonstrations and benchmarks. The text is
 * a pure function of the question. */
#include "base/error.h"
#include "pipelines/pipeline.h"

#define ECHO_PREFIX "收到:"
enum { ECHO_STEP_MS = 50 };

struct pipeline_run {
    struct loop *loop;
    struct pipeline_sink sink;
    struct wheel_timer timer;
    int64_t started_ms;
    int64_t rate; /* code points per second; 0: all at once */
    uint64_t sent;
    char *text;
    size_t len, at;
};

/* Bytes of the character at `at`; what is not UTF-8 goes byte by byte. */
static size_t char_length(const struct pipeline_run *run)
{
    size_t end = run->at + 1;
    while (end < run->len && ((unsigned char)run->text[end] & 0xC0) == 0x80)
        end++;
    return end - run->at;
}

static void run_free(struct pipeline_run *run)
{
    loop_timer_cancel(run->loop, &run->timer);
    free(run->text);
    free(run);
}

static void step(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    struct pipeline_run *run = arg;
    int64_t elapsed_ms = loop_now_ms(run->loop) - run->started_ms;
    uint64_t due = run->rate == 0 ? UINT64_MAX : (uint64_t)(elapsed_ms * run->rate / 1000);
    size_t from = run->at;
    while (run->at < run->len && run->sent < due) {
        run->at += char_length(run);
        run->sent++;
    }
    if (run->at > from)
        run->sink.on_text(bytes_of(run->text + from, run->at - from), run->sink.arg);
    if (run->at < run->len) {
        loop_timer_set(run->loop, &run->timer, ECHO_STEP_MS);
        return;
    }
    struct pipeline_sink sink = run->sink;
    run_free(run);
    sink.on_end(PIPELINE_DONE, "", -1, sink.arg);
}

static struct pipeline_run *echo_start(struct pipeline_context *context,
                                       const struct config_pipeline *config,
                                       const struct message *message,
                                       const struct pipeline_sink *sink)
{
    struct pipeline_run *run = BRG_NEW(struct pipeline_run);
    struct bytes prefix = BYTES_LIT(ECHO_PREFIX);
    run->loop = context->loop;
    run->sink = *sink;
    run->rate = config->rate;
    run->started_ms = loop_now_ms(context->loop);
    run->len = prefix.len + message->text.len;
    run->text = brg_calloc(run->len, 1);
    memcpy(run->text, prefix.ptr, prefix.len);
    if (message->text.len > 0)
        memcpy(run->text + prefix.len, message->text.ptr, message->text.len);
    wheel_timer_init(&run->timer, step, run);
    loop_timer_set(run->loop, &run->timer, run->rate == 0 ? 0 : ECHO_STEP_MS);
    return run;
}

const struct pipeline_ops pipeline_echo = {.start = echo_start, .cancel = run_free};
