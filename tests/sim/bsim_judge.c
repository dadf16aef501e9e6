#include "bsim_judge.h"

struct bytes bsim_settled(struct bytes text)
{
    static const char fence[] = "```";
    struct bytes t = text;
    for (;;) {
        while (t.len > 0 && strchr(" \t\r\n", t.ptr[t.len - 1]))
            t.len--;
        if (t.len < 3 || memcmp(t.ptr + t.len - 3, fence, 3) != 0)
            break;
        t.len -= 3;
    }
    return t;
}

static bool is_known(const struct bsim_judge *j, const struct bsim_message *m)
{
    for (size_t i = 0; i < j->count; i++)
        if (j->messages[i] == m)
            return true;
    return false;
}

static struct bytes shown(const struct bsim_message *m)
{
    return buf_bytes(m->edit_count > 0 ? &m->edits[m->edit_count - 1].text : &m->text);
}

static bool check_new(const struct bsim_judge *j, char reason[160])
{
    const struct bsim_message *before = j->messages[j->count - 1];
    int64_t length = bsim_length(j->settings, shown(before));
    bool is_card = bsim_type_of(bytes_of_str(before->msg_type)) == BSIM_TYPE_CARD;
    int64_t limit = is_card ? j->settings->card_limit : j->settings->text_limit;
    if (2 * length >= limit)
        return true; /* a long answer goes on */
    snprintf(reason, 160, "a second message, with room for %lld more in the one before",
             (long long)(limit - length));
    return false;
}

static bool check_edit(const struct bsim_message *m, char reason[160])
{
    size_t last = m->edit_count - 1;
    if (last == 0)
        return true;
    struct bytes before = bsim_settled(buf_bytes(&m->edits[last - 1].text));
    struct bytes now = buf_bytes(&m->edits[last].text);
    if (bytes_starts_with(now, before))
        return true;
    snprintf(reason, 160, "edit %zu does not begin with what was shown: %zu bytes after %zu",
             m->edit_count, now.len, before.len);
    return false;
}

bool bsim_judge_note(struct bsim_judge *j, const struct bsim_message *m, char reason[160])
{
    bool is_good = true;
    if (m->edit_count > 0)
        return check_edit(m, reason);
    if (is_known(j, m))
        return true;
    if (j->count > 0)
        is_good = check_new(j, reason);
    if (j->count < BSIM_JUDGED_MAX)
        j->messages[j->count++] = m;
    return is_good;
}
