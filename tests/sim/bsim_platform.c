#include "bsim_platform.h"

#include "base/clock.h"
#include "base/random.h"
#include "bsim_tokens.h"

#define HOUR_MS (3600 * 1000)

/* A uuid that has made a message. */
struct known_uuid {
    struct map_node node;
    struct bsim_message *message;
    int64_t until_ms;
};

/* "open_id ou_…" and the chat that a message to it goes to. */
struct address {
    struct map_node node;
    struct bsim_chat *chat;
};

void bsim_make_id(char out[BSIM_ID_BYTES], bool has_tilde)
{
    snprintf(out, BSIM_ID_BYTES, "%016llx%016llx%s", (unsigned long long)random_u64(),
             (unsigned long long)random_u64(), has_tilde ? "~" : "");
}

void bsim_platform_init(struct bsim_platform *p, const struct bsim_app *app,
                        int64_t clock_scale)
{
    *p = (struct bsim_platform){.app = *app, .clock_scale = clock_scale};
    bsim_settings_init(&p->settings);
    bsim_journal_init(&p->journal);
    map_init(&p->chats);
    map_init(&p->messages);
    map_init(&p->uuids);
    map_init(&p->addresses);
    list_init(&p->order);
}

static void free_chat(struct map_node *node, void *arg)
{
    struct bsim_chat *chat = MAP_ENTRY(node, struct bsim_chat, node);
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
    struct bsim_message *m = MAP_ENTRY(node, struct bsim_message, node);
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

void bsim_platform_free(struct bsim_platform *p)
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
    bsim_journal_free(&p->journal);
    bsim_settings_free(&p->settings);
}

/* --- chats and messages --- */

static struct bsim_chat *find_chat(const struct bsim_platform *p, struct bytes id)
{
    struct map_node *node = map_find(&p->chats, id);
    return node ? MAP_ENTRY(node, struct bsim_chat, node) : NULL;
}

struct bsim_message *bsim_message_find(const struct bsim_platform *p, struct bytes id)
{
    struct map_node *node = map_find(&p->messages, id);
    return node ? MAP_ENTRY(node, struct bsim_message, node) : NULL;
}

static struct bsim_message *add_message(struct bsim_platform *p, struct bsim_chat *chat,
                                        struct bytes id, struct bytes msg_type,
                                        struct bytes text)
{
    struct bsim_message *m = BRG_NEW(struct bsim_message);
    *m = (struct bsim_message){
        .id = bytes_dup(id),
        .msg_type = bytes_dup(msg_type),
        .uuid = brg_strdup(""),
        .reply_to = brg_strdup(""),
        .chat = chat,
        .wall_ms = clock_wall_ms(),
    };
    buf_init(&m->text, BSIM_TEXT_MAX_BYTES);
    buf_append(&m->text, text);
    map_insert(&p->messages, &m->node, bytes_of_str(m->id));
    list_push_back(&p->order, &m->order);
    return m;
}

static void tell(const struct bsim_platform *p, const struct bsim_message *m)
{
    if (p->watcher.on_message)
        p->watcher.on_message(m, p->watcher.arg);
}

static void write_address(struct buf *key, struct bytes kind, struct bytes id)
{
    buf_init(key, kind.len + 1 + id.len);
    buf_append(key, kind);
    buf_append_char(key, ' ');
    buf_append(key, id);
}

static void add_address(struct bsim_platform *p, const char *kind, struct bytes id,
                        struct bsim_chat *chat)
{
    struct buf key;
    if (id.len == 0)
        return;
    write_address(&key, bytes_of_str(kind), id);
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

void bsim_user_says(struct bsim_platform *p, const struct bsim_address *address,
                    struct bytes message_id, struct bytes msg_type, struct bytes text)
{
    struct bsim_chat *chat = find_chat(p, address->chat_id);
    if (!chat) {
        chat = BRG_NEW(struct bsim_chat);
        chat->id = bytes_dup(address->chat_id);
        chat->tenant = bytes_dup(address->tenant);
        map_insert(&p->chats, &chat->node, bytes_of_str(chat->id));
    }
    add_address(p, "open_id", address->open_id, chat);
    add_address(p, "union_id", address->union_id, chat);
    add_address(p, "user_id", address->user_id, chat);
    if (!bsim_message_find(p, message_id))
        tell(p, add_message(p, chat, message_id, msg_type, text));
}

static struct bsim_chat *receiver(const struct bsim_platform *p, struct bytes kind,
                                  struct bytes id)
{
    struct buf key;
    if (bytes_eq_str(kind, "chat_id"))
        return find_chat(p, id);
    write_address(&key, kind, id);
    struct map_node *node = map_find(&p->addresses, buf_bytes(&key));
    buf_free(&key);
    return node ? MAP_ENTRY(node, struct address, node)->chat : NULL;
}

/* --- rules of a call --- */

/* Counts one more, unless that many lie within the last second. Never scaled: who is too fast
 * for the platform is so by its clock. */
static bool pace_take(struct bsim_pace *pace, int64_t per_s, int64_t now_ms)
{
    if (per_s == 0)
        return true;
    size_t oldest = (pace->next + BSIM_PACE_MAX - (size_t)per_s) % BSIM_PACE_MAX;
    if (pace->at_ms[oldest] != 0 && pace->at_ms[oldest] > now_ms - 1000)
        return false;
    pace->at_ms[pace->next] = now_ms;
    pace->next = (pace->next + 1) % BSIM_PACE_MAX;
    return true;
}

static bool refuse_pace(struct bsim_result *r)
{
    r->status = 429;
    r->reset_s = 1;
    return bsim_refuse(&r->verdict, BSIM_CODE_PACE, "request trigger frequency limit");
}

/* The uuid counts only where this platform looks for it. */
static struct bytes uuid_of(const struct bsim_platform *p, const struct bsim_request *q)
{
    struct bytes in_body = json_get_string(q->body, "uuid");
    if (p->settings.uuid_in == BSIM_UUID_BODY)
        return in_body;
    if (p->settings.uuid_in == BSIM_UUID_QUERY || q->uuid.len > 0)
        return q->uuid;
    return in_body;
}

static bool check_uuid(struct bsim_platform *p, struct bytes uuid, struct bsim_result *r)
{
    if (uuid.len <= BSIM_UUID_MAX_CHARS)
        return true;
    bsim_journal_broken(&p->journal, "uuid", "a uuid of %zu characters", uuid.len);
    return bsim_refuse(&r->verdict, BSIM_CODE_PARAMETER, "uuid: at most 50 characters");
}

/* The message that this uuid has made within the hour. */
static struct bsim_message *message_of_uuid(struct bsim_platform *p, struct bytes uuid,
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

static void remember_uuid(struct bsim_platform *p, struct bsim_message *m, int64_t now_ms)
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

static bool find_receiver(struct bsim_platform *p, const struct bsim_request *q,
                          struct bsim_chat **chat, struct bsim_result *r)
{
    struct bytes type = q->receive_id_type;
    struct bytes id = json_get_string(q->body, "receive_id");
    const char *only = p->settings.receive_ids;
    if (!is_known_receive_id_type(type) ||
        (strcmp(only, "any") != 0 && !bytes_eq_str(type, only)))
        return bsim_refuse(&r->verdict, BSIM_CODE_PARAMETER,
                           "receive_id_type is missing or not served");
    if (id.len == 0)
        return bsim_refuse(&r->verdict, BSIM_CODE_PARAMETER, "receive_id is missing");
    *chat = receiver(p, type, id);
    if (!*chat)
        return bsim_refuse(&r->verdict, BSIM_CODE_RECEIVER,
                           "no such chat, or the bot is not in it");
    return true;
}

static bool find_message(struct bsim_platform *p, const struct bsim_request *q,
                         struct bsim_result *r)
{
    r->about = bsim_message_find(p, q->message_id);
    if (!r->about)
        return bsim_refuse(&r->verdict, BSIM_CODE_MESSAGE, "no such message");
    return true;
}

static bool check_tenant(struct bsim_platform *p, const struct bsim_token *token,
                         const struct bsim_chat *chat, struct bsim_result *r)
{
    if (!p->settings.tokens_per_tenant || strcmp(token->tenant, chat->tenant) == 0)
        return true;
    bsim_tokens_refuse(p, r, "the token is another tenant's");
    return false;
}

/* Makes the message of a send or reply, or finds the one that its uuid has made. */
static bool put_message(struct bsim_platform *p, const struct bsim_request *q,
                        struct bsim_chat *chat, struct buf *text, struct bsim_result *r)
{
    struct bytes uuid = uuid_of(p, q), msg_type = json_get_string(q->body, "msg_type");
    char id[BSIM_ID_BYTES];
    struct bsim_message *known = message_of_uuid(p, uuid, q->now_ms);
    if (!check_uuid(p, uuid, r))
        return false;
    if (known && p->settings.uuid_repeat == BSIM_REPEAT_REFUSE)
        return bsim_refuse(&r->verdict, BSIM_CODE_UUID, "the uuid was used");
    if (known) {
        r->about = known;
        r->is_repeat = true;
        return true;
    }
    if (!bsim_content_read(&p->settings, bsim_type_of(msg_type), json_get(q->body, "content"),
                           false, text, &r->verdict))
        return false;
    if (!pace_take(&chat->pace, p->settings.chat_per_s, q->now_ms))
        return refuse_pace(r);
    bsim_make_id(id, true);
    r->about = add_message(p, chat, bytes_of_str(id), msg_type, buf_bytes(text));
    r->about->is_bots = true;
    free(r->about->uuid);
    r->about->uuid = bytes_dup(uuid);
    remember_uuid(p, r->about, q->now_ms);
    return true;
}

static bool do_send(struct bsim_platform *p, const struct bsim_request *q,
                    const struct bsim_token *token, struct buf *text, struct bsim_result *r)
{
    struct bsim_chat *chat = NULL;
    if (!find_receiver(p, q, &chat, r) || !check_tenant(p, token, chat, r))
        return false;
    return put_message(p, q, chat, text, r);
}

static bool do_reply(struct bsim_platform *p, const struct bsim_request *q,
                     const struct bsim_token *token, struct buf *text, struct bsim_result *r)
{
    if (!find_message(p, q, r) || !check_tenant(p, token, r->about->chat, r))
        return false;
    struct bsim_message *answered = r->about;
    r->about = NULL;
    if (!put_message(p, q, answered->chat, text, r))
        return false;
    if (!r->is_repeat) {
        free(r->about->reply_to);
        r->about->reply_to = brg_strdup(answered->id);
    }
    return true;
}

static void add_edit(struct bsim_message *m, struct buf *text)
{
    m->edits = brg_realloc(m->edits, (m->edit_count + 1) * sizeof(*m->edits));
    struct bsim_edit *e = &m->edits[m->edit_count++];
    e->wall_ms = clock_wall_ms();
    e->text = *text;
    buf_init(text, BSIM_TEXT_MAX_BYTES);
}

static bool do_update(struct bsim_platform *p, const struct bsim_request *q,
                      const struct bsim_token *token, struct buf *text, struct bsim_result *r)
{
    if (!find_message(p, q, r) || !check_tenant(p, token, r->about->chat, r))
        return false;
    struct bsim_message *m = r->about;
    enum bsim_type type = bsim_type_of(json_get_string(q->body, "msg_type"));
    if (!m->is_bots || bsim_type_of(bytes_of_str(m->msg_type)) != BSIM_TYPE_CARD)
        return bsim_refuse(&r->verdict, BSIM_CODE_PARAMETER, "not a card of this bot");
    if (!bsim_content_read(&p->settings, type, json_get(q->body, "content"), true, text,
                           &r->verdict))
        return false;
    if (p->settings.updates_max > 0 && m->edit_count >= (size_t)p->settings.updates_max)
        return bsim_refuse(&r->verdict, BSIM_CODE_UPDATES, "no more updates");
    if (!pace_take(&m->pace, p->settings.updates_per_s, q->now_ms))
        return refuse_pace(r);
    add_edit(m, text);
    return true;
}

/* --- a call as a whole --- */

static bool do_call(struct bsim_platform *p, const struct bsim_request *q, struct buf *text,
                    struct bsim_result *r)
{
    if (!q->body)
        return bsim_refuse(&r->verdict, BSIM_CODE_PARAMETER, "the body is no JSON object");
    if (q->call == BSIM_TOKEN)
        return bsim_tokens_give(p, q, r);
    const struct bsim_token *token = bsim_tokens_check(p, q, r);
    if (!token)
        return false;
    if (q->call == BSIM_SEND)
        return do_send(p, q, token, text, r);
    return q->call == BSIM_REPLY ? do_reply(p, q, token, text, r)
                                 : do_update(p, q, token, text, r);
}

static void note_broken(struct bsim_platform *p, const struct bsim_request *q,
                        const struct bsim_result *r)
{
    const char *rule = r->code == BSIM_CODE_PARAMETER                   ? "shape"
                       : r->code == BSIM_CODE_LENGTH                    ? "length"
                       : r->code == BSIM_CODE_PACE                      ? "pace"
                       : r->code == BSIM_CODE_CARD && p->settings.cards ? "shape"
                                                                        : NULL;
    if (q->call != BSIM_TOKEN && q->authorization.len == 0)
        rule = "token";
    if (rule)
        bsim_journal_broken(&p->journal, rule, "%s", r->verdict.msg);
}

static const char *const call_names[] = {"token", "send", "reply", "update"};

static void journal_call(struct bsim_platform *p, const struct bsim_request *q,
                         const char *fault, const struct bsim_result *r, struct bytes text)
{
    const struct bsim_message *m = r->about;
    struct json_writer *w = bsim_journal_begin(&p->journal, call_names[q->call]);
    json_i64(w, "status", r->status);
    json_i64(w, "code", r->code);
    json_str(w, "msg", bytes_of_str(r->verdict.msg));
    json_str(w, "fault", bytes_of_str(fault));
    if (q->call == BSIM_TOKEN) {
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
    bsim_journal_end(&p->journal);
}

static struct bytes text_shown(const struct bsim_message *m)
{
    return buf_bytes(m->edit_count > 0 ? &m->edits[m->edit_count - 1].text : &m->text);
}

void bsim_serve(struct bsim_platform *p, const struct bsim_request *request, const char *fault,
                struct bsim_result *result)
{
    struct buf text;
    buf_init(&text, BSIM_TEXT_MAX_BYTES);
    *result = (struct bsim_result){.status = 200};
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

void bsim_journal_refused(struct bsim_platform *p, const struct bsim_request *request,
                          const char *fault, int status, int64_t code)
{
    struct bsim_result result = {.status = status, .code = code};
    if (request->call == BSIM_UPDATE || request->call == BSIM_REPLY)
        result.about = bsim_message_find(p, request->message_id);
    struct buf text;
    struct bsim_verdict verdict;
    buf_init(&text, BSIM_TEXT_MAX_BYTES);
    bsim_content_read(&p->settings, bsim_type_of(json_get_string(request->body, "msg_type")),
                      json_get(request->body, "content"), request->call == BSIM_UPDATE, &text,
                      &verdict);
    journal_call(p, request, fault, &result, buf_bytes(&text));
    buf_free(&text);
}
