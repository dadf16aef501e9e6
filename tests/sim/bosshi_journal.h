/* What happened, as JSON lines: numbered, timed, kept to be read again (BOSSHI.md tells the
 * types). Between begin and end the caller adds members with the writer. */
#pragma once

#include "json/json_writer.h"

#define BOSSHI_JOURNAL_MAX_BYTES ((size_t)512 << 20)

struct bosshi_journal {
    struct buf text;
    size_t *ends; /* of each line in text */
    size_t count, room;
    bool is_printed; /* to stdout as well */
    struct json_writer writer;
    void (*on_broken)(const char *rule, const char *detail, void *arg); /* NULL allowed */
    void *arg;
};

void bosshi_journal_init(struct bosshi_journal *j);
void bosshi_journal_free(struct bosshi_journal *j);

struct json_writer *bosshi_journal_begin(struct bosshi_journal *j, const char *type);
void bosshi_journal_end(struct bosshi_journal *j);

/* A rule of the platform that the bot broke. */
void bosshi_journal_broken(struct bosshi_journal *j, const char *rule, const char *fmt, ...)
    BRG_PRINTF(3, 4);

/* The lines behind number `after`. */
struct bytes bosshi_journal_after(const struct bosshi_journal *j, size_t after);
