#include "load_run.h"

#include "base/clock.h"
#include "base/list.h"

#include <signal.h>
#include <sys/resource.h>

enum { STREAM_LIMIT_MS = 360 * 1000, USER_BYTES = 128, TICK_MS = 1 };

enum load_phase {
    LOAD_SENDING,
    LOAD_DRAINING, /* no new messages */
    LOAD_OVER,
};

struct load {
    struct loop *loop;
    struct wecom_link *link;
    const struct load_plan *plan;
    struct load_result *result;
    enum load_phase phase;
    struct wheel_timer end;  /* of the phase */
    struct wheel_timer tick; /* open loop: messages that are due */
    struct list open;        /* struct talk */
    uint64_t open_count;
    uint64_t due_count; /* open loop: messages that should have left so far */
    int64_t began_us;
};

/* One message and its stream. */
struct talk {
    struct load *load;
    struct list node;
    struct wheel_timer start; /* closed loop: the first ones do not leave together */
    struct wecom_stream *stream;
    int64_t due_us;
    bool is_answered;
    bool has_text;
    struct buf first; /* the first answer: what differs from it is the bot's text */
};

static void open_talk(struct load *load, int64_t due_us, int64_t delay_ms);

static void free_talk(struct talk *talk)
{
    struct load *load = talk->load;
    loop_timer_cancel(load->loop, &talk->start);
    list_remove(&talk->node);
    buf_free(&talk->first);
    free(talk);
    load->open_count--;
}

static void finish_if_idle(struct load *load)
{
    if (load->phase != LOAD_DRAINING || load->open_count > 0)
        return;
    load->phase = LOAD_OVER;
    loop_stop(load->loop);
}

static void end_talk(struct talk *talk)
{
    struct load *load = talk->load;
    free_talk(talk);
    if (load->phase == LOAD_SENDING && load->plan->streams > 0)
        open_talk(load, clock_mono_us(), 0);
    finish_if_idle(load);
}

static void note_first(struct talk *talk, const struct wecom_shown *shown)
{
    struct load_result *r = talk->load->result;
    talk->is_answered = true;
    hist_record(&r->first_reply_us, shown->latency_us);
    if (shown->is_finished)
        r->refused++;
    else
        r->accepted++;
    if (!talk->load->plan->is_message_only)
        buf_append(&talk->first, shown->content);
}

static void on_shown(const struct wecom_shown *shown, void *arg)
{
    struct talk *talk = arg;
    struct load_result *r = talk->load->result;
    if (shown->is_first) {
        note_first(talk, shown);
        return;
    }
    int64_t since_due_us = clock_mono_us() - talk->due_us;
    r->refreshes++;
    hist_record(&r->refresh_us, shown->latency_us);
    if (!talk->has_text && !bytes_eq(shown->content, buf_bytes(&talk->first))) {
        talk->has_text = true;
        hist_record(&r->first_text_us, since_due_us);
    }
    if (shown->is_finished) {
        r->finished++;
        hist_record(&r->finish_us, since_due_us);
    }
}

static void on_repeat(const char *reason, unsigned deliveries, void *arg)
{
    struct talk *talk = arg;
    (void)reason;
    (void)deliveries;
    talk->load->result->repeats++;
}

static void keep_reason(char out[LOAD_REASON_BYTES], const char *reason)
{
    (void)snprintf(out, LOAD_REASON_BYTES, "%s", reason);
}

static void on_end(enum wecom_end end, const char *reason, void *arg)
{
    struct talk *talk = arg;
    struct load_result *r = talk->load->result;
    talk->stream = NULL;
    if (end == WECOM_END_BROKEN_RULE) {
        if (r->broken < LOAD_BROKEN_SHOWN)
            keep_reason(r->broken_reasons[r->broken], reason);
        r->broken++;
    } else if (end == WECOM_END_UNANSWERED) {
        if (r->unanswered == 0)
            keep_reason(r->unanswered_reason, reason);
        r->unanswered++;
    }
    end_talk(talk);
}

static void send_message(struct wheel_timer *timer, void *arg)
{
    static const struct wecom_stream_callbacks callbacks = {on_shown, on_repeat, on_end};
    (void)timer;
    struct talk *talk = arg;
    struct load *load = talk->load;
    const struct load_plan *plan = load->plan;
    char user[USER_BYTES];
    uint64_t number = load->result->sent % (uint64_t)plan->users;
    (void)snprintf(user, sizeof(user), "%s-%llu", plan->user_prefix,
                   (unsigned long long)number);
    struct wecom_ask ask = {
        .user = user,
        .chat_id = plan->chat_id,
        .question = plan->question,
        .poll_ms = plan->poll_ms,
        .limit_ms = STREAM_LIMIT_MS,
        .due_us = talk->due_us,
        .is_message_only = plan->is_message_only,
    };
    load->result->sent++;
    talk->stream = wecom_stream_start(load->loop, load->link, &ask, &callbacks, talk);
}

static void open_talk(struct load *load, int64_t due_us, int64_t delay_ms)
{
    struct talk *talk = BRG_NEW(struct talk);
    talk->load = load;
    talk->due_us = due_us;
    list_init(&talk->node);
    list_push_back(&load->open, &talk->node);
    load->open_count++;
    buf_init(&talk->first, WECOM_CONTENT_MAX_BYTES);
    wheel_timer_init(&talk->start, send_message, talk);
    if (delay_ms > 0)
        loop_timer_set(load->loop, &talk->start, delay_ms);
    else
        send_message(&talk->start, talk);
}

static void on_tick(struct wheel_timer *timer, void *arg)
{
    struct load *load = arg;
    int64_t rate = load->plan->rate;
    int64_t elapsed_us = clock_mono_us() - load->began_us;
    uint64_t due = (uint64_t)(elapsed_us * rate / 1000000) + 1;
    uint64_t all = (uint64_t)(load->plan->duration_ms * rate / 1000);
    for (; load->due_count < due && load->due_count < all; load->due_count++) {
        int64_t due_us = load->began_us + (int64_t)load->due_count * 1000000 / rate;
        if (load->open_count < LOAD_OPEN_MAX)
            open_talk(load, due_us, 0);
        else
            load->result->skipped++;
    }
    loop_timer_set(load->loop, timer, TICK_MS);
}

static void stop_sending(struct load *load)
{
    load->phase = LOAD_DRAINING;
    load->result->sending_ms = (clock_mono_us() - load->began_us) / 1000;
    load->result->refreshes_while_sending = load->result->refreshes;
    loop_timer_cancel(load->loop, &load->tick);
    loop_timer_set(load->loop, &load->end, load->plan->drain_ms);
    /* Those that wait for their first start have nothing to wait for any more. */
    for (struct list *node = load->open.next, *next = node->next; node != &load->open;
         node = next, next = node->next) {
        struct talk *talk = LIST_ENTRY(node, struct talk, node);
        if (!talk->stream)
            free_talk(talk);
    }
    finish_if_idle(load);
}

static void on_phase_end(struct wheel_timer *timer, void *arg)
{
    struct load *load = arg;
    (void)timer;
    if (load->phase == LOAD_SENDING) {
        stop_sending(load);
        return;
    }
    load->phase = LOAD_OVER;
    loop_stop(load->loop);
}

static void on_interrupt(int signum, void *arg)
{
    struct load *load = arg;
    (void)signum;
    load->result->is_interrupted = true;
    if (load->phase == LOAD_SENDING)
        stop_sending(load);
    load->phase = LOAD_OVER;
    loop_stop(load->loop);
}

static void begin(struct load *load)
{
    const struct load_plan *plan = load->plan;
    load->began_us = clock_mono_us();
    loop_timer_set(load->loop, &load->end, plan->duration_ms);
    if (plan->streams == 0) {
        on_tick(&load->tick, load);
        return;
    }
    for (int64_t i = 0; i < plan->streams; i++) {
        int64_t delay_ms = i * plan->poll_ms / plan->streams;
        open_talk(load, load->began_us + delay_ms * 1000, delay_ms);
    }
}

static void give_up_open(struct load *load)
{
    for (struct list *node = load->open.next, *next = node->next; node != &load->open;
         node = next, next = node->next) {
        struct talk *talk = LIST_ENTRY(node, struct talk, node);
        wecom_stream_cancel(talk->stream);
        free_talk(talk);
        load->result->unfinished++;
    }
}

static int64_t cpu_us(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

/* Time spent ready to run but not running: the second number, in ns. 0 where the kernel does
 * not keep it. */
static int64_t cpu_wait_us(void)
{
    char line[128];
    uint64_t waited_ns = 0;
    FILE *f = fopen("/proc/self/schedstat", "r");
    if (!f)
        return 0;
    const char *second = fgets(line, sizeof(line), f) ? strchr(line, ' ') : NULL;
    if (second && !bytes_to_u64(bytes_of(second + 1, strcspn(second + 1, " ")), &waited_ns))
        waited_ns = 0;
    (void)fclose(f);
    return (int64_t)(waited_ns / 1000);
}

void load_run(struct loop *loop, struct wecom_link *link, const struct load_plan *plan,
              struct load_result *out)
{
    struct load load = {.loop = loop, .link = link, .plan = plan, .result = out};
    int64_t cpu_before_us = cpu_us();
    int64_t wait_before_us = cpu_wait_us();
    *out = (struct load_result){0};
    list_init(&load.open);
    wheel_timer_init(&load.end, on_phase_end, &load);
    wheel_timer_init(&load.tick, on_tick, &load);
    loop_on_signal(loop, SIGINT, on_interrupt, &load);
    loop_on_signal(loop, SIGTERM, on_interrupt, &load);
    begin(&load);
    loop_run(loop);
    loop_timer_cancel(loop, &load.end);
    int64_t lasted_us = clock_mono_us() - load.began_us;
    give_up_open(&load);
    out->lasted_ms = lasted_us / 1000;
    out->slowest_turn_ms = loop_take_slowest_turn_ms(loop);
    out->cpu_share = (double)(cpu_us() - cpu_before_us) / (double)(lasted_us + 1);
    out->wait_share = (double)(cpu_wait_us() - wait_before_us) / (double)(lasted_us + 1);
}
