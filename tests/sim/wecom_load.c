#include "wecom_load.h"

#include "base/error.h"

int wecom_load_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return BRG_EXIT_USAGE;
}
