/* One event as the platform pushes it, made from what a test asks for (BOSSHI.md, POST /ask).
 */
#pragma once

#include "bsim_platform.h"

#define BSIM_EVENT_MAX_BYTES ((size_t)8 << 20)

struct bsim_event {
    char *event_id, *message_id, *chat_id, *chat_type, *msg_type, *tenant, *text;
    char *open_id, *union_id, *user_id; /* "": absent */
    struct buf body;                    /* plain, unless is_raw: then as posted */
    bool is_raw, is_plain, is_signed, is_signed_wrongly;
    int64_t repeats;
};

enum { BSIM_REPEATS = 4 }; /* page dealEvent */

/* `ask` NULL: all defaults. False with a reason when a member is unusable. */
enum brg_err bsim_event_make(const struct bsim_app *app, const struct json *ask,
                             struct bsim_event *e, struct brg_error *error) BRG_MUST_CHECK;
void bsim_event_free(struct bsim_event *e);

/* The body of the URL check. */
void bsim_challenge_write(struct bytes challenge, struct bytes token, struct buf *out);
