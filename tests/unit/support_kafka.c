#include "support_kafka.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int script(const char *verb, const char *dir, const char *nodes, int out_fd)
{
    pid_t pid = fork();
    BRG_CHECK(pid >= 0);
    if (pid == 0) {
        dup2(out_fd, STDOUT_FILENO);
        execl(BOTBRIDGE_SOURCE_DIR "/tests/kafka.sh", "kafka.sh", verb, dir, nodes,
              (char *)NULL);
        _exit(127);
    }
    int status = 0;
    BRG_CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void remove_tree(const char *dir)
{
    pid_t pid = fork();
    BRG_CHECK(pid >= 0);
    if (pid == 0) {
        execlp("rm", "rm", "-rf", dir, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

/* The guard holds the reading end of a pipe whose writing end only the test has: its end of
 * file is the test's end. In its own session, so that an interrupt at the terminal leaves it
 * alive. */
static void guard(const char *dir, int fd)
{
    char byte;
    setsid();
    while (read(fd, &byte, 1) > 0)
        ;
    script("stop", dir, NULL, STDOUT_FILENO);
    remove_tree(dir);
    _exit(0);
}

static void start_guard(struct kafka *k)
{
    int fds[2];
    BRG_CHECK(pipe2(fds, O_CLOEXEC) == 0);
    k->guard = fork();
    BRG_CHECK(k->guard >= 0);
    if (k->guard == 0) {
        close(fds[1]);
        guard(k->dir, fds[0]);
    }
    close(fds[0]);
    k->guard_fd = fds[1];
}

static bool has_java(void)
{
    return system("command -v java >/dev/null 2>&1") == 0;
}

static void read_answer(struct kafka *k, int fd)
{
    char line[512];
    ssize_t len = 0;
    for (;;) {
        ssize_t n = read(fd, line + len, sizeof line - 1 - (size_t)len);
        if (n <= 0)
            break;
        len += n;
    }
    line[len] = '\0';
    char *servers = strstr(line, "bootstrap.servers=");
    char *pid = strstr(line, " pid=");
    BRG_CHECK(servers && pid);
    *pid = '\0';
    snprintf(k->servers, sizeof k->servers, "%s", servers + strlen("bootstrap.servers="));
    k->pid = (pid_t)strtol(pid + strlen(" pid="), NULL, 10);
}

bool kafka_start(struct kafka *k, int nodes)
{
    if (!has_java()) {
        fprintf(stderr, "\n*** NO JAVA: TESTS ON APACHE KAFKA ARE SKIPPED ***\n\n");
        return false;
    }
    snprintf(k->dir, sizeof k->dir, "/tmp/botbridge-kafka-XXXXXX");
    BRG_CHECK(mkdtemp(k->dir));
    start_guard(k);
    char count[8];
    snprintf(count, sizeof count, "%d", nodes);
    int fds[2];
    BRG_CHECK(pipe2(fds, O_CLOEXEC) == 0);
    int status = script("start", k->dir, count, fds[1]);
    close(fds[1]);
    BRG_CHECK(status == 0);
    read_answer(k, fds[0]);
    close(fds[0]);
    k->setting = (struct bus_setting){"bootstrap.servers", k->servers};
    k->options = (struct bus_options){"test", &k->setting, 1};
    return true;
}

void kafka_stop(struct kafka *k)
{
    close(k->guard_fd);
    waitpid(k->guard, NULL, 0);
}

void kafka_freeze(struct kafka *k)
{
    BRG_CHECK(kill(k->pid, SIGSTOP) == 0);
}

void kafka_thaw(struct kafka *k)
{
    BRG_CHECK(kill(k->pid, SIGCONT) == 0);
}

void kafka_topics(struct kafka *k, const char *prefix, int partitions, int replication)
{
    enum { DAY_MS = 86400000, REPORT_BYTES = 4096 };
    struct bus_topics_plan plan = {partitions, replication, DAY_MS, DAY_MS};
    struct brg_error error = {0};
    struct buf report;
    buf_init(&report, REPORT_BYTES);
    if (bus_topics_create(&k->options, prefix, &plan, &report, &error) != BRG_OK) {
        fprintf(stderr, "topics: %s\n", error.text);
        abort();
    }
    buf_free(&report);
}

struct wait {
    struct loop *loop;
    struct loop_turn *turn;
    struct wheel_timer timer;
    const bool *flag;
    const size_t *count;
    size_t want;
    bool is_over;
};

static bool is_met(const struct wait *w)
{
    return (w->flag && *w->flag) || (w->count && *w->count >= w->want);
}

static bool on_turn(void *arg)
{
    struct wait *w = arg;
    if (is_met(w))
        loop_stop(w->loop);
    return false;
}

static void on_time(struct wheel_timer *timer, void *arg)
{
    (void)timer;
    struct wait *w = arg;
    w->is_over = true;
    loop_stop(w->loop);
}

static bool run_wait(struct wait *w, int64_t timeout_ms)
{
    if (is_met(w))
        return true;
    w->turn = loop_turn_new(w->loop, on_turn, w);
    wheel_timer_init(&w->timer, on_time, w);
    loop_timer_set(w->loop, &w->timer, timeout_ms);
    loop_run(w->loop);
    loop_timer_cancel(w->loop, &w->timer);
    loop_turn_free(w->turn);
    return is_met(w);
}

bool run_until(struct loop *loop, const bool *flag, int64_t timeout_ms)
{
    struct wait w = {.loop = loop, .flag = flag};
    return run_wait(&w, timeout_ms);
}

bool run_until_count(struct loop *loop, const size_t *count, size_t want, int64_t timeout_ms)
{
    struct wait w = {.loop = loop, .count = count, .want = want};
    return run_wait(&w, timeout_ms);
}
