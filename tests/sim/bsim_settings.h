/* What nobody knows about the platform, as settings (BOSSHI.md lists them). Numbers, truths and
 * choices are all int64_t, so that one table reads and writes them. */
#pragma once

#include "json/json.h"
#include "json/json_writer.h"

enum bsim_shape { BSIM_SHAPE_DATA, BSIM_SHAPE_TOP };
enum bsim_encoding { BSIM_CONTENT_ANY, BSIM_CONTENT_OBJECT, BSIM_CONTENT_STRING };
enum bsim_wrapper { BSIM_WRAP_ANY, BSIM_WRAP_NONE, BSIM_WRAP_COMPRESSIVE };
enum bsim_uuid_place { BSIM_UUID_ANY, BSIM_UUID_QUERY, BSIM_UUID_BODY };
enum bsim_uuid_repeat { BSIM_REPEAT_SAME, BSIM_REPEAT_REFUSE };
enum bsim_unit { BSIM_CHARACTERS, BSIM_BYTES };
enum { BSIM_PACE_MAX = 64 }; /* of updates_per_s and chat_per_s */

struct bsim_settings {
    int64_t token_shape, message_shape, content, card_wrapper, uuid_in, uuid_repeat, limit_unit;
    int64_t tokens_per_tenant, reply, cards, header_required;
    int64_t updates_per_s, chat_per_s, text_limit, card_limit, updates_max;
    int64_t token_life_s, token_renew_s, token_error_code, token_error_status;
    char *url, *receive_ids;
    char *token_path, *send_path, *reply_path, *update_path;
    char *signature_header, *timestamp_header, *nonce_header;
};

void bsim_settings_init(struct bsim_settings *s);
void bsim_settings_free(struct bsim_settings *s);

/* "NAME=VALUE"; the members of an object, all or none of them. */
enum brg_err bsim_settings_set(struct bsim_settings *s, const char *text,
                               struct brg_error *error) BRG_MUST_CHECK;
enum brg_err bsim_settings_read(struct bsim_settings *s, const struct json *members,
                                struct brg_error *error) BRG_MUST_CHECK;
void bsim_settings_write(const struct bsim_settings *s, struct json_writer *w);
