/* The event loop: timers, descriptors, wake-ups, turn hooks, signals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/error.h"
#include "loop/loop.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Stands before libuv's own, to count how often its timer is armed. */
typedef int timer_start(void *handle, void *cb, uint64_t timeout, uint64_t repeat);
timer_start uv_timer_start;
static int armed;

int uv_timer_start(void *handle, void *cb, uint64_t timeout, uint64_t repeat)
{
    static timer_start *real;
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "uv_timer_start");
    armed++;
    return real(handle, cb, timeout, repeat);
}

/* One loop per test, ended by a guard timer if the test's own end never comes. */
struct fixture {
    struct loop *loop;
    struct wheel_timer guard;
    bool is_hung;
    int turns;
    struct loop_turn *turn_counter;
};

static void on_guard(struct wheel_timer *t, void *arg)
{
    (void)t;
    struct fixture *f = arg;
    f->is_hung = true;
    loop_stop(f->loop);
}

static bool count_turn(void *arg)
{
    ((struct fixture *)arg)->turns++;
    return false;
}

static int set_up(void **state)
{
    struct fixture *f = BRG_NEW(struct fixture);
    f->loop = loop_new();
    wheel_timer_init(&f->guard, on_guard, f);
    loop_timer_set(f->loop, &f->guard, 20000);
    f->turn_counter = loop_turn_new(f->loop, count_turn, f);
    armed = 0;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    loop_timer_cancel(f->loop, &f->guard);
    loop_turn_free(f->turn_counter);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void run(struct fixture *f)
{
    loop_run(f->loop);
    assert_false(f->is_hung);
}

enum { TIMERS = 40 };

struct timers {
    struct fixture *f;
    struct wheel_timer timers[TIMERS];
    int64_t due_ms[TIMERS];
    int64_t last_due_ms;
    int fired;
    bool is_early;
    bool is_disordered;
};

static void on_ordered(struct wheel_timer *t, void *arg)
{
    struct timers *all = arg;
    int64_t due_ms = all->due_ms[t - all->timers];
    all->is_early |= clock_mono_ms() < due_ms || loop_now_ms(all->f->loop) < due_ms;
    all->is_disordered |= due_ms < all->last_due_ms;
    all->last_due_ms = due_ms;
    all->fired++;
    if (all->fired == TIMERS)
        loop_stop(all->f->loop);
}

static void timers_fire_in_order_and_not_early(void **state)
{
    struct fixture *f = *state;
    struct timers all = {.f = f};
    for (int i = 0; i < TIMERS; i++) {
        wheel_timer_init(&all.timers[i], on_ordered, &all);
        all.due_ms[i] = clock_mono_ms() + (i * 37) % 101;
        loop_timer_set_at(f->loop, &all.timers[i], all.due_ms[i]);
    }
    run(f);
    assert_int_equal(all.fired, TIMERS);
    assert_false(all.is_early);
    assert_false(all.is_disordered);
}

struct zero {
    struct fixture *f;
    struct wheel_timer timer;
    int fired;
    int turn_of_last;
    bool is_same_turn;
};

static void on_zero(struct wheel_timer *t, void *arg)
{
    struct zero *zero = arg;
    zero->is_same_turn |= zero->fired > 0 && zero->f->turns == zero->turn_of_last;
    zero->turn_of_last = zero->f->turns;
    zero->fired++;
    if (zero->fired < 100)
        loop_timer_set(zero->f->loop, t, 0);
    else
        loop_stop(zero->f->loop);
}

static void zero_delay_fires_in_a_later_turn(void **state)
{
    struct fixture *f = *state;
    struct zero zero = {.f = f};
    wheel_timer_init(&zero.timer, on_zero, &zero);
    loop_timer_set(f->loop, &zero.timer, 0);
    int64_t start_ms = clock_mono_ms();
    run(f);
    assert_int_equal(zero.fired, 100);
    assert_false(zero.is_same_turn);
    assert_true(clock_mono_ms() - start_ms < 5000);
}

static void stop_loop(struct wheel_timer *t, void *arg)
{
    (void)t;
    loop_stop(arg);
}

static void long_delay_does_not_overflow(void **state)
{
    struct fixture *f = *state;
    struct wheel_timer far;
    struct wheel_timer stop;
    wheel_timer_init(&far, on_guard, f);
    wheel_timer_init(&stop, stop_loop, f->loop);
    loop_timer_set(f->loop, &far, INT64_MAX);
    loop_timer_set(f->loop, &stop, 3);
    run(f);
    loop_timer_cancel(f->loop, &far);
}

/* What a server does: every event moves and cancels timers of its own. */
struct churn {
    struct fixture *f;
    struct wheel_timer timers[1000];
    int rounds;
};

static bool churn_turn(void *arg)
{
    struct churn *churn = arg;
    for (int i = 0; i < 1000; i++)
        loop_timer_set(churn->f->loop, &churn->timers[i], 5000 + i);
    for (int i = 0; i < 1000; i += 2)
        loop_timer_cancel(churn->f->loop, &churn->timers[i]);
    churn->rounds++;
    if (churn->rounds == 50)
        loop_stop(churn->f->loop);
    return true;
}

static void many_timers_arm_libuv_once(void **state)
{
    struct fixture *f = *state;
    struct churn *churn = BRG_NEW(struct churn);
    churn->f = f;
    for (int i = 0; i < 1000; i++)
        wheel_timer_init(&churn->timers[i], on_guard, f);
    struct loop_turn *turn = loop_turn_new(f->loop, churn_turn, churn);
    run(f);
    for (int i = 0; i < 1000; i++)
        loop_timer_cancel(f->loop, &churn->timers[i]);
    loop_turn_free(turn);
    assert_int_equal(churn->rounds, 50);
    assert_in_range(armed, 1, 3);
    free(churn);
}

/* One end watched, the other the test's. */
struct pair {
    struct fixture *f;
    int ours;
    int watched;
    struct loop_fd *fd;
    unsigned seen;
    int calls;
    struct wheel_timer step;
};

static void open_pair(struct pair *p, struct fixture *f, loop_fd_cb *cb)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    *p = (struct pair){.f = f, .ours = ends[0], .watched = ends[1]};
    p->fd = loop_fd_new(f->loop, p->watched, cb, p);
}

static void close_pair(struct pair *p)
{
    loop_fd_free(p->fd);
    (void)close(p->ours);
    (void)close(p->watched);
}

static void note_and_stop(struct loop_fd *fd, unsigned events, void *arg)
{
    (void)fd;
    struct pair *p = arg;
    p->seen |= events;
    p->calls++;
    loop_stop(p->f->loop);
}

static void fd_events(void **state)
{
    struct fixture *f = *state;
    struct pair p;
    open_pair(&p, f, note_and_stop);
    loop_fd_watch(p.fd, LOOP_READ | LOOP_WRITE);
    run(f);
    assert_int_equal(p.seen, LOOP_WRITE);

    p.seen = 0;
    loop_fd_watch(p.fd, LOOP_READ);
    assert_int_equal(write(p.ours, "x", 1), 1);
    run(f);
    assert_int_equal(p.seen, LOOP_READ);

    /* Level-triggered: what was not read is told again. */
    run(f);
    assert_int_equal(p.calls, 3);
    close_pair(&p);
}

static void fd_hangup_is_told(void **state)
{
    struct fixture *f = *state;
    struct pair p;
    open_pair(&p, f, note_and_stop);
    loop_fd_watch(p.fd, LOOP_READ);
    (void)shutdown(p.ours, SHUT_RDWR);
    run(f);
    assert_int_equal(p.seen, LOOP_READ);
    close_pair(&p);

    /* EPOLLERR, for which libuv stops its watcher: the write end of a pipe without a reader. */
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct pair q = {.f = f};
    q.fd = loop_fd_new(f->loop, ends[1], note_and_stop, &q);
    loop_fd_watch(q.fd, LOOP_WRITE);
    (void)close(ends[0]);
    for (int i = 1; i <= 3; i++) {
        run(f);
        assert_int_equal(q.seen, LOOP_WRITE);
        assert_int_equal(q.calls, i);
    }
    loop_fd_free(q.fd);
    (void)close(ends[1]);
}

/* Both watchers are ready in one turn: whoever is called first silences the other. */
struct rivals {
    struct pair pairs[2];
    bool is_freeing;
    int calls;
};

static void silence_other(struct loop_fd *fd, unsigned events, void *arg)
{
    (void)events;
    struct pair *p = arg;
    struct rivals *r = (struct rivals *)(void *)p->f;
    struct pair *other = p == &r->pairs[0] ? &r->pairs[1] : &r->pairs[0];
    r->calls++;
    loop_fd_watch(fd, 0);
    if (r->is_freeing) {
        loop_fd_free(other->fd);
        other->fd = NULL;
        (void)close(other->watched);
        other->watched = -1;
    } else {
        loop_fd_watch(other->fd, 0);
    }
}

static void unwanted_events_are_not_told(void **state)
{
    struct fixture *f = *state;
    for (int is_freeing = 0; is_freeing <= 1; is_freeing++) {
        struct rivals r = {.is_freeing = is_freeing};
        struct wheel_timer stop;
        wheel_timer_init(&stop, stop_loop, f->loop);
        for (int i = 0; i < 2; i++) {
            open_pair(&r.pairs[i], f, silence_other);
            r.pairs[i].f = (struct fixture *)(void *)&r;
            loop_fd_watch(r.pairs[i].fd, LOOP_READ);
            assert_int_equal(write(r.pairs[i].ours, "x", 1), 1);
        }
        loop_timer_set(f->loop, &stop, 20);
        run(f);
        assert_int_equal(r.calls, 1);
        for (int i = 0; i < 2; i++)
            close_pair(&r.pairs[i]);
    }
}

enum { SENDERS = 4, SENDS = 2000 };

struct wakes {
    struct fixture *f;
    struct loop_wake *wake;
    _Atomic int sent;
    int calls;
};

static void on_wake(void *arg)
{
    struct wakes *w = arg;
    w->calls++;
    if (atomic_load(&w->sent) == SENDERS * SENDS)
        loop_stop(w->f->loop);
}

static void *send_many(void *arg)
{
    struct wakes *w = arg;
    for (int i = 0; i < SENDS; i++) {
        atomic_fetch_add(&w->sent, 1);
        loop_wake_send(w->wake);
    }
    return NULL;
}

static void wakes_from_threads_are_not_lost(void **state)
{
    struct fixture *f = *state;
    struct wakes w = {.f = f};
    w.wake = loop_wake_new(f->loop, on_wake, &w);
    pthread_t threads[SENDERS];
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &w), 0);
    run(f);
    for (int i = 0; i < SENDERS; i++)
        (void)pthread_join(threads[i], NULL);
    assert_in_range(w.calls, 1, SENDERS * SENDS);
    loop_wake_free(w.wake);
}

struct busy {
    struct fixture *f;
    struct loop_turn *turn;
    struct loop_turn *victim;
    struct pair pair;
    int left;
    int victim_calls;
};

static bool stay_busy(void *arg)
{
    struct busy *busy = arg;
    busy->left--;
    return busy->left > 0;
}

static void busy_read(struct loop_fd *fd, unsigned events, void *arg)
{
    (void)events;
    struct pair *p = arg;
    p->calls++;
    loop_fd_watch(fd, 0);
}

/* 1000 turns without waiting, and descriptors are served between them. */
static void hook_may_keep_the_loop_going(void **state)
{
    struct fixture *f = *state;
    struct busy busy = {.f = f, .left = 1000};
    struct wheel_timer stop;
    open_pair(&busy.pair, f, busy_read);
    loop_fd_watch(busy.pair.fd, LOOP_READ);
    assert_int_equal(write(busy.pair.ours, "x", 1), 1);
    busy.turn = loop_turn_new(f->loop, stay_busy, &busy);
    wheel_timer_init(&stop, stop_loop, f->loop);
    loop_timer_set(f->loop, &stop, 300);
    run(f);
    assert_true(busy.left <= 0);
    assert_int_equal(busy.pair.calls, 1);
    /* Afterwards it waits again: only the few turns of the last timer were added. */
    assert_true(busy.left > -50);
    assert_in_range(f->turns, 1000, 1060);
    loop_turn_free(busy.turn);
    close_pair(&busy.pair);
}

static bool count_victim(void *arg)
{
    ((struct busy *)arg)->victim_calls++;
    return false;
}

static bool free_both(void *arg)
{
    struct busy *busy = arg;
    loop_turn_free(busy->victim);
    loop_turn_free(busy->turn);
    loop_stop(busy->f->loop);
    return false;
}

static void hooks_may_free_themselves_and_others(void **state)
{
    struct fixture *f = *state;
    struct busy busy = {.f = f};
    busy.turn = loop_turn_new(f->loop, free_both, &busy);
    busy.victim = loop_turn_new(f->loop, count_victim, &busy);
    run(f);
    assert_int_equal(busy.victim_calls, 0);
    assert_int_equal(f->turns, 1);
}

struct signals {
    struct fixture *f;
    int seen[2];
};

static void on_signal(int signum, void *arg)
{
    struct signals *s = arg;
    s->seen[signum == SIGTERM]++;
    if (s->seen[1])
        loop_stop(s->f->loop);
    else
        (void)raise(SIGTERM);
}

static void signals_arrive_on_the_loop(void **state)
{
    struct fixture *f = *state;
    struct signals s = {.f = f};
    loop_on_signal(f->loop, SIGHUP, on_signal, &s);
    loop_on_signal(f->loop, SIGTERM, on_signal, &s);
    (void)raise(SIGHUP);
    (void)raise(SIGPIPE);
    assert_int_equal(s.seen[0], 0);
    run(f);
    assert_int_equal(s.seen[0], 1);
    assert_int_equal(s.seen[1], 1);
}

struct slow {
    struct fixture *f;
    struct wheel_timer slow;
    struct wheel_timer stop;
};

static void be_slow(struct wheel_timer *t, void *arg)
{
    (void)t;
    struct slow *s = arg;
    int64_t until_ms = clock_mono_ms() + 30;
    while (clock_mono_ms() < until_ms)
        ;
    loop_timer_set(s->f->loop, &s->stop, 1);
}

static void slow_turns_are_measured(void **state)
{
    struct fixture *f = *state;
    struct slow s = {.f = f};
    wheel_timer_init(&s.slow, be_slow, &s);
    wheel_timer_init(&s.stop, stop_loop, f->loop);
    loop_timer_set(f->loop, &s.slow, 60);
    run(f);
    assert_true(loop_take_slowest_turn_ms(f->loop) >= 30);
    assert_int_equal(loop_take_slowest_turn_ms(f->loop), 0);
}

enum { READY_FDS = 1500 };

struct flood {
    struct fixture *f;
    struct flood_fd {
        struct flood *flood;
        struct loop_fd *watcher;
        int fd;
        bool is_served;
    } fds[READY_FDS];
    int served, distinct; /* before the timer fired */
    bool is_over;
    struct wheel_timer timer;
};

static void on_ready(struct loop_fd *watcher, unsigned events, void *arg)
{
    struct flood_fd *fd = arg;
    (void)watcher;
    (void)events;
    if (fd->flood->is_over)
        return;
    fd->flood->served++;
    fd->flood->distinct += !fd->is_served;
    fd->is_served = true;
    int64_t until_us = clock_mono_us() + 10;
    while (clock_mono_us() < until_us)
        ;
}

static void on_flood_timer(struct wheel_timer *timer, void *arg)
{
    struct flood *flood = arg;
    (void)timer;
    flood->is_over = true;
    loop_stop(flood->f->loop);
}

/* libuv alone would serve 48 times 1,024 events before any hook or timer. */
static void ready_fds_do_not_hold_up_timers(void **state)
{
    struct flood *flood = BRG_NEW(struct flood);
    flood->f = *state;
    for (size_t i = 0; i < READY_FDS; i++) {
        struct flood_fd *fd = &flood->fds[i];
        fd->flood = flood;
        fd->fd = eventfd(1, EFD_CLOEXEC);
        assert_true(fd->fd >= 0);
        fd->watcher = loop_fd_new(flood->f->loop, fd->fd, on_ready, fd);
        loop_fd_watch(fd->watcher, LOOP_READ);
    }
    wheel_timer_init(&flood->timer, on_flood_timer, flood);
    loop_timer_set(flood->f->loop, &flood->timer, 5);
    run(flood->f);
    for (size_t i = 0; i < READY_FDS; i++) {
        loop_fd_free(flood->fds[i].watcher);
        close(flood->fds[i].fd);
    }
    int served = flood->served, distinct = flood->distinct;
    free(flood);
    assert_int_equal(distinct, READY_FDS); /* all were asked before the timer */
    assert_true(served < 10 * READY_FDS);
}

int main(void)
{
    (void)descriptors_raise();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(timers_fire_in_order_and_not_early, set_up, tear_down),
        cmocka_unit_test_setup_teardown(zero_delay_fires_in_a_later_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_delay_does_not_overflow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_timers_arm_libuv_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fd_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fd_hangup_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unwanted_events_are_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wakes_from_threads_are_not_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hook_may_keep_the_loop_going, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hooks_may_free_themselves_and_others, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(signals_arrive_on_the_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(slow_turns_are_measured, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ready_fds_do_not_hold_up_timers, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
