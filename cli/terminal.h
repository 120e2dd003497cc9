#pragma once
#include <stdbool.h>
#include <sys/types.h>
/*
 * terminal.h - what a command does differently when a person looks on.
 *
 * Colours    only on a terminal, and not with NO_COLOR (no-color.org).
 * Threads    one.
 */
enum terminal_colour { TERMINAL_PLAIN, TERMINAL_GOOD, TERMINAL_BAD, TERMINAL_DIM };

/* The escape sequence for stdout, or "". */
const char *terminal_colour(enum terminal_colour colour);

/* Makes this process a foreground group of its own, so that Ctrl-C reaches it alone: not a
 * make or a script that started it and would call the stop an error.  Does nothing without a
 * terminal, or where the process leads its group already.  0 or the group to give back to. */
pid_t terminal_take(void);
void terminal_give_back(pid_t group);
