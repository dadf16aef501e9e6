/* Writing JSON by hand into a bounded buffer: half the time of a tree, exact bytes.
 *
 *     json_begin(&w, out);
 *     json_open(&w, "stream", '{');  json_str(&w, "id", id);  json_close(&w, '}');
 *
 * `key` is a trusted literal and NULL inside arrays and for the root. Overflow is the buffer's
 * (`overflowed`); the writer itself cannot fail. */
#pragma once

#include "base/buf.h"

#define JSON_WRITER_DEPTH 16

struct json_writer {
    struct buf *out;
    unsigned depth;
    bool has_member[JSON_WRITER_DEPTH];
};

void json_begin(struct json_writer *w, struct buf *out);
void json_open(struct json_writer *w, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json_writer *w, char bracket);                 /* '}' or ']' */
void json_str(struct json_writer *w, const char *key, struct bytes value);
void json_i64(struct json_writer *w, const char *key, int64_t value);
void json_boolean(struct json_writer *w, const char *key, bool value);
void json_nul(struct json_writer *w, const char *key);
void json_raw(struct json_writer *w, const char *key, struct bytes json); /* already JSON */

/* Appends `text` escaped, without quotes. Copies runs; escapes quote, backslash and 0x00–0x1F;
 * replaces every malformed UTF-8 sequence by U+FFFD. */
void json_escape(struct buf *out, struct bytes text);
