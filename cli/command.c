#include "cli/command.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

void command_complain(const char *format, ...)
{
    va_list args;

    fputs("adit: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static bool is_named(const char *flag, const char *field)
{
    for (; *flag && *field; flag++, field++) {
        if (*flag != (*field == '_' ? '-' : *field))
            return false;
    }
    return !*flag && !*field;
}

/* Whether the argument behind this flag is its value. */
static bool takes_next(const struct option_table *table, const char *flag)
{
    if (strcmp(flag, "--config") == 0)
        return true;
    for (size_t i = 0; i < table->count; i++) {
        if (is_named(flag + 2, table->rows[i].name))
            return table->rows[i].type != OPTION_BOOL;
    }
    return false;               /* "--name=value", a switch, or unknown: option_load says so */
}

/* Splits argv[1..] into flags (kept, in place) and words.  The new argc; -E2BIG. */
static int split(const struct option_table *table, int argc, char **argv,
                 struct command_words *words)
{
    int kept = 1;

    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1]) {
            bool has_value = takes_next(table, argv[i]) && i + 1 < argc;

            argv[kept++] = argv[i];
            if (has_value)
                argv[kept++] = argv[++i];
            continue;
        }
        if (words->count == COMMAND_WORDS_MAX)
            return -E2BIG;
        words->items[words->count++] = argv[i];
    }
    argv[kept] = NULL;
    return kept;
}

/* --output, where the command has it. */
static bool is_output_known(const struct option_table *table, const void *config)
{
    for (size_t i = 0; i < table->count; i++) {
        const char *const *value = (const void *)((const char *)config + table->rows[i].offset);

        if (strcmp(table->rows[i].name, "output") != 0 || strcmp(*value, "text") == 0
            || strcmp(*value, "json") == 0)
            continue;
        command_complain("--output: \"%s\" is neither text nor json", *value);
        return false;
    }
    return true;
}

bool command_load(const struct option_table *table, int argc, char **argv, void *config,
                  struct command_words *ret_words, int *ret_exit)
{
    struct option_origins *origins = NULL;
    enum option_action action = OPTION_RUN;
    struct command_words words = { .count = 0 };
    char mem[1024];
    struct buf error;
    int flags;

    buf_init_fixed(&error, mem, sizeof(mem));
    flags = split(table, argc, argv, &words);
    if (flags < 0 || option_load(table, flags, argv, config, &action, &origins, &error)) {
        if (flags < 0)
            command_complain("too many words; see: %s --help", table->program);
        else
            command_complain("%s", buf_text(&error));
        *ret_exit = EXIT_CANNOT;
        return false;
    }

    if (action != OPTION_RUN)
        option_print(table, config, origins, action);
    option_origins_free(origins);
    *ret_words = words;
    *ret_exit = EXIT_OK;
    if (action != OPTION_RUN || is_output_known(table, config))
        return action == OPTION_RUN;
    *ret_exit = EXIT_CANNOT;
    return false;
}

bool command_no_words(const struct option_table *table, const struct command_words *words)
{
    if (words->count)
        command_complain("%s takes no \"%s\"; see: %s --help", table->program, words->items[0], table->program);
    return words->count == 0;
}

int command_sibling(const char *name, char *dst, size_t size)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;
    int written;

    if (n < 0)
        return -errno;
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (!slash)
        return -ENOENT;
    *slash = '\0';
    written = snprintf(dst, size, "%s/adit%s%s", self, *name ? "-" : "", name);
    return written > 0 && (size_t)written < size ? 0 : -ENAMETOOLONG;
}
