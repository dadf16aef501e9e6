/* What happened, as JSON lines: numbered, timed, kept to be read again (BOSSHI.md tells the
 * types). Between begin and end the caller adds members with the writer. */
#pragma once

#include "json/json_writer.h"

#define BSIM_JOURNAL_MAX_BYTES ((size_t)512 << 20)

struct bsim_journal {
    struct buf text;
    size_t *ends; /* of each line in text */
    size_t count, room;
    bool is_printed; /* to stdout as well */
    struct json_writer writer;
    void (*on_broken)(const char *rule, const char *detail, void *arg); /* NULL allowed */
    void *arg;
};

void bsim_journal_init(struct bsim_journal *j);
void bsim_journal_free(struct bsim_journal *j);

struct json_writer *bsim_journal_begin(struct bsim_journal *j, const char *type);
void bsim_journal_end(struct bsim_journal *j);

/* A rule of the platform that the bot broke. */
void bsim_journal_broken(struct bsim_journal *j, const char *rule, const char *fmt, ...)
    BRG_PRINTF(3, 4);

/* The lines behind number `after`. */
struct bytes bsim_journal_after(const struct bsim_journal *j, size_t after);
