#include "config/config_keys.h"

struct config *config_new(void)
{
    struct config *c = BRG_NEW(struct config);
    c->references = 1;
    for (const struct config_group *g = config_groups; g < config_groups_end(); g++) {
        if (g->kind == GROUP_SECTION)
            config_fields_init(g, c);
    }
    return c;
}

static int by_name(const void *a, const void *b)
{
    const struct config_bot *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

void config_finish(struct config *c)
{
    c->bots_by_name = brg_calloc(c->bot_count, sizeof(const struct config_bot *));
    for (size_t i = 0; i < c->bot_count; i++)
        c->bots_by_name[i] = &c->bots[i];
    qsort(c->bots_by_name, c->bot_count, sizeof(const struct config_bot *), by_name);
    for (size_t i = 0; i < c->bot_count; i++)
        if (c->bots[i].platform == PLATFORM_BOSSHI)
            bosshi_keys_derive(&c->bots[i].bosshi.keys);
    if (*c->worker.group == 0) {
        struct buf name;
        buf_init(&name, 128);
        buf_printf(&name, "%s.worker", c->kafka.topic_prefix);
        free(c->worker.group);
        c->worker.group = bytes_dup(buf_bytes(&name));
        buf_free(&name);
    }
}

struct config *config_ref(struct config *c)
{
    c->references++;
    return c;
}

static void free_kind(enum group_kind kind, void *base)
{
    for (const struct config_group *g = config_groups; g < config_groups_end(); g++) {
        if (g->kind == kind)
            config_fields_free(g, base);
    }
}

void config_unref(struct config *c)
{
    if (!c || --c->references > 0)
        return;
    for (size_t i = 0; i < c->bot_count; i++) {
        struct bosshi_keys *keys = &c->bots[i].bosshi.keys;
        crypto_wipe(keys->aes_keys, sizeof keys->aes_keys);
        free_kind(GROUP_BOT, &c->bots[i]);
    }
    for (size_t i = 0; i < c->pipeline_count; i++) {
        free_kind(GROUP_PIPELINE, &c->pipelines[i]);
        free(c->pipelines[i].name);
    }
    for (size_t i = 0; i < c->kafka.setting_count; i++) {
        free(c->kafka.settings[i].name);
        config_text_free(c->kafka.settings[i].value);
    }
    free_kind(GROUP_SECTION, c);
    free(c->kafka.settings);
    free(c->bots_by_name);
    free(c->bots);
    free(c->pipelines);
    free(c);
}

const struct config_bot *config_bot(const struct config *c, struct bytes name)
{
    size_t low = 0, high = c->bot_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct config_bot *bot = c->bots_by_name[middle];
        size_t len = strlen(bot->name), common = len < name.len ? len : name.len;
        int order = common > 0 ? memcmp(bot->name, name.ptr, common) : 0;
        if (order == 0 && len == name.len)
            return bot;
        if (order < 0 || (order == 0 && len < name.len))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
