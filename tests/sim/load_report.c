#include "load_report.h"

#define BUSY_SHARE 0.85 /* running or wanting to run */

static double per_second(uint64_t count, int64_t ms)
{
    return ms > 0 ? (double)count * 1000.0 / (double)ms : 0.0;
}

static void print_latency(FILE *out, const char *name, const struct hist *h)
{
    static const unsigned permille[] = {500, 900, 990};
    fprintf(out, "%-22s %10llu", name, (unsigned long long)h->count);
    for (size_t i = 0; i < sizeof(permille) / sizeof(permille[0]); i++) {
        if (h->count == 0)
            fprintf(out, " %11s", "-");
        else
            fprintf(out, " %11.2f", (double)hist_quantile(h, permille[i]) / 1000.0);
    }
    if (h->count == 0)
        fprintf(out, " %11s\n", "-");
    else
        fprintf(out, " %11.2f\n", (double)h->max / 1000.0);
}

static void print_counts(FILE *out, const struct load_plan *plan, const struct load_result *r)
{
    uint64_t known = r->accepted + r->refused;
    fprintf(out, "messages   sent %llu, accepted %llu, busy %llu, errors %llu\n",
            (unsigned long long)r->sent, (unsigned long long)r->accepted,
            (unsigned long long)r->refused, (unsigned long long)r->unanswered);
    if (r->skipped > 0)
        fprintf(out, "           NOT sent: %llu, because %d streams were open already\n",
                (unsigned long long)r->skipped, LOAD_OPEN_MAX);
    if (!plan->is_message_only)
        fprintf(out, "streams    finished %llu, still open at the end %llu\n",
                (unsigned long long)r->finished, (unsigned long long)r->unfinished);
    else if (r->unfinished > 0)
        fprintf(out, "           not answered yet at the end: %llu\n",
                (unsigned long long)r->unfinished);
    fprintf(out, "refreshes  answered %llu\n", (unsigned long long)r->refreshes);
    fprintf(out, "repeats    %llu deliveries failed and were repeated\n",
            (unsigned long long)r->repeats);
    fprintf(out, "rates      %.1f messages/s answered, %.1f refreshes/s, over %.1f s\n",
            per_second(known, r->sending_ms),
            per_second(r->refreshes_while_sending, r->sending_ms),
            (double)r->sending_ms / 1000.0);
}

static void print_latencies(FILE *out, const struct load_plan *plan,
                            const struct load_result *r)
{
    fprintf(out, "\n%-22s %10s %11s %11s %11s %11s\n", "latency in ms", "count", "p50", "p90",
            "p99", "max");
    print_latency(out, "first reply", &r->first_reply_us);
    if (!plan->is_message_only) {
        print_latency(out, "refresh", &r->refresh_us);
        print_latency(out, "first text *", &r->first_text_us);
        print_latency(out, "finish *", &r->finish_us);
    }
    if (plan->rate > 0)
        fputs(
            "\nCounted from the moment a message was to leave, not from when it left: waiting "
            "behind\na stalled bot is included (no coordinated omission).\n",
            out);
    else
        fputs("\nClosed loop: a slow bot is asked less often; for latencies under a given load "
              "use --rate.\n",
              out);
    if (!plan->is_message_only)
        fputs("* since the message, as seen in refreshes: up to one poll interval late.\n",
              out);
}

static void print_wrong(FILE *out, const struct load_result *r)
{
    fprintf(out, "\nbroken rules  %llu\n", (unsigned long long)r->broken);
    for (uint64_t i = 0; i < r->broken && i < LOAD_BROKEN_SHOWN; i++)
        fprintf(out, "    %s\n", r->broken_reasons[i]);
    if (r->unanswered > 0)
        fprintf(out, "first error   %s\n", r->unanswered_reason);
}

void load_report(FILE *out, const struct load_plan *plan, const struct load_result *r)
{
    if (r->is_interrupted)
        fputs("INTERRUPTED: figures up to then\n", out);
    print_counts(out, plan, r);
    print_latencies(out, plan, r);
    print_wrong(out, r);
    fprintf(
        out,
        "\nsimulator     %.0f %% of one core, waited for a core %.0f %% of the time, slowest "
        "turn %lld ms\n",
        r->cpu_share * 100.0, r->wait_share * 100.0, (long long)r->slowest_turn_ms);
    if (r->cpu_share + r->wait_share > BUSY_SHARE)
        fputs("              BUSY: these are rather the limits of the simulator or of this "
              "machine\n              than the bot's\n",
              out);
}
