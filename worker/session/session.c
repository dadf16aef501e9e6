#include "base/clock.h"
#include "base/crash_point.h"
#include "base/random.h"
#include "log/log.h"
#include "session/session_internal.h"

#include <inttypes.h>

#define BIT(state) (1u << (state))

/* Which states may follow which; README.md shows the same as a table. */
static const unsigned may_follow[SESSION_STATE_COUNT] = {
    [SESSION_QUEUED] = BIT(SESSION_WAITING) | BIT(SESSION_CLAIMING) | BIT(SESSION_SETTLING) |
                       BIT(SESSION_DROPPED),
    [SESSION_WAITING] = BIT(SESSION_CLAIMING) | BIT(SESSION_DROPPED),
    [SESSION_CLAIMING] = BIT(SESSION_QUEUED) | BIT(SESSION_WAITING) | BIT(SESSION_READY) |
                         BIT(SESSION_FINISHING) | BIT(SESSION_SETTLING) |
                         BIT(SESSION_RELEASING) | BIT(SESSION_SETTLED) | BIT(SESSION_DROPPED),
    [SESSION_READY] = BIT(SESSION_RUNNING) | BIT(SESSION_WAITING) | BIT(SESSION_FINISHING) |
                      BIT(SESSION_SETTLING) | BIT(SESSION_RELEASING) | BIT(SESSION_DROPPED),
    [SESSION_RUNNING] = BIT(SESSION_READY) | BIT(SESSION_WAITING) | BIT(SESSION_FINISHING) |
                        BIT(SESSION_SETTLING) | BIT(SESSION_RELEASING) | BIT(SESSION_DROPPED),
    [SESSION_FINISHING] = BIT(SESSION_SETTLING) | BIT(SESSION_WAITING) |
                          BIT(SESSION_RELEASING) | BIT(SESSION_DROPPED),
    [SESSION_SETTLING] = BIT(SESSION_SETTLED) | BIT(SESSION_FINISHING) | BIT(SESSION_WAITING) |
                         BIT(SESSION_RELEASING) | BIT(SESSION_DROPPED),
    [SESSION_RELEASING] = BIT(SESSION_DROPPED),
    [SESSION_SETTLED] = 0,
    [SESSION_DROPPED] = 0,
};

const char *session_state_name(enum session_state state)
{
    static const char *const names[SESSION_STATE_COUNT] = {
        "queued",    "waiting",  "claiming",  "ready",   "running",
        "finishing", "settling", "releasing", "settled", "dropped",
    };
    return names[state];
}

void session_set_state(struct session *s, enum session_state state)
{
    BRG_CHECK((may_follow[s->state] & BIT(state)) != 0);
    log_debug("session", "state", "stream=%s from=%s to=%s", s->id.text,
              session_state_name(s->state), session_state_name(state));
    if (s->state == SESSION_QUEUED) /* its claim opens it as well */
        loop_timer_cancel(s->worker->loop, &s->wait);
    s->worker->in_state[s->state]--;
    s->worker->in_state[state]++;
    s->state = state;
}

int64_t session_now(const struct session *s)
{
    return loop_now_ms(s->worker->loop);
}

/* A repeat of an event that is young enough must find its record; after days none comes. */
static int64_t remembered_ms(const struct config_bosshi *app)
{
    enum { REMEMBERED_MAX_MS = 7 * 24 * 3600 * 1000 };
    int64_t young_ms =
        app->max_age_ms < REMEMBERED_MAX_MS ? app->max_age_ms : REMEMBERED_MAX_MS;
    return young_ms > app->dedup_ttl_ms ? young_ms : app->dedup_ttl_ms;
}

struct store_stream session_stream(const struct session *s)
{
    return (struct store_stream){
        .id = stream_id_bytes(&s->id),
        .bot = bytes_of_str(s->bot_name),
        .start_at_ms = s->start_at_ms,
        .deadline_at_ms = s->deadline_at_ms,
        .ttl_ms = s->bot && s->bot->platform == PLATFORM_BOSSHI
                      ? remembered_ms(&s->bot->bosshi)
                      : s->worker->config->store.stream_ttl_ms,
    };
}

size_t session_answer_max_bytes(const struct session *s)
{
    return (size_t)s->worker->config->worker.answer_max_bytes;
}

size_t session_chat_max_bytes(const struct session *s)
{
    enum { SAID_MAX_BYTES = 65536 };
    return session_answer_max_bytes(s) + SAID_MAX_BYTES;
}

bool session_lease_is_firm(const struct session *s)
{
    int64_t age_ms = clock_mono_ms() - s->lease_ms;
    return age_ms < s->worker->config->worker.lease_ms * LEASE_FIRM_PERCENT / 100;
}

/* --- the record --- */

static struct bytes record_header(const char *name, void *arg)
{
    return bus_message_header(arg, name);
}

bool session_message(struct session *s, struct message *m, struct json **root)
{
    struct envelope_hint hint;
    struct bus_message_info info;
    struct brg_error error = {0};
    bus_message_info(s->record, &info);
    envelope_read_hint(record_header, s->record, &hint);
    *root = NULL;
    if (envelope_decode(info.value, &hint, m, root, &error) == BRG_OK)
        return true;
    log_warn("session", "unreadable", "topic=%s partition=%d offset=%" PRId64 " why=\"%s\"",
             info.topic, (int)info.partition, info.offset, error.text);
    snprintf(s->error, sizeof(s->error), "%.*s", SESSION_ERROR_BYTES - 1, error.text);
    return false;
}

/* A record that cannot be read stands alone: who asked is not known. */
static void enter_lane_of_its_own(struct session *s)
{
    struct bus_message_info info;
    struct buf name;
    buf_init(&name, 512);
    bus_message_info(s->record, &info);
    buf_printf(&name, "\n%s/%d/%" PRId64, info.topic, (int)info.partition, info.offset);
    lanes_enter(&s->worker->lanes, &s->lane, buf_bytes(&name), BYTES_LIT(""));
    buf_free(&name);
}

static void take_unreadable(struct session *s)
{
    struct envelope_hint hint;
    envelope_read_hint(record_header, s->record, &hint);
    s->fate = FATE_UNREADABLE;
    s->has_stream = hint.stream.text[0] != '\0';
    s->id = hint.stream;
    s->start_at_ms = hint.start_at_ms;
    s->deadline_at_ms = hint.deadline_at_ms;
    s->bot_name = bytes_dup(hint.bot);
    enter_lane_of_its_own(s);
}

static void take_message(struct session *s, const struct message *m)
{
    s->has_stream = true;
    s->id = m->stream;
    s->start_at_ms = m->start_at_ms;
    s->deadline_at_ms = m->deadline_at_ms;
    s->bot_name = bytes_dup(m->bot);
    s->response_url = m->response_url.len > 0 ? bytes_dup(m->response_url) : NULL;
    if (s->home == HOME_LATE)
        session_begin(s); /* its lane went on without it, and the topic has its own window */
    else
        session_admit(s, m);
}

void session_new(struct worker *w, struct bus_message *record)
{
    struct session *s = BRG_NEW(struct session);
    struct message m;
    struct json *root = NULL;
    s->worker = w;
    s->record = record;
    s->home = intake_is_late(w, record) ? HOME_LATE : HOME_REQUESTS;
    crash_point_of("record.taken", s->home == HOME_LATE ? "late" : "requests");
    s->arrived_ms = loop_now_ms(w->loop);
    s->dead_reason = s->dead_noted = "";
    s->prompt_tokens = s->completion_tokens = -1;
    list_push_back(&w->sessions, &s->node);
    list_init(&s->put_place);
    lane_place_init(&s->lane);
    upstream_place_init(&s->upstream);
    session_init_timers(s);
    answer_init(&s->answer, session_answer_max_bytes(s), WECOM_CONTENT_MAX_BYTES, 0);
    buf_init(&s->shown, WECOM_CONTENT_MAX_BYTES);
    buf_init(&s->final, WECOM_CONTENT_MAX_BYTES);
    buf_init(&s->rest, WECOM_CONTENT_MAX_BYTES);
    session_post_init(s);
    w->in_state[SESSION_QUEUED]++;
    if (session_message(s, &m, &root))
        take_message(s, &m);
    else
        take_unreadable(s);
    json_free(root);
}

/* --- waiting --- */

void session_wait(struct session *s, int64_t delay_ms)
{
    loop_timer_set(s->worker->loop, &s->wait, delay_ms);
}

void session_stall(struct session *s)
{
    s->is_stalled = true;
    session_wait(s,
                 WAIT_BASE_MS / 2 + random_backoff_ms(WAIT_BASE_MS, WAIT_CAP_MS, s->failures));
    if (s->failures < 16)
        s->failures++;
}

void session_resume(struct session *s)
{
    if (s->state != SESSION_RUNNING && s->has_stream && !store_is_up(s->worker->store)) {
        session_stall(s);
        return;
    }
    s->is_stalled = false;
    switch (s->state) {
    case SESSION_QUEUED:
        session_tell_queued(s);
        break;
    case SESSION_WAITING:
        session_begin(s);
        break;
    case SESSION_READY:
        session_try_start(s);
        break;
    case SESSION_FINISHING:
        session_finish(s);
        break;
    case SESSION_SETTLING:
        session_settle(s);
        break;
    default:
        break;
    }
}

void session_on_store_up(struct session *s, bool is_loss)
{
    /* Spread, so that thousands of sessions do not pass the bound on outstanding calls. */
    enum { SPREAD_MS = 100, QUEUED_SPREAD_MS = 2000 };
    bool is_live = s->state == SESSION_READY || s->state == SESSION_RUNNING;
    s->failures = 0;
    if (is_loss)
        session_chat_on_loss(s);
    if (is_live) {
        s->must_put = s->must_put || is_loss;
        session_tick_soon(s, (int64_t)random_below(SPREAD_MS));
        return;
    }
    /* What is owed is written down again together with the text, where both were lost. */
    bool is_end_lost = is_loss && s->state == SESSION_SETTLING && s->has_stream;
    s->must_put = s->must_put || is_end_lost;
    if (s->is_stalled || is_end_lost)
        session_wait(s, (int64_t)random_below(SPREAD_MS));
    else if (s->state == SESSION_QUEUED) { /* of which there may be very many */
        s->queue_told = SIZE_MAX;
        session_wait(s, (int64_t)random_below(QUEUED_SPREAD_MS));
    }
}

void session_on_reload(struct session *s)
{
    if (s->state == SESSION_WAITING && !s->bot)
        session_wait(s, 0);
}

/* --- ends --- */

static void free_memory(struct session *s)
{
    answer_free(&s->answer);
    buf_free(&s->shown);
    buf_free(&s->final);
    buf_free(&s->rest);
    session_post_clear(s);
    session_chat_free(s);
    config_unref(s->config);
    free(s->bot_name);
    free(s->response_url);
    s->worker->in_state[s->state]--;
    free(s);
}

bool session_arrived(struct session *s)
{
    s->pending--;
    bool is_gone = s->state == SESSION_SETTLED || s->state == SESSION_DROPPED;
    if (is_gone && s->pending == 0)
        free_memory(s);
    return !is_gone;
}

void session_stop_run(struct session *s)
{
    struct loop *loop = s->worker->loop;
    if (s->run) {
        pipeline_ops_of(s->pipeline->type)->cancel(s->run);
        s->run = NULL;
    }
    upstreams_leave(&s->worker->upstreams, &s->upstream);
    list_remove(&s->put_place);
    session_post_stop(s);
    loop_timer_cancel(loop, &s->wait);
    loop_timer_cancel(loop, &s->tick);
    loop_timer_cancel(loop, &s->limit);
    loop_timer_cancel(loop, &s->ceiling);
}

/* Everything but the memory, which pending callbacks still point to. */
static void leave(struct session *s)
{
    struct worker *w = s->worker;
    session_stop_run(s);
    session_chat_stop(s);
    list_remove(&s->node);
    bus_message_free(s->record);
    s->record = NULL;
    quotas_give(&w->pipeline_quotas, &s->pipeline_share);
    quotas_give(&w->bot_quotas, &s->bot_share);
    session_leave_lane(s);
    if (s->pending == 0)
        free_memory(s);
    if (w->is_draining && list_is_empty(&w->sessions))
        loop_stop(w->loop);
}

void session_settled(struct session *s)
{
    bool is_ours = s->has_stream && s->final.len > 0 && s->bubble != BUBBLE_CLOSED;
    if (is_ours) {
        struct store_stream stream = session_stream(s);
        finals_add(&s->worker->finals, &stream, s->epoch, s->reason, buf_bytes(&s->final),
                   session_now(s));
    }
    session_set_state(s, SESSION_SETTLED);
    if (s->home != HOME_MOVED)
        intake_complete(s->worker, s->record);
    crash_point("offset.completed");
    leave(s);
}

void session_drop(struct session *s)
{
    session_set_state(s, SESSION_DROPPED);
    leave(s);
}

static void on_released(const struct store_reply *reply, void *arg)
{
    (void)reply; /* not confirmed: the lease ends by itself */
    struct session *s = arg;
    crash_point("release.answered");
    if (session_arrived(s))
        session_drop(s);
}

void session_release(struct session *s)
{
    session_stop_run(s);
    session_chat_stop(s);
    if (!s->has_stream || s->epoch == 0 || !store_is_up(s->worker->store)) {
        session_drop(s);
        return;
    }
    struct store_stream stream = session_stream(s);
    session_set_state(s, SESSION_RELEASING);
    metric_add(&session_metrics.releases, 1);
    s->pending++;
    store_release(s->worker->store, &stream, s->epoch, on_released, s);
    crash_point("release.sent");
}

void session_on_revoke(struct session *s)
{
    s->is_revoked = true;
    if (s->state == SESSION_QUEUED || s->state == SESSION_WAITING)
        session_drop(s);
}

void session_on_drain(struct session *s)
{
    if (s->state == SESSION_QUEUED || s->state == SESSION_WAITING)
        session_drop(s);
}

void session_on_drain_over(struct session *s)
{
    bool is_idle = s->state == SESSION_SETTLING && s->post.step == POST_WAITING;
    if (s->state == SESSION_READY || s->state == SESSION_RUNNING || is_idle)
        session_release(s);
}

void session_on_grace_over(struct session *s)
{
    if (s->state == SESSION_FINISHING || s->state == SESSION_SETTLING)
        session_release(s);
    else if (s->state != SESSION_RELEASING)
        session_drop(s);
}
