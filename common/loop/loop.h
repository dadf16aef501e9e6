/* One event loop per process, on libuv (the only directory that includes uv.h).
 *
 * Everything here belongs to the loop's thread, but loop_wake_send. Callbacks run one at a time
 * and must not block. Timers are wheel timers (base/wheel.h): O(1) each. A loop makes the
 * process ignore SIGPIPE. */
#pragma once

#include "base/error.h"
#include "base/wheel.h"

#include <stdint.h>

struct loop;
struct loop_fd;
struct loop_wake;
struct loop_turn;

struct loop *loop_new(void);
void loop_free(struct loop *loop); /* after all watchers were freed */

void loop_run(struct loop *loop); /* until loop_stop */
void loop_stop(struct loop *loop);

/* Monotonic milliseconds, read once per turn. */
int64_t loop_now_ms(const struct loop *loop);

/* Longest turn, from wake-up to the next wait, since the last call. */
int64_t loop_take_slowest_turn_ms(struct loop *loop);

/* Timers: initialise the wheel_timer with wheel_timer_init, then set it; a delay of 0 fires in
 * a later turn. A timer that is set must be cancelled before its memory goes. */
void loop_timer_set(struct loop *loop, struct wheel_timer *t, int64_t delay_ms);
void loop_timer_set_at(struct loop *loop, struct wheel_timer *t, int64_t due_mono_ms);
void loop_timer_cancel(struct loop *loop, struct wheel_timer *t);

/* File descriptors. `events` is a set of LOOP_READ and LOOP_WRITE; 0 stops watching but keeps
 * the watcher. A change takes effect at the end of the turn, and no event that is not wanted
 * any more is delivered meanwhile. An error or hang-up on the descriptor is reported as all the
 * wanted events. The descriptor is made non-blocking, has one watcher at most, stays the
 * caller's and is closed after loop_fd_free, which is allowed within its own callback. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
typedef void loop_fd_cb(struct loop_fd *fd, unsigned events, void *arg);
struct loop_fd *loop_fd_new(struct loop *loop, int fd, loop_fd_cb *cb, void *arg);
void loop_fd_watch(struct loop_fd *fd, unsigned events);
void loop_fd_free(struct loop_fd *fd);

/* Wake-up from any thread: several sends may be one call, none is lost. After loop_wake_free no
 * thread may send. */
typedef void loop_wake_cb(void *arg);
struct loop_wake *loop_wake_new(struct loop *loop, loop_wake_cb *cb, void *arg);
void loop_wake_send(struct loop_wake *wake); /* thread-safe */
void loop_wake_free(struct loop_wake *wake);

/* Called once at the end of every turn, before the loop waits: where work that piled up in the
 * turn is done once (flush a pipeline, run a library that must be run after a resume). Returns
 * from the hook with `true` when there is more to do at once: the loop then looks at its
 * descriptors without waiting and calls again. */
typedef bool loop_turn_cb(void *arg);
struct loop_turn *loop_turn_new(struct loop *loop, loop_turn_cb *cb, void *arg);
void loop_turn_free(struct loop_turn *turn);

/* Signals as callbacks on the loop; lives as long as the loop. */
typedef void loop_signal_cb(int signum, void *arg);
void loop_on_signal(struct loop *loop, int signum, loop_signal_cb *cb, void *arg);
