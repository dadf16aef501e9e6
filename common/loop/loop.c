#include "loop/loop.h"

#include "base/clock.h"

#include <signal.h>
#include <uv.h>

enum {
    CUT_MS = 10,
    CLOCK_READ_EVENTS = 32, /* between two looks at the clock */
};

struct loop {
    uv_loop_t uv;
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    struct wheel wheel;
    int64_t armed_at_ms; /* when uv's timer is due; INT64_MAX while it is not armed */
    int64_t woke_ms;
    int64_t cut_ms; /* the turn hooks were called, or the turn began */
    size_t fd_count;
    size_t fd_events; /* in this turn */
    int64_t slowest_turn_ms;
    bool is_running;
    struct list changed_fds;
    struct list turns;
    struct list signals;
};

/* Each handle is the first member of its watcher's allocation and freed by its close callback:
 * libuv keeps it until the next turn. */
struct loop_fd {
    uv_poll_t handle;
    struct loop *loop;
    struct list changed; /* in changed_fds while `wanted` was not told to libuv */
    unsigned wanted;
    unsigned applied;
    loop_fd_cb *cb;
    void *arg;
};

struct loop_wake {
    uv_async_t handle;
    loop_wake_cb *cb;
    void *arg;
};

struct loop_signal {
    uv_signal_t handle;
    struct list node;
    loop_signal_cb *cb;
    void *arg;
};

struct loop_turn {
    struct list node;
    loop_turn_cb *cb;
    void *arg;
};

/* Only out of memory, out of descriptors or misuse make libuv's set-up calls fail. */
static void must(int rc)
{
    if (rc != 0)
        brg_broken(__FILE__, __LINE__, uv_strerror(rc));
}

static void on_timer(uv_timer_t *timer)
{
    struct loop *loop = timer->data;
    loop->armed_at_ms = INT64_MAX;
    wheel_advance(&loop->wheel, loop_now_ms(loop));
}

/* A timer that is armed too early only costs a look at the wheel, so moving it later is never
 * worth a call: setting and cancelling thousands of timers a turn touches libuv at most once.
 */
static void arm_timer(struct loop *loop)
{
    int64_t next_ms = wheel_next_ms(&loop->wheel);
    if (next_ms < 0)
        return;
    int64_t at_ms = loop->wheel.now_ms + next_ms;
    if (at_ms >= loop->armed_at_ms)
        return;
    int64_t delay_ms = at_ms - loop_now_ms(loop);
    must(uv_timer_start(&loop->timer, on_timer, delay_ms > 0 ? (uint64_t)delay_ms : 0, 0));
    loop->armed_at_ms = at_ms;
}

static void on_fd(uv_poll_t *handle, int status, int happened);

static void apply_fd_changes(struct loop *loop)
{
    struct list batch;
    list_move(&loop->changed_fds, &batch);
    for (struct list *node = list_pop_front(&batch); node; node = list_pop_front(&batch)) {
        struct loop_fd *fd = LIST_ENTRY(node, struct loop_fd, changed);
        if (fd->wanted == fd->applied)
            continue;
        fd->applied = fd->wanted;
        int events = fd->wanted & LOOP_READ ? UV_READABLE : 0;
        events |= fd->wanted & LOOP_WRITE ? UV_WRITABLE : 0;
        must(events ? uv_poll_start(&fd->handle, events, on_fd) : uv_poll_stop(&fd->handle));
    }
}

/* True when a hook wants the next turn at once. Hooks may free themselves and others: each is
 * moved to the list's new life before it is called. */
static bool run_turn_hooks(struct loop *loop)
{
    bool is_more = false;
    struct list batch;
    list_move(&loop->turns, &batch);
    for (struct list *node = list_pop_front(&batch); node; node = list_pop_front(&batch)) {
        struct loop_turn *turn = LIST_ENTRY(node, struct loop_turn, node);
        list_push_back(&loop->turns, node);
        is_more |= turn->cb(turn->arg);
    }
    return is_more;
}

static void note_turn(struct loop *loop, int64_t now_ms)
{
    int64_t turn_ms = now_ms - loop->woke_ms;
    if (turn_ms > loop->slowest_turn_ms)
        loop->slowest_turn_ms = turn_ms;
}

static void wake_up(struct loop *loop)
{
    loop->woke_ms = loop->cut_ms = (int64_t)uv_now(&loop->uv);
}

/* While more than 1,024 descriptors are ready libuv serves them on end, up to 48 times as many:
 * with thousands of streams most of a second in which no timer fires and nothing of what piled
 * up is sent. So a long turn calls its hooks in between, and ends for the timers when every
 * descriptor may have been served: not sooner, because what lay in the sockets after a stall is
 * to be read before anything is called late. */
static void cut_long_turn(struct loop *loop)
{
    if (loop->fd_events % CLOCK_READ_EVENTS != 0)
        return;
    int64_t now_ms = clock_mono_ms();
    if (now_ms - loop->cut_ms < CUT_MS)
        return;
    loop->cut_ms = now_ms;
    (void)run_turn_hooks(loop); /* who has more to do is asked again at the end */
    apply_fd_changes(loop);
    if (loop->fd_events < loop->fd_count)
        return;
    note_turn(loop, now_ms);
    uv_update_time(&loop->uv);
    wake_up(loop);
    loop->fd_events = 0;
    wheel_advance(&loop->wheel, loop_now_ms(loop));
}

static void on_fd(uv_poll_t *handle, int status, int happened)
{
    struct loop_fd *fd = handle->data;
    unsigned events = 0;
    if (status < 0) {
        /* libuv has stopped the watcher; the owner learns the reason from its read or write. */
        events = LOOP_READ | LOOP_WRITE;
        fd->applied = 0;
        loop_fd_watch(fd, fd->wanted);
    } else {
        events |= happened & (UV_READABLE | UV_DISCONNECT) ? (unsigned)LOOP_READ : 0;
        events |= happened & UV_WRITABLE ? (unsigned)LOOP_WRITE : 0;
    }
    events &= fd->wanted;
    struct loop *loop = fd->loop;
    if (loop->fd_events == 0)
        wake_up(loop);
    loop->fd_events++;
    if (events)
        fd->cb(fd, events, fd->arg);
    cut_long_turn(loop);
}

/* An active idle handle makes libuv poll without waiting; that is all it is for. */
static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    if (run_turn_hooks(loop))
        must(uv_idle_start(&loop->idle, on_idle));
    else
        must(uv_idle_stop(&loop->idle));
    apply_fd_changes(loop);
    arm_timer(loop);
    note_turn(loop, clock_mono_ms());
}

/* Runs after the descriptors' callbacks, but libuv's time still is that of the wake-up. */
static void on_check(uv_check_t *check)
{
    struct loop *loop = check->data;
    if (loop->fd_events == 0)
        wake_up(loop);
    loop->fd_events = 0;
}

struct loop *loop_new(void)
{
    struct loop *loop = BRG_NEW(struct loop);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    BRG_CHECK(sigaction(SIGPIPE, &ignore, NULL) == 0);
    must(uv_loop_init(&loop->uv));
    must(uv_timer_init(&loop->uv, &loop->timer));
    must(uv_prepare_init(&loop->uv, &loop->prepare));
    must(uv_check_init(&loop->uv, &loop->check));
    must(uv_idle_init(&loop->uv, &loop->idle));
    loop->timer.data = loop;
    loop->prepare.data = loop;
    loop->check.data = loop;
    loop->armed_at_ms = INT64_MAX;
    wheel_init(&loop->wheel, (int64_t)uv_now(&loop->uv));
    list_init(&loop->changed_fds);
    list_init(&loop->turns);
    list_init(&loop->signals);
    must(uv_prepare_start(&loop->prepare, on_prepare));
    must(uv_check_start(&loop->check, on_check));
    return loop;
}

static void on_watcher_closed(uv_handle_t *handle)
{
    free(handle);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    while (!list_is_empty(&loop->signals)) {
        struct list *node = list_pop_front(&loop->signals);
        uv_close((uv_handle_t *)&LIST_ENTRY(node, struct loop_signal, node)->handle,
                 on_watcher_closed);
    }
    uv_close((uv_handle_t *)&loop->timer, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    /* Busy would mean a watcher that its owner has not freed. */
    must(uv_loop_close(&loop->uv));
    BRG_CHECK(list_is_empty(&loop->turns));
    free(loop);
}

void loop_run(struct loop *loop)
{
    uv_update_time(&loop->uv);
    wake_up(loop);
    loop->is_running = true;
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    loop->is_running = false;
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

int64_t loop_now_ms(const struct loop *loop)
{
    /* Before the first turn libuv's time is that of loop_new, and start-up may take long. */
    return loop->is_running ? (int64_t)uv_now(&loop->uv) : clock_mono_ms();
}

int64_t loop_take_slowest_turn_ms(struct loop *loop)
{
    int64_t slowest_ms = loop->slowest_turn_ms;
    loop->slowest_turn_ms = 0;
    return slowest_ms;
}

void loop_timer_set(struct loop *loop, struct wheel_timer *t, int64_t delay_ms)
{
    int64_t due_ms;
    if (__builtin_add_overflow(loop_now_ms(loop), delay_ms, &due_ms))
        due_ms = INT64_MAX;
    wheel_set(&loop->wheel, t, due_ms);
}

void loop_timer_set_at(struct loop *loop, struct wheel_timer *t, int64_t due_mono_ms)
{
    wheel_set(&loop->wheel, t, due_mono_ms);
}

void loop_timer_cancel(struct loop *loop, struct wheel_timer *t)
{
    wheel_cancel(&loop->wheel, t);
}

struct loop_fd *loop_fd_new(struct loop *loop, int fd, loop_fd_cb *cb, void *arg)
{
    struct loop_fd *watcher = BRG_NEW(struct loop_fd);
    must(uv_poll_init(&loop->uv, &watcher->handle, fd));
    watcher->handle.data = watcher;
    watcher->loop = loop;
    watcher->cb = cb;
    watcher->arg = arg;
    list_init(&watcher->changed);
    loop->fd_count++;
    return watcher;
}

/* Told to libuv at the end of the turn: each change costs it two epoll_ctl calls, and writers
 * switch LOOP_WRITE on and off within a turn. */
void loop_fd_watch(struct loop_fd *fd, unsigned events)
{
    fd->wanted = events & (LOOP_READ | LOOP_WRITE);
    list_remove(&fd->changed);
    if (fd->wanted != fd->applied)
        list_push_back(&fd->loop->changed_fds, &fd->changed);
}

void loop_fd_free(struct loop_fd *fd)
{
    if (!fd)
        return;
    list_remove(&fd->changed);
    fd->loop->fd_count--;
    uv_close((uv_handle_t *)&fd->handle, on_watcher_closed);
}

static void on_wake(uv_async_t *handle)
{
    struct loop_wake *wake = handle->data;
    wake->cb(wake->arg);
}

struct loop_wake *loop_wake_new(struct loop *loop, loop_wake_cb *cb, void *arg)
{
    struct loop_wake *wake = BRG_NEW(struct loop_wake);
    must(uv_async_init(&loop->uv, &wake->handle, on_wake));
    wake->handle.data = wake;
    wake->cb = cb;
    wake->arg = arg;
    return wake;
}

void loop_wake_send(struct loop_wake *wake)
{
    (void)uv_async_send(&wake->handle);
}

void loop_wake_free(struct loop_wake *wake)
{
    if (wake)
        uv_close((uv_handle_t *)&wake->handle, on_watcher_closed);
}

struct loop_turn *loop_turn_new(struct loop *loop, loop_turn_cb *cb, void *arg)
{
    struct loop_turn *turn = BRG_NEW(struct loop_turn);
    turn->cb = cb;
    turn->arg = arg;
    list_push_back(&loop->turns, &turn->node);
    return turn;
}

void loop_turn_free(struct loop_turn *turn)
{
    if (!turn)
        return;
    list_remove(&turn->node);
    free(turn);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct loop_signal *watcher = handle->data;
    watcher->cb(signum, watcher->arg);
}

void loop_on_signal(struct loop *loop, int signum, loop_signal_cb *cb, void *arg)
{
    struct loop_signal *watcher = BRG_NEW(struct loop_signal);
    must(uv_signal_init(&loop->uv, &watcher->handle));
    watcher->handle.data = watcher;
    watcher->cb = cb;
    watcher->arg = arg;
    list_push_back(&loop->signals, &watcher->node);
    must(uv_signal_start(&watcher->handle, on_signal, signum));
}
