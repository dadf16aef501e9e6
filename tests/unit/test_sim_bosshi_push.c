/* The simulated BOSSHI on its ports: the repeats of an event, what counts as taken, the URL
 * check, and faults of the API, against a bot and a client made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bsim_args.h"
#include "bsim_control.h"

enum { REQUESTS_MAX = 16, LIMIT_MS = 20000 };

struct rig {
    struct bsim_stage stage;
    struct http_server *bot;
    int status;         /* of the bot's answers */
    const char *answer; /* its body */
    size_t silent;      /* so many are not answered at all */
    size_t good_after;  /* the status is 200 from this request on */
    size_t requests;
    int64_t at_ms[REQUESTS_MAX];
    char bodies[REQUESTS_MAX][4096];
    struct wheel_timer limit;
    bool is_timed_out, is_passed;
    /* Of a call of the API. */
    enum fetch_result result;
    struct fetch_head head;
    struct buf got;
};

static void on_bot_request(struct http_request *req, void *arg)
{
    struct rig *rig = arg;
    struct bytes body = http_body(req);
    assert_true(rig->requests < REQUESTS_MAX && body.len < sizeof rig->bodies[0]);
    memcpy(rig->bodies[rig->requests], body.ptr, body.len);
    rig->at_ms[rig->requests++] = clock_mono_ms();
    if (rig->requests <= rig->silent)
        return;
    int status = rig->good_after && rig->requests >= rig->good_after ? 200 : rig->status;
    http_reply_text(req, status, "application/json", bytes_of_str(rig->answer));
}

static void on_limit(struct wheel_timer *t, void *arg)
{
    struct rig *rig = arg;
    (void)t;
    rig->is_timed_out = true;
    loop_stop(rig->stage.loop);
}

static void run(struct rig *rig)
{
    loop_timer_set(rig->stage.loop, &rig->limit, LIMIT_MS);
    loop_run(rig->stage.loop);
    loop_timer_cancel(rig->stage.loop, &rig->limit);
    assert_false(rig->is_timed_out);
}

static void on_delivery(const struct bsim_push *push, void *arg)
{
    struct rig *rig = arg;
    if (push->state != BSIM_PUSHING)
        loop_stop(rig->stage.loop);
}

static int set_up(void **state)
{
    struct rig *rig = BRG_NEW(struct rig);
    struct bsim_args args;
    struct http_options options = {
        .listen = "127.0.0.1:0", .max_body_bytes = 1 << 20, .max_connections = 100};
    struct http_callbacks callbacks = {.on_request = on_bot_request, .arg = rig};
    char url[64];
    bsim_args_init(&args, "test", "127.0.0.1:0");
    args.clock_scale = 150;
    assert_int_equal(bsim_stage_start(&rig->stage, &args), BRG_EXIT_DONE);
    rig->bot = http_server_new(rig->stage.loop, &options, &callbacks, NULL);
    (void)snprintf(url, sizeof url, "url=http://127.0.0.1:%u/bosshi/x",
                   http_server_port(rig->bot));
    assert_int_equal(bsim_settings_set(&rig->stage.platform.settings, url, NULL), BRG_OK);
    rig->stage.pusher.on_delivery = on_delivery;
    rig->stage.pusher.arg = rig;
    rig->status = 200;
    rig->answer = "{}";
    wheel_timer_init(&rig->limit, on_limit, rig);
    buf_init(&rig->got, 65536);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    http_server_free(rig->bot);
    bsim_stage_free(&rig->stage);
    buf_free(&rig->got);
    free(rig);
    return 0;
}

static struct bsim_push *ask(struct rig *rig, const char *members)
{
    struct bsim_event event;
    struct json *root = json_parse(bytes_of_str(members), JSON_STRICT, NULL);
    assert_int_equal(bsim_event_make(&rig->stage.platform.app, root, &event, NULL), BRG_OK);
    struct bsim_push *push = bsim_push_start(&rig->stage.pusher, &event);
    json_free(root);
    run(rig);
    return push;
}

static bool journal_has(struct rig *rig, const char *part)
{
    struct bytes all = bsim_journal_after(&rig->stage.platform.journal, 0);
    return memmem(all.ptr, all.len, part, strlen(part)) != NULL;
}

static void test_taken_at_once(void **state)
{
    struct rig *rig = *state;
    struct bsim_push *push = ask(rig, "{}");
    assert_int_equal(push->state, BSIM_ACCEPTED);
    assert_int_equal(rig->requests, 1);
    assert_false(journal_has(rig, "\"broken\""));
}

/* 15 s and 5 min, over 150. */
static void test_repeats_by_the_schedule(void **state)
{
    struct rig *rig = *state;
    rig->status = 503;
    rig->good_after = 3;
    struct bsim_push *push = ask(rig, "{}");
    assert_int_equal(push->state, BSIM_ACCEPTED);
    assert_int_equal(rig->requests, 3);
    assert_in_range(rig->at_ms[1] - rig->at_ms[0], 95, 1500);
    assert_in_range(rig->at_ms[2] - rig->at_ms[1], 1995, 4000);
    assert_string_equal(rig->bodies[0], rig->bodies[2]);
    assert_string_equal(push->deliveries[0].reason, "status 503");
    assert_string_equal(push->deliveries[2].reason, "");
}

static void test_gives_up(void **state)
{
    struct rig *rig = *state;
    rig->status = 500;
    struct bsim_push *push = ask(rig, "{\"repeats\":1}");
    assert_int_equal(push->state, BSIM_GIVEN_UP);
    assert_int_equal(rig->requests, 2);
}

static void test_all_five_deliveries(void **state)
{
    struct rig *rig = *state;
    rig->stage.platform.clock_scale = 100000;
    rig->status = 500;
    struct bsim_push *push = ask(rig, "{}");
    assert_int_equal(push->state, BSIM_GIVEN_UP);
    assert_int_equal(rig->requests, 5);
    assert_in_range(rig->at_ms[4] - rig->at_ms[3], 211, 2000); /* 6 h */
}

static void test_one_second(void **state)
{
    struct rig *rig = *state;
    rig->silent = 1;
    struct bsim_push *push = ask(rig, "{}");
    assert_int_equal(push->delivery_count, 2);
    assert_int_equal(push->deliveries[0].status, 0);
    assert_in_range(push->deliveries[0].ms, 950, 2500);
    assert_non_null(strstr(push->deliveries[0].reason, "within 1000 ms"));
}

static void test_an_empty_200_is_told(void **state)
{
    struct rig *rig = *state;
    rig->answer = "";
    assert_int_equal(ask(rig, "{}")->state, BSIM_ACCEPTED);
    assert_true(journal_has(rig, "\"rule\":\"ack\""));
}

static void test_sealed_with_a_key(void **state)
{
    struct rig *rig = *state;
    rig->stage.platform.app.encrypt_key = "test key";
    ask(rig, "{}");
    assert_memory_equal(rig->bodies[0], "{\"encrypt\":\"", 12);
    ask(rig, "{\"encrypt\":false}");
    assert_memory_equal(rig->bodies[1], "{\"schema\"", 9);
    ask(rig, "{\"body\":\"not JSON\"}");
    assert_string_equal(rig->bodies[2], "not JSON");
}

static void test_repeat_on_request(void **state)
{
    struct rig *rig = *state;
    struct bsim_push *push = ask(rig, "{}");
    bsim_push_again(push);
    run(rig);
    assert_int_equal(rig->requests, 2);
    assert_int_equal(push->state, BSIM_ACCEPTED);
}

static void on_checked(const struct bsim_delivery *d, void *arg)
{
    struct rig *rig = arg;
    char reason[160];
    rig->is_passed = bsim_challenge_judge(&rig->stage.platform, d, BYTES_LIT("c-1"), reason);
    loop_stop(rig->stage.loop);
}

static void test_url_check(void **state)
{
    static const char *const answers[] = {"{\"challenge\":\"c-1\"}", "{\"challenge\":\"c-2\"}",
                                          "c-1", "{}"};
    struct rig *rig = *state;
    for (size_t i = 0; i < 4; i++) {
        rig->answer = answers[i];
        bsim_post(&rig->stage.pusher, false, true, BYTES_LIT("{}"), on_checked, rig);
        run(rig);
        assert_int_equal(rig->is_passed, i == 0);
    }
}

/* --- faults --- */

static void on_head(const struct fetch_head *head, void *arg)
{
    ((struct rig *)arg)->head = *head;
}

static void on_data(struct bytes data, void *arg)
{
    buf_append(&((struct rig *)arg)->got, data);
}

static void on_done(enum fetch_result result, const char *detail, void *arg)
{
    struct rig *rig = arg;
    (void)detail;
    rig->result = result;
    loop_stop(rig->stage.loop);
}

/* One token call, which any app may make. */
static void fetch_token(struct rig *rig, int64_t timeout_ms)
{
    static const struct fetch_callbacks callbacks = {on_head, on_data, on_done};
    char url[128];
    (void)snprintf(url, sizeof url,
                   "http://127.0.0.1:%u/open-apis/auth/tenant_access_token/internal",
                   bsim_api_port(rig->stage.api));
    struct fetch_request request = {
        .url = url,
        .body = BYTES_LIT("{\"app_id\":\"bli_sim\",\"app_secret\":\"sim-secret\"}"),
        .total_timeout_ms = timeout_ms,
    };
    buf_reset(&rig->got);
    fetch_start(rig->stage.pusher.pool, &request, &callbacks, rig);
    run(rig);
}

static void add_fault(struct rig *rig, const char *text)
{
    struct brg_error error = {0};
    struct json *members = json_parse(bytes_of_str(text), JSON_STRICT, NULL);
    if (bsim_faults_add(&rig->stage.faults, members, &error) != BRG_OK)
        fail_msg("%s: %s", text, error.text);
    json_free(members);
}

static void assert_token_given(struct rig *rig, bool is_given)
{
    bool is_there = memmem(rig->got.ptr, rig->got.len, "\"tenant_access_token\"", 21) != NULL;
    assert_int_equal(is_there, is_given);
}

static void test_fault_refuses(void **state)
{
    struct rig *rig = *state;
    add_fault(rig, "{\"on\":\"send\",\"code\":5}");
    add_fault(rig, "{\"on\":\"token\",\"skip\":1,\"times\":2,\"status\":503,"
                   "\"retry_after_s\":7}");
    for (int i = 0; i < 4; i++) {
        fetch_token(rig, 0);
        bool is_good = i == 0 || i == 3;
        assert_int_equal(rig->head.status, is_good ? 200 : 503);
        assert_int_equal(rig->head.retry_after_ms, is_good ? -1 : 7000);
        assert_token_given(rig, is_good);
    }
    add_fault(rig, "{\"body\":\"<html>\"}");
    fetch_token(rig, 0);
    assert_true(bytes_eq_str(buf_bytes(&rig->got), "<html>"));
}

static void test_fault_withholds(void **state)
{
    struct rig *rig = *state;
    add_fault(rig, "{\"withhold\":\"cut\"}");
    fetch_token(rig, 0);
    assert_int_equal(rig->result, FETCH_CUT);
    assert_int_equal(rig->stage.platform.token_count, 1); /* the work was done */
    assert_true(journal_has(rig, "\"fault\":\"cut\""));
    add_fault(rig, "{\"withhold\":\"hang\"}");
    fetch_token(rig, 300);
    assert_int_equal(rig->result, FETCH_TIMEOUT);
}

static void test_fault_drops_and_delays(void **state)
{
    struct rig *rig = *state;
    add_fault(rig, "{\"drop\":true}");
    fetch_token(rig, 0);
    assert_int_equal(rig->result, FETCH_CUT);
    assert_int_equal(rig->stage.platform.token_count, 0);
    add_fault(rig, "{\"delay_ms\":300}");
    int64_t before_ms = clock_mono_ms();
    fetch_token(rig, 0);
    assert_in_range(clock_mono_ms() - before_ms, 295, 3000);
    assert_token_given(rig, true);
}

static void test_faults_are_read_strictly(void **state)
{
    static const char *const rows[] = {"{\"onn\":\"send\"}", "{\"on\":\"sent\"}",
                                       "{\"withhold\":\"yes\"}"};
    struct rig *rig = *state;
    for (size_t i = 0; i < 3; i++) {
        struct json *members = json_parse(bytes_of_str(rows[i]), JSON_STRICT, NULL);
        assert_int_equal(bsim_faults_add(&rig->stage.faults, members, NULL), BRG_REJECT);
        json_free(members);
    }
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_taken_at_once),
        RIG_TEST(test_repeats_by_the_schedule),
        RIG_TEST(test_gives_up),
        RIG_TEST(test_all_five_deliveries),
        RIG_TEST(test_one_second),
        RIG_TEST(test_an_empty_200_is_told),
        RIG_TEST(test_sealed_with_a_key),
        RIG_TEST(test_repeat_on_request),
        RIG_TEST(test_url_check),
        RIG_TEST(test_fault_refuses),
        RIG_TEST(test_fault_withholds),
        RIG_TEST(test_fault_drops_and_delays),
        RIG_TEST(test_faults_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
