/* adit reason CODE: what a reason code means and what to do about it; needs nothing running. */
#include "cli/command.h"
#include "lib/base/reason.h"

#include <stdio.h>
#include <string.h>

static void list_all(void)
{
    for (enum reason r = REASON_NONE + 1; r < REASON_COUNT; r++)
        printf("%-24s %s\n", reason_text(r), reason_what(r));
}

static int complain_unknown(const char *code)
{
    const char *known[REASON_COUNT];
    const char *nearest;

    for (enum reason r = REASON_NONE; r < REASON_COUNT; r++)
        known[r] = reason_text(r);
    nearest = option_nearest(span_str(code), known, REASON_COUNT);
    if (nearest)
        command_complain("no reason code \"%s\"; the nearest is: adit reason %s", code, nearest);
    else
        command_complain("no reason code \"%s\"; all of them: adit reason", code);
    return EXIT_NOT;
}

int reason_command(int argc, char **argv)
{
    enum reason r;

    if (argc == 1) {
        list_all();
        return EXIT_OK;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        puts("Usage: adit reason [CODE]\n"
             "Says what a reason code means and what to do; without CODE, which codes there are.\n"
             "Exit code: 0, or 1 when there is no such code.");
        return EXIT_OK;
    }
    if (argc > 2 || argv[1][0] == '-') {
        command_complain("usage: adit reason [CODE]");
        return EXIT_CANNOT;
    }

    r = reason_find(span_str(argv[1]));
    if (r == REASON_COUNT)
        return complain_unknown(argv[1]);
    printf("%s: %s\n  what to do   %s\n  HTTP doors   %u\n  SOCKS5 door  reply %u\n",
           reason_text(r), reason_what(r), reason_cure(r), reason_http_status(r),
           reason_socks_reply(r));
    return EXIT_OK;
}
