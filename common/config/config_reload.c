#include "config/config.h"
#include "log/log.h"

static void log_mistakes(struct bytes report)
{
    while (report.len > 0) {
        const char *end = memchr(report.ptr, '\n', report.len);
        size_t len = end ? (size_t)(end - report.ptr) : report.len;
        if (len > 0)
            log_error("config", "reload_refused", "mistake=\"" BYTES_FMT "\"", (int)len,
                      report.ptr);
        len += end != NULL;
        report = bytes_of(report.ptr + len, report.len - len);
    }
}

static void warn_of_restart(const struct config *before, const struct config *after)
{
    struct buf keys;
    buf_init(&keys, CONFIG_REPORT_MAX_BYTES);
    config_restart_keys(before, after, &keys);
    if (keys.len > 0)
        log_warn("config", "needs_restart", "keys=\"" BYTES_FMT "\"", BYTES_ARG(keys));
    buf_free(&keys);
}

void config_set_log_level(const struct config *c)
{
    enum log_level level;
    if (log_level_from(bytes_of_str(c->log.level), &level))
        log_set_level(level);
}

bool config_reload(struct config **current, const char *path)
{
    struct buf report;
    buf_init(&report, CONFIG_REPORT_MAX_BYTES);
    struct config *fresh = config_load(path, &report);
    if (fresh) {
        warn_of_restart(*current, fresh);
        config_set_log_level(fresh);
        log_info("config", "reloaded", "bots=%zu pipelines=%zu", fresh->bot_count,
                 fresh->pipeline_count);
        config_unref(*current);
        *current = fresh;
    } else {
        log_mistakes(buf_bytes(&report));
    }
    buf_free(&report);
    return fresh != NULL;
}
