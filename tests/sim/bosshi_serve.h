/* `botbridge-sim bosshi serve`. */
#pragma once

int bosshi_serve_main(int argc, char **argv);
