#include "admission.h"

#include "base/error.h"
#include "base/list.h"
#include "base/map.h"
#include "metrics/metrics.h"

#define MINUTE_MS 60000

struct user {
    struct map_node node; /* key: `name` */
    struct list age;      /* in admission.ages, seen last at the end */
    /* In parts of a minute, so that a rate below one a millisecond adds up: a question costs
     * MINUTE_MS, and `per_minute` come back each millisecond. */
    int64_t credit;
    int64_t seen_ms;
    char name[]; /* bot, line break, user */
};

struct admission {
    struct map users;
    struct list ages;
    size_t max_users;
    struct buf key;
};

static struct metric refused =
    METRIC(METRIC_COUNTER, "botbridge_ingress_rate_refusals_total", NULL,
           "New messages refused because their user asked too often.");

struct admission *admission_new(size_t max_users)
{
    struct admission *a = BRG_NEW(struct admission);
    map_init(&a->users);
    list_init(&a->ages);
    a->max_users = max_users;
    buf_init(&a->key, 1 << 20); /* more than a callback can hold */
    metric_register(&refused);
    return a;
}

static void forget(struct admission *a, struct user *u)
{
    map_remove(&a->users, &u->node);
    list_remove(&u->age);
    free(u);
}

void admission_free(struct admission *a)
{
    while (!list_is_empty(&a->ages))
        forget(a, LIST_ENTRY(a->ages.next, struct user, age));
    map_free(&a->users);
    buf_free(&a->key);
    free(a);
}

static struct user *user_get(struct admission *a, struct bytes name, int64_t full,
                             int64_t now_ms)
{
    struct map_node *found = map_find(&a->users, name);
    if (found)
        return MAP_ENTRY(found, struct user, node);
    if (a->users.count >= a->max_users)
        forget(a, LIST_ENTRY(a->ages.next, struct user, age));
    struct user *u = brg_calloc(1, sizeof(*u) + name.len);
    memcpy(u->name, name.ptr, name.len);
    u->credit = full;
    u->seen_ms = now_ms;
    map_insert(&a->users, &u->node, bytes_of(u->name, name.len));
    list_push_back(&a->ages, &u->age);
    return u;
}

bool admission_take(struct admission *a, struct bytes bot, struct bytes user,
                    int64_t per_minute, int64_t now_ms)
{
    if (per_minute == 0 || user.len == 0)
        return true;
    buf_reset(&a->key);
    buf_append(&a->key, bot);
    buf_append_char(&a->key, '\n');
    buf_append(&a->key, user);
    int64_t full = per_minute * MINUTE_MS;
    struct user *u = user_get(a, buf_bytes(&a->key), full, now_ms);
    int64_t away_ms = now_ms - u->seen_ms < MINUTE_MS ? now_ms - u->seen_ms : MINUTE_MS;
    u->credit += away_ms * per_minute;
    u->credit = u->credit < full ? u->credit : full;
    u->seen_ms = now_ms;
    list_remove(&u->age);
    list_push_back(&a->ages, &u->age);
    bool is_admitted = u->credit >= MINUTE_MS;
    u->credit -= is_admitted ? MINUTE_MS : 0;
    metric_add(&refused, !is_admitted);
    return is_admitted;
}

size_t admission_users(const struct admission *a)
{
    return a->users.count;
}

size_t admission_users_limit(const struct admission *a)
{
    return a->max_users;
}
