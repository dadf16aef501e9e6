/* What comes after the bubble: the address that answers go to, and the record's move to the
 * late topic, where it holds up neither lane nor offset. */
#include "base/crash_point.h"
#include "log/log.h"
#include "session_internal.h"

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

static void on_moved(enum brg_err err, const char *reason, void *arg)
{
    struct session *s = arg;
    crash_point("copy.reported");
    if (!session_arrived(s))
        return;
    if (err != BRG_OK) { /* the next tick tries again; two copies are harmless */
        log_warn("session", "not_moved", "stream=%s why=\"%s\"", s->id.text,
                 reason ? reason : "");
        metric_add(&session_metrics.letter_failures, 1);
        s->home = HOME_REQUESTS;
        return;
    }
    s->home = HOME_MOVED;
    metric_add(&session_metrics.moved, 1);
    intake_complete(s->worker, s->record);
    crash_point("copy.completed");
}

void session_move(struct session *s)
{
    if (s->home != HOME_REQUESTS || !session_lease_is_firm(s))
        return;
    if (letters_late(&s->worker->letters, s->record, on_moved, s) != BRG_OK)
        return; /* the producer's queue is full */
    crash_point("copy.produced");
    s->home = HOME_MOVING;
    s->pending++;
}
