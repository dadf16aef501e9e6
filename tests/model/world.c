/* Kafka, time and faults; which steps a state has; and the one form of equal states. */
#include "protocol.h"

#include <stdlib.h>
#include <string.h>

/* --- Kafka --- */

void world_append(struct state *s, int stream)
{
    if (s->log_len < RECORDS)
        s->log[s->log_len++] = (uint8_t)(stream + 1);
}

/* The consumer reads ahead and commits what is complete without a gap; an earlier assignment's
 * session for the same record comes to its end first. */
static void consume(struct state *s)
{
    while (s->committed < s->log_len && (s->done & (1U << s->committed)) != 0)
        s->committed++;
    for (int r = s->committed; r < s->log_len; r++) {
        struct session *se = &s->session[s->assigned][r];
        if ((s->read & (1U << r)) != 0)
            continue;
        if (se->state != SESSION_NONE)
            return;
        s->read |= (uint8_t)(1U << r);
        se->state = SESSION_QUEUED;
    }
}

static void assign(struct state *s, int worker)
{
    for (int r = 0; r < RECORDS; r++)
        if (s->session[s->assigned][r].state != SESSION_NONE)
            s->session[s->assigned][r].flags |= IS_STALE;
    s->assigned = (uint8_t)worker;
    s->read = s->done = 0;
}

/* session_on_revoke, session_on_drain */
static void revoke(struct state *s, int worker)
{
    for (int r = 0; r < RECORDS; r++) {
        struct session *se = &s->session[worker][r];
        if ((se->flags & IS_STALE) == 0)
            continue;
        se->flags |= IS_REVOKED;
        if (se->state == SESSION_QUEUED || se->state == SESSION_WAITING)
            worker_drop(s, session_of(worker, r));
    }
}

/* --- owners and epochs --- */

/* The name under which `session` claimed will not be used again. */
void world_disown(struct state *s, int session)
{
    for (int i = 0; i < STREAMS; i++)
        if (store_view(s->record[i])->owner == session + 1)
            s->record[i] = store_edit(s->record[i], EDIT_DISOWN, 0);
    if (s->late.owner == session + 1)
        s->late.owner = OWNER_GONE;
}

enum { EPOCHS_MAX = WORKERS * (2 * RECORDS + 1) + 4 };

struct epochs {
    int16_t *at[EPOCHS_MAX];
    unsigned count;
};

static void add(struct epochs *e, int16_t *epoch)
{
    if (*epoch != 0)
        e->at[e->count++] = epoch;
}

static int ascending(const void *a, const void *b)
{
    int16_t *const *x = a;
    int16_t *const *y = b;
    return (**x > **y) - (**x < **y);
}

/* Only the order of a stream's epochs counts: 2, 4, 6 … leave room for one in between. */
static void rank_epochs(struct state *s, int stream)
{
    struct epochs e = {.count = 0};
    const struct view v = *store_view(s->record[stream]);
    int16_t epoch = v.epoch, was = v.was;
    add(&e, &epoch);
    add(&e, &was);
    for (int i = 0; i < WORKERS * RECORDS; i++) {
        if (i % RECORDS >= s->log_len || stream_at(s, i) != stream)
            continue;
        add(&e, &session_at(s, i)->epoch);
        add(&e, &session_at(s, i)->intent);
    }
    for (int w = 0; w < WORKERS; w++)
        add(&e, &s->kept[w][stream].epoch);
    add(&e, &s->ghost[stream].top);
    if (s->late.script != SCRIPT_NONE && s->late.stream == stream)
        add(&e, &s->late.epoch);
    qsort(e.at, e.count, sizeof(*e.at), ascending);
    int16_t rank = 0, last = 0;
    for (unsigned i = 0; i < e.count; i++) {
        if (i == 0 || *e.at[i] != last)
            rank = (int16_t)(rank + 2);
        last = *e.at[i];
        *e.at[i] = rank;
    }
    if (epoch != v.epoch)
        s->record[stream] = store_edit(s->record[stream], EDIT_EPOCH, epoch);
    if (was != v.was)
        s->record[stream] = store_edit(s->record[stream], EDIT_WAS, was);
}

/* --- one form of states that nothing can tell apart --- */

static bool may_still(const struct state *s, enum fault fault)
{
    return s->left[FAULT_ANY] > 0 && s->left[fault] > 0;
}

/* Nobody asks any more. */
static void forget_bubble(struct state *s, int stream)
{
    struct bubble *b = &s->bubble[stream];
    struct ghost *g = &s->ghost[stream];
    bool is_repeated = stream == 0 && s->publish[2] != PUBLISH_DONE &&
                       (s->publish[2] != PUBLISH_IDLE || may_still(s, FAULT_REPEAT));
    if (g->told != TOLD_END || s->publish[stream] != PUBLISH_DONE || is_repeated)
        return;
    b->known = b->text = b->reason = b->is_by_ingress = 0;
    g->end = g->end_text = g->is_confirmed = g->shown = 0;
}

/* The store will not lose it again. */
static void forget_for_good(struct state *s)
{
    for (int i = 0; i < STREAMS; i++)
        if (store_view(s->record[i])->state == STREAM_FINAL)
            s->bubble[i].phase = PHASE_DEADLINE;
    for (int i = 0; i < WORKERS * RECORDS; i++) {
        struct kept_final *k = &s->kept[i / RECORDS][i % STREAMS];
        struct session *se = session_at(s, i);
        if (!k->is_due)
            *k = (struct kept_final){0};
        if (se->state == SESSION_SETTLING && (se->flags & MUST_PUT) == 0)
            se->final = se->reason = 0;
    }
}

/* A worker that has nothing in hand needs no telling. */
static void forget_untold(struct state *s)
{
    for (int w = 0; w < WORKERS; w++) {
        bool has_some = false;
        for (int r = 0; r < RECORDS; r++)
            has_some = has_some || session_at(s, session_of(w, r))->epoch != 0;
        for (int i = 0; i < STREAMS; i++)
            has_some = has_some || s->kept[w][i].is_kept;
        if (!has_some)
            s->untold &= (uint8_t) ~(1U << w);
    }
}

static void normalise(struct state *s)
{
    consume(s);
    forget_untold(s);
    for (int i = 0; i < STREAMS; i++)
        forget_bubble(s, i);
    if (!may_still(s, FAULT_LOSS) && (s->used & (USED_FLUSH | USED_RESTART)) == 0)
        forget_for_good(s);
    if (s->log_len == RECORDS)
        memset(s->landing, 0, sizeof(s->landing));
    for (int i = 0; i < STREAMS; i++) {
        rank_epochs(s, i);
        if (store_view(s->record[i])->starts > 1)
            s->record[i] = store_edit(s->record[i], EDIT_STARTS, 0);
    }
}

void world_begin(struct state *s)
{
    memset(s, 0, sizeof(*s));
    memcpy(s->left, settings.faults, sizeof(s->left));
}

/* --- time --- */

static void expire(struct state *s, int stream, int worker)
{
    const struct view *v = store_view(s->record[stream]);
    int16_t epoch = v->epoch, was = v->was;
    bool is_its = worker < 0;
    for (int i = 0; i < WORKERS * RECORDS; i++) {
        struct session *se = session_at(s, i);
        bool is_owner = se->epoch == epoch || (se->epoch != 0 && se->epoch == was);
        bool is_holder = se->state != SESSION_NONE && stream_at(s, i) == stream && is_owner &&
                         (worker < 0 || i / RECORDS == worker);
        if (is_holder)
            se->flags &= (uint8_t)~IS_FIRM;
        is_its = is_its || is_holder;
    }
    if (v->is_leased && is_its)
        s->record[stream] = store_edit(s->record[stream], EDIT_EXPIRE, 0);
}

/* --- faults --- */

static void use(struct state *s, enum fault fault)
{
    s->left[FAULT_ANY]--;
    s->left[fault]--;
    if (fault == FAULT_CLOCK)
        s->used |= USED_CLOCK;
    if (fault == FAULT_CRASH)
        s->used |= USED_CRASH;
}

static void crash(struct state *s, int worker, bool is_moved)
{
    for (int r = 0; r < RECORDS; r++)
        worker_drop(s, session_of(worker, r));
    memset(s->kept[worker], 0, sizeof(s->kept[worker]));
    s->untold &= (uint8_t) ~(1U << worker);
    if (s->assigned == worker)
        assign(s, is_moved ? !worker : worker);
}

/* SIGSTOP for longer than a lease, and perhaps than the group waits for a member. */
static void stall(struct state *s, int worker, bool is_moved)
{
    for (int i = 0; i < STREAMS; i++)
        expire(s, i, worker);
    for (int r = 0; r < RECORDS; r++)
        s->session[worker][r].flags &= (uint8_t)~IS_FIRM;
    if (is_moved)
        assign(s, !worker);
}

/* session_on_drain, session_on_drain_over */
static void drain(struct state *s, int worker)
{
    assign(s, !worker);
    revoke(s, worker);
    for (int r = 0; r < RECORDS; r++)
        if (s->session[worker][r].state == SESSION_RUNNING)
            s->session[worker][r].state = SESSION_RELEASING;
}

/* session_on_store_up, finals_write */
static void tell_loss(struct state *s, int worker)
{
    s->untold &= (uint8_t) ~(1U << worker);
    for (int r = 0; r < RECORDS; r++) {
        struct session *se = session_at(s, session_of(worker, r));
        if (se->state == SESSION_RUNNING || se->state == SESSION_SETTLING)
            se->flags |= MUST_PUT;
    }
    for (int i = 0; i < STREAMS; i++)
        s->kept[worker][i].is_due = s->kept[worker][i].is_kept;
}

/* Emptied in place, which is seen later (bb:mark), or an empty one started. */
static void lose(struct state *s, bool is_new_run)
{
    for (int i = 0; i < STREAMS; i++) {
        struct ghost *g = &s->ghost[i];
        s->record[i] = 0;
        g->top = 0;
        g->shown = g->is_confirmed = g->is_effect_noted = 0;
    }
    s->used |= is_new_run ? USED_RESTART : USED_FLUSH;
    s->untold = (1U << WORKERS) - 1;
    for (int w = 0; w < WORKERS && is_new_run; w++)
        tell_loss(s, w);
}

static void rewrite(struct state *s, int worker, int stream)
{
    struct kept_final *k = &s->kept[worker][stream];
    struct answer a;
    struct call c = {
        .script = SCRIPT_FINISH,
        .stream = (uint8_t)stream,
        .arg = k->reason,
        .epoch = k->epoch,
        .text = k->text,
    };
    k->is_due = 0;
    judged_call(s, c, HOW_PLAIN, &a);
}

static void deliver_late(struct state *s)
{
    struct answer a;
    struct call c = s->late;
    s->late = (struct call){0};
    judged_call(s, c, HOW_PLAIN, &a);
}

static void call_stream(struct state *s, enum script script, int stream, uint8_t arg, int how)
{
    struct answer a;
    struct call c = {.script = (uint8_t)script, .stream = (uint8_t)stream, .arg = arg};
    judged_call(s, c, how, &a);
}

/* --- one step --- */

static void step_worker(struct state *s, struct action a)
{
    switch (a.kind) {
    case DO_OPEN:
        call_stream(s, SCRIPT_OPEN, stream_at(s, a.who), STREAM_OPEN, a.how);
        break;
    case DO_CLAIM:
        worker_claim(s, a.who, a.how);
        break;
    case DO_PUT:
        worker_put(s, a.who, a.arg, a.how);
        break;
    case DO_END:
        if (a.arg == REASON_APOLOGY)
            use(s, FAULT_PIPELINE);
        worker_end(s, a.who, a.arg, a.how);
        break;
    case DO_FINISH:
        worker_finish(s, a.who, a.how);
        break;
    case DO_SETTLE:
        worker_settle(s, a.who, a.how);
        break;
    case DO_RELEASE:
        worker_release(s, a.who, a.how);
        break;
    case DO_REWRITE:
        rewrite(s, a.who, a.arg);
        break;
    case DO_NOTICE:
        revoke(s, a.who);
        break;
    default: /* DO_TELL_LOSS */
        tell_loss(s, a.who);
        break;
    }
}

static void step_ingress(struct state *s, struct action a)
{
    switch (a.kind) {
    case DO_PUBLISH:
        if (s->publish[a.who] == PUBLISH_IDLE && a.who == 2)
            use(s, FAULT_REPEAT);
        if (a.arg == 0)
            use(s, FAULT_BUSY);
        ingress_publish(s, a.who, a.arg, a.how);
        break;
    case DO_LAND:
        s->landing[a.who] = 0;
        world_append(s, a.who == 1);
        break;
    case DO_POLL:
        ingress_poll(s, a.who, a.how);
        break;
    default: /* DO_OWED_CLOSE */
        call_stream(s, SCRIPT_CLOSE, a.who, s->bubble[a.who].owed_close, a.how);
        if (a.how == HOW_PLAIN)
            s->bubble[a.who].owed_close = 0;
        break;
    }
}

static void step_world(struct state *s, struct action a)
{
    switch (a.kind) {
    case DO_EXPIRE:
        expire(s, a.who, -1);
        break;
    case DO_PHASE:
        s->bubble[a.who].phase = PHASE_DEADLINE;
        s->used |= USED_DEADLINE;
        break;
    case DO_UNKNOWN_OVER:
        s->bubble[a.who].is_unknown_over = 1;
        break;
    case DO_LATE:
        deliver_late(s);
        break;
    case DO_CRASH:
        use(s, FAULT_CRASH);
        crash(s, a.who, a.arg);
        break;
    case DO_STALL:
        use(s, FAULT_STALL);
        stall(s, a.who, a.arg);
        break;
    case DO_MOVE:
        use(s, FAULT_MOVE);
        assign(s, !a.who);
        revoke(s, a.who);
        break;
    case DO_DRAIN:
        use(s, FAULT_DRAIN);
        drain(s, a.who);
        break;
    case DO_LOSS:
        use(s, FAULT_LOSS);
        lose(s, a.arg);
        break;
    case DO_CLOCK_FORWARD:
        use(s, FAULT_CLOCK);
        for (int i = 0; i < STREAMS; i++)
            if (store_view(s->record[i])->is_leased)
                s->record[i] = store_edit(s->record[i], EDIT_EXPIRE, 0);
        break;
    case DO_CLOCK_BACK:
        use(s, FAULT_CLOCK);
        s->is_clock_back = 1;
        break;
    default: /* DO_INGRESS_CRASH */
        use(s, FAULT_INGRESS);
        ingress_crash(s);
        break;
    }
}

void world_step(struct state *s, struct action a)
{
    if (a.how == HOW_LATE)
        use(s, FAULT_LATE);
    else if (a.how != HOW_PLAIN)
        use(s, FAULT_UNKNOWN);
    if (a.kind <= DO_OWED_CLOSE)
        step_ingress(s, a);
    else if (a.kind <= DO_TELL_LOSS)
        step_worker(s, a);
    else
        step_world(s, a);
    normalise(s);
}

bool world_is_healthy(struct action a)
{
    bool is_choice = (a.kind == DO_END && a.arg == REASON_APOLOGY) ||
                     (a.kind == DO_PUBLISH && a.arg == 0 && a.how == HOW_PLAIN);
    return a.kind < DO_CRASH && a.how == HOW_PLAIN && !is_choice;
}
