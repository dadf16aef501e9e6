#include "log/log.h"
#include "session_internal.h"

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

void session_mark_shed(struct session *s)
{
    s->fate = FATE_OVERLOAD;
    snprintf(s->error, sizeof(s->error), "the %s has too much in hand",
             s->bot_share.quota ? "pipeline" : "bot");
    log_warn("session", "shed", "stream=%s bot=%s why=\"%s\"", s->id.text, s->bot_name,
             s->error);
    metric_add(&session_metrics.shed, 1);
    quotas_give(&s->worker->bot_quotas, &s->bot_share);
}

void session_admit(struct session *s, const struct message *m)
{
    struct worker *w = s->worker;
    struct buf lane;
    bool has_room = quotas_take(&w->bot_quotas, &s->bot_share, m->bot, record_bytes(s)) &&
                    session_take_pipeline_share(s);
    if (!has_room) {
        /* Past its lane: it ends without being run, so it may overtake those that will be. */
        session_mark_shed(s);
        session_begin(s);
        return;
    }
    buf_init(&lane, ENVELOPE_VALUE_MAX_BYTES);
    message_lane(&lane, m);
    lanes_enter(&w->lanes, &s->lane, buf_bytes(&lane), m->bot);
    buf_free(&lane);
}
