/* The record between ingress and worker (design section 5): a CloudEvent in binary mode.
 *
 * One message, whatever the platform, is a `struct message`; encode makes Kafka value, key and
 * headers of it, decode the reverse. The value's version is `v`: additions keep 1, anything a
 * reader of 1 would misread raises it. Secrets (keys, tokens) never enter a record;
 * response_url and media URLs do, and never a log line.
 *
 * All struct bytes are views: into the callback on the way out, into the parsed value and the
 * record's headers on the way in. Any thread, one envelope per thread. */
#pragma once

#include "base/buf.h"
#include "envelope/identity.h"
#include "json/json.h"

enum platform { PLATFORM_WECOM, PLATFORM_BOSSHI };
const char *platform_name(enum platform p);

enum chat_type { CHAT_SINGLE, CHAT_GROUP };
/* What is one conversation. In single chats a user and his chat are the same. */
enum conversation_scope {
    SCOPE_CHAT,
    SCOPE_CHAT_USER, /* one user in a group */
    SCOPE_THREAD,    /* one chain of replies, named by its first message */
};
enum reply_mode { REPLY_STREAM, REPLY_SYNC, REPLY_API, REPLY_NONE };

/* What a platform with several ids for one person said of one; each may be empty. */
struct person_ids {
    struct bytes open_id, union_id, user_id;
};

struct message {
    enum platform platform;
    struct bytes bot;
    struct bytes message_id;
    struct stream_id stream;
    struct bytes kind; /* "text", or the platform's type for what is published raw */
    enum chat_type chat_type;
    enum conversation_scope scope;
    struct bytes chat_id;            /* empty in single chats of WeCom */
    struct bytes root_id, parent_id; /* reply chain; empty when none */
    struct bytes sender_id;          /* may be empty */
    struct person_ids sender_ids;    /* BOSSHI */
    struct bytes tenant;             /* the sender's */
    struct bytes app_id, app_tenant; /* BOSSHI: who received it, and where that is installed */
    int64_t sent_at_ms;              /* 0: the platform does not say */
    int64_t received_at_ms;
    int64_t start_at_ms; /* when the bubble's clock began (design section 4, Time) */
    int64_t deadline_at_ms;
    struct bytes text;     /* whole readable text */
    struct bytes parts;    /* out only, JSON array; empty: made of kind and text */
    struct bytes mentions; /* out only, JSON array, or empty */
    enum reply_mode reply_mode;
    struct bytes reply_message_id; /* the platform's id of the message, where answers need it */
    struct bytes response_url;
    const struct json
        *raw;              /* the platform's object, less its secrets; NULL: raw_text instead */
    struct bytes raw_text; /* JSON text of the same */
    struct bytes traceparent; /* from the record's headers; empty: encode makes one */
};

#define ENVELOPE_HEADERS_MAX 16
#define ENVELOPE_VALUE_MAX_BYTES 950000 /* a record stays under 1 MB with its headers */
#define ENVELOPE_HEADERS_MAX_BYTES 16384

struct envelope_header {
    const char *name;
    struct bytes value;
};

/* An encoded record; owns its memory. */
struct envelope {
    struct buf key;
    struct buf value;
    struct buf header_text; /* what the header values point into */
    struct envelope_header headers[ENVELOPE_HEADERS_MAX];
    size_t header_count;
};

void envelope_init(struct envelope *e);
void envelope_free(struct envelope *e);

/* Encodes; BRG_REJECT when it would not fit. `type` is the CloudEvents type, e.g.
 * ENVELOPE_TYPE_REQUEST. The same envelope may be encoded into again. Left out: bb-stream of an
 * empty stream, bb-start and bb-deadline of 0, and the value's empty optional members. */
#define ENVELOPE_TYPE_REQUEST "botbridge.request.v1"
#define ENVELOPE_TYPE_EVENT "botbridge.event.v1"
#define ENVELOPE_TYPE_ANSWER "botbridge.answer.v1"
enum brg_err envelope_encode(struct envelope *e, const struct message *m, const char *type,
                             struct crypto *c) BRG_MUST_CHECK;

/* Appends the Kafka key: bot + chat (group) or bot + user (single), with the fallbacks of
 * design section 4, and what a narrower scope adds; also the conversation id in the value.
 * "bot:c:chat", "bot:u:user" or "bot:m:message", then ":u:user" or ":t:message"; ':', '%',
 * white space and control characters inside an id are percent-encoded, so that two different
 * conversations never have one name. */
void message_conversation(struct buf *out, const struct message *m);
/* Appends the name of the unit of order: bot + chat + user ("bot:c:chat:u:user"). */
void message_lane(struct buf *out, const struct message *m);

/* What can be told from headers alone, so that an unreadable value can still be ended. */
struct envelope_hint {
    struct stream_id stream; /* text[0] == 0 when absent or malformed */
    int64_t start_at_ms;     /* 0 when absent */
    int64_t deadline_at_ms;  /* 0 when absent */
    struct bytes traceparent;
    struct bytes bot; /* empty when ce_source is not an ingress's */
};

typedef struct bytes envelope_header_fn(const char *name, void *arg); /* empty when absent */
void envelope_read_hint(envelope_header_fn *header, void *arg, struct envelope_hint *hint);

/* Decodes a value. On BRG_OK `*root` owns what the views point into (json_free after last use).
 * BRG_REJECT: not ours or malformed; error names the member. The start comes from the hint (the
 * value does not have it; receipt when absent); the value's stream and deadline win over it. */
enum brg_err envelope_decode(struct bytes value, const struct envelope_hint *hint,
                             struct message *m, struct json **root,
                             struct brg_error *error) BRG_MUST_CHECK;
