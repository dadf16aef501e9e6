#include "bsim_push.h"

#include "base/clock.h"
#include "base/random.h"
#include "platform/bosshi_peer.h"

enum { ANSWER_MAX_BYTES = 65536, URL_MAX_BYTES = 4096, HEADER_MAX_BYTES = 512 };

static const int64_t repeat_after_ms[BSIM_REPEATS] = {15 * 1000, 5 * 60 * 1000, 60 * 60 * 1000,
                                                      6 * 60 * 60 * 1000};

/* One POST on its way. */
struct post {
    struct list node;
    struct bsim_pusher *pusher;
    struct fetch *fetch;
    int64_t began_ms, wall_ms;
    int status;
    struct buf answer;
    bsim_posted_fn *done;
    void *arg;
};

void bsim_pusher_init(struct bsim_pusher *p, struct loop *loop, struct bsim_platform *platform)
{
    static const struct fetch_options options = {.max_idle_connections = 64};
    *p = (struct bsim_pusher){.loop = loop, .platform = platform};
    p->pool = fetch_pool_new(loop, &options);
    p->crypto = crypto_new();
    map_init(&p->by_id);
    list_init(&p->order);
    list_init(&p->posts);
}

static void push_free(struct bsim_push *push)
{
    loop_timer_cancel(push->pusher->loop, &push->timer);
    for (size_t i = 0; i < push->delivery_count; i++)
        free(push->deliveries[i].body);
    free(push->deliveries);
    bsim_event_free(&push->event);
    free(push);
}

static void post_free(struct post *post)
{
    list_remove(&post->node);
    buf_free(&post->answer);
    free(post);
}

void bsim_pusher_free(struct bsim_pusher *p)
{
    for (struct list *node = p->posts.next; node != &p->posts;) {
        struct post *post = LIST_ENTRY(node, struct post, node);
        node = node->next;
        fetch_cancel(post->fetch);
        post_free(post);
    }
    for (;;) {
        struct list *node = list_pop_front(&p->order);
        if (!node)
            break;
        push_free(LIST_ENTRY(node, struct bsim_push, order));
    }
    map_free(&p->by_id);
    fetch_pool_free(p->pool);
    crypto_free(p->crypto);
}

/* --- one POST --- */

static void on_head(const struct fetch_head *head, void *arg)
{
    ((struct post *)arg)->status = head->status;
}

static void on_data(struct bytes data, void *arg)
{
    buf_append(&((struct post *)arg)->answer, data);
}

static void judge(const struct post *post, enum fetch_result result, const char *detail,
                  struct bsim_delivery *d)
{
    if (result == FETCH_TIMEOUT || d->ms > BSIM_ANSWER_MS)
        snprintf(d->reason, sizeof d->reason, "no answer within %d ms", BSIM_ANSWER_MS);
    else if (result != FETCH_OK)
        snprintf(d->reason, sizeof d->reason, "no answer: %s", detail);
    else if (post->status != 200)
        snprintf(d->reason, sizeof d->reason, "status %d", post->status);
}

static void on_done(enum fetch_result result, const char *detail, void *arg)
{
    struct post *post = arg;
    struct bsim_delivery d = {
        .wall_ms = post->wall_ms,
        .ms = clock_mono_ms() - post->began_ms,
        .status = result == FETCH_OK ? post->status : 0,
        .body = bytes_dup(buf_bytes(&post->answer)),
    };
    judge(post, result, detail, &d);
    bsim_posted_fn *done = post->done;
    void *done_arg = post->arg;
    post_free(post);
    done(&d, done_arg);
    free(d.body);
}

struct outgoing {
    struct bytes plain;
    bool is_card, is_sealed, is_signed, is_signed_wrongly;
};

/* The three headers of a signature into `lines`, which `headers` then point into. */
static void sign(struct bsim_pusher *p, const struct outgoing *o, struct bytes body,
                 char lines[3][HEADER_MAX_BYTES], const char **headers)
{
    const struct bsim_settings *s = &p->platform->settings;
    char signature[BOSSHI_PEER_SIGNATURE_CHARS], timestamp[24], nonce[24];
    snprintf(timestamp, sizeof timestamp, "%lld", (long long)(clock_wall_ms() / 1000));
    snprintf(nonce, sizeof nonce, "%llu", (unsigned long long)random_below(1000000000));
    bosshi_peer_sign(p->crypto, bytes_of_str(timestamp), bytes_of_str(nonce),
                     bytes_of_str(p->platform->app.encrypt_key), body, signature);
    if (o->is_signed_wrongly)
        signature[0] = signature[0] == 'a' ? 'b' : 'a';
    snprintf(lines[0], HEADER_MAX_BYTES, "%s: %.*s", s->signature_header, (int)sizeof signature,
             signature);
    snprintf(lines[1], HEADER_MAX_BYTES, "%s: %s", s->timestamp_header, timestamp);
    snprintf(lines[2], HEADER_MAX_BYTES, "%s: %s", s->nonce_header, nonce);
    for (size_t i = 0; i < 3; i++)
        headers[i] = lines[i];
}

static void post(struct bsim_pusher *p, const struct outgoing *o, bsim_posted_fn *done,
                 void *arg)
{
    static const struct fetch_callbacks callbacks = {on_head, on_data, on_done};
    struct post *post = BRG_NEW(struct post);
    const char *key = p->platform->app.encrypt_key;
    char url[URL_MAX_BYTES], lines[3][HEADER_MAX_BYTES];
    const char *headers[5] = {"Content-Type: application/json; charset=utf-8"};
    struct buf body;
    *post = (struct post){.pusher = p, .done = done, .arg = arg};
    post->began_ms = clock_mono_ms();
    post->wall_ms = clock_wall_ms();
    buf_init(&post->answer, ANSWER_MAX_BYTES);
    list_push_back(&p->posts, &post->node);
    buf_init(&body, 2 * BSIM_EVENT_MAX_BYTES);
    if (o->is_sealed && *key)
        bosshi_peer_seal(p->crypto, bytes_of_str(key), o->plain, &body);
    else
        buf_append(&body, o->plain);
    if (o->is_signed)
        sign(p, o, buf_bytes(&body), lines, &headers[1]);
    snprintf(url, sizeof url, "%s%s", p->platform->settings.url, o->is_card ? "/card" : "");
    struct fetch_request request = {
        .url = url,
        .method = "POST",
        .headers = headers,
        .body = buf_bytes(&body),
        .connect_timeout_ms = BSIM_ANSWER_MS,
        .total_timeout_ms = BSIM_ANSWER_MS,
        .max_body_bytes = ANSWER_MAX_BYTES,
    };
    post->fetch = fetch_start(p->pool, &request, &callbacks, post);
    buf_free(&body);
}

void bsim_post(struct bsim_pusher *p, bool is_card, bool is_sealed, struct bytes plain,
               bsim_posted_fn *done, void *arg)
{
    struct outgoing o = {.plain = plain, .is_card = is_card, .is_sealed = is_sealed};
    post(p, &o, done, arg);
}

/* --- events --- */

static void deliver(struct bsim_push *push);

static void set_state(struct bsim_push *push, enum bsim_push_state state)
{
    push->state = state;
}

static void on_due(struct wheel_timer *t, void *arg)
{
    (void)t;
    deliver(arg);
}

static void note(struct bsim_push *push, const struct bsim_delivery *d)
{
    struct bsim_journal *journal = &push->pusher->platform->journal;
    size_t bytes = (push->delivery_count + 1) * sizeof(*push->deliveries);
    push->deliveries = brg_realloc(push->deliveries, bytes);
    struct bsim_delivery *noted = &push->deliveries[push->delivery_count++];
    *noted = *d;
    noted->body = brg_strdup(d->body);
    struct json_writer *w = bsim_journal_begin(journal, "delivery");
    json_str(w, "event_id", bytes_of_str(push->event.event_id));
    json_i64(w, "nth", (int64_t)push->delivery_count);
    json_i64(w, "status", d->status);
    json_i64(w, "ms", d->ms);
    json_str(w, "reason", bytes_of_str(d->reason));
    bsim_journal_end(journal);
    struct json *body =
        *d->reason ? NULL : json_parse(bytes_of_str(d->body), JSON_STRICT, NULL);
    if (!*d->reason && json_type(body) != JSON_OBJECT)
        bsim_journal_broken(journal, "ack", "200 with a body that is no JSON object");
    json_free(body);
}

static void on_delivered(const struct bsim_delivery *d, void *arg)
{
    struct bsim_push *push = arg;
    struct bsim_pusher *p = push->pusher;
    note(push, d);
    if (!*d->reason) {
        set_state(push, BSIM_ACCEPTED);
        loop_timer_cancel(p->loop, &push->timer);
    } else if (push->state == BSIM_PUSHING && !wheel_is_set(&push->timer)) {
        size_t repeat = push->scheduled - 1;
        if (repeat >= (size_t)push->event.repeats || repeat >= BSIM_REPEATS)
            set_state(push, BSIM_GIVEN_UP);
        else
            loop_timer_set(p->loop, &push->timer,
                           repeat_after_ms[repeat] / p->platform->clock_scale);
    }
    if (p->on_delivery)
        p->on_delivery(push, p->arg);
}

void bsim_push_again(struct bsim_push *push)
{
    const struct bsim_event *e = &push->event;
    struct outgoing o = {
        .plain = buf_bytes(&e->body),
        .is_sealed = !e->is_raw && !e->is_plain,
        .is_signed = e->is_signed,
        .is_signed_wrongly = e->is_signed_wrongly,
    };
    post(push->pusher, &o, on_delivered, push);
}

static void deliver(struct bsim_push *push)
{
    push->scheduled++;
    bsim_push_again(push);
}

static void journal_ask(struct bsim_journal *journal, const struct bsim_event *e)
{
    struct json_writer *w = bsim_journal_begin(journal, "ask");
    json_str(w, "event_id", bytes_of_str(e->event_id));
    json_str(w, "message_id", bytes_of_str(e->message_id));
    json_str(w, "chat_id", bytes_of_str(e->chat_id));
    json_str(w, "chat_type", bytes_of_str(e->chat_type));
    json_str(w, "kind", bytes_of_str(e->msg_type));
    json_str(w, "text", bytes_of_str(e->text));
    bsim_journal_end(journal);
}

struct bsim_push *bsim_push_start(struct bsim_pusher *p, struct bsim_event *event)
{
    bool is_direct = strcmp(event->chat_type, "p2p") == 0;
    struct bsim_address address = {
        .chat_id = bytes_of_str(event->chat_id),
        .tenant = bytes_of_str(event->tenant),
        .open_id = bytes_of_str(is_direct ? event->open_id : ""),
        .union_id = bytes_of_str(is_direct ? event->union_id : ""),
        .user_id = bytes_of_str(is_direct ? event->user_id : ""),
    };
    struct bsim_push *push = BRG_NEW(struct bsim_push);
    push->pusher = p;
    push->event = *event;
    wheel_timer_init(&push->timer, on_due, push);
    list_push_back(&p->order, &push->order);
    if (!map_find(&p->by_id, bytes_of_str(event->event_id)))
        map_insert(&p->by_id, &push->node, bytes_of_str(push->event.event_id));
    journal_ask(&p->platform->journal, &push->event);
    bsim_user_says(p->platform, &address, bytes_of_str(event->message_id),
                   bytes_of_str(event->msg_type), bytes_of_str(event->text));
    deliver(push);
    return push;
}

struct bsim_push *bsim_push_find(const struct bsim_pusher *p, struct bytes event_id)
{
    struct map_node *node = map_find(&p->by_id, event_id);
    return node ? MAP_ENTRY(node, struct bsim_push, node) : NULL;
}
