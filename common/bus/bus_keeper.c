#include "bus/bus_keeper.h"

#include "base/clock.h"

#include <stdatomic.h>

enum {
    LOOK_MS = 900, /* under a second, so that an end is not waited for longer */
    RETRY_FIRST_MS = 50,
    RETRY_MAX_MS = 1000,
    AGAIN_MS = 30000,
    ID_FIRST_MS = 50,    /* from the first good look to the first refusal of an id, if any */
    ID_REFUSED_MS = 750, /* librdkafka asks again after 500 */
};

struct bus_keeper {
    rd_kafka_t *rk;
    char *topics[BUS_KEEPER_TOPICS_MAX + 1]; /* ends with NULL */
    bool allow_unsafe_durability;
    rd_kafka_topic_t
        *handles[BUS_KEEPER_TOPICS_MAX]; /* makes the topics "locally known" to rk */
    pthread_t thread;
    int64_t fine_since_ms;         /* thread only; 0: no good look yet */
    _Atomic int64_t id_refused_ms; /* by librdkafka's threads */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct loop_wake *wake; /* NULL once ended */
    bool is_ending;
    bool is_left; /* nobody joins the thread: it frees the keeper */
    bool is_gone; /* the instance is destroyed */
    struct bus_keeper_report report;
};

static void publish(struct bus_keeper *k, const struct bus_keeper_report *report)
{
    pthread_mutex_lock(&k->lock);
    bool is_new =
        report->verdict != k->report.verdict || strcmp(report->why, k->report.why) != 0;
    k->report = *report;
    if (is_new && k->wake)
        loop_wake_send(k->wake);
    pthread_mutex_unlock(&k->lock);
}

/* False when the keeper is to end. */
static bool pause_for(struct bus_keeper *k, int64_t ms)
{
    struct timespec at = bus_deadline_after(ms);
    pthread_mutex_lock(&k->lock);
    while (!k->is_ending)
        if (pthread_cond_timedwait(&k->changed, &k->lock, &at) != 0)
            break;
    bool go_on = !k->is_ending;
    pthread_mutex_unlock(&k->lock);
    return go_on;
}

static void keeper_free(struct bus_keeper *k)
{
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->lock);
    for (size_t i = 0; i < BUS_KEEPER_TOPICS_MAX; i++)
        free(k->topics[i]);
    free(k);
}

static void destroy_instance(struct bus_keeper *k)
{
    for (size_t i = 0; i < BUS_KEEPER_TOPICS_MAX && k->handles[i]; i++)
        rd_kafka_topic_destroy(k->handles[i]);
    rd_kafka_destroy(k->rk);
    pthread_mutex_lock(&k->lock);
    k->is_gone = true;
    pthread_cond_broadcast(&k->changed);
    bool is_left = k->is_left;
    pthread_mutex_unlock(&k->lock);
    if (is_left)
        keeper_free(k);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct bus_keeper *k = rd_kafka_opaque(rk);
    if (strcmp(facility, "GETPID") == 0)
        atomic_store(&k->id_refused_ms, clock_mono_ms());
    bus_log(rk, level, facility, text);
}

/* How long a good look is not to be believed yet. */
static int64_t id_wait_ms(struct bus_keeper *k)
{
    int64_t now = clock_mono_ms();
    if (k->fine_since_ms == 0)
        k->fine_since_ms = now;
    int64_t refused = atomic_load(&k->id_refused_ms);
    int64_t until = k->fine_since_ms + ID_FIRST_MS;
    if (refused && refused + ID_REFUSED_MS > until)
        until = refused + ID_REFUSED_MS;
    return until > now ? until - now : 0;
}

/* Believed again only after another look, which costs a millisecond. */
static void doubt(struct bus_keeper_report *report)
{
    report->verdict = BUS_KEEPER_UNKNOWN;
    snprintf(report->why, sizeof report->why, "the producer has no id from Kafka yet");
}

static void *run(void *arg)
{
    struct bus_keeper *k = arg;
    int64_t retry_ms = RETRY_FIRST_MS;
    int64_t wait_ms = 0;
    while (pause_for(k, wait_ms)) {
        struct bus_keeper_report report;
        bus_durability_look(k->rk, (const char *const *)k->topics, k->allow_unsafe_durability,
                            LOOK_MS, &report);
        int64_t id_ms = report.verdict == BUS_KEEPER_FINE ? id_wait_ms(k) : 0;
        if (id_ms > 0)
            doubt(&report);
        publish(k, &report);
        wait_ms = report.verdict == BUS_KEEPER_FINE ? AGAIN_MS : id_ms ? id_ms : retry_ms;
        retry_ms = retry_ms * 2 < RETRY_MAX_MS ? retry_ms * 2 : RETRY_MAX_MS;
    }
    destroy_instance(k);
    return NULL;
}

rd_kafka_t *bus_keeper_instance(const struct bus_keeper *k)
{
    return k->rk;
}

struct bus_keeper *bus_keeper_start(rd_kafka_conf_t *conf,
                                    const struct bus_keeper_options *options,
                                    struct brg_error *error)
{
    struct bus_keeper *k = BRG_NEW(struct bus_keeper);
    rd_kafka_conf_set_opaque(conf, k);
    rd_kafka_conf_set_log_cb(conf, on_log);
    k->rk = bus_handle_new(RD_KAFKA_PRODUCER, conf, error);
    if (!k->rk) {
        free(k);
        return NULL;
    }
    k->allow_unsafe_durability = options->allow_unsafe_durability;
    k->wake = options->wake;
    snprintf(k->report.why, sizeof k->report.why, "Kafka has not answered yet");
    for (size_t i = 0; options->topics[i]; i++) {
        BRG_CHECK(i < BUS_KEEPER_TOPICS_MAX);
        k->topics[i] = brg_strdup(options->topics[i]);
        k->handles[i] = rd_kafka_topic_new(k->rk, k->topics[i], NULL);
    }
    bus_cond_init(&k->changed);
    pthread_mutex_init(&k->lock, NULL);
    bus_thread_start(&k->thread, run, k);
    return k;
}

void bus_keeper_read(struct bus_keeper *k, struct bus_keeper_report *report)
{
    pthread_mutex_lock(&k->lock);
    *report = k->report;
    pthread_mutex_unlock(&k->lock);
}

void bus_keeper_end(struct bus_keeper *k, int64_t wait_ms)
{
    struct timespec at = bus_deadline_after(wait_ms);
    pthread_t thread = k->thread;
    pthread_mutex_lock(&k->lock);
    k->wake = NULL;
    k->is_ending = true;
    pthread_cond_broadcast(&k->changed);
    while (!k->is_gone)
        if (pthread_cond_timedwait(&k->changed, &k->lock, &at) != 0)
            break;
    bool is_gone = k->is_gone;
    k->is_left = !is_gone;
    pthread_mutex_unlock(&k->lock);
    if (!is_gone) {
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    keeper_free(k);
}
