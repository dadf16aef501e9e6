/* Reading JSON that came from others (the only directory that includes json-c).
 *
 * A `struct json` is a borrowed view into a document; only the root from json_parse is freed
 * (json_free). Getters check types: a missing member, null, or another type gives the empty
 * value and never converts. Views and strings live as long as their root. Any thread, one
 * document at a time per thread. */
#pragma once

#include "base/buf.h"

struct json;

enum json_mode {
    JSON_PEER,     /* UTF-8 checked, raw control characters inside strings allowed (WeCom sends
                      them) */
    JSON_CALLBACK, /* as JSON_PEER, at most JSON_CALLBACK_VALUES: what anyone may have sent. In
                      a tree "{}," is a hundred times as long, and takes as long to build as 100
                      KB of text */
    JSON_STRICT,   /* as JSON_PEER, raw control characters refused: judging others' output */
    JSON_RECORD,   /* as JSON_PEER, deeper: our own record around a peer's value */
    JSON_CHUNK,    /* as JSON_PEER; half a surrogate pair at a string's beginning or end, where
                      its other half may stand in another document, stays: three bytes, as UTF-8
                      has them for what is no surrogate. U+FFFD is for all other halves */
    JSON_CONFIG,   /* comments allowed; errors carry line and column */
};

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,
    JSON_DOUBLE, /* and integers of more than 64 bits */
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

#define JSON_DEPTH_MAX 24         /* json_free recurses; platforms nest about 8 deep */
#define JSON_CALLBACK_VALUES 8192 /* a thousand mentions; a usual event has 30 */
#define JSON_RECORD_DEPTH_MAX (JSON_DEPTH_MAX + 4)

/* The whole of `text` must be one value (white space around it allowed). NULL on failure:
 * `error` says where, without quoting the text. Empty text is an error, and so is a bare
 * `null`.
 */
struct json *json_parse(struct bytes text, enum json_mode mode, struct brg_error *error);
void json_free(struct json *root); /* NULL allowed */

enum json_type json_type(const struct json *j); /* NULL gives JSON_NULL */
const struct json *json_get(const struct json *object, const char *key);
/* RFC 6901 pointer ("/choices/0/delta/content"); NULL when any step is missing. */
const struct json *json_at(const struct json *j, const char *pointer);

struct bytes json_string(const struct json *j);                       /* "" unless a string */
int64_t json_int(const struct json *j, int64_t otherwise);            /* unless an integer */
bool json_bool(const struct json *j, bool otherwise);                 /* unless a boolean */
size_t json_length(const struct json *j);                             /* of an array, else 0 */
const struct json *json_item(const struct json *array, size_t index); /* NULL past the end */

static inline struct bytes json_get_string(const struct json *object, const char *key)
{
    return json_string(json_get(object, key));
}
static inline int64_t json_get_int(const struct json *object, const char *key,
                                   int64_t otherwise)
{
    return json_int(json_get(object, key), otherwise);
}

typedef void json_member_fn(struct bytes key, const struct json *value, void *arg);
void json_each(const struct json *object, json_member_fn *fn,
               void *arg); /* in document order */

/* Appends the value as compact JSON (valid whatever was tolerated at parsing; '/' not escaped).
 */
void json_write_value(struct buf *out, const struct json *j);
