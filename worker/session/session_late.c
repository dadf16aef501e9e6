/* What comes after the bubble: the address that answers go to, and the record's move to the
 * late topic, where it holds up neither lane nor offset. */
#include "base/crash_point.h"
#include "log/log.h"
#include "session/session_internal.h"

#define BIT(bubble) (1u << (bubble))

void session_set_bubble(struct session *s, enum session_bubble bubble)
{
    static const unsigned may_follow[BUBBLE_COUNT] = {
        [BUBBLE_OPEN] = BIT(BUBBLE_ENDING) | BIT(BUBBLE_ENDED) | BIT(BUBBLE_CLOSED),
        [BUBBLE_ENDING] = BIT(BUBBLE_ENDED) | BIT(BUBBLE_CLOSED) | BIT(BUBBLE_OPEN),
        /* the store lost the end; fenced: all that is known is forgotten */
        [BUBBLE_ENDED] = BIT(BUBBLE_ENDING) | BIT(BUBBLE_CLOSED) | BIT(BUBBLE_OPEN),
        [BUBBLE_CLOSED] = BIT(BUBBLE_OPEN),
    };
    BRG_CHECK((may_follow[s->bubble] & BIT(bubble)) != 0);
    s->bubble = bubble;
}

/* --- the address and its time --- */

void session_check_url(struct session *s)
{
    if (!s->response_url)
        return;
    const char *refusal = delivery_refusal(s->config, bytes_of_str(s->response_url));
    if (!refusal)
        return;
    log_warn("session", "response_url_refused", "stream=%s bot=%s why=\"%s\"", s->id.text,
             s->bot_name, refusal);
    metric_add(&session_metrics.url_refused, 1);
    free(s->response_url);
    s->response_url = NULL;
}

bool session_has_url(const struct session *s)
{
    return s->response_url && s->config &&
           store_now_ms(s->worker->store) < s->start_at_ms + s->config->response_url.useful_ms;
}

static int64_t second_limit_at_ms(const struct session *s)
{
    int64_t useful_ms = s->config->response_url.useful_ms;
    int64_t late_ms = s->bot->late_limit_ms;
    return s->start_at_ms + (late_ms < useful_ms ? late_ms : useful_ms);
}

bool session_may_outlive(const struct session *s)
{
    return s->fate == FATE_ANSWER && session_has_url(s) &&
           store_now_ms(s->worker->store) < second_limit_at_ms(s);
}

int64_t session_second_limit_ms(const struct session *s)
{
    return store_to_mono_ms(s->worker->store, second_limit_at_ms(s));
}

/* --- the move --- */

/* The next tick tries again; two copies are harmless. Where the late topic can never hold the
 * record, the run goes on all the same: its user waits for the answer, and what its offset
 * holds up until the second limit is only what a restart reads again. */
static void on_not_moved(struct session *s, enum brg_err err, const char *why)
{
    s->copy_refusals += err == BRG_REJECT ? 1 : 0;
    bool is_kept = s->copy_refusals >= REFUSALS_MAX;
    s->home = is_kept ? HOME_KEPT : HOME_REQUESTS;
    log_warn("session", "not_moved", "stream=%s kept=%d why=\"%s\"", s->id.text, is_kept, why);
    metric_add(&session_metrics.letter_failures, 1);
}

static void on_moved(enum brg_err err, const char *reason, void *arg)
{
    struct session *s = arg;
    crash_point("copy.reported");
    if (!session_arrived(s))
        return;
    if (err != BRG_OK) {
        on_not_moved(s, err, reason ? reason : "");
        return;
    }
    s->home = HOME_MOVED;
    metric_add(&session_metrics.moved, 1);
    intake_complete(s->worker, s->record);
    crash_point("copy.completed");
}

static void copy_record(struct session *s)
{
    enum brg_err err = letters_late(&s->worker->letters, s->record, on_moved, s);
    crash_point("copy.produced");
    if (err == BRG_OK) {
        s->home = HOME_MOVING;
        s->pending++;
    } else if (err == BRG_REJECT) {
        s->copy_refusals = REFUSALS_MAX;
        on_not_moved(s, err, "no record can hold it");
    }
}

void session_move(struct session *s)
{
    if (s->home == HOME_REQUESTS && session_lease_is_firm(s))
        copy_record(s);
}

void session_move_held(struct session *s)
{
    const struct config *c = s->worker->config;
    int64_t patience_ms = c->worker.shown_wait_ms + c->worker.lease_ms;
    if (s->home == HOME_REQUESTS && session_now(s) - s->arrived_ms >= patience_ms)
        copy_record(s);
}
