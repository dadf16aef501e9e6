#include "support_redis.h"

#include "base/clock.h"
#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000, LOOK_EVERY_MS = 2, WORDS_MAX = 64, PORTS_TRIED = 20 };

struct test_redis {
    pid_t pid; /* 0 while none runs */
    uint16_t port;
    char port_text[8];
    char url[64];
    char dir[64];
    const char *const *options;
};

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "support_redis: %s\n", what);
    abort();
}

static void wait_a_little(void)
{
    (void)poll(NULL, 0, LOOK_EVERY_MS);
}

static struct sockaddr_in address_of(uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = address_of(0);
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        give_up("no free port");
    close(fd);
    return ntohs(address.sin_port);
}

static _Noreturn void become_server(const struct test_redis *r, pid_t parent)
{
    const char *words[WORDS_MAX] = {"redis-server", "--bind", "127.0.0.1", "--port",
                                    r->port_text,   "--save", "",          "--appendonly",
                                    "no",           "--dir",  r->dir};
    size_t count = 11;
    for (size_t i = 0; r->options && r->options[i] && count < WORDS_MAX - 1; i++)
        words[count++] = r->options[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        _exit(1);
    execvp("redis-server", (char *const *)(uintptr_t)words);
    _exit(127);
}

static int try_connect(const struct test_redis *r)
{
    struct sockaddr_in address = address_of(r->port);
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        give_up("no socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* To be accepted is not enough: it listens before it has read all of its configuration. */
static bool does_serve(const struct test_redis *r)
{
    static const char ping[] = "*1\r\n$4\r\nPING\r\n";
    char first = '\0';
    int fd = try_connect(r);
    if (fd < 0)
        return false;
    bool is_answered = send(fd, ping, sizeof(ping) - 1, MSG_NOSIGNAL) > 0 &&
                       recv(fd, &first, 1, 0) == 1 && (first == '+' || first == '-');
    close(fd);
    return is_answered;
}

/* False when it ended by itself: somebody else was quicker on the port. */
static bool launch(struct test_redis *r)
{
    pid_t parent = getpid();
    r->pid = fork();
    if (r->pid < 0)
        give_up("no process");
    if (r->pid == 0)
        become_server(r, parent);
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (clock_mono_ms() < until_ms) {
        int status = 0;
        if (waitpid(r->pid, &status, WNOHANG) == r->pid) {
            r->pid = 0;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                give_up("redis-server is not installed");
            return false;
        }
        if (does_serve(r))
            return true;
        wait_a_little();
    }
    give_up("redis-server does not listen");
}

struct test_redis *test_redis_start(const char *const *options)
{
    struct test_redis *r = BRG_NEW(struct test_redis);
    r->options = options;
    snprintf(r->dir, sizeof(r->dir), "/tmp/botbridge-redis-XXXXXX");
    if (!mkdtemp(r->dir))
        give_up("no directory");
    for (int i = 0; i < PORTS_TRIED; i++) {
        r->port = free_port();
        snprintf(r->port_text, sizeof(r->port_text), "%u", (unsigned)r->port);
        snprintf(r->url, sizeof(r->url), "redis://127.0.0.1:%u/0", (unsigned)r->port);
        if (launch(r))
            return r;
    }
    give_up("redis-server ends at once");
}

void test_redis_kill(struct test_redis *r)
{
    if (r->pid == 0)
        return;
    kill(r->pid, SIGKILL);
    (void)waitpid(r->pid, NULL, 0);
    r->pid = 0;
}

void test_redis_stop(struct test_redis *r)
{
    if (!r)
        return;
    test_redis_kill(r);
    (void)rmdir(r->dir);
    free(r);
}

void test_redis_restart(struct test_redis *r)
{
    test_redis_kill(r);
    if (!launch(r))
        give_up("redis-server does not start again");
}

void test_redis_freeze(struct test_redis *r)
{
    int status = 0;
    kill(r->pid, SIGSTOP);
    if (waitpid(r->pid, &status, WUNTRACED) != r->pid || !WIFSTOPPED(status))
        give_up("redis-server does not stop");
}

void test_redis_thaw(struct test_redis *r)
{
    kill(r->pid, SIGCONT);
}

uint16_t test_redis_port(const struct test_redis *r)
{
    return r->port;
}

const char *test_redis_url(const struct test_redis *r)
{
    return r->url;
}

/* --- a blocking client, just enough --- */

static void read_line(FILE *in, char *line, int size)
{
    if (!fgets(line, size, in))
        give_up("redis-server does not answer");
    line[strcspn(line, "\r\n")] = '\0';
}

static void copy_bulk(FILE *in, FILE *out, size_t len)
{
    char *data = brg_calloc(1, len + 2);
    if (fread(data, 1, len + 2, in) != len + 2)
        give_up("redis-server breaks off");
    fwrite(data, 1, len, out);
    free(data);
}

static void copy_answer(FILE *in, FILE *out)
{
    char line[4096];
    read_line(in, line, sizeof(line));
    long n = strtol(line + 1, NULL, 10);
    if (line[0] == '$') {
        if (n >= 0)
            copy_bulk(in, out, (size_t)n);
    } else if (line[0] == '*') {
        for (long i = 0; i < n; i++) {
            copy_answer(in, out);
            fputc('\n', out);
        }
    } else {
        fputs(line[0] == '-' ? line : line + 1, out);
    }
}

char *test_redis_ask(struct test_redis *r, const char *word, ...)
{
    const char *words[WORDS_MAX];
    int count = 0;
    va_list more;
    va_start(more, word);
    for (const char *w = word; w && count < WORDS_MAX; w = va_arg(more, const char *))
        words[count++] = w;
    va_end(more);
    int fd = try_connect(r);
    FILE *stream = fd >= 0 ? fdopen(fd, "r+") : NULL;
    if (!stream)
        give_up("redis-server is not there");
    fprintf(stream, "*%d\r\n", count);
    for (int i = 0; i < count; i++)
        fprintf(stream, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    fflush(stream);
    char *answer = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&answer, &size);
    if (!out)
        give_up("no memory");
    copy_answer(stream, out);
    fclose(out);
    fclose(stream);
    return answer;
}

void test_redis_expect_done(char *answer)
{
    if (answer[0] == '-')
        give_up(answer);
    free(answer);
}
