/* Blocking TCP peers for tests of loop-driven modules: the peer runs in a thread of its own,
 * the loop in the test's. Peers never assert; what they saw is judged by the test afterwards.
 */
#pragma once

#include "base/buf.h"
#include "loop/loop.h"

enum { PEER_BYTES = 16777216 }; /* what a peer may receive at most */

/* Runs `peer` in a thread and the loop until it has returned. Fails the test after 20 s. */
void peer_run(struct loop *loop, void (*peer)(void *arg), void *arg);

/* Runs the loop until `is_done` says so, looked at every turn. Fails the test after 20 s. */
void loop_until(struct loop *loop, bool (*is_done)(void *arg), void *arg);

int peer_connect(unsigned port); /* 127.0.0.1; -1 when refused */
int peer_listen(unsigned *port, int backlog);
int peer_accept(int listener);
bool peer_send(int fd, struct bytes data); /* all of it, or false at the first error */
/* Appends what comes until `needle` is there (from the buffer's start), the peer closes, an
 * error, or 5 s pass. Returns true unless time was up. */
bool peer_read_until(int fd, struct buf *in, const char *needle);
bool peer_read_all(int fd, struct buf *in); /* until the other side closes */
bool has_text(const struct buf *in, const char *text);
size_t count_text(const struct buf *in, const char *text);
