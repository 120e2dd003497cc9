#include "cli/terminal.h"

#include "lib/base/attr.h"

#include <signal.h>
#include <unistd.h>

const char *terminal_colour(enum terminal_colour colour)
{
    static const char *const sequences[] = {
        [TERMINAL_PLAIN] = "\033[0m", [TERMINAL_GOOD] = "\033[32m",
        [TERMINAL_BAD] = "\033[31m", [TERMINAL_DIM] = "\033[2m",
    };
    const char *no_colour = getenv("NO_COLOR");

    if (!isatty(STDOUT_FILENO) || (no_colour && *no_colour))
        return "";
    return sequences[colour];
}

/* A process in the background may not set the foreground group unless it ignores this. */
static void set_foreground(pid_t group)
{
    void (*before)(int) = signal(SIGTTOU, SIG_IGN);

    tcsetpgrp(STDIN_FILENO, group);
    signal(SIGTTOU, before);
}

pid_t terminal_take(void)
{
    pid_t group = getpgrp();

    if (!isatty(STDIN_FILENO) || group == getpid() || tcgetpgrp(STDIN_FILENO) != group)
        return 0;
    if (setpgid(0, 0) < 0)
        return 0;
    set_foreground(getpid());
    return group;
}

void terminal_give_back(pid_t group)
{
    if (group)
        set_foreground(group);
}
