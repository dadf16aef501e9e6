/* LD_PRELOAD: each recvmsg that gets something takes RECEIVE_MS first, as over a slow line.
 * Only librdkafka receives by it, in threads of its own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    static ssize_t (*real)(int, struct msghdr *, int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "recvmsg");
    ssize_t n = real(fd, message, flags);
    if (n <= 0)
        return n;
    const char *ms = getenv("RECEIVE_MS");
    struct timespec pause = {.tv_nsec = (ms ? atol(ms) : 0) * 1000000L};
    nanosleep(&pause, NULL);
    return n;
}
