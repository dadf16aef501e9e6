#include "bosshi_platform.h"

#include "base/clock.h"
#include "base/random.h"
#include "bosshi_tokens.h"

#define HOUR_MS (3600 * 1000)

/* A uuid that has made a message. */
struct known_uuid {
    struct map_node node;
    struct bosshi_message *message;
    int64_t until_ms;
};

/* "open_id ou_…" and the chat that a message to it goes to. */
struct address {
    struct map_node node;
    struct bosshi_chat *chat;
};

void bosshi_make_id(char out[BOSSHI_ID_BYTES], bool has_tilde)
{
    snprintf(out, BOSSHI_ID_BYTES, "%016llx%016llx%s", (unsigned long long)random_u64(),
             (unsigned long long)random_u64(), has_tilde ? "~" : "");
}

void bosshi_platform_init(struct bosshi_platform *p, const struct bosshi_app *app,
                          int64_t clock_scale)
{
    *p = (struct bosshi_platform){.app = *app, .clock_scale = clock_scale};
    bosshi_settings_init(&p->settings);
    bosshi_journal_init(&p->journal);
    map_init(&p->chats);
    map_init(&p->messages);
    map_init(&p->uuids);
    map_init(&p->addresses);
    list_init(&p->order);
}

static void free_chat(struct map_node *node, void *arg)
{
    struct bosshi_chat *chat = MAP_ENTRY(node, struct bosshi_chat, node);
    (void)arg;
    free(chat->id);
    free(chat->tenant);
    free(chat);
}

static void free_uuid(struct map_node *node, void *arg)
{
    (void)arg;
    free(MAP_ENTRY(node, struct known_uuid, node)); /* the key is the message's */
}

static void free_address(struct map_node *node, void *arg)
{
    (void)arg;
    free((char *)node->key.ptr);
    free(MAP_ENTRY(node, struct address, node));
}

static void free_message(struct map_node *node, void *arg)
{
    struct bosshi_message *m = MAP_ENTRY(node, struct bosshi_message, node);
    (void)arg;
    for (size_t i = 0; i < m->edit_count; i++)
        buf_free(&m->edits[i].text);
    free(m->edits);
    buf_free(&m->text);
    free(m->id);
    free(m->msg_type);
    free(m->uuid);
    free(m->reply_to);
    free(m);
}

void bosshi_platform_free(struct bosshi_platform *p)
{
    map_each(&p->uuids, free_uuid, NULL);
    map_each(&p->addresses, free_address, NULL);
    map_each(&p->messages, free_message, NULL);
    map_each(&p->chats, free_chat, NULL);
    map_free(&p->uuids);
    map_free(&p->addresses);
    map_free(&p->messages);
    map_free(&p->chats);
    free(p->tokens);
    bosshi_journal_free(&p->journal);
    bosshi_settings_free(&p->settings);
}

/* --- chats and messages --- */

static struct bosshi_chat *find_chat(const struct bosshi_platform *p, struct bytes id)
{
    struct map_node *node = map_find(&p->chats, id);
    return node ? MAP_ENTRY(node, struct bosshi_chat, node) : NULL;
}

struct bosshi_message *bosshi_message_find(const struct bosshi_platform *p, struct bytes id)
{
    struct map_node *node = map_find(&p->messages, id);
    return node ? MAP_ENTRY(node, struct bosshi_message, node) : NULL;
}

static struct bosshi_message *add_message(struct bosshi_platform *p, struct bosshi_chat *chat,
                                          struct bytes id, struct bytes msg_type,
                                          struct bytes text)
{
    struct bosshi_message *m = BRG_NEW(struct bosshi_message);
    *m = (struct bosshi_message){
        .id = bytes_dup(id),
        .msg_type = bytes_dup(msg_type),
        .uuid = brg_strdup(""),
        .reply_to = brg_strdup(""),
        .chat = chat,
        .wall_ms = clock_wall_ms(),
    };
    buf_init(&m->text, BOSSHI_TEXT_MAX_BYTES);
    buf_append(&m->text, text);
    map_insert(&p->messages, &m->node, bytes_of_str(m->id));
    list_push_back(&p->order, &m->order);
    return m;
}

static void tell(const struct bosshi_platform *p, const struct bosshi_message *m)
{
    if (p->watcher.on_message)
        p->watcher.on_message(m, p->watcher.arg);
}

static void add_address(struct bosshi_platform *p, const char *kind, struct bytes id,
                        struct bosshi_chat *chat)
{
    struct buf key;
    if (id.len == 0)
        return;
    buf_init(&key, 4096);
    buf_printf(&key, "%s " BYTES_FMT, kind, BYTES_ARG(id));
    struct map_node *node = map_find(&p->addresses, buf_bytes(&key));
    if (node) {
        MAP_ENTRY(node, struct address, node)->chat = chat;
    } else {
        struct address *a = BRG_NEW(struct address);
        a->chat = chat;
        map_insert(&p->addresses, &a->node,
                   bytes_of(bytes_dup(buf_bytes(&key)), key.len)); /* free_address */
    }
    buf_free(&key);
}

void bosshi_user_says(struct bosshi_platform *p, const struct bosshi_address *address,
                      struct bytes message_id, struct bytes msg_type, struct bytes text)
{
    struct bosshi_chat *chat = find_chat(p, address->chat_id);
    if (!chat) {
        chat = BRG_NEW(struct bosshi_chat);
        chat->id = bytes_dup(address->chat_id);
        chat->tenant = bytes_dup(address->tenant);
        map_insert(&p->chats, &chat->node, bytes_of_str(chat->id));
    }
    add_address(p, "open_id", address->open_id, chat);
    add_address(p, "union_id", address->union_id, chat);
    add_address(p, "user_id", address->user_id, chat);
    if (!bosshi_message_find(p, message_id))
        tell(p, add_message(p, chat, message_id, msg_type, text));
}

static struct bosshi_chat *receiver(const struct bosshi_platform *p, struct bytes kind,
                                    struct bytes id)
{
    struct buf key;
    if (bytes_eq_str(kind, "chat_id"))
        return find_chat(p, id);
    buf_init(&key, 4096);
    buf_printf(&key, BYTES_FMT " " BYTES_FMT, BYTES_ARG(kind), BYTES_ARG(id));
    struct map_node *node = map_find(&p->addresses, buf_bytes(&key));
    buf_free(&key);
    return node ? MAP_ENTRY(node, struct address, node)->chat : NULL;
}

/* --- rules of a call --- */

/* Counts one more, unless that many lie within the last second. Never scaled: who is too fast
 * for the platform is so by its clock. */
static bool pace_take(struct bosshi_pace *pace, int64_t per_s, int64_t now_ms)
{
    if (per_s == 0)
        return true;
    size_t oldest = (pace->next + BOSSHI_PACE_MAX - (size_t)per_s) % BOSSHI_PACE_MAX;
    if (pace->at_ms[oldest] != 0 && pace->at_ms[oldest] > now_ms - 1000)
        return false;
    pace->at_ms[pace->next] = now_ms;
    pace->next = (pace->next + 1) % BOSSHI_PACE_MAX;
    return true;
}

static bool refuse_pace(struct bosshi_result *r)
{
    r->status = 429;
    r->reset_s = 1;
    return bosshi_refuse(&r->verdict, BOSSHI_CODE_PACE, "request trigger frequency limit");
}

/* The uuid counts only where this platform looks for it. */
static struct bytes uuid_of(const struct bosshi_platform *p, const struct bosshi_request *q)
{
    struct bytes in_body = json_get_string(q->body, "uuid");
    if (p->settings.uuid_in == BOSSHI_UUID_BODY)
        return in_body;
    if (p->settings.uuid_in == BOSSHI_UUID_QUERY || q->uuid.len > 0)
        return q->uuid;
    return in_body;
}

static bool check_uuid(struct bosshi_platform *p, struct bytes uuid, struct bosshi_result *r)
{
    if (uuid.len <= BOSSHI_UUID_MAX_CHARS)
        return true;
    bosshi_journal_broken(&p->journal, "uuid", "a uuid of %zu characters", uuid.len);
    return bosshi_refuse(&r->verdict, BOSSHI_CODE_PARAMETER, "uuid: at most 50 characters");
}

/* The message that this uuid has made within the hour. */
static struct bosshi_message *message_of_uuid(struct bosshi_platform *p, struct bytes uuid,
                                              int64_t now_ms)
{
    struct map_node *node = uuid.len > 0 ? map_find(&p->uuids, uuid) : NULL;
    if (!node)
        return NULL;
    struct known_uuid *known = MAP_ENTRY(node, struct known_uuid, node);
    if (known->until_ms > now_ms)
        return known->message;
    map_remove(&p->uuids, node);
    free_uuid(node, NULL);
    return NULL;
}

static void remember_uuid(struct bosshi_platform *p, struct bosshi_message *m, int64_t now_ms)
{
    if (!*m->uuid)
        return;
    struct known_uuid *known = BRG_NEW(struct known_uuid);
    known->message = m;
    known->until_ms = now_ms + HOUR_MS / p->clock_scale;
    map_insert(&p->uuids, &known->node, bytes_of_str(m->uuid));
}

static bool is_known_receive_id_type(struct bytes type)
{
    return bytes_eq_str(type, "chat_id") || bytes_eq_str(type, "open_id") ||
           bytes_eq_str(type, "union_id") || bytes_eq_str(type, "user_id");
}

static bool find_receiver(struct bosshi_platform *p, const struct bosshi_request *q,
                          struct bosshi_chat **chat, struct bosshi_result *r)
{
    struct bytes type = q->receive_id_type;
    struct bytes id = json_get_string(q->body, "receive_id");
    const char *only = p->settings.receive_ids;
    if (!is_known_receive_id_type(type) ||
        (strcmp(only, "any") != 0 && !bytes_eq_str(type, only)))
        return bosshi_refuse(&r->verdict, BOSSHI_CODE_PARAMETER,
                             "receive_id_type is missing or not served");
    if (id.len == 0)
        return bosshi_refuse(&r->verdict, BOSSHI_CODE_PARAMETER, "receive_id is missing");
    *chat = receiver(p, type, id);
    if (!*chat)
        return bosshi_refuse(&r->verdict, BOSSHI_CODE_RECEIVER,
                             "no such chat, or the bot is not in it");
    return true;
}

static bool find_message(struct bosshi_platform *p, const struct bosshi_request *q,
                         struct bosshi_result *r)
{
    r->about = bosshi_message_find(p, q->message_id);
    if (!r->about)
        return bosshi_refuse(&r->verdict, BOSSHI_CODE_MESSAGE, "no such message");
    return true;
}

static bool check_tenant(struct bosshi_platform *p, const struct bosshi_token *token,
                         const struct bosshi_chat *chat, struct bosshi_result *r)
{
    if (!p->settings.tokens_per_tenant || strcmp(token->tenant, chat->tenant) == 0)
        return true;
    bosshi_tokens_refuse(p, r, "the token is another tenant's");
    return false;
}

/* Makes the message of a send or reply, or finds the one that its uuid has made. */
static bool put_message(struct bosshi_platform *p, const struct bosshi_request *q,
                        struct bosshi_chat *chat, struct buf *text, struct bosshi_result *r)
{
    struct bytes uuid = uuid_of(p, q), msg_type = json_get_string(q->body, "msg_type");
    char id[BOSSHI_ID_BYTES];
    struct bosshi_message *known = message_of_uuid(p, uuid, q->now_ms);
    if (!check_uuid(p, uuid, r))
        return false;
    if (known && p->settings.uuid_repeat == BOSSHI_REPEAT_REFUSE)
        return bosshi_refuse(&r->verdict, BOSSHI_CODE_UUID, "the uuid was used");
    if (known) {
        r->about = known;
        r->is_repeat = true;
        return true;
    }
    if (!bosshi_content_read(&p->settings, bosshi_type_of(msg_type),
                             json_get(q->body, "content"), false, text, &r->verdict))
        return false;
    if (!pace_take(&chat->pace, p->settings.chat_per_s, q->now_ms))
        return refuse_pace(r);
    bosshi_make_id(id, true);
    r->about = add_message(p, chat, bytes_of_str(id), msg_type, buf_bytes(text));
    r->about->is_bots = true;
    free(r->about->uuid);
    r->about->uuid = bytes_dup(uuid);
    remember_uuid(p, r->about, q->now_ms);
    return true;
}

static bool do_send(struct bosshi_platform *p, const struct bosshi_request *q,
                    const struct bosshi_token *token, struct buf *text, struct bosshi_result *r)
{
    struct bosshi_chat *chat = NULL;
    if (!find_receiver(p, q, &chat, r) || !check_tenant(p, token, chat, r))
        return false;
    return put_message(p, q, chat, text, r);
}

static bool do_reply(struct bosshi_platform *p, const struct bosshi_request *q,
                     const struct bosshi_token *token, struct buf *text,
                     struct bosshi_result *r)
{
    if (!find_message(p, q, r) || !check_tenant(p, token, r->about->chat, r))
        return false;
    struct bosshi_message *answered = r->about;
    r->about = NULL;
    if (!put_message(p, q, answered->chat, text, r))
        return false;
    if (!r->is_repeat) {
        free(r->about->reply_to);
        r->about->reply_to = brg_strdup(answered->id);
    }
    return true;
}

static void add_edit(struct bosshi_message *m, struct buf *text)
{
    m->edits = brg_realloc(m->edits, (m->edit_count + 1) * sizeof(*m->edits));
    struct bosshi_edit *e = &m->edits[m->edit_count++];
    e->wall_ms = clock_wall_ms();
    e->text = *text;
    buf_init(text, BOSSHI_TEXT_MAX_BYTES);
}

static bool do_update(struct bosshi_platform *p, const struct bosshi_request *q,
                      const struct bosshi_token *token, struct buf *text,
                      struct bosshi_result *r)
{
    if (!find_message(p, q, r) || !check_tenant(p, token, r->about->chat, r))
        return false;
    struct bosshi_message *m = r->about;
    enum bosshi_type type = bosshi_type_of(json_get_string(q->body, "msg_type"));
    if (!m->is_bots || bosshi_type_of(bytes_of_str(m->msg_type)) != BOSSHI_TYPE_CARD)
        return bosshi_refuse(&r->verdict, BOSSHI_CODE_PARAMETER, "not a card of this bot");
    if (!bosshi_content_read(&p->settings, type, json_get(q->body, "content"), true, text,
                             &r->verdict))
        return false;
    if (p->settings.updates_max > 0 && m->edit_count >= (size_t)p->settings.updates_max)
        return bosshi_refuse(&r->verdict, BOSSHI_CODE_UPDATES, "no more updates");
    if (!pace_take(&m->pace, p->settings.updates_per_s, q->now_ms))
        return refuse_pace(r);
    add_edit(m, text);
    return true;
}

/* --- a call as a whole --- */

static bool do_call(struct bosshi_platform *p, const struct bosshi_request *q, struct buf *text,
                    struct bosshi_result *r)
{
    if (!q->body)
        return bosshi_refuse(&r->verdict, BOSSHI_CODE_PARAMETER, "the body is no JSON object");
    if (q->call == BOSSHI_TOKEN)
        return bosshi_tokens_give(p, q, r);
    const struct bosshi_token *token = bosshi_tokens_check(p, q, r);
    if (!token)
        return false;
    if (q->call == BOSSHI_SEND)
        return do_send(p, q, token, text, r);
    return q->call == BOSSHI_REPLY ? do_reply(p, q, token, text, r)
                                   : do_update(p, q, token, text, r);
}

static void note_broken(struct bosshi_platform *p, const struct bosshi_request *q,
                        const struct bosshi_result *r)
{
    const char *rule = r->code == BOSSHI_CODE_PARAMETER                   ? "shape"
                       : r->code == BOSSHI_CODE_LENGTH                    ? "length"
                       : r->code == BOSSHI_CODE_PACE                      ? "pace"
                       : r->code == BOSSHI_CODE_CARD && p->settings.cards ? "shape"
                                                                          : NULL;
    if (q->call != BOSSHI_TOKEN && q->authorization.len == 0)
        rule = "token";
    if (rule)
        bosshi_journal_broken(&p->journal, rule, "%s", r->verdict.msg);
}

static const char *const call_names[] = {"token", "send", "reply", "update"};

static void journal_call(struct bosshi_platform *p, const struct bosshi_request *q,
                         const char *fault, const struct bosshi_result *r, struct bytes text)
{
    const struct bosshi_message *m = r->about;
    struct json_writer *w = bosshi_journal_begin(&p->journal, call_names[q->call]);
    json_i64(w, "status", r->status);
    json_i64(w, "code", r->code);
    json_str(w, "msg", bytes_of_str(r->verdict.msg));
    json_str(w, "fault", bytes_of_str(fault));
    if (q->call == BOSSHI_TOKEN) {
        json_str(w, "tenant", json_get_string(q->body, "tenant_key"));
        json_boolean(w, "is_new", r->is_new_token);
    } else {
        json_str(w, "message_id", m ? bytes_of_str(m->id) : q->message_id);
        json_str(w, "chat_id", bytes_of_str(m ? m->chat->id : ""));
        json_str(w, "msg_type", json_get_string(q->body, "msg_type"));
        json_str(w, "text", text);
        json_str(w, "uuid", uuid_of(p, q));
        json_boolean(w, "is_repeat", r->is_repeat);
        json_str(w, "reply_to", bytes_of_str(m ? m->reply_to : ""));
        json_i64(w, "nth", m ? (int64_t)m->edit_count : 0);
    }
    bosshi_journal_end(&p->journal);
}

static struct bytes text_shown(const struct bosshi_message *m)
{
    return buf_bytes(m->edit_count > 0 ? &m->edits[m->edit_count - 1].text : &m->text);
}

void bosshi_serve(struct bosshi_platform *p, const struct bosshi_request *request,
                  const char *fault, struct bosshi_result *result)
{
    struct buf text;
    buf_init(&text, BOSSHI_TEXT_MAX_BYTES);
    *result = (struct bosshi_result){.status = 200};
    snprintf(result->verdict.msg, sizeof result->verdict.msg, "操作成功");
    bool is_done = do_call(p, request, &text, result);
    if (result->code == 0)
        result->code = result->verdict.code;
    struct bytes shown =
        is_done && result->about ? text_shown(result->about) : buf_bytes(&text);
    journal_call(p, request, fault, result, shown);
    if (!is_done)
        note_broken(p, request, result);
    else if (result->about && !result->is_repeat)
        tell(p, result->about);
    buf_free(&text);
}

void bosshi_journal_refused(struct bosshi_platform *p, const struct bosshi_request *request,
                            const char *fault, int status, int64_t code)
{
    struct bosshi_result result = {.status = status, .code = code};
    if (request->call == BOSSHI_UPDATE || request->call == BOSSHI_REPLY)
        result.about = bosshi_message_find(p, request->message_id);
    struct buf text;
    struct bosshi_verdict verdict;
    buf_init(&text, BOSSHI_TEXT_MAX_BYTES);
    bosshi_content_read(
        &p->settings, bosshi_type_of(json_get_string(request->body, "msg_type")),
        json_get(request->body, "content"), request->call == BOSSHI_UPDATE, &text, &verdict);
    journal_call(p, request, fault, &result, buf_bytes(&text));
    buf_free(&text);
}
