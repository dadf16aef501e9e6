#include "base/clock.h"
#include "log/log.h"
#include "store/store_impl.h"

#include <hiredis/hiredis.h>

enum { CLOCK_EVERY_MS = 10000 };
/* A slower answer tells the time worse than the last measurement does. */
enum { CLOCK_TRUSTED_US = 100000 };

static const struct store_script *const scripts[] = {
    &store_script_claim,   &store_script_close,  &store_script_finish,
    &store_script_note,    &store_script_open,   &store_script_put,
    &store_script_release, &store_script_settle, &store_script_shown,
};

static void refused(struct store *s, const char *command, const struct redisReply *reply)
{
    struct bytes code = {0};
    if (reply_classify(reply_bytes(reply), &code) == ERROR_AWAY) {
        conn_drop(s, "the server is not ready");
        return;
    }
    log_error("store", "login_refused", "host=%s port=%u command=%s code=" BYTES_FMT,
              s->url.host, (unsigned)s->url.port, command, BYTES_ARG(code));
    s->is_login_refused = true;
    conn_drop(s, "the login was refused");
}

static void on_auth(struct store *s, struct op *op, const struct redisReply *reply)
{
    op_release(s, op);
    if (reply_is_error(reply))
        refused(s, "AUTH", reply);
}

static void on_select(struct store *s, struct op *op, const struct redisReply *reply)
{
    op_release(s, op);
    if (reply_is_error(reply))
        refused(s, "SELECT", reply);
}

static struct bytes find_run_id(struct bytes info)
{
    static const char name[] = "run_id:";
    const char *at = info.len > 0 ? memmem(info.ptr, info.len, name, sizeof(name) - 1) : NULL;
    if (!at)
        return (struct bytes){0};
    at += sizeof(name) - 1;
    size_t left = info.len - (size_t)(at - info.ptr);
    size_t len = 0;
    while (len < left && at[len] != '\r' && at[len] != '\n')
        len++;
    return bytes_of(at, len);
}

/* Only noted: a greeting that fails after this one must not use the news up. */
static void on_info(struct store *s, struct op *op, const struct redisReply *reply)
{
    op_release(s, op);
    struct bytes run =
        reply_is_error(reply) ? (struct bytes){0} : find_run_id(reply_bytes(reply));
    if (run.len >= STORE_RUN_ID_BYTES)
        run.len = STORE_RUN_ID_BYTES - 1;
    if (run.len > 0)
        memcpy(s->greeted_run_id, run.ptr, run.len);
    s->greeted_run_id[run.len] = '\0';
}

/* It takes no writes, and when it does again its data may be another server's under the same
 * run: then all that should be there is written again. */
static void on_role(struct store *s, struct op *op, const struct redisReply *reply)
{
    static const char read_only[] = "slave_read_only:1";
    struct bytes info = reply_is_error(reply) ? (struct bytes){0} : reply_bytes(reply);
    op_release(s, op);
    if (info.len == 0 || !memmem(info.ptr, info.len, read_only, sizeof(read_only) - 1))
        return;
    s->run_id[0] = '\0';
    conn_drop(s, "the server is a read-only replica");
}

/* A server that does not tell its run (no permission) counts as a new one each time: to write
 * again what is there already is harmless. */
static bool take_run_id(struct store *s)
{
    bool is_same = s->run_id[0] != '\0' && strcmp(s->run_id, s->greeted_run_id) == 0;
    bool is_loss = s->had_run && (!is_same || s->is_mark_other);
    s->had_run = true;
    s->is_mark_other = false;
    memcpy(s->run_id, s->greeted_run_id, sizeof(s->run_id));
    return is_loss;
}

/* Only for speed and order: a script that is not there goes as text when it is first used. But
 * this is the one greeting that a server which is still loading refuses. */
static void on_load(struct store *s, struct op *op, const struct redisReply *reply)
{
    struct bytes code;
    op_release(s, op);
    if (reply_is_error(reply) && reply_classify(reply_bytes(reply), &code) == ERROR_AWAY)
        conn_drop(s, "the server is not ready");
}

static bool take_time(struct store *s, const struct redisReply *reply)
{
    int64_t seconds = 0;
    int64_t micros = 0;
    if (!bytes_to_i64(reply_element(reply, 0), &seconds) ||
        !bytes_to_i64(reply_element(reply, 1), &micros))
        return false;
    int64_t now_us = clock_mono_us();
    int64_t took_us = now_us - s->time_asked_us;
    if (s->is_time_known && took_us > CLOCK_TRUSTED_US)
        return true;
    s->time_offset_us = seconds * 1000000 + micros + took_us / 2 - now_us;
    s->is_time_known = true;
    return true;
}

static void on_time(struct store *s, struct op *op, const struct redisReply *reply)
{
    op_release(s, op);
    bool is_taken = take_time(s, reply);
    if (s->state == CONN_GREETING && !is_taken) {
        refused(s, "TIME", reply);
        return;
    }
    loop_timer_set(s->loop, &s->clock_timer, CLOCK_EVERY_MS);
    if (s->state == CONN_GREETING)
        conn_is_up(s, take_run_id(s));
}

void greet_measure_clock(struct store *s)
{
    s->time_asked_us = clock_mono_us();
    conn_command(s, on_time, (const struct bytes[]){BYTES_LIT("TIME")}, 1);
}

static void send_auth(struct store *s)
{
    struct bytes words[3] = {BYTES_LIT("AUTH"), bytes_of_str(s->url.user),
                             bytes_of_str(s->url.password)};
    if (s->url.user) {
        conn_command(s, on_auth, words, 3);
    } else {
        words[1] = words[2];
        conn_command(s, on_auth, words, 2);
    }
    explicit_bzero(s->command.ptr, s->command.len);
}

/* All at once; the answer to TIME, the last, ends the greeting. */
void greet_start(struct store *s)
{
    if (s->url.password)
        send_auth(s);
    if (s->url.db > 0) {
        char db[16];
        int len = snprintf(db, sizeof(db), "%u", s->url.db);
        conn_command(s, on_select,
                     (const struct bytes[]){BYTES_LIT("SELECT"), bytes_of(db, (size_t)len)}, 2);
    }
    conn_command(s, on_info, (const struct bytes[]){BYTES_LIT("INFO"), BYTES_LIT("server")}, 2);
    conn_command(s, on_role,
                 (const struct bytes[]){BYTES_LIT("INFO"), BYTES_LIT("replication")}, 2);
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        struct bytes body = bytes_of_str(scripts[i]->body);
        conn_command(s, on_load,
                     (const struct bytes[]){BYTES_LIT("SCRIPT"), BYTES_LIT("LOAD"), body}, 3);
    }
    mark_ask(s);
    greet_measure_clock(s);
}
