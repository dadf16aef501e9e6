/* The answer of one question as messages in a chat, where the platform is called and does not
 * poll: a card that grows with the text in the store, at the end replaced by the whole answer,
 * or plain text at the end. Part of a session, whose record in the store says how far it is:
 *
 *   card     when the first card was about to be sent (store time); its uuid is the stream's
 *   card_id  the platform's id of it, "-" where none was told
 *   part     number, first byte, form and time of the further message about to be sent
 *   said     messages and bytes of the final text that the user has, their form, and the code
 *            of the last that the user perhaps has not
 *            (each but card_id tells as well whether the text begins with late_text, and the
 *            limit of a message, behind its form, where that was shortened)
 *   reply    outcome and code: nothing more is sent
 *
 * Noted before and after each send, so that a later owner repeats one with the same uuid, which
 * the platform makes no second message of, and goes on with the same card. Updates are not
 * noted: each carries all of the text, the last is owed. One call at a time. */
#pragma once

#include "bosshi/bosshi_api.h"

enum chat_step {
    CHAT_IDLE,  /* nothing is under way */
    CHAT_DUE,   /* what is to be sent is to be noted */
    CHAT_NOTED, /* it may be sent */
    CHAT_SENDING,
    CHAT_SENT,     /* what came of it is to be noted */
    CHAT_UPDATING, /* the card is being replaced */
    CHAT_ENDING,   /* all is said, or given up, which is to be noted */
    CHAT_OVER,
    CHAT_STEP_COUNT,
};

struct session_chat {
    enum chat_step step;
    bool is_part;         /* sent is a part of the final text, and not the growing card */
    bool is_text;         /* no cards: by setting, or because they are refused */
    bool is_refused;      /* a card was: remembered once a text is taken */
    bool is_known_code;   /* by which it was */
    bool has_card;        /* one is in the chat */
    bool is_frozen;       /* which takes no update */
    bool is_repeated;     /* the send may have been made before */
    bool has_slot;        /* slot_ms is booked */
    bool is_note_pending; /* one at a time */
    bool is_unsure;       /* of a message that counts as said */
    unsigned stale_notes; /* of before a clear, whose answers are still to come */
    bool is_judged;
    /* where to */
    char *receive_id, *reply_to, *tenant, *chat_id;
    enum bosshi_id receive_id_type;
    bool is_late; /* the answer begins with late_text: noted with what is first sent */
    int64_t useful_until_ms; /* store time: max_age_ms */
    struct buf card_id;      /* empty: none, or not known */
    struct buf on_card;      /* its text; empty: not known */
    struct buf sending;      /* the text under way */
    struct buf whole;        /* late_text and the final text, where there is the first */
    size_t limit;            /* of a message, shortened for this answer; 0: as configured */
    unsigned said_parts;
    size_t said_bytes, next_bytes; /* of the final text; the second is after what is sent */
    int64_t noted_ms;              /* store time of the first note of what is sent */
    int64_t due_ms, slot_ms;       /* monotonic: no call before */
    int64_t updated_ms;            /* end of the last call for the card */
    unsigned failures;             /* in a row */
    unsigned updates;              /* of the growing card, by us */
    int64_t unsure_code;
    struct bosshi_call *call;
    struct wheel_timer timer; /* of the growing card */
    enum bosshi_outcome outcome;
    int64_t code;
    char error[BOSSHI_DETAIL_BYTES]; /* of the last call that failed */
};
