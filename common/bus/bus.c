#include "bus/bus_conf.h"

#include "log/log.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { ERRSTR_BYTES = 192 };

static const char *topic_suffix(enum bus_topic t)
{
    static const char *const suffixes[BUS_TOPIC_COUNT] = {
        [BUS_REQUESTS] = "requests", [BUS_LATE] = "late",           [BUS_EVENTS] = "events",
        [BUS_DLQ] = "dlq",           [BUS_FRAGMENTS] = "fragments",
    };
    return suffixes[t];
}

void bus_topic_name(char out[BUS_TOPIC_NAME_BYTES], const char *prefix, enum bus_topic t)
{
    int n = snprintf(out, BUS_TOPIC_NAME_BYTES, "%s.%s", prefix, topic_suffix(t));
    BRG_CHECK(n > 0 && n < BUS_TOPIC_NAME_BYTES);
}

/* What the promises rest on is not the user's to change; the one value that agrees with us is
 * accepted. */
static const struct bus_setting reserved[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {"request.required.acks", "-1"},
    {"partition.assignment.strategy", "cooperative-sticky"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"enable.partition.eof", "true"},
    {"group.protocol", "classic"},
    {"group.id", NULL},
    {"group.instance.id", NULL},
    {"transactional.id", NULL},
    {"delivery.timeout.ms", NULL},
    {"message.timeout.ms", NULL},
};

static bool is_secret(const char *name)
{
    return strstr(name, "password") || strstr(name, "secret") || strstr(name, ".pem") ||
           strstr(name, "oauthbearer.config") || strstr(name, "jaas");
}

static enum brg_err check_reserved(const struct bus_setting *s, struct brg_error *error)
{
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcmp(s->name, reserved[i].name) != 0)
            continue;
        const char *only = reserved[i].value;
        if (only && strcmp(s->value, only) == 0)
            return BRG_OK;
        return brg_fail(error, BRG_STOP, "kafka.%s: fixed by botbridge%s%s, remove it", s->name,
                        only ? " to " : "", only ? only : "");
    }
    return BRG_OK;
}

static enum brg_err set_one(rd_kafka_conf_t *conf, const struct bus_setting *s,
                            struct brg_error *error)
{
    char text[ERRSTR_BYTES];
    switch (rd_kafka_conf_set(conf, s->name, s->value, text, sizeof text)) {
    case RD_KAFKA_CONF_OK:
        return BRG_OK;
    case RD_KAFKA_CONF_UNKNOWN:
        return brg_fail(error, BRG_STOP, "kafka.%s: librdkafka %s knows no such property",
                        s->name, rd_kafka_version_str());
    case RD_KAFKA_CONF_INVALID:
    default:
        return brg_fail(error, BRG_STOP, "kafka.%s: %s", s->name,
                        is_secret(s->name) ? "value not accepted" : text);
    }
}

static enum brg_err set_users(rd_kafka_conf_t *conf, const struct bus_setting *settings,
                              size_t count, struct brg_error *error)
{
    for (size_t i = 0; i < count; i++) {
        enum brg_err err = check_reserved(&settings[i], error);
        if (err == BRG_OK)
            err = set_one(conf, &settings[i], error);
        if (err != BRG_OK)
            return err;
    }
    return BRG_OK;
}

enum brg_err bus_settings_check(const struct bus_setting *settings, size_t count,
                                struct brg_error *error)
{
    rd_kafka_conf_t *scratch = rd_kafka_conf_new();
    enum brg_err err = set_users(scratch, settings, count, error);
    rd_kafka_conf_destroy(scratch);
    return err;
}

/* The settings of one section go to producer and consumer alike: what only the other one knows
 * is no news. */
static bool is_of_the_other(const char *facility, const char *text)
{
    return strcmp(facility, "CONFWARN") == 0 && strstr(text, "property and will be ignored");
}

/* Called from librdkafka's threads. Its "error" is a broken connection, which we survive. */
void bus_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    const char *client = rk ? rd_kafka_name(rk) : "";
    if (level <= 2)
        log_error("kafka", "library", "client=%s facility=%s text=\"%s\"", client, facility,
                  text);
    else if (level > 6 || is_of_the_other(facility, text))
        log_debug("kafka", "library", "client=%s facility=%s text=\"%s\"", client, facility,
                  text);
    else if (level <= 4)
        log_warn("kafka", "library", "client=%s facility=%s text=\"%s\"", client, facility,
                 text);
    else
        log_info("kafka", "library", "client=%s facility=%s text=\"%s\"", client, facility,
                 text);
}

rd_kafka_conf_t *bus_conf_new(const struct bus_options *options, const struct bus_setting *ours,
                              struct brg_error *error)
{
    const struct bus_setting common[] = {
        {"client.id", options->client_id ? options->client_id : "botbridge"},
        {"socket.nagle.disable", "true"},
        {"socket.keepalive.enable", "true"},
        {"socket.connection.setup.timeout.ms", "5000"},
        {"reconnect.backoff.max.ms", "1000"},
        {"log.connection.close", "false"},
        {"log_level", log_is_on(LOG_DEBUG) ? "7" : "6"},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, bus_log);
    enum brg_err err = BRG_OK;
    for (size_t i = 0; i < sizeof common / sizeof common[0] && err == BRG_OK; i++)
        err = set_one(conf, &common[i], error);
    for (; ours && ours->name && err == BRG_OK; ours++)
        err = set_one(conf, ours, error);
    if (err == BRG_OK)
        err = set_users(conf, options->settings, options->setting_count, error);
    if (err == BRG_OK)
        return conf;
    rd_kafka_conf_destroy(conf);
    return NULL;
}

bool bus_is_connection_error(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR__TRANSPORT || err == RD_KAFKA_RESP_ERR__TIMED_OUT ||
           err == RD_KAFKA_RESP_ERR__RESOLVE;
}

int64_t bus_conf_number(const rd_kafka_conf_t *conf, const char *name)
{
    char text[32] = "";
    size_t size = sizeof text;
    int64_t value = 0;
    BRG_CHECK(rd_kafka_conf_get(conf, name, text, &size) == RD_KAFKA_CONF_OK);
    BRG_CHECK(bytes_to_i64(bytes_of_str(text), &value));
    return value;
}

rd_kafka_t *bus_handle_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct brg_error *error)
{
    char text[ERRSTR_BYTES];
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);
    if (rk)
        return rk;
    rd_kafka_conf_destroy(conf);
    brg_fail(error, BRG_STOP, "kafka: %s", text);
    return NULL;
}

struct timespec bus_deadline_after(int64_t ms)
{
    enum { MS_PER_S = 1000, NS_PER_MS = 1000000, NS_PER_S = 1000000000 };
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(ms / MS_PER_S);
    at.tv_nsec += (long)(ms % MS_PER_S) * NS_PER_MS;
    if (at.tv_nsec >= NS_PER_S) {
        at.tv_sec++;
        at.tv_nsec -= NS_PER_S;
    }
    return at;
}

void bus_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

int bus_eventfd_new(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    BRG_CHECK(fd >= 0);
    return fd;
}

void bus_eventfd_signal(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    BRG_CHECK(n == (ssize_t)sizeof one || errno == EAGAIN);
}

void bus_eventfd_clear(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);
    BRG_CHECK(n == (ssize_t)sizeof count || errno == EAGAIN);
}

void bus_eventfd_attach(rd_kafka_queue_t *queue, int fd)
{
    static const uint64_t one = 1;
    if (fd < 0)
        rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
    else
        rd_kafka_queue_io_event_enable(queue, fd, &one, sizeof one);
}

struct bus_stat bus_stats_scan(const char *json, const char *name)
{
    struct bus_stat stat = {0};
    size_t len = strlen(name);
    for (const char *at = strstr(json, name); at; at = strstr(at + len, name)) {
        long long value = strtoll(at + len, NULL, 10);
        if (value <= 0)
            continue;
        stat.sum += value;
        stat.max = value > stat.max ? value : stat.max;
    }
    return stat;
}
