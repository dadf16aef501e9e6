/* Pushing to the bot: events with the platform's repeats, the URL check, card callbacks. 200
 * within 1 s counts; else again after 15 s, 5 min, 1 h, 6 h (page dealEvent), divided by the
 * clock scale. Everything runs on the loop's thread. */
#pragma once

#include "bosshi_event.h"
#include "fetch/fetch.h"

enum { BOSSHI_ANSWER_MS = 1000 };

enum bosshi_push_state { BOSSHI_PUSHING, BOSSHI_ACCEPTED, BOSSHI_GIVEN_UP };

struct bosshi_delivery {
    int64_t wall_ms, ms;
    int status; /* 0: none */
    char *body;
    char reason[160]; /* "": taken as accepted */
};

struct bosshi_push {
    struct map_node node; /* by event id */
    struct list order;
    struct bosshi_pusher *pusher;
    struct bosshi_event event;
    enum bosshi_push_state state;
    struct bosshi_delivery *deliveries;
    size_t delivery_count;
    size_t scheduled; /* deliveries of the schedule, without those on request */
    struct wheel_timer timer;
};

struct bosshi_pusher {
    struct loop *loop;
    struct fetch_pool *pool;
    struct crypto *crypto;
    struct bosshi_platform *platform;
    struct map by_id;
    struct list order;                                              /* of bosshi_push */
    struct list posts;                                              /* on their way */
    void (*on_delivery)(const struct bosshi_push *push, void *arg); /* NULL allowed */
    void *arg;
};

void bosshi_pusher_init(struct bosshi_pusher *p, struct loop *loop,
                        struct bosshi_platform *platform);
void bosshi_pusher_free(struct bosshi_pusher *p);

/* Takes over the event. Its message is in the chat from now on. */
struct bosshi_push *bosshi_push_start(struct bosshi_pusher *p, struct bosshi_event *event);
struct bosshi_push *bosshi_push_find(const struct bosshi_pusher *p, struct bytes event_id);
/* One more delivery now, whatever was answered. */
void bosshi_push_again(struct bosshi_push *push);

/* A single POST that is not an event. `plain` is sealed when `is_sealed` and there is a key. */
typedef void bosshi_posted_fn(const struct bosshi_delivery *delivery, void *arg);
void bosshi_post(struct bosshi_pusher *p, bool is_card, bool is_sealed, struct bytes plain,
                 bosshi_posted_fn *done, void *arg);
