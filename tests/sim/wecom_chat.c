#include "wecom_chat.h"

#include "base/error.h"

int wecom_chat_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return BRG_EXIT_USAGE;
}
