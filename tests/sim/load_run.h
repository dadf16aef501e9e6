/* A load run: many users and streams on one loop, and what it counted.
 *
 * Closed loop: a set number of streams is open, a finished one is followed by a new one. Open
 * loop: messages leave by the clock, whatever became of those before; latency counts from the
 * moment a message or refresh should have left, so that a stalled bot or a late simulator shows
 * (no coordinated omission). */
#pragma once

#include "hist.h"
#include "wecom_stream.h"

/* Open loop: more streams than this are not opened but counted as `skipped`, so that a bot that
 * never finishes cannot take all memory. */
enum { LOAD_OPEN_MAX = 100000, LOAD_BROKEN_SHOWN = 5, LOAD_REASON_BYTES = 512 };

struct load_plan {
    int64_t users;
    int64_t streams; /* open at once; 0 in open loop */
    int64_t rate;    /* messages a second; 0 in closed loop */
    int64_t duration_ms;
    int64_t drain_ms; /* after it, what is open may still finish */
    int64_t poll_ms;
    bool is_message_only;
    const char *user_prefix;
    const char *chat_id; /* NULL: single chats */
    struct bytes question;
};

struct load_result {
    /* Messages: each one sent is accepted, refused (finish:true at once), broken, unanswered,
     * or pending when the run ends. */
    uint64_t sent, accepted, refused, broken, unanswered, skipped;
    uint64_t refreshes; /* answered */
    uint64_t finished, unfinished;
    uint64_t repeats; /* deliveries that failed and were repeated */
    char broken_reasons[LOAD_BROKEN_SHOWN][LOAD_REASON_BYTES];
    char unanswered_reason[LOAD_REASON_BYTES]; /* the first */
    struct hist first_reply_us, first_text_us, finish_us, refresh_us;
    int64_t sending_ms; /* how long messages were sent */
    int64_t lasted_ms;
    uint64_t refreshes_while_sending;
    int64_t slowest_turn_ms;
    double cpu_share;  /* of one core, used by this process */
    double wait_share; /* of the time it was ready to run but others had the cores */
    bool is_interrupted;
};

/* Runs to its end, or to SIGINT, which ends it early. */
void load_run(struct loop *loop, struct wecom_link *link, const struct load_plan *plan,
              struct load_result *out);
