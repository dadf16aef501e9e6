#include "fetch/fetch.h"

#include "base/clock.h"
#include "base/list.h"
#include "fetch/fetch_head.h"
#include "fetch/fetch_origin.h"
#include "fetch/fetch_sockets.h"
#include "log/log.h"
#include "metrics/metrics.h"

#include <curl/curl.h>

enum {
    DEFAULT_CONNECT_MS = 5000,
    SPARE_HANDLES = 256,
    STARTS_A_TURN = 128, /* a connect each: more would hold up the others on the loop */
    /* A peer that vanished is found out by the kernel; silence alone is no fault here, how long
     * a stream may be silent is the caller's to say. */
    KEEPALIVE_IDLE_S = 30,
    KEEPALIVE_INTERVAL_S = 10,
    DETAIL_BYTES = 256,
    /* Every transfer has its own. Answers come in pieces of a few hundred bytes: with libcurl's
     * 16 KB, 10,000 streams took 32 MB more. */
    RECEIVE_BUFFER_BYTES = 2048,
    SEND_BUFFER_BYTES = 16384, /* the least that it takes; only TLS uses it */
};

enum fetch_state {
    FETCH_STARTING, /* in pool->starting: libcurl does not know it yet */
    FETCH_RUNNING,  /* in pool->running, added to the multi handle */
    FETCH_DROPPED,  /* cancelled; in pool->dropped, freed by the turn hook */
    FETCH_FINISHED, /* on_done is being called, then the same */
};

struct fetch {
    struct list node;
    struct fetch_pool *pool;
    enum fetch_state state;
    bool is_added;
    CURL *easy;
    struct curl_slist *headers;
    struct fetch_callbacks callbacks;
    void *arg;
    struct head_reader head;
    size_t received;
    size_t max_body_bytes;
    int64_t total_timeout_ms;
    bool is_too_large;
    bool is_unusable;      /* the request cannot be sent as it is */
    bool is_fresh;         /* as the caller asked */
    bool is_once;          /* as the caller asked */
    bool is_sent;          /* perhaps in part */
    bool is_private;       /* an address was refused (public_only) */
    struct origin *origin; /* NULL when not counted */
    char error[CURL_ERROR_SIZE];
};

struct fetch_pool {
    struct loop *loop;
    CURLM *multi;
    CURLSH *share;
    char *ca_file;
    struct loop_turn *turn;
    struct wheel_timer timer; /* libcurl's */
    struct wheel_timer wake;  /* makes the loop come round to the turn hook */
    struct list starting;
    struct list running;
    struct list dropped;
    size_t count;
    int alive; /* transfers that libcurl has not ended */
    struct map origins;
    unsigned max_idle;
    long max_connects; /* as libcurl was told */
    CURL *spare[SPARE_HANDLES];
    size_t spare_count;
};

/* One watched descriptor of libcurl. */
struct fetch_socket {
    struct fetch_pool *pool;
    struct loop_fd *watcher;
    curl_socket_t fd;
};

static struct metric transfers[] = {
#define TRANSFERS(name) \
    METRIC(METRIC_COUNTER, "botbridge_fetch_total", "result=\"" name "\"", "Requests made")
    [FETCH_OK] = TRANSFERS("ok"),
    [FETCH_CONNECT] = TRANSFERS("connect"),
    [FETCH_CUT] = TRANSFERS("cut"),
    [FETCH_TIMEOUT] = TRANSFERS("timeout"),
    [FETCH_TOO_LARGE] = TRANSFERS("too_large"),
    [FETCH_BAD_REQUEST] = TRANSFERS("bad_request"),
    [FETCH_NOT_PUBLIC] = TRANSFERS("not_public"),
};
static struct metric running =
    METRIC(METRIC_GAUGE, "botbridge_fetch_running", NULL, "Requests under way");

/* Everything that adds or removes transfers happens in the turn hook, outside libcurl's
 * callbacks. */
static void wake(struct fetch_pool *pool)
{
    loop_timer_set(pool->loop, &pool->wake, 0);
}

static void on_wake(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    (void)arg;
}

/* libcurl's limit is of all connections, busy ones too, and it looks at it when a transfer
 * ends: the others are busy then. It closes one at a time, so the limit follows every step. 0
 * would be a default of its own. */
static void keep_room_for_idle(struct fetch_pool *pool, int alive)
{
    long others = alive > 0 ? alive - 1 : 0;
    long wanted = others + (long)pool->max_idle;
    if (wanted == 0)
        wanted = 1;
    sockets_set_limit(alive > 0 ? wanted + 1 : wanted);
    if (wanted == pool->max_connects)
        return;
    pool->max_connects = wanted;
    (void)curl_multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, wanted);
}

static void act(struct fetch_pool *pool, curl_socket_t fd, int events)
{
    int still_running = 0;
    CURLMcode code = curl_multi_socket_action(pool->multi, fd, events, &still_running);
    if (code != CURLM_OK)
        log_error("fetch", "libcurl", "detail=\"%s\"", curl_multi_strerror(code));
    pool->alive = still_running;
    keep_room_for_idle(pool, still_running);
}

static void on_socket_event(struct loop_fd *watcher, unsigned events, void *arg)
{
    struct fetch_socket *socket = arg;
    (void)watcher;
    int what = events & LOOP_READ ? CURL_CSELECT_IN : 0;
    what |= events & LOOP_WRITE ? CURL_CSELECT_OUT : 0;
    act(socket->pool, socket->fd, what);
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *arg, void *per_socket)
{
    struct fetch_pool *pool = arg;
    struct fetch_socket *socket = per_socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (socket)
            loop_fd_free(socket->watcher);
        free(socket);
        (void)curl_multi_assign(pool->multi, fd, NULL);
        return 0;
    }
    if (!socket) {
        socket = BRG_NEW(struct fetch_socket);
        socket->pool = pool;
        socket->fd = fd;
        socket->watcher = loop_fd_new(pool->loop, fd, on_socket_event, socket);
        (void)curl_multi_assign(pool->multi, fd, socket);
    }
    unsigned events = what & CURL_POLL_IN ? (unsigned)LOOP_READ : 0;
    events |= what & CURL_POLL_OUT ? (unsigned)LOOP_WRITE : 0;
    loop_fd_watch(socket->watcher, events);
    return 0;
}

static void on_timer(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *arg)
{
    struct fetch_pool *pool = arg;
    (void)multi;
    if (timeout_ms < 0)
        loop_timer_cancel(pool->loop, &pool->timer);
    else
        loop_timer_set(pool->loop, &pool->timer, timeout_ms);
    return 0;
}

static CURL *take_handle(struct fetch_pool *pool)
{
    if (pool->spare_count > 0)
        return pool->spare[--pool->spare_count];
    CURL *easy = curl_easy_init();
    BRG_CHECK(easy);
    return easy;
}

static void give_handle(struct fetch_pool *pool, CURL *easy)
{
    if (pool->spare_count == SPARE_HANDLES) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    pool->spare[pool->spare_count++] = easy;
}

static void fetch_free(struct fetch *f)
{
    struct fetch_pool *pool = f->pool;
    if (f->is_added)
        (void)curl_multi_remove_handle(pool->multi, f->easy);
    give_handle(pool, f->easy);
    curl_slist_free_all(f->headers);
    free(f);
}

static bool is_live(const struct fetch *f)
{
    return f->state == FETCH_RUNNING;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct fetch *f = arg;
    size_t len = size * count;
    if (!is_live(f))
        return 0;
    if (head_reader_line(&f->head, bytes_of(data, len)) && f->callbacks.on_head)
        f->callbacks.on_head(&f->head.head, f->arg);
    return is_live(f) ? len : 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct fetch *f = arg;
    size_t len = size * count;
    if (!is_live(f))
        return 0;
    f->received += len;
    if (f->max_body_bytes > 0 && f->received > f->max_body_bytes) {
        f->is_too_large = true;
        return 0;
    }
    if (f->callbacks.on_data)
        f->callbacks.on_data(bytes_of(data, len), f->arg);
    return is_live(f) ? len : 0;
}

/* Before each time that libcurl sends the request: again when a kept connection ended without a
 * byte of an answer. */
static int on_send(void *arg, char *to, char *from, int to_port, int from_port)
{
    struct fetch *f = arg;
    (void)to, (void)from, (void)to_port, (void)from_port;
    if (f->is_sent && f->is_once)
        return CURL_PREREQFUNC_ABORT;
    f->is_sent = true;
    return CURL_PREREQFUNC_OK;
}

static enum fetch_result result_of_timeout(const struct fetch *f)
{
    curl_off_t total_us = 0;
    (void)curl_easy_getinfo(f->easy, CURLINFO_TOTAL_TIME_T, &total_us);
    bool is_over = f->total_timeout_ms > 0 && total_us / 1000 >= f->total_timeout_ms - 1;
    return f->is_sent || is_over ? FETCH_TIMEOUT : FETCH_CONNECT;
}

static enum fetch_result result_of(const struct fetch *f, CURLcode code)
{
    if (f->is_too_large)
        return FETCH_TOO_LARGE;
    if (f->is_private && code == CURLE_COULDNT_CONNECT)
        return FETCH_NOT_PUBLIC;
    switch (code) {
    case CURLE_OK: /* also when the connection ended inside the head */
        return f->head.is_complete ? FETCH_OK : FETCH_CUT;
    case CURLE_OPERATION_TIMEDOUT:
        return result_of_timeout(f);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_INTERFACE_FAILED: /* the connection of a repeat, perhaps */
        return f->is_sent ? FETCH_CUT : FETCH_CONNECT;
    case CURLE_URL_MALFORMAT:
        return FETCH_BAD_REQUEST;
    case CURLE_UNSUPPORTED_PROTOCOL: /* the URL's scheme, or an answer that is not HTTP/1 */
        return f->is_sent ? FETCH_CUT : FETCH_BAD_REQUEST;
    default:
        return FETCH_CUT;
    }
}

/* libcurl's texts name hosts and ports; should one ever carry a target, it ends before the
 * query. */
static void write_detail(const struct fetch *f, CURLcode code, enum fetch_result result,
                         char out[DETAIL_BYTES])
{
    const char *text = f->error[0] ? f->error : curl_easy_strerror(code);
    if (result == FETCH_OK)
        text = "";
    else if (result == FETCH_TOO_LARGE)
        text = "body over the limit";
    else if (code == CURLE_OK)
        text = "connection closed inside the head";
    else if (code == CURLE_ABORTED_BY_CALLBACK)
        text = "kept connection closed without an answer";
    else if (f->is_unusable)
        text = "URL or header with control characters";
    else if (result == FETCH_BAD_REQUEST)
        text = curl_easy_strerror(code);
    (void)snprintf(out, DETAIL_BYTES, "%.*s", (int)strcspn(text, "?\r\n"), text);
}

static void finish(struct fetch *f, CURLcode code)
{
    enum fetch_result result = f->is_unusable ? FETCH_BAD_REQUEST : result_of(f, code);
    char detail[DETAIL_BYTES];
    write_detail(f, code, result, detail);
    metric_add(&transfers[result], 1);
    metric_add(&running, -1);
    f->pool->count--;
    f->state = FETCH_FINISHED;
    list_remove(&f->node);
    if (result == FETCH_OK)
        origin_release(f->origin);
    if (f->callbacks.on_done)
        f->callbacks.on_done(result, detail, f->arg);
    list_push_back(&f->pool->dropped, &f->node);
}

static void add(struct fetch *f)
{
    struct fetch_pool *pool = f->pool;
    if (f->is_unusable) {
        finish(f, CURLE_URL_MALFORMAT);
        return;
    }
    bool is_fresh = f->is_fresh || !origin_claim(f->origin);
    (void)curl_easy_setopt(f->easy, CURLOPT_FRESH_CONNECT, is_fresh ? 1L : 0L);
    list_push_back(&pool->running, &f->node);
    f->state = FETCH_RUNNING;
    f->is_added = true;
    BRG_CHECK(curl_multi_add_handle(pool->multi, f->easy) == CURLM_OK);
    keep_room_for_idle(pool, ++pool->alive);
}

/* What is started meanwhile goes to the end and may wait for the next turn. */
static void start_waiting(struct fetch_pool *pool)
{
    for (unsigned i = 0; i < STARTS_A_TURN; i++) {
        struct list *node = list_pop_front(&pool->starting);
        if (!node)
            return;
        add(LIST_ENTRY(node, struct fetch, node));
    }
}

static void free_dropped(struct fetch_pool *pool)
{
    struct list *next;
    for (struct list *node = pool->dropped.next; node != &pool->dropped; node = next) {
        next = node->next;
        fetch_free(LIST_ENTRY(node, struct fetch, node));
    }
    list_init(&pool->dropped);
}

static void finish_done(struct fetch_pool *pool)
{
    int left;
    CURLMsg *message;
    for (message = curl_multi_info_read(pool->multi, &left); message;
         message = curl_multi_info_read(pool->multi, &left)) {
        struct fetch *f = NULL;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&f);
        if (message->msg == CURLMSG_DONE && f->state == FETCH_RUNNING)
            finish(f, message->data.result);
    }
}

static bool on_turn(void *arg)
{
    struct fetch_pool *pool = arg;
    start_waiting(pool);
    finish_done(pool);
    free_dropped(pool);
    return !list_is_empty(&pool->starting);
}

static void set_always(CURL *easy, const struct fetch_pool *pool)
{
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    /* Not even from the environment: what is called is what is configured. */
    (void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "botbridge/" BOTBRIDGE_VERSION);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
    (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER_BYTES);
    (void)curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BUFFER_BYTES);
    (void)curl_easy_setopt(easy, CURLOPT_SHARE, pool->share);
    if (pool->ca_file)
        (void)curl_easy_setopt(easy, CURLOPT_CAINFO, pool->ca_file);
}

static void set_callbacks(struct fetch *f)
{
    (void)curl_easy_setopt(f->easy, CURLOPT_PRIVATE, f);
    (void)curl_easy_setopt(f->easy, CURLOPT_ERRORBUFFER, f->error);
    (void)curl_easy_setopt(f->easy, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(f->easy, CURLOPT_HEADERDATA, f);
    (void)curl_easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(f->easy, CURLOPT_WRITEDATA, f);
    (void)curl_easy_setopt(f->easy, CURLOPT_PREREQFUNCTION, on_send);
    (void)curl_easy_setopt(f->easy, CURLOPT_PREREQDATA, f);
}

static bool is_named(const char *line, struct bytes name)
{
    return strlen(line) >= name.len && bytes_eq_nocase(bytes_of(line, name.len), name);
}

static void add_header(struct fetch *f, const char *line)
{
    struct curl_slist *longer = curl_slist_append(f->headers, line);
    BRG_CHECK(longer);
    f->headers = longer;
}

static void set_headers(struct fetch *f, const struct fetch_request *request)
{
    bool has_type = false;
    for (const char *const *line = request->headers; line && *line; line++) {
        if (!head_is_clean(*line))
            f->is_unusable = true;
        has_type |= is_named(*line, BYTES_LIT("content-type:"));
        add_header(f, *line);
    }
    add_header(f, "Expect:"); /* no 100-continue: a round trip for nothing */
    if (!has_type)
        add_header(f, "Content-Type:"); /* not libcurl's idea of a form */
    (void)curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
}

static void set_method(struct fetch *f, const struct fetch_request *request)
{
    bool has_body = request->body.len > 0;
    const char *method = request->method ? request->method : has_body ? "POST" : "GET";
    bool is_post = strcmp(method, "POST") == 0;
    if (!head_is_clean(method))
        f->is_unusable = true;
    if (is_post || has_body) {
        (void)curl_easy_setopt(f->easy, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                               (curl_off_t)request->body.len);
        (void)curl_easy_setopt(f->easy, CURLOPT_COPYPOSTFIELDS,
                               has_body ? request->body.ptr : "");
    }
    if (strcmp(method, "HEAD") == 0)
        (void)curl_easy_setopt(f->easy, CURLOPT_NOBODY, 1L);
    else if (!is_post && strcmp(method, "GET") != 0)
        (void)curl_easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, method);
}

static void set_limits(struct fetch *f, const struct fetch_request *request)
{
    long connect_ms = request->connect_timeout_ms > 0 ? (long)request->connect_timeout_ms
                                                      : DEFAULT_CONNECT_MS;
    (void)curl_easy_setopt(f->easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    (void)curl_easy_setopt(f->easy, CURLOPT_TIMEOUT_MS, (long)request->total_timeout_ms);
    f->is_fresh = request->fresh_connection || request->public_only;
    f->is_once = request->send_once;
    (void)curl_easy_setopt(f->easy, CURLOPT_FORBID_REUSE, f->is_fresh ? 1L : 0L);
    if (request->public_only)
        sockets_public_only(f->easy, &f->is_private);
    else
        sockets_count(f->easy);
    f->max_body_bytes = request->max_body_bytes;
    f->total_timeout_ms = request->total_timeout_ms;
}

struct fetch *fetch_start(struct fetch_pool *pool, const struct fetch_request *request,
                          const struct fetch_callbacks *callbacks, void *arg)
{
    struct fetch *f = BRG_NEW(struct fetch);
    f->pool = pool;
    f->callbacks = *callbacks;
    f->arg = arg;
    f->easy = take_handle(pool);
    head_reader_init(&f->head, request->retry_header);
    set_always(f->easy, pool);
    set_callbacks(f);
    if (!head_is_clean(request->url) ||
        curl_easy_setopt(f->easy, CURLOPT_URL, request->url) != CURLE_OK)
        f->is_unusable = true;
    set_headers(f, request);
    set_method(f, request);
    set_limits(f, request);
    f->origin = f->is_fresh || f->is_unusable ? NULL : origin_of(&pool->origins, request->url);
    f->state = FETCH_STARTING;
    list_push_back(&pool->starting, &f->node);
    pool->count++;
    metric_add(&running, 1);
    wake(pool);
    return f;
}

void fetch_cancel(struct fetch *f)
{
    struct fetch_pool *pool = f->pool;
    if (f->state == FETCH_FINISHED || f->state == FETCH_DROPPED)
        return;
    if (f->state == FETCH_RUNNING && !f->is_sent)
        origin_release(f->origin); /* what it had claimed is still there */
    f->state = FETCH_DROPPED;
    list_remove(&f->node);
    list_push_back(&pool->dropped, &f->node);
    pool->count--;
    metric_add(&running, -1);
    wake(pool);
}

static void register_metrics(void)
{
    for (size_t i = 0; i < sizeof(transfers) / sizeof(transfers[0]); i++)
        metric_register(&transfers[i]);
    metric_register(&running);
    sockets_register_metrics();
}

struct fetch_pool *fetch_pool_new(struct loop *loop, const struct fetch_options *options)
{
    static bool is_initialised;
    if (!is_initialised)
        BRG_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    is_initialised = true;
    register_metrics();
    struct fetch_pool *pool = BRG_NEW(struct fetch_pool);
    pool->loop = loop;
    pool->max_idle = options->max_idle_connections;
    map_init(&pool->origins);
    pool->ca_file = options->ca_file ? brg_strdup(options->ca_file) : NULL;
    list_init(&pool->starting);
    list_init(&pool->running);
    list_init(&pool->dropped);
    wheel_timer_init(&pool->timer, on_timer, pool);
    wheel_timer_init(&pool->wake, on_wake, pool);
    pool->turn = loop_turn_new(loop, on_turn, pool);
    pool->multi = curl_multi_init();
    pool->share = curl_share_init();
    BRG_CHECK(pool->multi && pool->share);
    /* Names and connections are shared by the multi handle itself; TLS sessions are not. */
    (void)curl_share_setopt(pool->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    (void)curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
    (void)curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
    (void)curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    (void)curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
    keep_room_for_idle(pool, 0);
    return pool;
}

size_t fetch_pool_running(const struct fetch_pool *pool)
{
    return pool->count;
}

static void cancel_all(struct list *from)
{
    while (!list_is_empty(from))
        fetch_cancel(LIST_ENTRY(from->next, struct fetch, node));
}

void fetch_pool_free(struct fetch_pool *pool)
{
    if (!pool)
        return;
    cancel_all(&pool->starting);
    cancel_all(&pool->running);
    free_dropped(pool);
    (void)curl_multi_cleanup(pool->multi);
    while (pool->spare_count > 0)
        curl_easy_cleanup(pool->spare[--pool->spare_count]);
    (void)curl_share_cleanup(pool->share);
    loop_turn_free(pool->turn);
    loop_timer_cancel(pool->loop, &pool->timer);
    loop_timer_cancel(pool->loop, &pool->wake);
    origins_free(&pool->origins);
    free(pool->ca_file);
    free(pool);
}
