/* Which steps a state has, and how a trace names them. */
#include "protocol.h"

#include <stdio.h>
#include <string.h>

struct steps {
    const struct state *s;
    struct action *out;
    unsigned count;
};

static bool may(const struct state *s, enum fault fault)
{
    return s->left[FAULT_ANY] > 0 && s->left[fault] > 0;
}

static void add(struct steps *n, enum kind kind, int who, int arg)
{
    if (n->count < ACTIONS_MAX)
        n->out[n->count++] =
            (struct action){(uint8_t)kind, (uint8_t)who, (uint8_t)arg, HOW_PLAIN};
}

/* The same step with its call's answer lost, and with the call itself lost where that leads
 * elsewhere than not having begun. */
static void add_call(struct steps *n, enum kind kind, int who, int arg, bool is_loss_seen)
{
    add(n, kind, who, arg);
    struct action a = n->out[n->count - 1];
    if (may(n->s, FAULT_UNKNOWN)) {
        a.how = HOW_REPLY_LOST;
        n->out[n->count++] = a;
        a.how = HOW_NOT_DONE;
        if (is_loss_seen)
            n->out[n->count++] = a;
    }
    if (may(n->s, FAULT_LATE) && n->s->late.script == SCRIPT_NONE) {
        a.how = HOW_LATE;
        n->out[n->count++] = a;
    }
}

static void add_running(struct steps *n, int session, const struct session *se)
{
    int stream = stream_at(n->s, session);
    int phase = n->s->bubble[stream].phase;
    for (int pieces = se->made; pieces <= settings.pieces[stream]; pieces++)
        add_call(n, DO_PUT, session, pieces > se->made ? pieces : 0, false);
    add_call(n, DO_END, session, REASON_DONE, false);
    if (phase == PHASE_DEADLINE)
        add_call(n, DO_END, session, REASON_DEADLINE, false);
    if (may(n->s, FAULT_PIPELINE))
        add(n, DO_END, session, REASON_APOLOGY);
}

/* Whether the next thing that is owed is a call, and not something with Kafka or outside. */
static bool is_settle_call(const struct session *se)
{
    bool is_closed = (se->flags & IS_CLOSED) != 0;
    if (se->unsettled != 0 || (se->flags & (MUST_PUT | IS_FIRM)) != IS_FIRM)
        return true;
    return !is_closed || se->url != URL_DONE || se->owed == 0;
}

/* session_reopen, and who took a question while the store was away (owed_add); elsewhere the
 * call changes nothing. */
static bool is_forgotten(const struct state *s, int session)
{
    enum stream_state state = store_view(s->record[stream_at(s, session)])->state;
    return state == STREAM_MISSING || state == STREAM_UNKNOWN;
}

static void add_session(struct steps *n, int session)
{
    const struct session *se = &n->s->session[session / RECORDS][session % RECORDS];
    switch (se->state) {
    case SESSION_QUEUED:
        if (is_forgotten(n->s, session))
            add_call(n, DO_OPEN, session, 0, false);
        if (worker_has_turn(n->s, session))
            add_call(n, DO_CLAIM, session, 0, false);
        break;
    case SESSION_WAITING:
        add_call(n, DO_CLAIM, session, 0, false);
        break;
    case SESSION_RUNNING:
        add_running(n, session, se);
        break;
    case SESSION_FINISHING:
        add_call(n, DO_FINISH, session, 0, false);
        break;
    case SESSION_SETTLING:
        if (is_settle_call(se))
            add_call(n, DO_SETTLE, session, 0, (se->flags & IS_CLOSED) != 0 && se->owed == 0);
        else
            add(n, DO_SETTLE, session, 0);
        break;
    case SESSION_RELEASING:
        add_call(n, DO_RELEASE, session, 0, true);
        break;
    default:
        break;
    }
}

static void add_workers(struct steps *n)
{
    for (int w = 0; w < WORKERS; w++) {
        bool is_to_notice = false;
        for (int r = 0; r < RECORDS; r++) {
            const struct session *se = &n->s->session[w][r];
            add_session(n, session_of(w, r));
            is_to_notice = is_to_notice || (se->flags & (IS_STALE | IS_REVOKED)) == IS_STALE;
        }
        if (is_to_notice)
            add(n, DO_NOTICE, w, 0);
        if ((n->s->untold & (1U << w)) != 0)
            add(n, DO_TELL_LOSS, w, 0);
        for (int i = 0; i < STREAMS; i++)
            if (n->s->kept[w][i].is_due)
                add(n, DO_REWRITE, w, i);
    }
}

/* Records that are in the log or on their way, so that the log does not run over. */
static int records_to_come(const struct state *s)
{
    int count = s->log_len;
    for (int p = 0; p < PUBLISHES; p++) {
        bool is_optional = p >= settings.messages && s->publish[p] == PUBLISH_IDLE;
        count += s->publish[p] != PUBLISH_DONE && !is_optional;
    }
    return count;
}

static void add_publishes(struct steps *n)
{
    const struct state *s = n->s;
    for (int p = 0; p < PUBLISHES; p++) {
        bool may_begin = p == 0 ||
                         (p == 1 && settings.messages > 1 && s->publish[0] == PUBLISH_DONE) ||
                         (p == 2 && s->publish[0] != PUBLISH_IDLE && may(s, FAULT_REPEAT) &&
                          records_to_come(s) < RECORDS);
        bool is_idle = s->publish[p] == PUBLISH_IDLE;
        if (p == 2 && is_idle && may_begin)
            add(n, DO_PUBLISH, p, 1);
        else if (is_idle ? may_begin : s->publish[p] == PUBLISH_CLOSING)
            add_call(n, DO_PUBLISH, p, 1, true);
        if (p != 2 && is_idle && may_begin && may(s, FAULT_BUSY))
            add(n, DO_PUBLISH, p, 0);
        if (s->landing[p] && records_to_come(s) < RECORDS)
            add(n, DO_LAND, p, 0);
    }
}

/* A poll that finds the second message running only fills the ingress's memory: left out. */
static bool is_worth_a_poll(const struct state *s, int stream)
{
    enum stream_state state = store_view(s->record[stream])->state;
    bool is_running = state == STREAM_OPEN || state == STREAM_RUN;
    return stream == 0 || !is_running || s->bubble[stream].phase == PHASE_DEADLINE;
}

static void add_bubbles(struct steps *n)
{
    for (int i = 0; i < STREAMS; i++) {
        const struct bubble *b = &n->s->bubble[i];
        if (n->s->ghost[i].told == TOLD_LIVE && is_worth_a_poll(n->s, i))
            add_call(n, DO_POLL, i, 0, true);
        if (b->owed_close)
            add_call(n, DO_OWED_CLOSE, i, 0, false);
    }
}

/* Its worker renews it in time, unless something befalls it. */
static bool is_cared_for(const struct state *s, int stream)
{
    for (int i = 0; i < WORKERS * RECORDS; i++) {
        const struct session *se = &s->session[i / RECORDS][i % RECORDS];
        bool is_busy = se->state == SESSION_RUNNING || se->state == SESSION_FINISHING ||
                       se->state == SESSION_SETTLING;
        const struct view *v = store_view(s->record[stream]);
        bool is_its = is_busy && stream_at(s, i) == stream &&
                      (se->epoch == v->epoch || se->epoch == v->was);
        if (is_its && (se->flags & IS_FIRM) != 0)
            return true;
    }
    return false;
}

static void add_time(struct steps *n)
{
    const struct state *s = n->s;
    for (int i = 0; i < STREAMS; i++) {
        const struct bubble *b = &s->bubble[i];
        const struct view *v = store_view(s->record[i]);
        if (v->is_leased && !is_cared_for(s, i))
            add(n, DO_EXPIRE, i, 0);
        bool has_begun = s->publish[i] != PUBLISH_IDLE;
        bool is_earlier = i == 0 || s->bubble[i - 1].phase == PHASE_DEADLINE;
        if (has_begun && is_earlier && b->phase == PHASE_LIVE && settings.has_deadlines)
            add(n, DO_PHASE, i, 0);
        if (v->state == STREAM_UNKNOWN && !b->is_unknown_over)
            add(n, DO_UNKNOWN_OVER, i, 0);
    }
    if (s->late.script != SCRIPT_NONE)
        add(n, DO_LATE, 0, 0);
}

static bool is_busy(const struct state *s, int worker)
{
    for (int r = 0; r < RECORDS; r++)
        if (s->session[worker][r].state > SESSION_QUEUED)
            return true;
    return false;
}

static void add_worker_faults(struct steps *n, int w)
{
    const struct state *s = n->s;
    bool is_reader = s->assigned == w;
    bool has_work = is_busy(s, w);
    for (int is_moved = 0; is_moved <= is_reader; is_moved++) {
        if (has_work && may(s, FAULT_CRASH))
            add(n, DO_CRASH, w, is_moved);
        if (has_work && may(s, FAULT_STALL))
            add(n, DO_STALL, w, is_moved);
    }
    if (is_reader && s->log_len > 0 && may(s, FAULT_MOVE))
        add(n, DO_MOVE, w, 0);
    if (is_reader && has_work && may(s, FAULT_DRAIN))
        add(n, DO_DRAIN, w, 0);
}

static void add_faults(struct steps *n)
{
    const struct state *s = n->s;
    bool has_data = s->record[0] != 0 || s->record[1] != 0;
    for (int w = 0; w < WORKERS; w++)
        add_worker_faults(n, w);
    for (int is_new_run = settings.is_flush_out; is_new_run < 2; is_new_run++)
        if (has_data && may(s, FAULT_LOSS) &&
            (settings.is_back_after_loss || !s->is_clock_back))
            add(n, DO_LOSS, 0, is_new_run);
    if (has_data && may(s, FAULT_CLOCK)) {
        add(n, DO_CLOCK_FORWARD, 0, 0);
        bool may_go_back =
            settings.is_back_after_loss || (s->used & (USED_FLUSH | USED_RESTART)) == 0;
        if (may_go_back && !s->is_clock_back)
            add(n, DO_CLOCK_BACK, 0, 0);
    }
    if (may(s, FAULT_INGRESS) && s->publish[0] != PUBLISH_IDLE)
        add(n, DO_INGRESS_CRASH, 0, 0);
}

unsigned world_actions(const struct state *s, struct action out[ACTIONS_MAX])
{
    struct steps n = {.s = s, .out = out};
    add_publishes(&n);
    add_bubbles(&n);
    add_workers(&n);
    add_time(&n);
    if (s->left[FAULT_ANY] > 0)
        add_faults(&n);
    return n.count;
}

/* --- traces --- */

static const char *const kinds[KIND_COUNT] = {
    [DO_PUBLISH] = "ingress publishes",
    [DO_LAND] = "Kafka appends a record that was given up",
    [DO_POLL] = "ingress answers a poll",
    [DO_OWED_CLOSE] = "ingress writes an owed close",
    [DO_OPEN] = "opens what waits in its lane",
    [DO_CLAIM] = "claims",
    [DO_PUT] = "puts",
    [DO_END] = "ends",
    [DO_FINISH] = "finishes",
    [DO_SETTLE] = "settles",
    [DO_RELEASE] = "releases",
    [DO_REWRITE] = "writes a recent final again",
    [DO_NOTICE] = "hears that its partition went",
    [DO_TELL_LOSS] = "sees that the store was emptied",
    [DO_EXPIRE] = "TIME: a lease ends",
    [DO_PHASE] = "TIME: the deadline",
    [DO_UNKNOWN_OVER] = "TIME: unknown for long enough",
    [DO_LATE] = "a call that was given up reaches the store",
    [DO_CRASH] = "FAULT: dies",
    [DO_STALL] = "FAULT: stalls beyond its leases",
    [DO_MOVE] = "FAULT: partition is revoked",
    [DO_DRAIN] = "FAULT: drains",
    [DO_LOSS] = "FAULT: the store loses its data",
    [DO_CLOCK_FORWARD] = "FAULT: the store's clock steps forward",
    [DO_CLOCK_BACK] = "FAULT: the store's clock steps back",
    [DO_INGRESS_CRASH] = "FAULT: ingress dies",
};

static void print_who(struct action a)
{
    bool is_session = a.kind >= DO_OPEN && a.kind <= DO_RELEASE;
    bool is_worker = (a.kind >= DO_CRASH && a.kind <= DO_DRAIN) || a.kind == DO_NOTICE ||
                     a.kind == DO_TELL_LOSS || a.kind == DO_REWRITE;
    if (is_session)
        printf("worker %d, record %d: ", a.who / RECORDS, a.who % RECORDS);
    else if (is_worker)
        printf("worker %d: ", a.who);
    else if (a.kind == DO_PUBLISH || a.kind == DO_LAND)
        printf("message %s: ", a.who == 0 ? "1" : a.who == 1 ? "2" : "1 repeated");
    else if (a.kind < DO_LATE)
        printf("stream %d: ", a.who + 1);
}

static void print_arg(struct action a)
{
    if (a.kind == DO_PUT && a.arg > 0)
        printf(" %d piece(s)", a.arg);
    else if (a.kind == DO_PUT)
        printf(", nothing new");
    else if (a.kind == DO_END)
        printf(" (%s)", stream_reason_name((enum stream_reason)a.arg));
    else if (a.kind == DO_CRASH || a.kind == DO_STALL)
        printf(a.arg ? ", its partition goes to the other" : ", it keeps its partition");
    else if (a.kind == DO_LOSS)
        printf(a.arg ? " (restarted empty)" : " (FLUSHALL)");
    else if (a.kind == DO_PUBLISH && a.arg == 0)
        printf(", not acknowledged in time");
}

void world_print(struct action a, const struct state *before, const struct state *after)
{
    static const char *const hows[] = {"", " [done, answer lost]", " [call lost]",
                                       " [call delayed]"};
    print_who(a);
    printf("%s", kinds[a.kind]);
    print_arg(a);
    printf("%s\n", hows[a.how]);
    for (int i = 0; i < STREAMS; i++)
        if (after->record[i] != before->record[i])
            printf("        stream %d: %s\n", i + 1, store_describe(after->record[i]));
    static const char *const told[] = {"", "is told to wait", "is told the end"};
    for (int i = 0; i < STREAMS; i++) {
        const struct ghost *g = &after->ghost[i];
        bool is_told = g->told != before->ghost[i].told || g->shown != before->ghost[i].shown;
        if (is_told && g->told != TOLD_NOTHING)
            printf("        user %d %s (%d pieces, %s)\n", i + 1, told[g->told], g->shown,
                   stream_reason_name((enum stream_reason)g->end));
    }
}
