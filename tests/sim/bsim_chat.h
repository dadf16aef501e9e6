/* `botbridge-sim bosshi chat`. */
#pragma once

int bsim_chat_main(int argc, char **argv);
