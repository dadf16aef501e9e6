/* botbridge-sim wecom chat: one WeCom user who asks a bot and watches the answer grow.
 * argv[0] is the sub-command's name; returns the exit code. */
#pragma once

int wecom_chat_main(int argc, char **argv);
