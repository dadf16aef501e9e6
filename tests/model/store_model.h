/* The store of the model: the product's own scripts in an embedded Lua 5.1, over an emulation
 * of the few commands that they use.
 *
 * A stream's three keys are one immutable record, kept once and named by number; a script's
 * effect on a record is computed once and remembered, so that exploring costs a look-up. Time
 * stands still: a lease is live or over (store_edit), and epochs keep their order but not their
 * distance. Every run is repeated once and must change nothing the second time. One thread. */
#pragma once

#include "model.h"
#include "store/store.h"

#include <stddef.h>

struct view {
    enum stream_state state;
    enum stream_reason reason;
    bool by_ingress, is_leased, is_shown;
    uint8_t owner, owed, text, notes, starts;
    int16_t epoch, was;
};

struct answer {
    enum store_verdict verdict;
    struct view view; /* as the script told it; notes only by claim */
};

/* What a fault was found in: the scripts themselves (no TTL, a number in an answer, a repeat
 * that is not harmless); NULL while there is none. */
extern const char *store_fault;

/* Replaces `from`, which must occur exactly once, in the text of `script`; false if it does
 * not. Before the first run. */
bool store_patch(enum script script, const char *from, const char *to);
void store_start(void);
void store_stop(void);

uint32_t store_run(uint32_t record, const struct call *call, bool is_clock_back,
                   struct answer *answer);
const struct view *store_view(uint32_t record);

enum edit { EDIT_EPOCH, EDIT_WAS, EDIT_EXPIRE, EDIT_DISOWN, EDIT_STARTS };
/* The record with another epoch (or `was`), its lease over, its owner gone, or starts bounded.
 */
uint32_t store_edit(uint32_t record, enum edit edit, int16_t epoch);

/* As text, for traces; valid until the next call. */
const char *store_describe(uint32_t record);
const char *script_name(enum script script);
size_t store_record_count(void);

/* --- for the comparison with a real server --- */

const char *store_script_text(enum script script);
