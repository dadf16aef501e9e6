#include "base/clock.h"
#include "base/random.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "store/store_impl.h"

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <sys/socket.h>

/* A refused login needs a person: no hurry, and no storm of error lines. */
enum { BACKOFF_BASE_MS = 50, BACKOFF_CAP_MS = 1000, LOGIN_RETRY_MS = 2000 };
/* Replies that arrived while the loop was held up are read before anything is called overdue.
 */
enum { OVERDUE_GRACE_MS = 1 };
/* An answer waits no longer for its reader, however long the turn. */
enum { READ_EVERY_MS = 10 };
/* hiredis frees a larger reading buffer after every burst. */
enum { READER_KEPT_BYTES = 1 << 20 };

static struct metric up = METRIC(METRIC_GAUGE, "botbridge_store_up", NULL,
                                 "1 while the store is connected and serves");
static struct metric connects = METRIC(METRIC_COUNTER, "botbridge_store_connects_total", NULL,
                                       "Connections to the store that came up");
static struct metric losses = METRIC(METRIC_COUNTER, "botbridge_store_losses_total", NULL,
                                     "Times the store had lost what was written, or may have");

void conn_register_metrics(void)
{
    metric_register(&up);
    metric_register(&connects);
    metric_register(&losses);
}

static void tell_watchers(struct store *s, bool is_up, bool is_loss)
{
    if (is_loss)
        metric_add(&losses, 1);
    for (unsigned i = 0; i < s->watcher_count; i++)
        s->watchers[i].fn(is_up, is_loss, s->watchers[i].arg);
}

static void set_state(struct store *s, enum conn_state state)
{
    static const char *const names[] = {"down", "resolving", "connecting", "greeting", "up"};
    log_debug("store", "state", "from=%s to=%s", names[s->state], names[state]);
    s->state = state;
    metric_set(&up, state == CONN_UP);
}

/* --- the end of a turn --- */

void conn_kick(struct store *s)
{
    if (!wheel_is_set(&s->kick))
        loop_timer_set(s->loop, &s->kick, 0);
}

static void watch(struct store *s, unsigned events)
{
    if (s->events == events)
        return;
    s->events = events;
    loop_fd_watch(s->fd, events);
}

static void flush(struct store *s)
{
    redisAsyncHandleWrite(s->ac);
    if (s->ac)
        watch(s, s->has_output ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void end_turn(struct store *s)
{
    loop_timer_cancel(s->loop, &s->kick);
    op_deliver_failed(s);
    /* A socket that is watched for writing is full, or not connected yet. */
    if (s->ac && s->has_output && !(s->events & LOOP_WRITE))
        flush(s);
}

/* The timer stands in where work comes up after this hook in the same turn. */
static void on_kick(struct wheel_timer *t, void *arg)
{
    (void)t;
    end_turn(arg);
}

/* A turn in which thousands of other sockets are ready comes to this one late, and nothing new
 * is sent before it has: the loop calls the hooks in between. */
static void read_in_long_turn(struct store *s)
{
    int64_t now_ms = clock_mono_ms();
    if (list_is_empty(&s->sent) || now_ms - s->read_ms < READ_EVERY_MS)
        return;
    s->read_ms = now_ms;
    redisAsyncHandleRead(s->ac);
}

static bool on_turn(void *arg)
{
    struct store *s = arg;
    read_in_long_turn(s);
    if (wheel_is_set(&s->kick))
        end_turn(s);
    return false;
}

/* --- what hiredis calls --- */

static void on_add_write(void *arg)
{
    struct store *s = arg;
    s->has_output = true;
    conn_kick(s);
}

static void on_del_write(void *arg)
{
    struct store *s = arg;
    s->has_output = false;
}

/* Reading is always on: there is no use for a connection whose end would not be seen. */
static void on_read_wanted(void *arg)
{
    (void)arg;
}

static void let_fd_go(struct store *s)
{
    loop_fd_free(s->fd);
    s->fd = NULL;
    s->events = 0;
    s->has_output = false;
}

/* Comes before hiredis closes the socket. */
static void on_cleanup(void *arg)
{
    let_fd_go(arg);
}

static void on_reply(struct redisAsyncContext *ac, void *reply, void *arg)
{
    struct store *s = ac->data;
    (void)arg;
    if (!reply || ac != s->ac || list_is_empty(&s->sent))
        return;
    struct op *op = LIST_ENTRY(s->sent.next, struct op, node);
    s->is_head_overdue = false;
    s->heard_ms = loop_now_ms(s->loop);
    op->replies_due--;
    if (op->replies_due == 0)
        list_remove(&op->node);
    op->on_reply(s, op, reply);
}

static void lost(struct store *s, const char *reason);

static void on_connect(const struct redisAsyncContext *ac, int status)
{
    struct store *s = ac->data;
    if (ac != s->ac)
        return;
    if (status == REDIS_OK) {
        watch(s, LOOP_READ);
        loop_timer_cancel(s->loop, &s->timer);
        set_state(s, CONN_GREETING);
        greet_start(s);
        return;
    }
    s->ac = NULL; /* hiredis frees it */
    lost(s, ac->c.errstr[0] ? ac->c.errstr : "not connected");
}

static void on_disconnect(const struct redisAsyncContext *ac, int status)
{
    struct store *s = ac->data;
    (void)status;
    if (ac != s->ac)
        return;
    s->ac = NULL; /* hiredis frees it */
    lost(s, ac->errstr && ac->errstr[0] ? ac->errstr : "closed");
}

static void on_fd(struct loop_fd *fd, unsigned events, void *arg)
{
    struct store *s = arg;
    redisAsyncContext *ac = s->ac;
    (void)fd;
    if (events & LOOP_READ) {
        s->read_ms = clock_mono_ms();
        redisAsyncHandleRead(ac);
    }
    if (s->ac == ac && events & LOOP_WRITE)
        flush(s);
}

/* --- to and from CONN_DOWN --- */

static void retry_later(struct store *s)
{
    int64_t delay_ms = random_backoff_ms(BACKOFF_BASE_MS, BACKOFF_CAP_MS, s->attempts);
    if (s->is_login_refused)
        delay_ms = LOGIN_RETRY_MS + (int64_t)random_below(LOGIN_RETRY_MS);
    s->is_login_refused = false;
    s->attempts++;
    loop_timer_set(s->loop, &s->timer, delay_ms);
}

/* The connection is not hiredis's any more, or on its way there. */
static void lost(struct store *s, const char *reason)
{
    bool was_up = s->state == CONN_UP;
    let_fd_go(s);
    loop_timer_cancel(s->loop, &s->timer);
    loop_timer_cancel(s->loop, &s->clock_timer);
    loop_timer_cancel(s->loop, &s->mark_timer);
    for (struct list *node = list_pop_front(&s->sent); node; node = list_pop_front(&s->sent))
        op_fail(s, LIST_ENTRY(node, struct op, node), STORE_UNAVAILABLE);
    set_state(s, CONN_DOWN);
    if (s->is_freeing)
        return;
    /* The 1st, 2nd, 4th, 8th… failure in a row: a long outage is no flood of lines. */
    if ((s->attempts & (s->attempts + 1)) == 0)
        log_warn("store", "away", "host=%s port=%u attempts=%u reason=\"%s\"", s->url.host,
                 (unsigned)s->url.port, s->attempts + 1, reason);
    retry_later(s);
    if (was_up)
        tell_watchers(s, false, false);
}

/* What the socket still holds is not sent: its callers were told that nobody knows, and have
 * repeated it elsewhere by the time it would arrive. What lies in the server's own buffer is
 * out of reach here: the scripts fence it by `link`. */
static void forget_unsent(redisAsyncContext *ac)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(ac->c.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

void conn_drop(struct store *s, const char *reason)
{
    redisAsyncContext *ac = s->ac;
    if (!ac)
        return;
    s->ac = NULL;
    lost(s, reason);
    forget_unsent(ac);
    redisAsyncFree(ac); /* at once, or after the callback that this is called from */
}

static void connect_to(struct store *s, const char *address)
{
    redisAsyncContext *ac = redisAsyncConnect(address, s->url.port);
    if (!ac || ac->err) {
        char failure[STORE_FAILURE_BYTES];
        snprintf(failure, sizeof(failure), "%s", ac ? ac->errstr : "out of memory");
        if (ac)
            redisAsyncFree(ac);
        lost(s, failure);
        return;
    }
    ac->data = s;
    ac->c.reader->maxbuf = READER_KEPT_BYTES;
    ac->ev.data = s;
    ac->ev.addRead = on_read_wanted;
    ac->ev.delRead = on_read_wanted;
    ac->ev.addWrite = on_add_write;
    ac->ev.delWrite = on_del_write;
    ac->ev.cleanup = on_cleanup;
    s->ac = ac;
    s->link++;
    s->fd = loop_fd_new(s->loop, ac->c.fd, on_fd, s);
    watch(s, LOOP_WRITE);
    redisAsyncSetConnectCallback(ac, on_connect);
    redisAsyncSetDisconnectCallback(ac, on_disconnect);
    set_state(s, CONN_CONNECTING);
    loop_timer_set(s->loop, &s->timer, s->connect_timeout_ms);
}

static void begin(struct store *s)
{
    if (s->url.is_numeric) {
        connect_to(s, s->url.host);
        return;
    }
    s->resolve = resolve_start(s->url.host, s->wake);
    if (s->resolve)
        set_state(s, CONN_RESOLVING);
    else
        lost(s, "no thread for the look-up of the name");
}

static void on_resolved(void *arg)
{
    struct store *s = arg;
    struct resolve_result found;
    if (!s->resolve || !resolve_take(s->resolve, &found))
        return;
    resolve_free(s->resolve);
    s->resolve = NULL;
    if (found.count == 0)
        lost(s, found.failure);
    else
        connect_to(s, found.address[s->attempts % found.count]);
}

/* --- timers --- */

/* A server is silent when its oldest due reply is late and it has said nothing else for as
 * long: one that works through a long queue is slow, and dropping it would ask for all again.
 */
static void watch_head(struct store *s)
{
    if (list_is_empty(&s->sent))
        return;
    const struct op *head = LIST_ENTRY(s->sent.next, struct op, node);
    int64_t quiet_until_ms = s->heard_ms + s->command_timeout_ms;
    int64_t due_ms = head->deadline_ms > quiet_until_ms ? head->deadline_ms : quiet_until_ms;
    if (due_ms > loop_now_ms(s->loop)) {
        loop_timer_set_at(s->loop, &s->timer, due_ms);
    } else if (!s->is_head_overdue) {
        s->is_head_overdue = true;
        loop_timer_set(s->loop, &s->timer, OVERDUE_GRACE_MS);
    } else {
        conn_drop(s, "no reply in time");
    }
}

static void on_timer(struct wheel_timer *t, void *arg)
{
    struct store *s = arg;
    (void)t;
    switch (s->state) {
    case CONN_DOWN:
        begin(s);
        break;
    case CONN_RESOLVING: /* the resolver has its own limits, and one thread at a time is enough
                          */
        break;
    case CONN_CONNECTING:
        conn_drop(s, "connecting took too long");
        break;
    case CONN_GREETING:
    case CONN_UP:
        watch_head(s);
        break;
    }
}

static void on_clock_timer(struct wheel_timer *t, void *arg)
{
    (void)t;
    greet_measure_clock(arg);
}

static void on_mark_timer(struct wheel_timer *t, void *arg)
{
    (void)t;
    mark_ask(arg);
}

/* --- for the others --- */

void conn_append(struct store *s, struct bytes command)
{
    /* It fails only for a connection that is being freed, and `ac` is never one. */
    BRG_CHECK(redisAsyncFormattedCommand(s->ac, on_reply, NULL, command.ptr, command.len) ==
              REDIS_OK);
}

void conn_sent(struct store *s, struct op *op, unsigned replies_due)
{
    op->replies_due = replies_due;
    op->deadline_ms = loop_now_ms(s->loop) + s->command_timeout_ms;
    list_push_back(&s->sent, &op->node);
    if (!wheel_is_set(&s->timer))
        loop_timer_set_at(s->loop, &s->timer, op->deadline_ms);
}

void conn_command(struct store *s, op_reply_fn *on_answer, const struct bytes *words,
                  unsigned count)
{
    struct op *op = op_new(s, on_answer, NULL, NULL);
    buf_reset(&s->command);
    resp_words(&s->command, count);
    for (unsigned i = 0; i < count; i++)
        resp_word(&s->command, words[i]);
    conn_append(s, buf_bytes(&s->command));
    conn_sent(s, op, 1);
}

void conn_is_up(struct store *s, bool is_loss)
{
    s->attempts = 0;
    metric_add(&connects, 1);
    log_info("store", "connected", "host=%s port=%u db=%u loss=%d", s->url.host,
             (unsigned)s->url.port, s->url.db, is_loss);
    set_state(s, CONN_UP);
    tell_watchers(s, true, is_loss);
}

void conn_tell_loss(struct store *s)
{
    log_warn("store", "data_lost", "host=%s port=%u db=%u", s->url.host, (unsigned)s->url.port,
             s->url.db);
    tell_watchers(s, true, true);
}

void conn_start(struct store *s)
{
    wheel_timer_init(&s->timer, on_timer, s);
    wheel_timer_init(&s->kick, on_kick, s);
    wheel_timer_init(&s->clock_timer, on_clock_timer, s);
    wheel_timer_init(&s->mark_timer, on_mark_timer, s);
    s->turn = loop_turn_new(s->loop, on_turn, s);
    s->wake = loop_wake_new(s->loop, on_resolved, s);
    begin(s);
}

void conn_stop(struct store *s)
{
    redisAsyncContext *ac = s->ac;
    s->ac = NULL;
    lost(s, "stopped");
    if (ac)
        redisAsyncFree(ac);
    resolve_free(s->resolve);
    s->resolve = NULL;
}
