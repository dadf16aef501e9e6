/* A private redis-server on a free port of 127.0.0.1, without persistence. It ends with the
 * test, also when the test is killed. Calls block; a server that does not do its part within 10
 * seconds ends the test with a message. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct test_redis;

/* `options` are further arguments of redis-server, up to a NULL; NULL for none. */
struct test_redis *test_redis_start(const char *const *options);
void test_redis_stop(struct test_redis *r); /* NULL is allowed */

uint16_t test_redis_port(const struct test_redis *r);
/* "redis://127.0.0.1:<port>/0"; lives as long as the server. */
const char *test_redis_url(const struct test_redis *r);

void test_redis_kill(struct test_redis *r);    /* kill -9; nothing listens on the port then */
void test_redis_restart(struct test_redis *r); /* kill -9, then an empty one on the same port */
void test_redis_freeze(struct test_redis *r);  /* SIGSTOP: it accepts and says nothing */
void test_redis_thaw(struct test_redis *r);

/* One command, its words up to a NULL, on a connection of its own. The answer as text (free):
 * an array's elements each end with a line break, nil is "", an error begins with "-". */
char *test_redis_ask(struct test_redis *r, const char *word, ...) __attribute__((sentinel));
/* The same, for the answer's sake not: an error ends the test. */
#define test_redis_do(r, ...) test_redis_expect_done(test_redis_ask((r), __VA_ARGS__))
void test_redis_expect_done(char *answer);
