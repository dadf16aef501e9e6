/* What the platform takes as content of a message, and the text that a user sees of it. Source:
 * the pages on update, cards and calls of the API (histatic.zhipin.com); where they are silent,
 * a setting. */
#pragma once

#include "bsim_settings.h"

/* What the API answers for. Numbers that BOSSHI does not print are Feishu's. */
enum bsim_code {
    BSIM_CODE_OK = 0,
    BSIM_CODE_APP = 10003,
    BSIM_CODE_PARAMETER = 230001,
    BSIM_CODE_RECEIVER = 230002,
    BSIM_CODE_MESSAGE = 230011,
    BSIM_CODE_BUSY = 230020,
    BSIM_CODE_LENGTH = 230025,
    BSIM_CODE_UPDATES = 230031,
    BSIM_CODE_UUID = 230049,
    BSIM_CODE_CARD = 230099,
    BSIM_CODE_PACE = 99991400,
};

enum {
    BSIM_UUID_MAX_CHARS = 50,
    BSIM_TEXT_MAX_BYTES = 4 << 20, /* of a request's body */
};

enum bsim_type { BSIM_TYPE_TEXT, BSIM_TYPE_CARD, BSIM_TYPE_OTHER };

struct bsim_verdict {
    enum bsim_code code;
    char msg[160];
};

/* Sets code and msg, and returns false. */
bool bsim_refuse(struct bsim_verdict *v, enum bsim_code code, const char *fmt, ...)
    BRG_PRINTF(3, 4);

enum bsim_type bsim_type_of(struct bytes msg_type);

/* Appends the shown text; false with a verdict when the platform would refuse. `is_update`: the
 * card as a bare string. */
bool bsim_content_read(const struct bsim_settings *s, enum bsim_type type,
                       const struct json *content, bool is_update, struct buf *text,
                       struct bsim_verdict *v);

/* In the unit of the limits. */
int64_t bsim_length(const struct bsim_settings *s, struct bytes text);
