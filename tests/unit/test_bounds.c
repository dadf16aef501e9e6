/* What is kept of the past, and no more of it than its bound: ends for a store that lost them,
 * the pace of chats, tokens, connections. */
#include "bosshi/bosshi_api.h"
#include "finals.h"
#include "metrics/metrics.h"
#include "support_fetch.h"
#include "support_store.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int64_t metric_named(const char *name)
{
    char line[128];
    struct buf text;
    buf_init(&text, 1 << 20);
    metrics_write(&text);
    snprintf(line, sizeof(line), "\n%s ", name);
    const char *found = memmem(text.ptr, text.len, line, strlen(line));
    assert_non_null(found);
    int64_t value = strtoll(found + strlen(line), NULL, 10);
    buf_free(&text);
    return value;
}

/* --- ends --- */

static struct store_stream stream_named(const char *id)
{
    return (struct store_stream){.id = bytes_of_str(id),
                                 .bot = BYTES_LIT("b"),
                                 .start_at_ms = 1,
                                 .deadline_at_ms = 1000,
                                 .ttl_ms = 600000};
}

static void add(struct finals *f, const char *id, size_t text_bytes, int64_t now_ms)
{
    char text[1000];
    struct store_stream stream = stream_named(id);
    memset(text, 't', sizeof(text));
    finals_add(f, &stream, 7, REASON_DONE, bytes_of(text, text_bytes), now_ms);
}

static bool is_written(struct rig *rig, const char *id)
{
    struct store_stream stream = stream_named(id);
    return rig_read(rig, &stream).state == STREAM_FINAL;
}

static bool is_store_still(void *arg)
{
    return ((struct rig *)arg)->store && metric_named("botbridge_store_outstanding") == 0;
}

static void test_the_oldest_ends_go_first(void **state)
{
    (void)state;
    static const char *const ids[] = {"one", "two", "three", "four", "five"};
    struct test_redis *redis = test_redis_start(NULL);
    struct rig *rig = rig_new(test_redis_url(redis));
    struct finals f;
    finals_init(&f, 3, 100000);
    for (size_t i = 0; i < 5; i++)
        add(&f, ids[i], 4, (int64_t)i);
    assert_int_equal(f.count, 3);
    finals_write(&f, rig->store, 1000);
    assert_true(rig_run(rig, is_store_still, rig, 5000));
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(is_written(rig, ids[i]), i >= 2);
    finals_free(&f);
    rig_free(rig);
    test_redis_stop(redis);
}

static void test_ends_are_bounded_in_bytes_and_time(void **state)
{
    (void)state;
    struct finals f;
    finals_init(&f, 100, 2500);
    for (int64_t i = 0; i < 5; i++)
        add(&f, "id", 1000, i);
    assert_int_equal(f.count, 2);
    assert_true(f.bytes <= f.max_bytes);
    finals_expire(&f, 3 + FINALS_KEPT_MS);
    assert_int_equal(f.count, 1);
    finals_expire(&f, 4 + FINALS_KEPT_MS);
    assert_int_equal(f.count, 0);
    assert_int_equal(f.bytes, 0);
    finals_free(&f);
}

/* --- chats and tokens --- */

struct scene {
    struct loop *loop;
    struct fetch_pool *pool;
    struct bosshi_api *api;
    struct config_bosshi app;
    size_t outcomes;
};

static int set_up(void **state)
{
    static char app_id[] = "bli_1", secret[] = "s", base[] = "http://127.0.0.1:1", path[] = "/";
    struct scene *s = BRG_NEW(struct scene);
    struct fetch_options options = {.max_idle_connections = 1};
    s->loop = loop_new();
    s->pool = fetch_pool_new(s->loop, &options);
    s->api = bosshi_api_new(s->loop, s->pool);
    bosshi_api_limit(s->api, 2, 2);
    s->app = (struct config_bosshi){
        .keys = {.app_id = app_id},
        .app_secret = secret,
        .api_base = base,
        .token_path = path,
        .send_path = path,
        .reply_path = path,
        .update_path = path,
        .token_with_tenant = true,
        .chat_interval_ms = 60000,
        .api_connect_timeout_ms = 1000,
        .api_timeout_ms = 1000,
    };
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    bosshi_api_free(s->api);
    fetch_pool_free(s->pool);
    loop_free(s->loop);
    free(s);
    return 0;
}

static void test_the_chat_unused_for_longest_loses_its_pace(void **state)
{
    struct scene *s = *state;
    int64_t soon_ms = loop_now_ms(s->loop) + s->app.chat_interval_ms / 2;
    (void)bosshi_pace(s->api, &s->app, BYTES_LIT("a"));
    (void)bosshi_pace(s->api, &s->app, BYTES_LIT("b"));
    assert_true(bosshi_pace(s->api, &s->app, BYTES_LIT("a")) > soon_ms);
    (void)bosshi_pace(s->api, &s->app, BYTES_LIT("c"));
    assert_int_equal(metric_named("botbridge_worker_bosshi_chats"), 2);
    assert_int_equal(metric_named("botbridge_worker_bosshi_chats_limit"), 2);
    assert_true(bosshi_pace(s->api, &s->app, BYTES_LIT("a")) > soon_ms);
    assert_true(bosshi_pace(s->api, &s->app, BYTES_LIT("b")) < soon_ms);
}

static void on_outcome(const struct bosshi_result *result, void *arg)
{
    struct scene *s = arg;
    assert_int_equal(result->outcome, BOSSHI_CALL_RETRY);
    s->outcomes++;
    loop_stop(s->loop);
}

static void call_for(struct scene *s, const char *tenant)
{
    struct bosshi_outgoing m = {
        .content = BYTES_LIT("{}"), .receive_id = BYTES_LIT("o"), .uuid = BYTES_LIT("u")};
    size_t before = s->outcomes;
    (void)bosshi_send(s->api, &s->app, bytes_of_str(tenant), &m, on_outcome, s);
    loop_run(s->loop);
    assert_int_equal(s->outcomes, before + 1);
}

static void test_tokens_nobody_waits_for_are_forgotten(void **state)
{
    struct scene *s = *state;
    static const char *const tenants[] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < 5; i++) {
        call_for(s, tenants[i]);
        assert_true(metric_named("botbridge_worker_bosshi_tokens") <= 2);
    }
    assert_int_equal(metric_named("botbridge_worker_bosshi_tokens"), 1);
    assert_int_equal(metric_named("botbridge_worker_bosshi_tokens_limit"), 2);
}

/* --- connections --- */

static bool is_idle_count_kept(void *arg)
{
    (void)arg;
    return metric_named("botbridge_fetch_connections") == 2;
}

static void test_few_idle_connections_are_kept(void **state)
{
    enum { AT_ONCE = 5 };
    struct fetch_fixture *f = *state;
    struct transfer t[AT_ONCE] = {0};
    char url[128];
    snprintf(url, sizeof(url), "%s/stream", f->base);
    fetch_pool_free(f->pool);
    f->pool = fetch_pool_new(f->loop, &(struct fetch_options){.max_idle_connections = 2});
    for (size_t i = 0; i < AT_ONCE; i++)
        transfer_begin(&t[i], f, &(struct fetch_request){.url = url});
    while (f->stream_count < AT_ONCE)
        run_turns(f, 1);
    assert_int_equal(metric_named("botbridge_fetch_connections"), AT_ONCE);
    assert_int_equal(metric_named("botbridge_fetch_connections_limit"), AT_ONCE + 2);
    for (size_t i = 0; i < AT_ONCE; i++)
        http_stream_end(f->streams[i]);
    loop_until(f->loop, is_all_done, f);
    loop_until(f->loop, is_idle_count_kept, f);
    assert_int_equal(metric_named("botbridge_fetch_connections_limit"), 2);
    for (size_t i = 0; i < AT_ONCE; i++)
        transfer_end(&t[i]);
    fetch_pool_free(f->pool);
    f->pool = NULL;
    assert_int_equal(metric_named("botbridge_fetch_connections"), 0);
}

#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_oldest_ends_go_first),
        cmocka_unit_test(test_ends_are_bounded_in_bytes_and_time),
        SCENE_TEST(test_the_chat_unused_for_longest_loses_its_pace),
        SCENE_TEST(test_tokens_nobody_waits_for_are_forgotten),
        FETCH_TEST(test_few_idle_connections_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
