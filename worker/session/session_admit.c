#include "base/crash_point.h"
#include "log/log.h"
#include "session/session_internal.h"

enum { REOPEN_AGE_MS = 5000 };

static size_t record_bytes(const struct session *s)
{
    struct bus_message_info info;
    bus_message_info(s->record, &info);
    return sizeof(*s) + info.key.len + info.value.len;
}

bool session_take_pipeline_share(struct session *s)
{
    const struct config *c = s->worker->config;
    const struct config_bot *bot = config_bot(c, bytes_of_str(s->bot_name));
    if (!bot || s->pipeline_share.quota)
        return true;
    return quotas_take(&s->worker->pipeline_quotas, &s->pipeline_share,
                       bytes_of_str(bot->pipeline), record_bytes(s));
}

bool session_take_late_share(struct session *s)
{
    bool has_room =
        s->bot_share.quota || quotas_take(&s->worker->bot_quotas, &s->bot_share,
                                          bytes_of_str(s->bot_name), record_bytes(s));
    return has_room && session_take_pipeline_share(s);
}

/* A copy in the late topic is in no lane. */
static const char *who_is_over(const struct session *s)
{
    if (s->bot_share.quota)
        return "pipeline";
    return s->lane_share.quota || s->home == HOME_LATE ? "bot" : "lane";
}

void session_leave_lane(struct session *s)
{
    quotas_give(&s->worker->lane_quotas, &s->lane_share);
    lanes_leave(&s->worker->lanes, &s->lane);
}

static void give_shares(struct session *s)
{
    quotas_give(&s->worker->bot_quotas, &s->bot_share);
    quotas_give(&s->worker->lane_quotas, &s->lane_share);
}

void session_mark_shed(struct session *s)
{
    s->fate = FATE_OVERLOAD;
    snprintf(s->error, sizeof(s->error), "the %s has too much in hand", who_is_over(s));
    give_shares(s);
}

void session_count_shed(const struct session *s)
{
    log_warn("session", "shed", "stream=%s bot=%s why=\"%s\"", s->id.text, s->bot_name,
             s->error);
    metric_add(&session_metrics.shed, 1);
}

static bool take_shares(struct session *s, struct bytes lane)
{
    struct worker *w = s->worker;
    size_t bytes = record_bytes(s);
    return quotas_take(&w->lane_quotas, &s->lane_share, lane, bytes) &&
           quotas_take(&w->bot_quotas, &s->bot_share, bytes_of_str(s->bot_name), bytes) &&
           session_take_pipeline_share(s);
}

static void on_told(const struct store_reply *reply, void *arg)
{
    struct session *s = arg;
    crash_point("queued.answered");
    if (session_arrived(s) && s->state == SESSION_QUEUED && reply->outcome != STORE_DONE)
        s->queue_told = SIZE_MAX;
}

static void tell_store(struct session *s, size_t ahead, const struct config_bot *bot)
{
    struct store_stream stream = session_stream(s);
    struct buf *scratch = &s->worker->queue_text;
    struct bytes text = BYTES_LIT("");
    if (ahead > 0) {
        buf_reset(scratch);
        config_write_queue_text(bot, ahead, scratch);
        text = buf_bytes(scratch);
    }
    s->queue_told = ahead;
    s->pending++;
    store_open_queued(s->worker->store, &stream, text, on_told, s);
    crash_point("queued.sent");
}

/* Who waits for its turn has no claim to be known by. Where the store and the ingress that
 * accepted it have forgotten it, a poll takes its id for one that nobody gave out, and ends it
 * as lost: so it is opened again. Its place is shown by the same call. */
void session_tell_queued(struct session *s)
{
    const struct config_bot *bot = config_bot(s->worker->config, bytes_of_str(s->bot_name));
    if (!s->has_stream || !bot || bot->platform != PLATFORM_WECOM)
        return;
    bool has_text = config_has_queue_text(bot);
    size_t ahead = has_text ? lanes_ahead(&s->lane) : 0;
    if (ahead != s->queue_told)
        tell_store(s, ahead, bot);
    if (has_text)
        session_wait(s, QUEUE_TEXT_MS);
}

/* Its ingress opened a young one just now. */
static bool may_be_forgotten(const struct session *s)
{
    return store_now_ms(s->worker->store) - s->start_at_ms >= REOPEN_AGE_MS;
}

void session_admit(struct session *s, const struct message *m)
{
    struct buf lane;
    buf_init(&lane, ENVELOPE_VALUE_MAX_BYTES);
    message_lane(&lane, m);
    if (!take_shares(s, buf_bytes(&lane)))
        session_mark_shed(s);
    lanes_enter(&s->worker->lanes, &s->lane, buf_bytes(&lane), m->bot);
    buf_free(&lane);
    if (s->fate == FATE_OVERLOAD && s->state == SESSION_QUEUED) {
        /* Before its turn: it ends without being run, so it may overtake those that will be. */
        session_set_state(s, SESSION_WAITING);
        session_wait(s, SHED_LOOK_MS);
    }
    if (s->state != SESSION_QUEUED)
        return;
    if (may_be_forgotten(s))
        s->queue_told = SIZE_MAX;
    session_tell_queued(s);
}

static bool has_room_now(struct session *s)
{
    struct message m;
    struct json *root;
    struct buf lane;
    bool is_readable = session_message(s, &m, &root);
    BRG_CHECK(is_readable);
    buf_init(&lane, ENVELOPE_VALUE_MAX_BYTES);
    message_lane(&lane, &m);
    bool has_room = take_shares(s, buf_bytes(&lane));
    if (!has_room)
        give_shares(s);
    buf_free(&lane);
    json_free(root);
    return has_room;
}

bool session_readmit(struct session *s)
{
    bool was_begun = s->starts > 1;
    if (!s->bot || (!has_room_now(s) && !was_begun))
        return false;
    s->fate = FATE_ANSWER;
    s->error[0] = '\0';
    return true;
}
