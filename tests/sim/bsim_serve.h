/* `botbridge-sim bosshi serve`. */
#pragma once

int bsim_serve_main(int argc, char **argv);
