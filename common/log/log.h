/* Structured log lines on stderr: "2026-11-22T03:04:05.678Z info store connected addr=…".
 *
 * Any thread may log. A line is one write; when stderr would block the line is dropped and
 * counted (log_dropped), so logging never holds up a loop. Control characters in values come
 * out as \n, \t, \xNN, and a line ends after about 2000 bytes with "...". info is for
 * life-cycle, warn is actionable, error means lost work. Never text of messages, URLs with
 * codes, tokens or keys. A call site that repeats is limited to LOG_BURST lines a second; its
 * next line says how many were swallowed. */
#pragma once

#include "base/bytes.h"
#include "base/error.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum { LOG_BURST = 10 };

struct log_site {
    _Atomic long long second;
    _Atomic unsigned count;
};

void log_set_level(enum log_level level);
bool log_level_from(struct bytes name, enum log_level *out); /* debug info warn error */
bool log_is_on(enum log_level level);
unsigned long long log_dropped(void);

void log_line(struct log_site *site, enum log_level level, const char *module,
              const char *event, const char *fmt, ...) BRG_PRINTF(5, 6);

#define LOG_AT(level, module, event, ...)                                \
    do {                                                                 \
        static struct log_site log_site_;                                \
        if (log_is_on(level))                                            \
            log_line(&log_site_, level, module, event, " " __VA_ARGS__); \
    } while (0)

/* log_info("store", "connected", "addr=%s db=%d", addr, db): fmt is a literal of key=value
 * pairs, may be "". */
#define log_debug(module, event, ...) LOG_AT(LOG_DEBUG, module, event, __VA_ARGS__)
#define log_info(module, event, ...) LOG_AT(LOG_INFO, module, event, __VA_ARGS__)
#define log_warn(module, event, ...) LOG_AT(LOG_WARN, module, event, __VA_ARGS__)
#define log_error(module, event, ...) LOG_AT(LOG_ERROR, module, event, __VA_ARGS__)

/* "ready name=value…" on stderr, one per process life (later calls do nothing): what
 * supervisors and tests wait for. Bypasses level and format. */
void log_ready(const char *fmt, ...) BRG_PRINTF(1, 2);
