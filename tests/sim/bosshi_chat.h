/* `botbridge-sim bosshi chat`. */
#pragma once

int bosshi_chat_main(int argc, char **argv);
