/* Why there is to be a dead letter. What a later owner finds in the store does not always tell,
 * or not even that one is owed, because it became so after the end was written: so the reason
 * is noted, and taken back with the letter's acknowledgement. */
#include "base/crash_point.h"
#include "session/session_internal.h"

#define NOTE_DEAD "dead"

const char *session_dead_noted(struct bytes notes)
{
    static const char *const reasons[] = {"unreadable", "unknown_bot", "expired",
                                          "overload",   "deadline",    "poison",
                                          "failed",     "undelivered"};
    struct bytes note = session_note_of(notes, NOTE_DEAD);
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (bytes_eq_str(note, reasons[i]))
            return reasons[i];
    return "";
}

static void on_noted(const struct store_reply *reply, void *arg)
{
    (void)reply; /* the call behind it hears the same, and repeats both */
    crash_point_of("note.answered", NOTE_DEAD);
    (void)session_arrived(arg);
}

void session_note_dead(struct session *s)
{
    const char *reason = (s->owed & OWE_DEAD_LETTER) != 0 ? s->dead_reason : "";
    if (!s->has_stream || strcmp(reason, s->dead_noted) == 0)
        return;
    struct store_stream stream = session_stream(s);
    s->dead_noted = reason;
    s->pending++;
    store_note(s->worker->store, &stream, s->epoch, BYTES_LIT(NOTE_DEAD), bytes_of_str(reason),
               on_noted, s);
    crash_point_of("note.sent", NOTE_DEAD);
}
