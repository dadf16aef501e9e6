/* What WeCom wants of the plaintext that answers a message or a refresh (pages 101031, 100719).
 */
#pragma once

#include "platform/wecom.h"

struct wecom_reply {
    struct json *root; /* json_free; the views below live in it */
    struct bytes stream_id, content;
    bool is_finished;
};

/* `stream_id` is what the stream's first answer chose, or empty when this is the first one.
 * BRG_REJECT and the broken rule in `error`, root NULL, when it is not as wanted. */
enum brg_err wecom_reply_judge(struct bytes text, struct bytes stream_id,
                               struct wecom_reply *out, struct brg_error *error) BRG_MUST_CHECK;
