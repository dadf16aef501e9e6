/* Between the files of a session's messages in a chat; nobody else includes this. */
#pragma once

#include "bosshi/bosshi_card.h"
#include "session/session_internal.h"

/* Fields of the store's notes: session_chat.h tells what they hold. */
#define NOTE_CARD "card"
#define NOTE_CARD_ID "card_id"
#define NOTE_PART "part"
#define NOTE_SAID "said"
#define NOTE_REPLY "reply"

enum { CHAT_ID_MAX_BYTES = 1024 };

/* session_chat.c */
void chat_set_step(struct session *s, enum chat_step step);
const struct config_bosshi *chat_app(const struct session *s);
/* No card from here on; the limit that cards were found to have is not that of texts. */
void chat_use_text(struct session *s);
struct bosshi_limit chat_limit(const struct session *s);
bool chat_is_final(const struct session *s); /* the end is in the store, and is to be said */
struct bytes chat_whole(struct session *s);  /* the final text as it is said */
/* Comes back at `due_ms` at the latest. */
void chat_wait(struct session *s, int64_t due_ms);
/* Whatever comes next, where the session's state lets it. */
void chat_go_on(struct session *s);

/* session_chat_note.c */
void chat_note(struct session *s); /* what the step calls for */

/* session_chat_call.c: of what is in `sending` */
bool chat_may_call(struct session *s);
void chat_send(struct session *s);
void chat_update(struct session *s);
/* What is in `sending` is before the user: the part up to next_bytes is said. */
void chat_take_said(struct session *s);
/* It may be before the user, which nobody will know: it counts as sent. `code` is of the answer
 * to its repeat. */
void chat_take_unsure(struct session *s, int64_t code);
void chat_describe_unsure(struct session *s);
void chat_end(struct session *s, enum bosshi_outcome outcome, int64_t code);
