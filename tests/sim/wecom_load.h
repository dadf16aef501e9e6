/* botbridge-sim wecom load: many WeCom users and streams at once, with latencies.
 * argv[0] is the sub-command's name; returns the exit code. */
#pragma once

int wecom_load_main(int argc, char **argv);
