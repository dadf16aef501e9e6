/* What the platform takes as content of a message, and the text that a user sees of it. Source:
 * the pages on update, cards and calls of the API (histatic.zhipin.com); where they are silent,
 * a setting. */
#pragma once

#include "bosshi_settings.h"

/* What the API answers for. Numbers that BOSSHI does not print are Feishu's. */
enum bosshi_code {
    BOSSHI_CODE_OK = 0,
    BOSSHI_CODE_APP = 10003,
    BOSSHI_CODE_PARAMETER = 230001,
    BOSSHI_CODE_RECEIVER = 230002,
    BOSSHI_CODE_MESSAGE = 230011,
    BOSSHI_CODE_BUSY = 230020,
    BOSSHI_CODE_LENGTH = 230025,
    BOSSHI_CODE_UPDATES = 230031,
    BOSSHI_CODE_UUID = 230049,
    BOSSHI_CODE_CARD = 230099,
    BOSSHI_CODE_PACE = 99991400,
};

enum {
    BOSSHI_UUID_MAX_CHARS = 50,
    BOSSHI_TEXT_MAX_BYTES = 4 << 20, /* of a request's body */
};

enum bosshi_type { BOSSHI_TYPE_TEXT, BOSSHI_TYPE_CARD, BOSSHI_TYPE_OTHER };

struct bosshi_verdict {
    enum bosshi_code code;
    char msg[160];
};

/* Sets code and msg, and returns false. */
bool bosshi_refuse(struct bosshi_verdict *v, enum bosshi_code code, const char *fmt, ...)
    BRG_PRINTF(3, 4);

enum bosshi_type bosshi_type_of(struct bytes msg_type);

/* Appends the shown text; false with a verdict when the platform would refuse. `is_update`: the
 * card as a bare string. */
bool bosshi_content_read(const struct bosshi_settings *s, enum bosshi_type type,
                         const struct json *content, bool is_update, struct buf *text,
                         struct bosshi_verdict *v);

/* In the unit of the limits. */
int64_t bosshi_length(const struct bosshi_settings *s, struct bytes text);
