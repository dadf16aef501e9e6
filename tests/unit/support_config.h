/* Configuration files for the tests of common/config, made from parts. */
#pragma once

#include "config/config.h"

enum { CONFIG_TEXT_MAX_BYTES = 4 * 1024 * 1024 };

#define AES_KEY "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
#define AES_KEY_42 "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2"

/* A file in parts; NULL stands for the good one. */
struct parts {
    const char *ingress, *worker, *kafka, *store, *log, *bots, *pipelines, *more;
};

#define GOOD_BOT                                                                             \
    "{\"name\":\"helpdesk\",\"platform\":\"wecom\",\"token\":\"tok\",\"aes_key\":\"" AES_KEY \
    "\",\"pipeline\":\"main\"}"
#define GOOD_KAFKA "{\"bootstrap.servers\":\"127.0.0.1:9092\"}"
#define GOOD_STORE "{\"url\":\"redis://127.0.0.1:6379/0\"}"
#define GOOD_PIPELINES "{\"main\":{\"type\":\"echo\"}}"

/* One bot with `members` besides; a member given twice counts as the last. */
#define BOT_WITH(members)                                                                     \
    "[{\"name\":\"helpdesk\",\"platform\":\"wecom\",\"token\":\"tok\",\"aes_key\":\"" AES_KEY \
    "\",\"pipeline\":\"main\"," members "}]"
#define GOOD_BOSSHI_BOT                                                                      \
    "{\"name\":\"erp\",\"platform\":\"bosshi\",\"app_id\":\"bli_1\",\"app_secret\":\"sec\"," \
    "\"verification_token\":\"vt\",\"pipeline\":\"main\"}"
#define BOSSHI_WITH(members)                                                                  \
    "[{\"name\":\"erp\",\"platform\":\"bosshi\",\"app_id\":\"bli_1\",\"app_secret\":\"sec\"," \
    "\"verification_token\":\"vt\",\"pipeline\":\"main\"," members "}]"
#define OPENAI_WITH(members) \
    "{\"main\":{\"type\":\"openai\",\"url\":\"http://h/v1\",\"model\":\"m\"," members "}}"

/* Group set-up and tear-down: a directory of the run's own. */
int config_files_begin(void **state);
int config_files_end(void **state);
/* Path in that directory; the caller frees it. */
char *config_file_path(const char *name);
void config_file_write(const char *name, struct bytes text);

void config_compose(struct buf *out, const struct parts *p);
/* NULL exactly when `report` says why; the caller frees both. */
struct config *config_load_text(struct bytes text, struct buf *report);
struct config *config_load_parts(const struct parts *p, struct buf *report);
/* Fails the test on any mistake. */
struct config *config_load_good(const struct parts *p);
/* Fails the test unless `lines` is the whole report (without its last line break). */
void config_expect(const struct parts *p, const char *lines);
