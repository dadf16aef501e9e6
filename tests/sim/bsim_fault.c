#include "bsim_fault.h"

void bsim_faults_init(struct bsim_faults *f)
{
    list_init(&f->list);
}

void bsim_fault_free(struct bsim_fault *fault)
{
    if (!fault)
        return;
    free(fault->msg_type);
    free(fault->contains);
    free(fault->msg);
    free(fault->body);
    free(fault);
}

void bsim_faults_clear(struct bsim_faults *f)
{
    for (;;) {
        struct list *node = list_pop_front(&f->list);
        if (!node)
            break;
        bsim_fault_free(LIST_ENTRY(node, struct bsim_fault, node));
    }
}

static bool read_call(struct bytes name, enum bsim_call *call)
{
    static const char *const names[] = {"token", "send", "reply", "update", "any"};
    for (int i = 0; i < 5; i++) {
        *call = (enum bsim_call)i;
        if (bytes_eq_str(name, names[i]))
            return true;
    }
    return name.len == 0; /* any */
}

static bool read_withhold(struct bytes name, enum bsim_withhold *withhold)
{
    *withhold = bytes_eq_str(name, "cut")    ? BSIM_CUT
                : bytes_eq_str(name, "hang") ? BSIM_HANG
                                             : BSIM_NOT_WITHHELD;
    return name.len == 0 || *withhold != BSIM_NOT_WITHHELD;
}

static void check_member(struct bytes key, const struct json *value, void *arg)
{
    static const char *const known[] = {
        "on",   "msg_type", "contains", "skip",          "times",   "delay_ms", "withhold",
        "drop", "code",     "status",   "retry_after_s", "reset_s", "msg",      "body",
    };
    struct bytes *unknown = arg;
    (void)value;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (bytes_eq_str(key, known[i]))
            return;
    *unknown = key;
}

enum brg_err bsim_faults_add(struct bsim_faults *f, const struct json *members,
                             struct brg_error *error)
{
    enum bsim_call call;
    enum bsim_withhold withhold;
    struct bytes unknown = {0};
    json_each(members, check_member, &unknown);
    if (unknown.len > 0)
        return brg_fail(error, BRG_REJECT, "a fault has no member " BYTES_FMT,
                        BYTES_ARG(unknown));
    if (!read_call(json_get_string(members, "on"), &call))
        return brg_fail(error, BRG_REJECT, "on: token, send, reply, update or any");
    if (!read_withhold(json_get_string(members, "withhold"), &withhold))
        return brg_fail(error, BRG_REJECT, "withhold: cut or hang");
    struct bsim_fault *fault = BRG_NEW(struct bsim_fault);
    *fault = (struct bsim_fault){
        .on = call,
        .withhold = withhold,
        .msg_type = bytes_dup(json_get_string(members, "msg_type")),
        .contains = bytes_dup(json_get_string(members, "contains")),
        .msg = bytes_dup(json_get_string(members, "msg")),
        .body = bytes_dup(json_get_string(members, "body")),
        .has_body = json_get(members, "body") != NULL,
        .is_drop = json_bool(json_get(members, "drop"), false),
        .skip = json_get_int(members, "skip", 0),
        .times = json_get_int(members, "times", 1),
        .delay_ms = json_get_int(members, "delay_ms", 0),
        .code = json_get_int(members, "code", 0),
        .status = json_get_int(members, "status", 200),
        .retry_after_s = json_get_int(members, "retry_after_s", 0),
        .reset_s = json_get_int(members, "reset_s", 0),
    };
    list_push_back(&f->list, &fault->node);
    return BRG_OK;
}

static bool fits(const struct bsim_fault *fault, const struct bsim_request *request,
                 struct bytes raw_body)
{
    if (fault->on != BSIM_NO_CALL && fault->on != request->call)
        return false;
    if (*fault->msg_type &&
        !bytes_eq_str(json_get_string(request->body, "msg_type"), fault->msg_type))
        return false;
    return !*fault->contains ||
           memmem(raw_body.ptr, raw_body.len, fault->contains, strlen(fault->contains)) != NULL;
}

static struct bsim_fault *copy_of(const struct bsim_fault *fault)
{
    struct bsim_fault *copy = BRG_NEW(struct bsim_fault);
    *copy = *fault;
    list_init(&copy->node);
    copy->msg_type = brg_strdup(fault->msg_type);
    copy->contains = brg_strdup(fault->contains);
    copy->msg = brg_strdup(fault->msg);
    copy->body = brg_strdup(fault->body);
    return copy;
}

struct bsim_fault *bsim_faults_take(struct bsim_faults *f, const struct bsim_request *request,
                                    struct bytes raw_body)
{
    for (struct list *node = f->list.next; node != &f->list; node = node->next) {
        struct bsim_fault *fault = LIST_ENTRY(node, struct bsim_fault, node);
        if (fault->times == 0 || !fits(fault, request, raw_body))
            continue;
        if (fault->skip > 0) {
            fault->skip--;
            continue;
        }
        if (fault->times > 0)
            fault->times--;
        return copy_of(fault);
    }
    return NULL;
}

bool bsim_fault_refuses(const struct bsim_fault *fault)
{
    return fault->is_drop || fault->has_body || fault->code != 0 || fault->status != 200;
}

const char *bsim_fault_name(const struct bsim_fault *fault)
{
    if (!fault)
        return "";
    if (fault->is_drop)
        return "drop";
    if (fault->withhold == BSIM_CUT)
        return "cut";
    if (fault->withhold == BSIM_HANG)
        return "hang";
    if (fault->has_body)
        return "body";
    return bsim_fault_refuses(fault) ? "code" : "delay";
}
