#include "store_model.h"

#include "base/error.h"
#include "keyspace.h"
#include "store/scripts.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Epochs are BASE_US plus a small number (struct state), and the clock is above all of them, or
 * below all of them after a step back. */
#define BASE_US 1700000000000000
#define CLOCK_US 10000
#define LEASE_MS 10000
#define LEASE_TEXT "10000"
#define LEASE_LIVE "1700000010000"
#define LEASE_OVER "1"
#define START "1000"
#define DEADLINE "2000"
#define START_UNKNOWN "3000"
#define DEADLINE_UNKNOWN "4000"
#define TTL "7200000"

struct record {
    struct keyspace keys;
    struct view view;
};

/* What a call does to a record: everything that the answer and the effect depend on. */
struct run_key {
    uint32_t record;
    uint8_t is_clock_back;
    uint8_t zero[3];
    struct call call;
};

struct run {
    struct run_key key;
    uint32_t after;
    struct answer answer;
};

struct edited {
    uint32_t record;
    int16_t epoch;
    uint8_t edit, zero;
    uint32_t after;
};

static const struct store_script *const product[SCRIPT_COUNT] = {
    [SCRIPT_OPEN] = &store_script_open,       [SCRIPT_CLOSE] = &store_script_close,
    [SCRIPT_SHOWN] = &store_script_shown,     [SCRIPT_CLAIM] = &store_script_claim,
    [SCRIPT_PUT] = &store_script_put,         [SCRIPT_NOTE] = &store_script_note,
    [SCRIPT_FINISH] = &store_script_finish,   [SCRIPT_SETTLE] = &store_script_settle,
    [SCRIPT_RELEASE] = &store_script_release,
};
static char *patched[SCRIPT_COUNT];

const char *store_fault;

static struct host *host;
static int handle[SCRIPT_COUNT];
static struct table records, runs, edits; /* of struct record, run, edited */
static char fault_text[320];

/* --- scripts --- */

const char *script_name(enum script script)
{
    return script == SCRIPT_NONE ? "none" : product[script]->name;
}

const char *store_script_text(enum script script)
{
    return patched[script] ? patched[script] : product[script]->body;
}

bool store_patch(enum script script, const char *from, const char *to)
{
    const char *body = store_script_text(script);
    const char *at = strstr(body, from);
    if (!at || strstr(at + 1, from))
        return false;
    size_t size = strlen(body) + strlen(to) + 1;
    char *text = brg_calloc(1, size);
    snprintf(text, size, "%.*s%s%s", (int)(at - body), body, to, at + strlen(from));
    free(patched[script]);
    patched[script] = text;
    return true;
}

/* --- records --- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct field *)a)->name, ((const struct field *)b)->name);
}

static const char *field_of(const struct keyspace *k, const char *name)
{
    const char *value = keyspace_get(k, name);
    return value ? value : "";
}

static enum stream_state state_of(const char *name)
{
    for (int i = STREAM_UNKNOWN; i <= STREAM_FINAL; i++)
        if (strcmp(name, stream_state_name((enum stream_state)i)) == 0)
            return (enum stream_state)i;
    return STREAM_MISSING;
}

static enum stream_reason reason_of(const char *name)
{
    for (int i = REASON_DONE; i <= REASON_STOPPED; i++)
        if (strcmp(name, stream_reason_name((enum stream_reason)i)) == 0)
            return (enum stream_reason)i;
    return REASON_NONE;
}

static uint8_t owed_of(const char *list)
{
    return (uint8_t)((strstr(list, "dlq") ? OWED_DLQ : 0) |
                     (strstr(list, "event") ? OWED_EVENT : 0));
}

static uint8_t owner_of(const char *name)
{
    if (name[0] == '\0')
        return 0;
    return name[0] == 's' ? (uint8_t)(name[1] - '0') : OWNER_GONE;
}

static int16_t epoch_of(const char *digits)
{
    long long epoch = strtoll(digits, NULL, 10);
    if (epoch == 0)
        return 0;
    long long distance = epoch - BASE_US;
    /* A counter without a clock begins again at 1: below everything that was granted before. */
    return (int16_t)(distance < -CLOCK_US ? -CLOCK_US - 1 : distance);
}

static uint8_t text_parse(const char *text)
{
    size_t pieces = strspn(text, "ab");
    int text_writer = text[0] == 'b';
    uint8_t parsed = text_of(text_writer, (int)pieces);
    if (text[pieces] == '!')
        parsed |= TEXT_APOLOGY;
    else if (text[pieces] == '~')
        parsed |= TEXT_NOTICE;
    return parsed;
}

static const char *text_print(uint8_t text, char *out, size_t size)
{
    int n = text_pieces(text);
    const char *letters = (text & TEXT_WRITER) != 0 ? "bbbbbbb" : "aaaaaaa";
    const char *tail = (text & TEXT_APOLOGY) != 0 ? "!" : (text & TEXT_NOTICE) != 0 ? "~" : "";
    snprintf(out, size, "%.*s%s", n, letters, tail);
    return out;
}

static uint8_t notes_of(const struct keyspace *k)
{
    const char *url = field_of(k, "n:url");
    return (uint8_t)((field_of(k, "n:told")[0] != '\0' ? NOTE_TOLD : 0) |
                     (strcmp(url, "intent") == 0 ? NOTE_URL_INTENT : 0) |
                     (strcmp(url, "done") == 0 ? NOTE_URL_DONE : 0));
}

static bool is_lease_live(const char *lease)
{
    return strcmp(lease, LEASE_OVER) != 0 && strcmp(lease, "0") != 0 && lease[0] != '\0';
}

static void set_view(struct record *r)
{
    const struct keyspace *k = &r->keys;
    r->view = (struct view){
        .state = state_of(field_of(k, "state")),
        .reason = reason_of(field_of(k, "reason")),
        .by_ingress = strcmp(field_of(k, "by"), "ingress") == 0,
        .is_leased = is_lease_live(field_of(k, "lease_until")),
        .is_shown = field_of(k, "shown_at")[0] != '\0',
        .owner = owner_of(field_of(k, "owner")),
        .owed = owed_of(field_of(k, "owed")),
        .text = text_parse(k->text.is_there ? k->text.value : ""),
        .notes = notes_of(k),
        .starts = (uint8_t)strtoul(field_of(k, "starts"), NULL, 10),
        .epoch = epoch_of(field_of(k, "epoch")),
        .was = epoch_of(field_of(k, "was")),
    };
}

static void find_faults(const struct record *r)
{
    const struct keyspace *k = &r->keys;
    bool has_record = k->fields > 0;
    bool is_immortal = (has_record && !k->has_ttl) || (k->text.is_there && !k->text.has_ttl) ||
                       (k->extras.is_there && !k->extras.has_ttl);
    bool is_unknown = r->view.state == STREAM_UNKNOWN;
    bool is_ended = r->view.state == STREAM_FINAL; /* perhaps as unknown */
    if (is_immortal)
        store_fault = "a key without TTL";
    else if (has_record && r->view.state == STREAM_MISSING)
        store_fault = "a record without a state";
    else if (has_record && !is_unknown && !is_ended &&
             strcmp(field_of(k, "start_at"), START) != 0)
        store_fault = "a question keeps the start of an unknown id";
}

/* Leases are live or over: the clock stands still. */
static void canonical(struct keyspace *k)
{
    const char *lease = keyspace_get(k, "lease_until");
    if (lease && is_lease_live(lease))
        keyspace_set(k, "lease_until", LEASE_LIVE);
    qsort(k->field, k->fields, sizeof(*k->field), by_name);
    if (k->fields == 0)
        k->has_ttl = false;
}

static uint32_t intern(const struct keyspace *keys)
{
    static struct record r; /* zeroed beyond the used parts, since it is compared as bytes */
    memset(&r, 0, sizeof(r));
    for (unsigned i = 0; i < keys->fields; i++)
        keyspace_set(&r.keys, keys->field[i].name, keys->field[i].value);
    r.keys.has_ttl = keys->has_ttl;
    const struct key *from[] = {&keys->text, &keys->extras};
    struct key *to[] = {&r.keys.text, &r.keys.extras};
    for (int i = 0; i < 2; i++) {
        to[i]->is_there = from[i]->is_there;
        to[i]->has_ttl = from[i]->has_ttl;
        snprintf(to[i]->value, VALUE_BYTES, "%s", from[i]->value);
    }
    canonical(&r.keys);
    bool is_new = false;
    uint32_t at = table_find(&records, &r, sizeof(r.keys), &is_new);
    struct record *stored = table_at(&records, at);
    if (is_new) {
        set_view(stored);
        find_faults(stored);
    }
    return at;
}

const struct view *store_view(uint32_t record)
{
    return &((struct record *)table_at(&records, record))->view;
}

static const struct keyspace *keys_of(uint32_t record)
{
    return &((struct record *)table_at(&records, record))->keys;
}

size_t store_record_count(void)
{
    return records.count;
}

const char *store_describe(uint32_t record)
{
    static char text[600];
    const struct keyspace *k = keys_of(record);
    if (k->fields == 0)
        return "missing";
    size_t at = (size_t)snprintf(text, sizeof(text), "%s", field_of(k, "state"));
    static const char *const shown[] = {"reason", "by",       "owner",  "starts",
                                        "owed",   "shown_at", "n:told", "n:url"};
    for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++)
        if (field_of(k, shown[i])[0] != '\0')
            at += (size_t)snprintf(text + at, sizeof(text) - at, " %s=%s", shown[i],
                                   field_of(k, shown[i]));
    const struct view *v = store_view(record);
    if (v->was != 0)
        at += (size_t)snprintf(text + at, sizeof(text) - at, " was=+%d", v->was);
    if (v->epoch != 0)
        at += (size_t)snprintf(text + at, sizeof(text) - at, " epoch=+%d", v->epoch);
    snprintf(text + at, sizeof(text) - at, "%s text='%s'",
             v->owner || v->is_leased ? (v->is_leased ? " lease" : " lease-over") : "",
             k->text.is_there ? k->text.value : "");
    return text;
}

/* --- running --- */

struct arguments {
    const char *arg[ARGS_MAX];
    unsigned count;
    char epoch[24], link[2], text[VALUE_BYTES], owner[3];
};

static void add(struct arguments *a, const char *text)
{
    a->arg[a->count++] = text;
}

static const char *owed_text(uint8_t owed)
{
    static const char *const texts[] = {"", "dlq", "event", "dlq,event"};
    return texts[owed];
}

static const char *reason_text(uint8_t reason)
{
    return stream_reason_name((enum stream_reason)reason);
}

static void add_note(struct arguments *a, uint8_t note)
{
    add(a, note == NOTE_TOLD ? "told" : "url");
    add(a, note == NOTE_TOLD ? "1" : note == NOTE_URL_INTENT ? "intent" : "done");
}

static void add_own(struct arguments *a, const struct call *c)
{
    switch (c->script) {
    case SCRIPT_PUT:
        add(a, LEASE_TEXT);
        add(a, c->arg ? "1" : "0");
        add(a, text_print(c->text, a->text, sizeof(a->text)));
        break;
    case SCRIPT_NOTE:
        add_note(a, c->arg);
        break;
    case SCRIPT_FINISH:
        add(a, reason_text(c->arg));
        add(a, text_print(c->text, a->text, sizeof(a->text)));
        add(a, "");
        add(a, owed_text(c->owed));
        add(a, LEASE_TEXT);
        break;
    case SCRIPT_SETTLE:
        add(a, owed_text(c->arg));
        break;
    default:
        break;
    }
}

static void set_owner(struct arguments *a, uint8_t owner)
{
    a->owner[0] = owner == OWNER_GONE ? 'z' : 's';
    a->owner[1] = (char)('0' + owner);
    add(a, a->owner);
}

/* ARGV as common/store/store.c sends it. */
static void make_arguments(const struct call *c, struct arguments *a)
{
    *a = (struct arguments){.link = {(char)('0' + c->link)}};
    if (c->script == SCRIPT_SHOWN)
        return;
    bool is_unknown = (c->script == SCRIPT_OPEN && c->arg == STREAM_UNKNOWN) ||
                      (c->script == SCRIPT_CLOSE && c->arg == REASON_LOST);
    add(a, "bot");
    add(a, is_unknown ? START_UNKNOWN : START);
    add(a, is_unknown ? DEADLINE_UNKNOWN : DEADLINE);
    add(a, TTL);
    if (c->script == SCRIPT_OPEN) {
        add(a, stream_state_name((enum stream_state)c->arg));
    } else if (c->script == SCRIPT_CLOSE) {
        add(a, reason_text(c->arg));
    } else if (c->script == SCRIPT_CLAIM) {
        set_owner(a, c->owner);
        add(a, a->link);
        add(a, LEASE_TEXT);
    } else {
        snprintf(a->epoch, sizeof(a->epoch), "%lld", (long long)BASE_US + c->epoch);
        add(a, a->epoch);
        add(a, a->link);
        add_own(a, c);
    }
}

static enum store_verdict verdict_of(const char *name)
{
    static const char *const names[] = {"ok", "granted", "held", "final", "closed", "fenced"};
    for (int i = 0; i < 6; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum store_verdict)i;
    store_fault = "a verdict that nobody knows";
    return VERDICT_OK;
}

/* The elements of an answer, as common/store/store_reply.c takes them. */
static void take(const struct lua_answer *l, struct answer *a)
{
    enum { VERDICT, STATE, REASON, BY, EPOCH = 8, LEASE, STARTS, OWED, TEXT, NOTES = 14 };
    memset(a, 0, sizeof(*a));
    a->verdict = verdict_of(l->element[VERDICT]);
    a->view.state = state_of(l->element[STATE]);
    a->view.reason = reason_of(l->element[REASON]);
    a->view.by_ingress = strcmp(l->element[BY], "ingress") == 0;
    a->view.epoch = epoch_of(l->element[EPOCH]);
    a->view.is_leased = is_lease_live(l->element[LEASE]);
    a->view.starts = (uint8_t)strtoul(l->element[STARTS], NULL, 10);
    a->view.owed = owed_of(l->element[OWED]);
    a->view.text = text_parse(l->element[TEXT]);
    const char *notes = l->element[NOTES];
    a->view.notes = (uint8_t)((strstr(notes, "told=1\n") ? NOTE_TOLD : 0) |
                              (strstr(notes, "url=intent\n") ? NOTE_URL_INTENT : 0) |
                              (strstr(notes, "url=done\n") ? NOTE_URL_DONE : 0));
}

static uint32_t execute(uint32_t record, const struct call *c, bool is_clock_back,
                        struct answer *out)
{
    struct arguments a;
    struct lua_answer l;
    struct keyspace keys = *keys_of(record);
    make_arguments(c, &a);
    int64_t now_us = is_clock_back ? BASE_US - CLOCK_US : BASE_US + CLOCK_US;
    host_run(host, handle[c->script], &keys, now_us, a.arg, a.count, &l);
    if (l.error[0] != '\0') {
        snprintf(fault_text, sizeof(fault_text), "%s: %s", script_name(c->script), l.error);
        store_fault = fault_text;
    }
    take(&l, out);
    return intern(&keys);
}

uint32_t store_run(uint32_t record, const struct call *call, bool is_clock_back,
                   struct answer *answer)
{
    struct run key;
    memset(&key, 0, sizeof(key));
    key.key.record = record;
    key.key.is_clock_back = is_clock_back;
    key.key.call = *call;
    key.key.call.stream = 0;
    bool is_new = false;
    uint32_t at = table_find(&runs, &key, sizeof(key.key), &is_new);
    if (is_new) {
        struct answer first, again;
        uint32_t after = execute(record, call, is_clock_back, &first);
        uint32_t twice = execute(after, call, is_clock_back, &again);
        if (twice != after || again.verdict != first.verdict) {
            snprintf(fault_text, sizeof(fault_text), "%s: a repeat is not harmless",
                     script_name(call->script));
            store_fault = fault_text;
        }
        struct run *run = table_at(&runs, at);
        run->after = after;
        run->answer = first;
    }
    const struct run *run = table_at(&runs, at);
    *answer = run->answer;
    return run->after;
}

/* --- edits --- */

static void apply(struct keyspace *k, enum edit edit, int16_t epoch)
{
    char digits[24];
    unsigned long starts = strtoul(field_of(k, "starts"), NULL, 10);
    switch (edit) {
    case EDIT_EPOCH:
        snprintf(digits, sizeof(digits), "%lld", (long long)BASE_US + epoch);
        keyspace_set(k, "epoch", digits);
        break;
    case EDIT_WAS:
        snprintf(digits, sizeof(digits), "%lld", (long long)BASE_US + epoch);
        keyspace_set(k, "was", digits);
        break;
    case EDIT_EXPIRE:
        keyspace_set(k, "lease_until", LEASE_OVER);
        break;
    case EDIT_DISOWN:
        keyspace_set(k, "owner", "z"); /* a name that no session has */
        break;
    case EDIT_STARTS:
        keyspace_set(k, "starts", starts > 1 ? "2" : field_of(k, "starts"));
        break;
    }
}

uint32_t store_edit(uint32_t record, enum edit edit, int16_t epoch)
{
    struct edited key = {.record = record, .epoch = epoch, .edit = (uint8_t)edit};
    bool is_new = false;
    uint32_t at = table_find(&edits, &key, offsetof(struct edited, after), &is_new);
    if (is_new) {
        struct keyspace keys = *keys_of(record);
        apply(&keys, edit, epoch);
        uint32_t after = intern(&keys);
        ((struct edited *)table_at(&edits, at))->after = after;
    }
    return ((struct edited *)table_at(&edits, at))->after;
}

/* --- life --- */

void store_start(void)
{
    static const struct keyspace none;
    table_init(&records, sizeof(struct record));
    table_init(&runs, sizeof(struct run));
    table_init(&edits, sizeof(struct edited));
    host = host_new();
    for (int i = SCRIPT_OPEN; i < SCRIPT_COUNT; i++) {
        handle[i] = host_load(host, product[i]->name, store_script_text((enum script)i));
        BRG_CHECK(handle[i] != 0);
    }
    BRG_CHECK(intern(&none) == 0);
}

void store_stop(void)
{
    host_free(host);
    table_free(&records);
    table_free(&runs);
    table_free(&edits);
    for (int i = 0; i < SCRIPT_COUNT; i++)
        free(patched[i]);
}
