#pragma once
#include "lib/base/span.h"
/*
 * secret.h - secrets on their way in and out: never on a command line, never in a file that
 * others may read, never to a pipe that nobody asked for.
 *
 * Errors     said to stderr; false.
 * Threads    one.
 */
enum secret_to { SECRET_NOWHERE, SECRET_TERMINAL, SECRET_FILE, SECRET_STDOUT };

struct secret_sink {
    enum secret_to to;
    const char *path;           /* SECRET_FILE */
    int fd;
    bool is_used;
};

/* Before the secret is made: `file` NULL is the terminal (or a file of 0600 that standard output
 * goes to), "-" standard output, else a new file of 0600. */
bool secret_sink_open(const char *file, struct secret_sink *ret_sink);
/* The file gets it here; who prints does the rest. */
bool secret_sink_put(struct secret_sink *sink, struct span secret);
/* Removes a file that got none. */
void secret_sink_close(struct secret_sink *sink);

#define SECRET_TEXT_MAX 512
/* Asks once on the terminal, unseen; "" is refused. */
bool secret_ask(const char *prompt, char ret_text[SECRET_TEXT_MAX]);
/* `file` NULL: asks twice on the terminal, unseen; "-": the first line of standard input. */
bool secret_read_password(const char *file, char ret_text[SECRET_TEXT_MAX]);
