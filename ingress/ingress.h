/* One ingress process: what its parts share, its life from start to drain.
 *
 * It keeps no state that another process needs: what it remembers (recall, owed) only bridges
 * an absence of the store. Owned by main; everything runs on the loop's thread. */
#pragma once

#include "base/list.h"
#include "bus/bus_producer.h"
#include "config/config.h"
#include "crypto/crypto.h"
#include "envelope/envelope.h"
#include "http/http_admin.h"
#include "http/http_server.h"
#include "loop/loop.h"
#include "store/store.h"

struct admission;
struct recall;
struct owed;

enum ingress_phase {
    INGRESS_STARTING,  /* serves, not yet announced: Kafka's metadata is awaited */
    INGRESS_SERVING,   /* announced */
    INGRESS_ACCEPTING, /* draining: unready, but balancers may still send new connections */
    INGRESS_FINISHING, /* draining: listener closed, open requests are answered */
    INGRESS_FLUSHING,  /* draining: Kafka's reports and what is owed to the store are awaited */
    INGRESS_ENDED,     /* the loop is stopped */
};

struct ingress {
    struct loop *loop;
    const char *config_path;
    struct config *config; /* for new requests; replaced as a whole by a reload */
    struct crypto *crypto;
    struct store *store;
    struct bus_producer *producer;
    struct http_server *server;
    struct http_admin *admin;
    struct admission *admission;
    struct recall *recall;
    struct owed *owed_opens, *owed_closes;
    struct list held; /* polls that wait for the store to come back */
    size_t held_count;
    char topics[BUS_TOPIC_COUNT][BUS_TOPIC_NAME_BYTES]; /* fixed at start */
    /* Scratch memory of one callback of the loop, kept to save allocations. */
    struct buf opened;   /* plaintext of a callback */
    struct buf sealing;  /* plaintext of a reply, encrypted in place */
    struct buf rendered; /* a text with something added */
    struct envelope envelope;
    enum ingress_phase phase;
    struct wheel_timer timer; /* of the phase */
    int64_t phase_since_ms;
};

/* Every answer leaves within this time of the receipt: the platform drops the connection after
 * 5 s. */
#define ANSWER_CEILING_MS 4500

/* Takes over the reference to `config`; `path` must outlive the process object. NULL with a
 * reason: BRG_STOP (settings, addresses), BRG_RETRY (an address in use). */
struct ingress *ingress_start(struct config *config, const char *path, struct brg_error *error);
void ingress_run(struct ingress *in); /* until drained by SIGTERM or SIGINT */
void ingress_free(struct ingress *in);
