#include "bus/bus_message.h"

struct bus_message {
    struct bus_message_info info;
    struct bus_origin origin;
    struct bus_ledger *ledger;
    size_t size;
    size_t header_count;
    struct bus_header headers[]; /* then the bytes that all views point to */
};

struct bus_ledger *bus_ledger_new(void)
{
    struct bus_ledger *ledger = BRG_NEW(struct bus_ledger);
    atomic_store(&ledger->references, 1);
    return ledger;
}

void bus_ledger_release(struct bus_ledger *ledger)
{
    if (atomic_fetch_sub(&ledger->references, 1) == 1)
        free(ledger);
}

static size_t headers_of(const rd_kafka_message_t *from, rd_kafka_headers_t **headers)
{
    *headers = NULL;
    if (rd_kafka_message_headers(from, headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    return rd_kafka_header_cnt(*headers);
}

static struct bus_header header_at(const rd_kafka_headers_t *headers, size_t i)
{
    const void *value = NULL;
    struct bus_header h = {0};
    rd_kafka_header_get_all(headers, i, &h.name, &value, &h.value.len);
    h.value.ptr = value;
    return h;
}

/* Copies to *at, which moves on; a NUL follows, for the names. */
static struct bytes place(char **at, struct bytes data)
{
    struct bytes copy = {*at, data.len};
    if (data.len > 0)
        memcpy(*at, data.ptr, data.len);
    (*at)[data.len] = '\0';
    *at += data.len + 1;
    return copy;
}

struct bus_message *bus_message_new(const rd_kafka_message_t *from, struct bus_origin origin,
                                    struct bus_ledger *ledger)
{
    rd_kafka_headers_t *headers;
    size_t count = headers_of(from, &headers);
    struct bytes topic = bytes_of_str(rd_kafka_topic_name(from->rkt));
    struct bytes key = bytes_of(from->key, from->key ? from->key_len : 0);
    struct bytes value = bytes_of(from->payload, from->payload ? from->len : 0);
    size_t size = sizeof(struct bus_message) + count * sizeof(struct bus_header) + topic.len +
                  key.len + value.len + 3;
    for (size_t i = 0; i < count; i++) {
        struct bus_header h = header_at(headers, i);
        size += strlen(h.name) + h.value.len + 2;
    }
    struct bus_message *m = brg_calloc(1, size);
    char *at = (char *)&m->headers[count];
    m->info = (struct bus_message_info){
        .partition = from->partition,
        .generation = origin.generation,
        .offset = from->offset,
        .timestamp_ms = rd_kafka_message_timestamp(from, NULL),
        .topic = place(&at, topic).ptr,
        .key = place(&at, key),
        .value = place(&at, value),
    };
    m->header_count = count;
    for (size_t i = 0; i < count; i++) {
        struct bus_header h = header_at(headers, i);
        m->headers[i].name = place(&at, bytes_of_str(h.name)).ptr;
        m->headers[i].value = place(&at, h.value);
    }
    m->origin = origin;
    m->size = size;
    m->ledger = ledger;
    atomic_fetch_add(&ledger->references, 1);
    atomic_fetch_add(&ledger->bytes, size);
    return m;
}

struct bus_origin bus_message_origin(const struct bus_message *m)
{
    return m->origin;
}

size_t bus_message_bytes(const struct bus_message *m)
{
    return m->size;
}

void bus_message_info(const struct bus_message *m, struct bus_message_info *info)
{
    *info = m->info;
}

struct bytes bus_message_header(const struct bus_message *m, const char *name)
{
    for (size_t i = m->header_count; i > 0; i--)
        if (strcmp(m->headers[i - 1].name, name) == 0)
            return m->headers[i - 1].value;
    return (struct bytes){0};
}

void bus_message_each_header(const struct bus_message *m,
                             void (*fn)(const char *name, struct bytes value, void *arg),
                             void *arg)
{
    for (size_t i = 0; i < m->header_count; i++)
        fn(m->headers[i].name, m->headers[i].value, arg);
}

void bus_message_free(struct bus_message *m)
{
    if (!m)
        return;
    atomic_fetch_sub(&m->ledger->bytes, m->size);
    bus_ledger_release(m->ledger);
    free(m);
}
