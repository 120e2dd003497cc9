#pragma once
#include "lib/config/option.h"
/*
 * command.h - what the commands of `adit` share: exit codes, flags with positional words.
 *
 * Threads    one.
 */
enum {
    EXIT_OK = 0,                /* done; status: all is well; explain: allowed */
    EXIT_NOT = 1,               /* failed; status: degraded; explain: refused */
    EXIT_CANNOT = 2,            /* wrong usage, or nothing could be asked; status: down */
    EXIT_STALE = 3,             /* somebody else changed the object in between */
    EXIT_PENDING = 4,           /* done, but not every relay runs it yet (--wait) */
};

struct command {
    const char *name;
    const char *synopsis;       /* "USER HOST:PORT" */
    const char *help;           /* one line */
    int (*run)(int argc, char **argv);  /* argv[0] is the command's name */
};

int up_command(int argc, char **argv);
int page_command(int argc, char **argv);
int status_command(int argc, char **argv);
int doctor_command(int argc, char **argv);
int explain_command(int argc, char **argv);
int diagnose_command(int argc, char **argv);
int request_command(int argc, char **argv);
int reason_command(int argc, char **argv);
int access_command(int argc, char **argv);
int watch_command(int argc, char **argv);
int stats_command(int argc, char **argv);
int top_command(int argc, char **argv);
int config_command(int argc, char **argv);
int import_command(int argc, char **argv);
int completion_command(int argc, char **argv);
int complete_command(int argc, char **argv);
int login_command(int argc, char **argv);
int totp_command(int argc, char **argv);
int manual_command(int argc, char **argv);

#define COMMAND_WORDS_MAX 4
struct command_words {          /* what stood between the flags */
    const char *items[COMMAND_WORDS_MAX];
    size_t count;
};

/* Takes the positional words out of argv, then loads the flags, environment and file by the
 * table.  True: go on.  False: *ret_exit is what the command ends with (help was printed, or
 * the mistake was said). */
bool command_load(const struct option_table *table, int argc, char **argv, void *config,
                  struct command_words *ret_words, int *ret_exit);
/* False, and said so, when there are words: the command takes none. */
bool command_no_words(const struct option_table *table, const struct command_words *words);
/* "adit: " and the message to stderr, with a line end. */
void command_complain(const char *format, ...) PRINTF_LIKE(1, 2);
/* The path of adit-NAME, beside this program; of adit itself when the name is empty. */
MUST_CHECK int command_sibling(const char *name, char *dst, size_t size);
