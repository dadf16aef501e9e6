/* Pushing to the bot: events with the platform's repeats, the URL check, card callbacks. 200
 * within 1 s counts; else again after 15 s, 5 min, 1 h, 6 h (page dealEvent), divided by the
 * clock scale. Everything runs on the loop's thread. */
#pragma once

#include "bsim_event.h"
#include "fetch/fetch.h"

enum { BSIM_ANSWER_MS = 1000 };

enum bsim_push_state { BSIM_PUSHING, BSIM_ACCEPTED, BSIM_GIVEN_UP };

struct bsim_delivery {
    int64_t wall_ms, ms;
    int status; /* 0: none */
    char *body;
    char reason[160]; /* "": taken as accepted */
};

struct bsim_push {
    struct map_node node; /* by event id */
    struct list order;
    struct bsim_pusher *pusher;
    struct bsim_event event;
    enum bsim_push_state state;
    struct bsim_delivery *deliveries;
    size_t delivery_count;
    size_t scheduled; /* deliveries of the schedule, without those on request */
    struct wheel_timer timer;
};

struct bsim_pusher {
    struct loop *loop;
    struct fetch_pool *pool;
    struct crypto *crypto;
    struct bsim_platform *platform;
    struct map by_id;
    struct list order;                                            /* of bsim_push */
    struct list posts;                                            /* on their way */
    void (*on_delivery)(const struct bsim_push *push, void *arg); /* NULL allowed */
    void *arg;
};

void bsim_pusher_init(struct bsim_pusher *p, struct loop *loop, struct bsim_platform *platform);
void bsim_pusher_free(struct bsim_pusher *p);

/* Takes over the event. Its message is in the chat from now on. */
struct bsim_push *bsim_push_start(struct bsim_pusher *p, struct bsim_event *event);
struct bsim_push *bsim_push_find(const struct bsim_pusher *p, struct bytes event_id);
/* One more delivery now, whatever was answered. */
void bsim_push_again(struct bsim_push *push);

/* A single POST that is not an event. `plain` is sealed when `is_sealed` and there is a key. */
typedef void bsim_posted_fn(const struct bsim_delivery *delivery, void *arg);
void bsim_post(struct bsim_pusher *p, bool is_card, bool is_sealed, struct bytes plain,
               bsim_posted_fn *done, void *arg);
