#include "upstreams.h"

#include "base/error.h"
#include "log/log.h"
#include "metrics/metrics.h"

enum upstream_metric {
    UPSTREAM_RUNNING,
    UPSTREAM_LIMIT,
    UPSTREAM_WAITING,
    UPSTREAM_BREAKER,
    UPSTREAM_OPENED,
    UPSTREAM_METRIC_COUNT,
};

static const struct metric metric_kinds[UPSTREAM_METRIC_COUNT] = {
    [UPSTREAM_RUNNING] =
        METRIC(METRIC_GAUGE, "botbridge_worker_pipeline_running", NULL, "Runs of the pipeline"),
    [UPSTREAM_LIMIT] = METRIC(METRIC_GAUGE, "botbridge_worker_pipeline_running_limit", NULL,
                              "Bound of the above (concurrency of the pipeline)"),
    [UPSTREAM_WAITING] = METRIC(METRIC_GAUGE, "botbridge_worker_pipeline_waiting", NULL,
                                "Sessions waiting for a place of the pipeline"),
    [UPSTREAM_BREAKER] = METRIC(METRIC_GAUGE, "botbridge_worker_pipeline_breaker", NULL,
                                "0 closed, 1 half open, 2 open: nothing is sent"),
    [UPSTREAM_OPENED] = METRIC(METRIC_COUNTER, "botbridge_worker_pipeline_breaker_opened_total",
                               NULL, "Times that the pipeline's breaker opened"),
};

struct upstream {
    struct map_node node;
    struct list listed; /* in upstreams.all */
    struct upstreams *all;
    struct rota queue;
    int64_t limit; /* as in its terms: 0 for any number */
    bool is_pumping;
    struct breaker breaker;
    struct wheel_timer retry;     /* while the breaker is open */
    struct upstream_place *probe; /* half open: who was let through */
    struct metric metrics[UPSTREAM_METRIC_COUNT];
    char *labels;
    char name[];
};

static void on_gate_timer(struct wheel_timer *timer, void *arg);

void upstreams_init(struct upstreams *u, struct loop *loop, int64_t alone_ms,
                    upstreams_turn_fn *on_turn, void *arg)
{
    *u = (struct upstreams){.loop = loop, .alone_ms = alone_ms, .on_turn = on_turn, .arg = arg};
    map_init(&u->by_name);
    list_init(&u->all);
    list_init(&u->alone);
    wheel_timer_init(&u->gate_timer, on_gate_timer, u);
}

static void drop(struct upstreams *u, struct upstream *up)
{
    loop_timer_cancel(u->loop, &up->retry);
    for (size_t i = 0; i < UPSTREAM_METRIC_COUNT; i++)
        metric_unregister(&up->metrics[i]);
    rota_free(&up->queue);
    list_remove(&up->listed);
    map_remove(&u->by_name, &up->node);
    free(up->labels);
    free(up);
}

void upstreams_free(struct upstreams *u)
{
    BRG_CHECK(list_is_empty(&u->alone));
    loop_timer_cancel(u->loop, &u->gate_timer);
    while (!list_is_empty(&u->all))
        drop(u, LIST_ENTRY(u->all.next, struct upstream, listed));
    map_free(&u->by_name);
}

void upstream_place_init(struct upstream_place *place)
{
    *place = (struct upstream_place){0};
    rota_place_init(&place->turn);
    list_init(&place->alone);
}

static void on_retry(struct wheel_timer *timer, void *arg);

static void register_metrics(struct upstream *up)
{
    struct buf labels;
    buf_init(&labels, 512);
    metrics_append_label(&labels, "pipeline", bytes_of_str(up->name));
    up->labels = bytes_dup(buf_bytes(&labels));
    buf_free(&labels);
    for (size_t i = 0; i < UPSTREAM_METRIC_COUNT; i++) {
        struct metric *m = &up->metrics[i];
        m->kind = metric_kinds[i].kind;
        m->name = metric_kinds[i].name;
        m->help = metric_kinds[i].help;
        m->labels = up->labels;
        metric_register(m);
    }
}

static struct upstream *upstream_get(struct upstreams *u, struct bytes name)
{
    struct map_node *found = map_find(&u->by_name, name);
    if (found)
        return MAP_ENTRY(found, struct upstream, node);
    struct upstream *up = brg_calloc(1, sizeof(*up) + name.len + 1);
    memcpy(up->name, name.ptr, name.len);
    up->all = u;
    rota_init(&up->queue, ROTA_UNBOUNDED);
    wheel_timer_init(&up->retry, on_retry, up);
    map_insert(&u->by_name, &up->node, bytes_of(up->name, name.len));
    list_push_back(&u->all, &up->listed);
    register_metrics(up);
    return up;
}

static bool admits(const struct upstream *up)
{
    return up->breaker.state == BREAKER_CLOSED ||
           (up->breaker.state == BREAKER_HALF_OPEN && !up->probe);
}

static void give(struct upstreams *u, struct upstream *up, struct upstream_place *place)
{
    if (up->breaker.state == BREAKER_HALF_OPEN)
        up->probe = place;
    u->waiting--;
    u->held++;
    u->on_turn(place, u->arg);
}

static struct rota_place *next_turn(const struct upstreams *u, struct upstream *up)
{
    return u->gate != GATE_CLOSED && admits(up) ? rota_next(&up->queue) : NULL;
}

/* Nested calls return at once and the outermost goes on: see lanes.c. */
static void pump(struct upstreams *u, struct upstream *up)
{
    if (up->is_pumping)
        return;
    up->is_pumping = true;
    struct rota_place *next = next_turn(u, up);
    while (next) {
        give(u, up, LIST_ENTRY(next, struct upstream_place, turn));
        next = next_turn(u, up);
    }
    up->is_pumping = false;
}

/* --- alone --- */

static struct upstream_place *next_alone(const struct upstreams *u)
{
    for (struct list *node = u->alone.next; node != &u->alone; node = node->next) {
        struct upstream_place *place = LIST_ENTRY(node, struct upstream_place, alone);
        if (admits(place->upstream))
            return place;
    }
    return NULL;
}

static void open_gate(struct upstreams *u, enum upstreams_gate gate)
{
    u->gate = gate;
    for (struct list *node = u->all.next; node != &u->all; node = node->next)
        pump(u, LIST_ENTRY(node, struct upstream, listed));
}

/* Closes the gate for who wants to be alone and can be, serves it once nobody runs, and opens
 * the gate again after the last. */
static void look_alone(struct upstreams *u)
{
    if (u->gate == GATE_PAUSED || u->alone_held)
        return;
    struct upstream_place *place = next_alone(u);
    if (!place) {
        if (u->gate == GATE_OPEN)
            return;
        loop_timer_cancel(u->loop, &u->gate_timer);
        open_gate(u, GATE_OPEN);
        return;
    }
    if (u->gate == GATE_OPEN) {
        u->gate = GATE_CLOSED;
        loop_timer_set(u->loop, &u->gate_timer, u->alone_ms);
    }
    if (u->held > 0)
        return;
    u->alone_held = place;
    rota_serve(&place->upstream->queue, &place->turn, BYTES_LIT(""));
    give(u, place->upstream, place);
}

static void on_gate_timer(struct wheel_timer *timer, void *arg)
{
    struct upstreams *u = arg;
    if (u->gate == GATE_CLOSED) {
        loop_timer_set(u->loop, timer, u->alone_ms);
        open_gate(u, GATE_PAUSED);
    } else {
        u->gate = GATE_OPEN;
        look_alone(u);
    }
}

/* --- places --- */

void upstreams_enter(struct upstreams *u, struct upstream_place *place,
                     const struct upstream_terms *terms)
{
    BRG_CHECK(!place->upstream);
    struct upstream *up = upstream_get(u, terms->name);
    up->limit = terms->limit;
    up->queue.is_shared = terms->is_shared;
    up->queue.capacity = terms->limit > 0 ? (size_t)terms->limit : ROTA_UNBOUNDED;
    up->breaker.threshold = terms->breaker_failures;
    up->breaker.open_ms = terms->breaker_open_ms;
    place->upstream = up;
    u->waiting++;
    if (terms->is_alone) {
        list_push_back(&u->alone, &place->alone);
        look_alone(u);
    } else {
        rota_wait(&up->queue, &place->turn, terms->group);
        pump(u, up);
    }
}

void upstreams_leave(struct upstreams *u, struct upstream_place *place)
{
    struct upstream *up = place->upstream;
    if (!up)
        return;
    place->upstream = NULL;
    if (upstream_is_held(place))
        u->held--;
    else
        u->waiting--;
    rota_leave(&up->queue, &place->turn);
    list_remove(&place->alone);
    if (up->probe == place)
        up->probe = NULL; /* it went without an outcome: the next one is it */
    if (u->alone_held == place)
        u->alone_held = NULL;
    look_alone(u);
    pump(u, up);
}

/* --- the breaker --- */

/* Who waits is served in a turn of its own: outcomes are reported from within transfers. */
static void on_change(struct upstreams *u, struct upstream *up)
{
    enum breaker_state state = up->breaker.state;
    log_warn("upstream", "breaker", "pipeline=%s state=%s waiting=%zu", up->name,
             breaker_state_name(state), up->queue.waiting);
    up->probe = NULL;
    metric_add(&up->metrics[UPSTREAM_OPENED], state == BREAKER_OPEN);
    int64_t due_ms = state == BREAKER_OPEN ? up->breaker.due_ms : loop_now_ms(u->loop);
    loop_timer_set_at(u->loop, &up->retry, due_ms);
}

static void on_retry(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    struct upstream *up = arg;
    if (breaker_look(&up->breaker, loop_now_ms(up->all->loop)))
        on_change(up->all, up);
    look_alone(up->all);
    pump(up->all, up);
}

void upstreams_report(struct upstreams *u, struct upstream_place *place, bool is_answering)
{
    struct upstream *up = place->upstream;
    BRG_CHECK(up && upstream_is_held(place));
    bool is_probe = up->probe == place;
    bool is_change = is_answering
                         ? breaker_succeeded(&up->breaker, is_probe)
                         : breaker_failed(&up->breaker, is_probe, loop_now_ms(u->loop));
    if (is_change)
        on_change(u, up);
}

bool upstream_is_waiting(const struct upstream_place *place)
{
    return place->turn.state == ROTA_WAITING;
}

bool upstream_is_held(const struct upstream_place *place)
{
    return place->turn.state == ROTA_SERVED;
}

bool upstream_is_sound(const struct upstream_place *place)
{
    return !place->upstream || place->upstream->breaker.state == BREAKER_CLOSED;
}

size_t upstream_ahead(const struct upstream_place *place)
{
    return upstream_is_waiting(place) ? rota_ahead(&place->upstream->queue, &place->turn) : 0;
}

void upstreams_refresh_metrics(struct upstreams *u)
{
    for (struct list *node = u->all.next; node != &u->all; node = node->next) {
        struct upstream *up = LIST_ENTRY(node, struct upstream, listed);
        metric_set(&up->metrics[UPSTREAM_RUNNING], (int64_t)up->queue.served);
        metric_set(&up->metrics[UPSTREAM_LIMIT], up->limit);
        metric_set(&up->metrics[UPSTREAM_WAITING], (int64_t)up->queue.waiting);
        metric_set(&up->metrics[UPSTREAM_BREAKER], (int64_t)up->breaker.state);
    }
}
