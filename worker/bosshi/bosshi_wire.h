/* The bytes of BOSSHI's API: addresses, bodies, and what an answer means. Pure functions. */
#pragma once

#include "bosshi/bosshi_api.h"
#include "json/json.h"

/* NUL-terminated, owned by the caller. Ids are percent-encoded outside RFC 3986's unreserved
 * characters, among which is the `~` that they end in. */
char *bosshi_send_url(const struct config_bosshi *app, const struct bosshi_outgoing *message);
char *bosshi_reply_url(const struct config_bosshi *app, const struct bosshi_outgoing *message);
char *bosshi_update_url(const struct config_bosshi *app, struct bytes message_id);

/* Bound of a body around `content`, however it is encoded. */
size_t bosshi_body_max(struct bytes content);
void bosshi_write_send(struct buf *out, const struct config_bosshi *app,
                       const struct bosshi_outgoing *message, bool is_reply);
void bosshi_write_update(struct buf *out, struct bytes card);

struct bosshi_answer {
    enum fetch_result result;
    const char *cause; /* of a failure */
    int status;        /* 0: no head came */
    struct bytes body;
    bool is_card; /* what was sent or updated */
};

/* Fills outcome, code, message_id and `detail`. What is returned holds the views (json_free
 * after the last use; may be NULL). */
struct json *bosshi_judge(const struct config_bosshi *app, const struct bosshi_answer *answer,
                          struct bosshi_result *out, char detail[BOSSHI_DETAIL_BYTES]);
