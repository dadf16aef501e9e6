/* botbridge-broker: the embedded broker as a program of its own, for first steps without a JVM.
 */
#include "bus/bus_topics.h"
#include "loop/loop.h"

#include <getopt.h>
#include <signal.h>
#include <string.h>

struct arguments {
    unsigned long brokers;
    unsigned long partitions;
    const char *prefix;
    bool is_help;
};

static const char usage[] =
    "usage: botbridge-broker [--brokers N] [--prefix NAME] [--partitions N]\n"
    "An embedded Kafka broker with botbridge's topics (1 broker, botbridge, 12 unless told);\n"
    "nothing it holds outlives it.\n";

static bool parse_count(const char *text, unsigned long max, unsigned long *out)
{
    uint64_t value = 0;
    if (!bytes_to_u64(bytes_of_str(text), &value) || value < 1 || value > max)
        return false;
    *out = (unsigned long)value;
    return true;
}

static bool parse(int argc, char **argv, struct arguments *a)
{
    enum { BROKERS_MAX = 9, PARTITIONS_MAX = 1000, PREFIX_MAX = 200 };
    static const struct option options[] = {
        {"brokers", required_argument, NULL, 'b'},
        {"partitions", required_argument, NULL, 'p'},
        {"prefix", required_argument, NULL, 'x'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        if (option == -1)
            return optind == argc;
        bool is_good = false;
        if (option == 'b')
            is_good = parse_count(optarg, BROKERS_MAX, &a->brokers);
        else if (option == 'p')
            is_good = parse_count(optarg, PARTITIONS_MAX, &a->partitions);
        else if (option == 'x')
            is_good = strlen(optarg) >= 1 && strlen(optarg) <= PREFIX_MAX;
        else if (option == 'h')
            is_good = a->is_help = true;
        if (!is_good)
            return false;
        if (option == 'x')
            a->prefix = optarg;
    }
}

static bool create_topics(struct bus_embedded *broker, const struct arguments *a)
{
    for (int t = 0; t < BUS_TOPIC_COUNT; t++) {
        char name[BUS_TOPIC_NAME_BYTES];
        bus_topic_name(name, a->prefix, (enum bus_topic)t);
        if (bus_embedded_topic(broker, name, (int)a->partitions) != BRG_OK) {
            fprintf(stderr, "botbridge-broker: cannot create topic %s\n", name);
            return false;
        }
    }
    return true;
}

static void on_end(int signum, void *arg)
{
    (void)signum;
    loop_stop(arg);
}

static int serve(const struct arguments *a)
{
    struct brg_error error = {0};
    struct bus_embedded *broker = bus_embedded_start((int)a->brokers, &error);
    if (!broker) {
        fprintf(stderr, "botbridge-broker: %s\n", error.text);
        return BRG_EXIT_AGAIN;
    }
    if (!create_topics(broker, a)) {
        bus_embedded_stop(broker);
        return BRG_EXIT_BROKEN;
    }
    struct loop *loop = loop_new();
    loop_on_signal(loop, SIGTERM, on_end, loop);
    loop_on_signal(loop, SIGINT, on_end, loop);
    fprintf(stderr, "botbridge-broker: NOT DURABLE: records live in this process's memory, at "
                    "most 5 MiB per partition; use Apache Kafka for anything that matters\n");
    printf("ready bootstrap.servers=%s\n", bus_embedded_servers(broker));
    fflush(stdout);
    loop_run(loop);
    loop_free(loop);
    bus_embedded_stop(broker);
    return BRG_EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct arguments a = {.brokers = 1, .partitions = 12, .prefix = "botbridge"};
    if (!parse(argc, argv, &a)) {
        fputs(usage, stderr);
        return BRG_EXIT_USAGE;
    }
    if (a.is_help) {
        fputs(usage, stdout);
        return BRG_EXIT_DONE;
    }
    return serve(&a);
}
