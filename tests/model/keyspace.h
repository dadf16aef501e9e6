/* The three keys of one stream, and Lua scripts over them as EVAL runs them: an emulation of
 * the commands that common/store/scripts use, checked against redis-server by test_keyspace.c.
 * Any other command, and any Lua error, is an error with a message. The only user of Lua. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FIELDS_MAX = 20, FIELD_BYTES = 16, VALUE_BYTES = 32, ARGS_MAX = 12, ANSWERS_MAX = 16 };

struct field {
    char name[FIELD_BYTES];
    char value[VALUE_BYTES];
};

struct key {
    bool is_there, has_ttl;
    char value[VALUE_BYTES];
};

/* KEYS[1] a hash, in the order in which its fields came; KEYS[2] and [3] strings. A hash
 * without fields is not there. */
struct keyspace {
    struct field field[FIELDS_MAX];
    unsigned fields;
    bool has_ttl;
    struct key text, extras;
};

struct lua_answer {
    unsigned count;
    char element[ANSWERS_MAX][VALUE_BYTES * 2];
    char error[160]; /* empty when it went well */
};

struct host;
struct host *host_new(void);
void host_free(struct host *h);
/* Compiles; the name stands in messages. Returns a handle for host_run, 0 on a mistake. */
int host_load(struct host *h, const char *name, const char *body);
/* `now_us` is what TIME says. */
void host_run(struct host *h, int script, struct keyspace *db, int64_t now_us,
              const char *const *args, unsigned count, struct lua_answer *answer);

const char *keyspace_get(const struct keyspace *db, const char *field); /* NULL: none */
void keyspace_set(struct keyspace *db, const char *field, const char *value);
