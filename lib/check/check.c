#include "lib/check/check.h"

void check_row(const char *it)
{
    print_message("    it %s\n", it);
}
