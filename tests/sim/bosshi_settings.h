/* What nobody knows about the platform, as settings (BOSSHI.md lists them). Numbers, truths and
 * choices are all int64_t, so that one table reads and writes them. */
#pragma once

#include "json/json.h"
#include "json/json_writer.h"

enum bosshi_shape { BOSSHI_SHAPE_DATA, BOSSHI_SHAPE_TOP };
enum bosshi_encoding { BOSSHI_CONTENT_ANY, BOSSHI_CONTENT_OBJECT, BOSSHI_CONTENT_STRING };
enum bosshi_wrapper { BOSSHI_WRAP_ANY, BOSSHI_WRAP_NONE, BOSSHI_WRAP_COMPRESSIVE };
enum bosshi_uuid_place { BOSSHI_UUID_ANY, BOSSHI_UUID_QUERY, BOSSHI_UUID_BODY };
enum bosshi_uuid_repeat { BOSSHI_REPEAT_SAME, BOSSHI_REPEAT_REFUSE };
enum bosshi_unit { BOSSHI_CHARACTERS, BOSSHI_BYTES };
enum { BOSSHI_PACE_MAX = 64 }; /* of updates_per_s and chat_per_s */

struct bosshi_settings {
    int64_t token_shape, message_shape, content, card_wrapper, uuid_in, uuid_repeat, limit_unit;
    int64_t tokens_per_tenant, reply, cards, header_required;
    int64_t updates_per_s, chat_per_s, text_limit, card_limit, updates_max;
    int64_t token_life_s, token_renew_s, token_error_code, token_error_status;
    char *url, *receive_ids;
    char *token_path, *send_path, *reply_path, *update_path;
    char *signature_header, *timestamp_header, *nonce_header;
};

void bosshi_settings_init(struct bosshi_settings *s);
void bosshi_settings_free(struct bosshi_settings *s);

/* "NAME=VALUE"; the members of an object, all or none of them. */
enum brg_err bosshi_settings_set(struct bosshi_settings *s, const char *text,
                                 struct brg_error *error) BRG_MUST_CHECK;
enum brg_err bosshi_settings_read(struct bosshi_settings *s, const struct json *members,
                                  struct brg_error *error) BRG_MUST_CHECK;
void bosshi_settings_write(const struct bosshi_settings *s, struct json_writer *w);
